// One delivery: the request as it was sent, and what the receiver answered.

import { get, post } from "./api.js";
import { facts, h, notice, table } from "./dom.js";
import { aboutOf, deliveryTag, time, whose } from "./format.js";
import { said } from "./problem.js";
import { t } from "./texts.js";

/** Nothing more comes of it by itself. */
export const OVER = ["delivered", "failed", "expired", "cancelled"];

export default async function delivery(view) {
  const address = `/deliveries/${encodeURIComponent(view.args[0])}`;
  const found = await get(address, view.signal);
  const hook = await get(`/webhooks/${found.webhookId}`, view.signal);
  const place = h("div", {});
  const again = found.requestMethod && OVER.includes(found.state) && h("button", { type: "button", onclick: () => view.attempt(async () => {
    await post(`${address}/replay`);
    notice(t("webhook.replayed"));
  }, place) }, t("webhook.replay"));
  const headers = found.requestHeaders.map(({ name, value }) => `${name}: ${value ?? t("delivery.hidden")}`).join("\n");
  view.main.replaceChildren(h("p", {}, h("a", { href: `#/webhook/${found.webhookId}` }, `‹ ${t("webhook.deliveries")}`)),
    view.title(t("delivery.title")),
    h("section", { class: "card" }, h("div", { class: "row" }, deliveryTag(found.state), aboutOf(found), time(found.occurredAt), again), place, facts([
      [t("delivery.webhook"), h("a", { href: `#/webhook/${hook.id}` }, h("bdi", { class: "clip" }, hook.description || hook.url))],
      [t("column.user"), whose(found)],
      hook.maskNumbers && [t("webhooks.numbers"), t("webhooks.masked")],
    ])),
    h("section", { class: "card" }, h("h2", {}, t("delivery.request")), found.requestMethod
      ? [h("p", { class: "hint" }, t("delivery.request.hint")), h("pre", { tabindex: "0" }, `${found.requestMethod} ${found.requestUrl}\n${headers}`), found.requestBody && h("pre", { tabindex: "0" }, pretty(found.requestBody))]
      : h("p", { class: "empty" }, t("delivery.gone"))),
    h("section", { class: "card" }, h("h2", {}, t("delivery.attempts")), found.attempts.length === 0
      ? h("p", { class: "empty" }, t("delivery.none"))
      : table(t("delivery.attempts"), [
        [t("column.time"), (attempt) => time(attempt.at)],
        [t("column.duration"), (attempt) => `${attempt.durationMs} ms`],
        [t("delivery.outcome"), (attempt) => said(attempt.outcome)],
        [t("delivery.answer"), (attempt) => attempt.answer ? h("pre", { tabindex: "0" }, attempt.answer) : "–"],
      ], found.attempts.toReversed())));
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
