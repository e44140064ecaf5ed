// Calls as they are, and events as they come.

import { get, once } from "./api.js";
import { fill, h, notice, table } from "./dom.js";
import { shownEvents } from "./events.js";
import { party, tag, time } from "./format.js";
import { t } from "./texts.js";

const KEPT = 200;

export default async function live(view) {
  const calls = h("div", {});
  const list = h("div", {});
  const events = [];
  let cursor = "latest";
  const now = view.may("calls:read") && h("section", { class: "card" }, h("h2", {}, t("live.calls")), calls);
  view.main.replaceChildren(view.title(t("live.title")), now || "",
    h("section", { class: "card" }, h("h2", {}, t("live.events")), list));
  fill(list, shownEvents(events, 0));
  await view.poll(async (signal) => {
    const fresh = await get(`/events?after=${encodeURIComponent(cursor)}&wait=0`, signal);
    cursor = fresh.cursor;
    if (fresh.events.length > 0) {
      events.unshift(...fresh.events.reverse());
      events.splice(KEPT);
      fill(list, shownEvents(events, fresh.events.length));
    }
    if (now) fill(calls, shownCalls((await get("/rcc/calls?wait=2", signal)).calls ?? [], view));
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
    [t("column.time"), (call) => time(call.startTime)],
    ["", (call) => view.may("calls:write") ? end(call) : ""],
  ], calls);
}
