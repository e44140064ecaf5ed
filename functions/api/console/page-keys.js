// API keys: made here, shown once, revoked.

import { ask, get, post } from "./api.js";
import { checks, copyButton, field, fill, h, notice, table } from "./dom.js";
import { time } from "./format.js";
import { t } from "./texts.js";

const SCOPES = ["calls:read", "calls:write", "webhooks", "admin"];

export default async function keys(view) {
  const list = h("div", {});
  const made = h("div", {});
  const place = h("div", {});
  const load = async () => fill(list, shown((await get("/apikeys", view.signal)).keys, view, revoke));
  const revoke = async (key) => {
    if (!(await view.confirmed(t("keys.revoke.ask", { name: key.name }), t("keys.revoke.what")))) return;
    const ok = await view.attempt(async () => {
      await ask("DELETE", `/apikeys/${encodeURIComponent(key.id)}`);
      await load();
    }, place);
    if (ok) notice(t("keys.revoked"));
  };
  view.main.replaceChildren(view.title(t("keys.title")), made, h("section", { class: "card" }, place, list), maker(view, made, load));
  await load();
}

function shown(keys, view, revoke) {
  return table(t("keys.title"), [
    [t("keys.name"), (key) => [h("bdi", { class: "clip" }, key.name), key.id === view.me.id && h("div", { class: "hint" }, t("keys.this")), key.disabled && h("div", { class: "hint" }, t("keys.disabled"))]],
    [t("keys.scopes"), (key) => key.scopes.join(", ")],
    [t("keys.extensions"), (key) => key.extensions?.join(", ") || t("all")],
    [t("keys.created"), (key) => key.bootstrap ? t("keys.bootstrap") : time(key.createdAt)],
    // When a key is used that was named at deployment, nobody writes down.
    [t("keys.used"), (key) => key.lastUsedAt ? time(key.lastUsedAt) : key.bootstrap ? t("keys.used.unknown") : t("never")],
    ["", (key) => key.bootstrap || key.id === view.me.id ? "" : h("button", { type: "button", class: "danger", onclick: () => revoke(key) }, t("keys.revoke"))],
  ], keys);
}

function maker(view, made, load) {
  const name = field(t("keys.name"), { name: "name", required: true, autocomplete: "off" });
  const scopes = checks(t("keys.scopes"), SCOPES.map((scope) => [scope, `${scope}: ${t(`keys.scope.${scope}`)}`]), ["calls:read"], "scopes");
  const extensions = field(t("keys.extensions"), { name: "extensions" }, t("webhooks.extensions.hint"));
  const allow = field(t("keys.allow"), { name: "allow" }, t("keys.allow.hint"));
  const hour = field(t("keys.hour"), { name: "callsPerHour", type: "number", min: "0" }, t("keys.hour.hint"));
  const place = h("div", {});
  const entries = (input) => input.value.split(",").map((text) => text.trim()).filter(Boolean);
  const form = h("form", { onsubmit: (event) => {
    event.preventDefault();
    const wanted = { name: name.input.value, scopes: scopes.values() };
    if (entries(extensions.input).length) wanted.extensions = entries(extensions.input);
    if (entries(allow.input).length) wanted.allow = entries(allow.input);
    if (hour.input.value) wanted.callsPerHour = Number(hour.input.value);
    view.attempt(async () => {
      const key = await post("/apikeys", wanted);
      fill(made, h("section", { class: "card" }, h("h2", {}, t("keys.made")), h("div", { class: "row" }, h("code", {}, key.key), copyButton(key.key, t("copy"), t("copied")))));
      made.scrollIntoView({ block: "nearest" });
      form.reset();
      await load();
    }, place);
  } }, name.parts, scopes.parts, extensions.parts, allow.parts, hour.parts, h("p", {}, h("button", { class: "first" }, t("keys.make"))), place);
  return h("details", { class: "card" }, h("summary", {}, t("keys.new")), form);
}
