// Who dialled, moved or ended what, and who changed keys and webhooks.

import { get, query } from "./api.js";
import { field, fill, h, table } from "./dom.js";
import { time } from "./format.js";
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
    [t("audit.operation"), (entry) => entry.operation],
    [t("audit.subject"), (entry) => [h("bdi", { class: "clip" }, entry.kind === "call" ? [entry.from, entry.to].filter(Boolean).join(" → ") : [entry.subjectName, ...entry.fields].filter(Boolean).join(" · ")),
      entry.refusal && h("div", { class: "hint" }, t("audit.refused", { why: entry.refusal }))]],
  ], entries);
}
