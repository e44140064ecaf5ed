// Call events in tables, as more than one page shows them.

import { h, table } from "./dom.js";
import { party, tag, time } from "./format.js";
import { t } from "./texts.js";

export const isMissed = (event) => event.missed ?? (!event.outgoing && !event.connected && event.status === "disconnected");

export const columns = {
  time: [t("column.time"), (event) => time(event.occurredAt)],
  user: [t("column.user"), (event) => h("bdi", {}, `${event.monitoredUser} (${event.monitoredExtension})`)],
  from: [t("column.from"), (event) => party(event.fromName, event.fromE164 ?? event.from)],
  to: [t("column.to"), (event) => party(event.toName, event.toE164 ?? event.to)],
};

/** Events as they come, the newest first; so many of them are fresh. */
export function shownEvents(events, fresh) {
  if (events.length === 0) return h("p", { class: "empty" }, t("live.events.none"));
  const status = [t("column.event"), (event) => tag(isMissed(event) ? "missed" : event.status)];
  const { time: when, user, from, to } = columns;
  return table(t("live.events"), [when, status, user, from, to], events,
    (event) => ({ class: events.indexOf(event) < fresh ? "fresh" : null }));
}
