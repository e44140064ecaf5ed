// The list of webhooks, and the form that makes one.

import { get, once } from "./api.js";
import { checks, copyButton, field, fill, h, notice, table } from "./dom.js";
import { tag, time } from "./format.js";
import { said } from "./problem.js";
import { t } from "./texts.js";

export default async function webhooks(view) {
  if (view.args[0] === "new") return make(view);
  const list = h("div", {});
  view.main.replaceChildren(h("div", { class: "row spread" }, view.title(t("webhooks.title")),
    h("a", { class: "button", href: "#/webhooks/new" }, t("webhooks.new"))), h("section", { class: "card" }, list));
  await view.poll(async (signal) => {
    const found = (await get("/webhooks", signal)).webhooks;
    fill(list, found.length === 0 ? h("p", { class: "empty" }, t("webhooks.none")) : table(t("webhooks.title"), [
      [t("webhooks.url"), (hook) => [h("a", { href: `#/webhook/${hook.id}` }, h("bdi", { class: "clip" }, hook.description || hook.url)),
        hook.description && h("div", { class: "hint" }, h("bdi", { class: "clip" }, hook.url))]],
      [t("column.state"), (hook) => tag(hook.state)],
      [t("webhooks.reason"), (hook) => h("span", { class: "clip" }, said(hook.reason))],
      [t("webhooks.parked"), (hook) => String(hook.parked)],
      [t("webhooks.success"), (hook) => time(hook.lastSuccessAt)],
    ], found));
  });
}

/** The fields of a webhook's settings, and what they say. */
export function settings(hook = {}) {
  const url = field(t("webhooks.url"), { name: "url", type: "url", required: true, value: hook.url ?? "", placeholder: "https://" }, t("webhooks.url.hint"));
  const description = field(t("webhooks.description"), { name: "description", value: hook.description ?? "" });
  const statuses = checks(t("webhooks.statuses"), ["ringing", "connected", "disconnected"].map((name) => [name, t(`state.${name}`)]), hook.statuses ?? [], "statuses");
  const missed = h("input", { name: "missedOnly", type: "checkbox", checked: hook.missedOnly ?? false });
  const mask = h("input", { name: "maskNumbers", type: "checkbox", checked: hook.maskNumbers ?? false, "aria-describedby": "mask-hint" });
  const extensions = field(t("webhooks.extensions"), { name: "extensions", value: (hook.extensions ?? []).join(", ") }, t("webhooks.extensions.hint"));
  const format = field(t("webhooks.format"), { name: "format", tag: "select", options: ["easyconnect", "extended"].map((name) => [name, t(`webhooks.format.${name}`)]) });
  format.input.value = hook.format ?? "easyconnect";
  const method = field(t("webhooks.method"), { name: "method", tag: "select", options: [["POST", "POST"], ["GET", "GET"]] });
  method.input.value = hook.method ?? "POST";
  return {
    parts: [url.parts, description.parts, statuses.parts, h("p", { class: "hint" }, t("webhooks.statuses.hint")),
      h("label", { class: "check" }, missed, t("webhooks.missed")), extensions.parts, format.parts, method.parts,
      h("label", { class: "check" }, mask, t("webhooks.mask")), h("p", { class: "hint", id: "mask-hint" }, t("webhooks.mask.hint"))],
    values: () => ({
      url: url.input.value.trim(), description: description.input.value, statuses: statuses.values(), missedOnly: missed.checked,
      extensions: extensions.input.value.split(",").map((text) => text.trim()).filter(Boolean), format: format.input.value, method: method.input.value,
      maskNumbers: mask.checked,
    }),
  };
}

/** A notice of the other webhooks with the same address, because their receiver is told more than once. */
export async function twins(made, view) {
  const known = await get("/webhooks", view.signal).catch(() => ({ webhooks: [] }));
  const others = known.webhooks.filter(({ id, url }) => id !== made.id && url === made.url);
  if (others.length === 0) return "";
  return h("div", { class: "notice", role: "status" }, h("strong", {}, t("webhooks.twins")), " ", t("webhooks.twins.hint"),
    h("ul", {}, others.map((hook) => h("li", {}, h("a", { href: `#/webhook/${hook.id}` }, h("bdi", { class: "clip" }, hook.description || hook.url)), " ", tag(hook.state)))));
}

async function make(view) {
  const fields = settings();
  const place = h("div", {});
  const form = h("form", { class: "card", onsubmit: (event) => {
    event.preventDefault();
    view.attempt(async () => {
      const made = await once("/webhooks", fields.values());
      notice(t("webhooks.created"));
      fill(view.main, view.title(t("webhooks.created")), await twins(made, view), secret(made.secret),
        h("p", {}, t("webhooks.created.next")), h("p", {}, h("a", { class: "button first", href: `#/webhook/${made.id}` }, t("webhook.show"))));
    }, place);
  } }, fields.parts, h("div", { class: "row" }, h("button", { class: "first" }, t("save")), h("a", { class: "button", href: "#/webhooks" }, t("cancel"))), place);
  view.main.replaceChildren(view.title(t("webhooks.new")), form);
  form.querySelector("input").focus();
}

export function secret(text) {
  return h("section", { class: "card" }, h("h2", {}, t("webhooks.secret")), h("p", {}, t("webhooks.secret.hint")),
    h("div", { class: "row" }, h("code", {}, text), copyButton(text, t("copy"), t("copied"))));
}
