// What is there, what stands in the way, and how to mend it.

import { get } from "./api.js";
import { callsByHour, callsByPbx, latencies, latenciesByPbx, outcomes } from "./charts.js";
import { facts, fill, h, table } from "./dom.js";
import { columns, isMissed } from "./events.js";
import { tag, time } from "./format.js";
import { said } from "./problem.js";
import { maySeeStats, statsInTurn } from "./stats.js";
import { t } from "./texts.js";

export default async function overview(view) {
  const place = h("div", {});
  const first = h("div", {});
  const pbxs = h("div", {});
  const agents = h("div", { class: "block" });
  const webhooks = view.may("webhooks") && h("section", { class: "card" }, h("h2", {}, t("overview.webhooks")));
  const hooks = h("div", {});
  const calls = h("div", {});
  if (webhooks) webhooks.append(hooks);
  const numbers = h("div", { class: "cards wide" });
  view.main.replaceChildren(view.title(t("overview.title")), place, first, pbxs, agents, webhooks || "", numbers,
    h("section", { class: "card" }, h("h2", {}, t("overview.recent")), calls));
  const stats = maySeeStats(view) && statsInTurn((found) => fill(numbers, charts(found)));
  await view.poll(async (signal) => {
    const found = await get("/status", signal);
    fill(pbxs, found.pbxs.length > 1 && ofPbxs(found.pbxs));
    fill(agents, status(found));
    const known = webhooks ? (await get("/webhooks", signal)).webhooks : null;
    if (known) fill(hooks, health(known));
    if (!view.may("calls:read", "webhooks")) return;
    const { events } = await get("/events?order=newest&limit=10&wait=0&statuses=disconnected", signal);
    fill(calls, recent(events));
    fill(first, (events.length === 0 || known?.length === 0) && firstSteps());
    if (stats) await stats(signal);
  }, { place });
}

function firstSteps() {
  return h("section", { class: "card row spread" }, h("div", {}, h("h2", {}, t("overview.first")), h("p", {}, t("overview.first.what"))),
    h("a", { class: "button first", href: "#/try" }, t("overview.first.go")));
}

/** A PBX that is away takes only its own users with it, so each has its state. */
function ofPbxs(pbxs) {
  return h("section", { class: "card" }, h("h2", {}, t("overview.pbxs")), h("p", { class: "hint" }, t("overview.pbxs.hint")), table(t("overview.pbxs"), [
    ["PBX", ({ pbxId }) => h("bdi", {}, pbxId)],
    [t("column.state"), ({ state }) => tag(state)],
    [t("overview.pbxs.agents"), ({ agents }) => String(agents)],
    [t("overview.pbxs.slot"), ({ slot }) => String(slot ?? "–")],
  ], pbxs));
}

function status({ state, agents }) {
  if (agents.length === 0) {
    return h("section", { class: "card" }, h("h2", {}, t("overview.agents"), " ", tag(state)),
      h("p", {}, t("overview.none")), h("p", { class: "quiet" }, t("overview.none.hint")));
  }
  return h("section", {}, h("div", { class: "cards" }, agents.map((agent) => h("article", { class: "card" },
    h("div", { class: "row spread" }, h("h2", {}, h("bdi", {}, agent.name)), tag(agent.pbx)),
    agent.problem && h("div", { class: "problem" }, h("strong", {}, t("overview.problem")), " ", agent.problem),
    agent.pbx === "down" && h("p", {}, t("overview.pbx.hint")),
    h("p", { class: "row" }, h("span", { class: "big" }, String(agent.visibleUsers)), t("overview.users"),
      h("span", { class: "big" }, String(agent.liveCalls)), t("overview.calls")),
    facts([
      ["PBX", h("bdi", {}, agent.pbxId ?? "–")],
      [t("overview.session"), time(agent.sessionSince)],
      [t("overview.seen"), time(agent.lastSeen)],
      [t("overview.version"), `${agent.version} · ${agent.os}`],
      agent.waitingEvents > 0 && [t("overview.waiting"), String(agent.waitingEvents)],
      agent.droppedEvents > 0 && [t("overview.dropped"), String(agent.droppedEvents)],
    ])))));
}

function health(webhooks) {
  if (webhooks.length === 0) {
    return [h("p", {}, t("overview.webhooks.none")), h("a", { class: "button", href: "#/webhooks/new" }, t("overview.webhooks.make"))];
  }
  const ill = webhooks.filter(({ state }) => state !== "active");
  if (ill.length === 0) return h("p", {}, t("overview.webhooks.fine"));
  return [h("p", {}, t("overview.webhooks.look", { n: ill.length })), table(t("overview.webhooks"), [
    [t("webhooks.url"), (hook) => h("a", { href: `#/webhook/${hook.id}` }, h("bdi", {}, hook.description || hook.url))],
    [t("column.state"), (hook) => tag(hook.state)],
    [t("webhooks.reason"), (hook) => said(hook.reason)],
    [t("webhooks.parked"), (hook) => String(hook.parked)],
  ], ill)];
}

function recent(events) {
  if (events.length === 0) return h("p", { class: "empty" }, t("overview.recent.none"));
  const state = [t("column.state"), (event) => tag(isMissed(event) ? "missed" : event.connected ? "connected" : "disconnected")];
  return table(t("overview.recent"), [columns.time, columns.user, columns.from, columns.to, state], events);
}

function charts(found) {
  const card = (title, ...content) => h("section", { class: "card" }, h("h2", {}, title), content);
  const several = new Set(found.pbxHours.map(({ pbxId }) => pbxId)).size > 1;
  return [
    card(t("stats.hours"), callsByHour(found.hours), several && callsByPbx(found)),
    found.deliveriesRead !== null && h("div", {}, card(t("stats.deliveries"), outcomes(found)), card(t("stats.latencies"), h("p", { class: "hint" }, t("stats.latencies.of")), latencies(found), found.pbxLatencies.length > 0 && latenciesByPbx(found))),
  ];
}
