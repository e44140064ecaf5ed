// The first minutes: agent, inbox, a test call, and its events.

import { get, once } from "./api.js";
import { field, fill, h } from "./dom.js";
import { shownEvents } from "./events.js";
import { tag } from "./format.js";
import { t } from "./texts.js";

export default async function tryIt(view) {
  const agent = h("div", {});
  const seen = h("div", {}, h("p", { class: "empty" }, t("try.waiting")));
  const steps = ["agent", "inbox", "call", "see"].map(() => h("li", {}));
  const done = (n, is) => { steps[n].className = is ? "done" : "now"; };
  const events = [];
  fill(steps[0], h("h2", {}, t("try.agent")), agent);
  fill(steps[1], h("h2", {}, t("try.inbox")), h("p", {}, t("try.inbox.hint")));
  fill(steps[2], h("h2", {}, t("try.call")), view.may("calls:write") ? caller(view) : h("p", {}, t("try.cannot")));
  fill(steps[3], h("h2", {}, t("try.see")), seen);
  view.main.replaceChildren(view.title(t("try.title")), h("section", { class: "card" }, h("ol", { class: "steps" }, steps)),
    view.may("webhooks") ? h("p", {}, h("a", { class: "button", href: "#/webhooks/new" }, t("try.next"))) : "");
  let cursor = "latest";
  await view.poll(async (signal) => {
    const { state } = await get("/status", signal);
    done(0, state === "online");
    fill(agent, state === "agent_offline" ? [h("p", {}, t("try.agent.wait")), h("p", { class: "hint" }, t("overview.none.hint"))] : tag(state));
    const fresh = await get(`/events?after=${encodeURIComponent(cursor)}&wait=0`, signal);
    done(1, true);
    cursor = fresh.cursor;
    events.unshift(...fresh.events.reverse());
    done(2, events.length > 0);
    done(3, events.length > 0);
    if (fresh.events.length > 0) fill(seen, shownEvents(events, fresh.events.length));
  });
}

function caller(view) {
  const from = field(t("try.from"), { required: true, inputmode: "tel", autocomplete: "off" });
  const to = field(t("try.to"), { required: true, type: "tel", autocomplete: "off" });
  const place = h("div", {});
  const suggestions = h("datalist", { id: "extensions" });
  from.input.setAttribute("list", "extensions");
  to.input.setAttribute("list", "extensions");
  if (view.may("calls:read")) {
    get("/rcc/users?wait=5", view.signal).then(({ users }) => {
      fill(suggestions, (users ?? []).map((user) => h("option", { value: user.extension }, user.longName)));
      const [first, second] = (users ?? []).filter((user) => user.registered);
      if (first && !from.input.value) from.input.value = first.extension;
      if (second && !to.input.value) to.input.value = second.extension;
    }).catch(() => {});
  }
  const button = h("button", { class: "first" }, t("try.go"));
  return h("form", { onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    await view.attempt(() => once("/rcc/makecall", { from: from.input.value, to: to.input.value }), place);
    button.disabled = false;
  } }, h("p", {}, t("try.call.hint")), suggestions, from.parts, to.parts, h("p", {}, button), place);
}
