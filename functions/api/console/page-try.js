// The first minutes: agent, who is told, a test call, and what came of it. Somebody who knows only the address and the key gets through.

import { get, once } from "./api.js";
import { dialling } from "./dialling.js";
import { copyButton, field, fill, h, table } from "./dom.js";
import { shownEvents } from "./events.js";
import { aboutOf, addressOf, deliveryTag, tag, whose } from "./format.js";
import { twins } from "./page-webhooks.js";
import { said } from "./problem.js";
import { t } from "./texts.js";

export default async function tryIt(view) {
  const agent = h("div", {});
  const place = h("div", {});
  const seen = h("div", {}, h("p", { class: "empty" }, t("try.waiting")));
  const sent = h("div", {});
  const steps = ["agent", "told", "call", "see"].map(() => h("li", {}));
  const events = [];
  let hook = null;
  // How many events there were before the webhook, which is told of none of them.
  let before = 0;
  let cursor = "latest";
  let state = "";
  const step = (n, title, ...content) => fill(steps[n], h("h2", {}, t(title)), content);
  step(0, "try.agent", h("p", { class: "quiet" }, t("try.agent.what")), agent);
  step(1, "try.inbox", h("p", {}, t("try.inbox.hint")), view.may("webhooks") && receiver(view, (made) => { hook = made; before = events.length; }));
  const { form, suggest } = caller(view);
  step(2, "try.call", view.may("calls:write") ? form : h("p", {}, t("try.cannot")));
  step(3, "try.see", seen, sent);
  view.main.replaceChildren(view.title(t("try.title")), h("p", {}, t("try.what")), place, h("section", { class: "card" }, h("ol", { class: "steps" }, steps)));
  await view.poll(async (signal) => {
    const status = await get("/status", signal);
    if (status.state !== state) {
      state = status.state;
      fill(agent, agentStatus(status));
      if (state === "online") suggest();
    }
    const fresh = await get(`/events?after=${encodeURIComponent(cursor)}&wait=0`, signal);
    cursor = fresh.cursor;
    if (fresh.events.length > 0) {
      events.unshift(...fresh.events.reverse());
      fill(seen, h("p", { role: "status" }, t("try.seen")), shownEvents(events, fresh.events.length));
    }
    if (hook) {
      fill(sent, events.length > before ? deliveries((await get(`/webhooks/${hook.id}/deliveries?limit=10`, signal)).deliveries, hook)
        : h("p", { class: "empty" }, t("try.sent.next")));
    }
    const done = [state === "online", true, events.length > 0, events.length > 0];
    const next = done.indexOf(false);
    steps.forEach((element, n) => {
      element.className = done[n] ? "done" : n === next ? "now" : "";
      element.ariaCurrent = n === next ? "step" : null;
    });
  }, { place });
}

function agentStatus({ state, agents }) {
  if (state === "online") return tag(state);
  if (state === "agent_offline") return [tag(state), h("p", {}, t("try.agent.wait")), h("p", { class: "hint" }, t("overview.none.hint"))];
  const problem = agents.map((one) => one.problem).find(Boolean);
  return [tag(state), problem && h("p", {}, h("bdi", {}, problem)), h("p", { class: "hint" }, t("overview.pbx.hint"))];
}

/** Makes a webhook without leaving the page, for who has a receiver. */
function receiver(view, made) {
  const url = field(t("webhooks.url"), { name: "url", type: "url", required: true, placeholder: "https://" }, t("webhooks.url.hint"));
  const place = h("div", {});
  const form = h("form", { onsubmit: (event) => {
    event.preventDefault();
    view.attempt(async () => {
      const hook = await once("/webhooks", { url: url.input.value.trim(), description: t("try.title") });
      made(hook);
      const others = await twins(hook, view);
      form.replaceWith(h("div", {}, others, h("p", { role: "status" }, t("webhooks.created"), " ", h("a", { href: `#/webhook/${hook.id}` }, t("webhook.show"))),
        h("p", { class: "hint" }, t("webhooks.secret.hint")), h("div", { class: "row" }, h("code", {}, hook.secret), copyButton(hook.secret, t("copy"), t("copied")))));
    }, place);
  } }, url.parts, h("p", {}, h("button", {}, t("overview.webhooks.make"))), place);
  return h("details", {}, h("summary", {}, t("try.receiver")), form);
}

function deliveries(rows, hook) {
  if (rows.length === 0) return h("p", { class: "empty" }, t("try.sending"));
  return [h("h3", {}, t("try.sent")), table(t("webhook.deliveries"), [
    [t("column.event"), (row) => h("a", { href: `#/delivery/${row.id}` }, aboutOf(row))],
    [t("column.user"), whose],
    [t("column.state"), (row) => deliveryTag(row.state)],
    [t("delivery.outcome"), (row) => h("span", { class: "clip" }, said(row.attempts.at(-1)?.outcome))],
  ], rows), h("p", {}, h("a", { href: `#/webhook/${hook.id}` }, t("webhook.show")))];
}

function caller(view) {
  const from = field(t("try.from"), { name: "from", required: true, inputmode: "tel", autocomplete: "off" });
  const to = field(t("try.to"), { name: "to", required: true, type: "tel", autocomplete: "off" });
  const place = h("div", {});
  const suggestions = h("datalist", { id: "extensions" });
  const told = h("p", { class: "hint", role: "status" });
  const { button, hangUp, dial } = dialling(view, place, t("try.go"));
  const names = new Map();
  const say = () => {
    const [first, second] = [from, to].map(({ input }) => names.get(input.value.trim()) ?? input.value.trim());
    fill(told, first && second && t("try.who", { first, second }));
  };
  for (const { input } of [from, to]) {
    input.setAttribute("list", "extensions");
    input.addEventListener("input", say);
  }
  const load = async () => {
    const { users } = await get("/rcc/users?wait=5", view.signal);
    for (const user of users ?? []) names.set(addressOf(user), user.longName || user.extension);
    fill(suggestions, (users ?? []).map((user) => h("option", { value: addressOf(user) }, user.longName)));
    const [first, ...others] = (users ?? []).filter((user) => user.registered);
    const second = others.find((user) => addressOf(user) === user.extension);
    if (first && !from.input.value) from.input.value = addressOf(first);
    if (second && !to.input.value) to.input.value = second.extension;
    say();
  };
  // Without suggestions the numbers are typed.
  const suggest = () => {
    if (view.may("calls:read") && view.may("calls:write")) load().catch((problem) => { if (problem.name !== "AbortError") console.info(problem.message); });
  };
  const form = h("form", { onsubmit: async (event) => {
    event.preventDefault();
    await dial(from.input.value.trim(), to.input.value.trim());
  } }, h("p", {}, t("try.call.hint")), suggestions, from.parts, to.parts, told, h("div", { class: "row" }, button, hangUp), place);
  return { form, suggest };
}
