// Calls as they are, and events as they come.

import { Problem, get, once } from "./api.js";
import { fill, h, notice, table } from "./dom.js";
import { shownEvents } from "./events.js";
import { party, tag, time } from "./format.js";
import { SELDOM } from "./poll.js";
import { showAt } from "./problem.js";
import { t } from "./texts.js";

const KEPT = 200;

export default async function live(view) {
  const calls = h("div", {});
  const list = h("div", {});
  const events = [];
  const place = h("div", {});
  let cursor = "latest";
  // Calls are asked of the agent by a command, so only at first and when an event has told that they have changed.
  let askAt = 0;
  const now = view.may("calls:read") && h("section", { class: "card" }, h("h2", {}, t("live.calls")), place, calls);
  view.main.replaceChildren(view.title(t("live.title")), now || "",
    h("section", { class: "card" }, h("h2", {}, t("live.events")), list));
  fill(list, shownEvents(events, 0));
  const ask = async (signal) => {
    try {
      const answer = await get("/rcc/calls?wait=2", signal);
      showAt(place, null);
      fill(calls, shownCalls(answer.calls ?? [], view));
      // Without an answer yet there is nothing to go by.
      askAt = answer.calls ? Infinity : Date.now();
    } catch (problem) {
      // Events come also while nobody can tell the calls.
      if (!(problem instanceof Problem) || problem.status === 0 || problem.code === "invalid_key" || problem.code === "key_disabled") throw problem;
      calls.replaceChildren();
      showAt(place, problem);
      askAt = Date.now() + SELDOM;
    }
  };
  await view.poll(async (signal) => {
    const fresh = await get(`/events?after=${encodeURIComponent(cursor)}&wait=0`, signal);
    cursor = fresh.cursor;
    if (fresh.events.length > 0) {
      events.unshift(...fresh.events.reverse());
      events.splice(KEPT);
      fill(list, shownEvents(events, fresh.events.length));
      askAt = 0;
    }
    if (now && Date.now() >= askAt) await ask(signal);
  });
}

function shownCalls(calls, view) {
  if (calls.length === 0) return h("p", { class: "empty" }, t("live.none"));
  const end = (call) => h("button", { type: "button", class: "danger", onclick: () => view.attempt(async () => {
    await once("/rcc/disconnect", { CallId: call.CallId });
    notice(t("live.ended"));
  }) }, t("live.end"));
  return table(t("live.calls"), [
    [t("column.user"), (call) => h("bdi", {}, `${call.user} (${call.extension})`)],
    [t("column.direction"), (call) => call.outgoing ? t("outgoing") : t("incoming")],
    [t("column.from"), (call) => party(call.fromName, call.from)],
    [t("column.to"), (call) => party(call.toName, call.to)],
    [t("column.state"), (call) => tag(call.callState)],
    [t("live.since"), (call) => time(call.startTime)],
    ["", (call) => view.may("calls:write") ? end(call) : ""],
  ], calls);
}
