// Who dialled, moved or ended what, and who changed keys and webhooks.

import { get, query } from "./api.js";
import { field, fill, h, table } from "./dom.js";
import { time } from "./format.js";
import { refusal } from "./problem.js";
import { t } from "./texts.js";

export default async function audit(view) {
  const list = h("div", {});
  const more = h("div", {});
  const place = h("div", {});
  const { parts, input } = field(t("audit.day"), { type: "date", value: new Date().toISOString().slice(0, 10) });
  let entries = [];
  const load = (cursor) => view.attempt(async () => {
    const page = await get(`/audit${query({ day: input.value, cursor, limit: 100 })}`, view.signal);
    entries = cursor ? [...entries, ...page.entries] : page.entries;
    fill(list, entries.length === 0 ? h("p", { class: "empty" }, t("audit.none")) : shown(entries));
    fill(more, page.nextCursor && h("button", { type: "button", onclick: () => load(page.nextCursor) }, t("more")));
  }, place);
  input.addEventListener("change", () => load(null));
  view.main.replaceChildren(view.title(t("audit.title")), h("section", { class: "card" }, parts, place, list, more));
  await load(null);
}

function shown(entries) {
  return table(t("audit.title"), [
    [t("column.time"), (entry) => time(entry.time)],
    [t("audit.key"), (entry) => h("bdi", { class: "clip" }, entry.keyName)],
    [t("audit.operation"), (entry) => named("operation", entry.operation)],
    [t("audit.subject"), (entry) => [h("bdi", { class: "clip" }, subject(entry)), h("div", { class: "hint" }, fieldsOf(entry)), entry.refusal && h("div", { class: "hint" }, t("audit.refused", { why: refusal(entry.refusal) }))]],
  ], entries);
}

/** What the page calls an operation or field; what is new to it stays as it is. */
function named(what, name) {
  const key = `${what}.${name}`;
  const text = t(key);
  return text === key ? name : text;
}

const subject = ({ kind, from, to, subjectName }) => kind === "call" ? [from, to].filter(Boolean).join(" → ") : subjectName ?? "";

/** The fields that were given, or of a changed webhook those that differ. */
function fieldsOf({ operation, fields }) {
  if (operation === "ChangeWebhook" && fields.length === 0) return t("audit.nothing");
  const told = fields.filter((name) => name !== "requestId").map((name) => named("field", name));
  return [...new Set(told)].join(", ");
}
