// Small charts as inline SVG. Each has its numbers as text or as a table beside it, so that nothing is told by a picture alone.

import { h, table } from "./dom.js";
import { deliveryTag, milliseconds } from "./format.js";
import { locale, t } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";

function s(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.flat());
  return element;
}

/** It is as wide as its place. What it says is in `label`; without one it only repeats what stands beside it. */
function picture(width, height, style, label, children) {
  const told = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return s("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", class: `chart ${style}`, ...told }, children);
}

const clock = (iso) => new Date(iso).toLocaleTimeString(locale, { timeStyle: "short" });
const sum = (hours, name) => hours.reduce((total, hour) => total + hour[name], 0);

function bars(hours, style, label) {
  const most = Math.max(1, ...hours.map(({ calls }) => calls));
  const rect = (n, from, count, kind) => s("rect", { x: n * 10 + 1, width: 8, y: 100 - (from + count) / most * 100, height: count / most * 100, class: kind });
  return picture(hours.length * 10, 100, style, label, hours.map(({ hour, calls, missed }, n) => s("g", {},
    s("title", {}, `${clock(hour)}: ${t("stats.calls", { n: calls })}, ${t("stats.missed", { n: missed })}`),
    s("rect", { x: n * 10, width: 10, y: 0, height: 100, class: "ground" }),
    rect(n, 0, calls - missed, "taken"), rect(n, calls - missed, missed, "missed"))));
}

/** When the hours below the bars began. */
const axis = (hours) => h("div", { class: "row spread quiet axis", "aria-hidden": "true" }, hours.map(({ hour }) => h("span", {}, clock(hour))));

/** Calls by the hour, the missed ones on top. */
export function callsByHour(hours) {
  const [calls, missed] = [sum(hours, "calls"), sum(hours, "missed")];
  const told = `${t("stats.calls", { n: calls })}, ${t("stats.missed", { n: missed })}`;
  if (calls === 0) return h("p", { class: "empty" }, t("stats.none"));
  const most = Math.max(...hours.map((hour) => hour.calls));
  const marks = [hours[0], hours[Math.floor(hours.length / 2)], hours.at(-1)];
  return h("figure", {}, h("figcaption", { class: "row" }, h("span", {}, t("stats.calls", { n: calls })),
    h("span", { class: "key taken" }, t("stats.others", { n: calls - missed })), h("span", { class: "key missed" }, t("stats.missed", { n: missed })), h("span", { class: "quiet" }, t("stats.most", { n: most }))),
  h("p", { class: "hint" }, t("stats.each")), bars(hours, "tall", told),
  axis(marks),
  h("details", {}, h("summary", {}, t("stats.numbers")), table(t("stats.hours"), [
    [t("stats.hour"), ({ hour }) => h("time", { datetime: hour }, new Date(hour).toLocaleString(locale, { dateStyle: "short", timeStyle: "short" }))],
    [t("stats.column.calls"), (hour) => String(hour.calls)],
    [t("stats.column.missed"), (hour) => String(hour.missed)],
  ], hours.filter((hour) => hour.calls > 0))));
}

/** The same for each PBX, as lines of a table. */
export function callsByPbx({ hours, pbxHours }) {
  const names = [...new Set(pbxHours.map(({ pbxId }) => pbxId))];
  const rows = names.map((pbx) => {
    const own = new Map(pbxHours.filter(({ pbxId }) => pbxId === pbx).map((hour) => [hour.hour, hour]));
    return { pbx, hours: hours.map(({ hour }) => own.get(hour) ?? { hour, calls: 0, missed: 0 }) };
  });
  return table(t("stats.pbxs"), [
    ["PBX", ({ pbx }) => h("bdi", { class: "clip" }, pbx)],
    [t("stats.column.calls"), (row) => String(sum(row.hours, "calls"))],
    [t("stats.column.missed"), (row) => String(sum(row.hours, "missed"))],
    [t("stats.course"), (row) => [bars(row.hours, "line", ""), axis([row.hours[0], row.hours.at(-1)]), h("div", { class: "hint" }, t("stats.most", { n: Math.max(...row.hours.map((hour) => hour.calls)) }))]],
  ], rows);
}

/** What became of deliveries. */
export function outcomes({ deliveries, deliveriesRead, deliveriesComplete }) {
  if (!deliveriesRead) return h("p", { class: "empty" }, t("stats.deliveries.none"));
  const some = deliveries.filter(({ count }) => count > 0);
  let x = 0;
  const parts = some.map(({ state, count }) => {
    const rect = s("rect", { x, width: count, y: 0, height: 10, class: `state-${state}` });
    x += count;
    return rect;
  });
  return h("figure", {}, picture(deliveriesRead, 10, "flat", "", parts),
    h("ul", { class: "legend" }, some.map(({ state, count }) => h("li", { class: "row" }, h("span", { class: `key state-${state}` }, deliveryTag(state)), h("strong", {}, String(count))))),
    deliveriesComplete ? "" : h("p", { class: "hint" }, t("stats.cut", { n: deliveriesRead })));
}

/** How long each stage took: the half and 95 percent. */
export function latencies({ latencies: stages }) {
  const some = stages.filter(({ count }) => count > 0);
  if (some.length === 0) return h("p", { class: "empty" }, t("stats.latencies.none"));
  return latencyTable(t("stats.latencies"), [ofStage], some);
}

/** The same for each PBX: all of the way, and its stages for whoever wants them. */
export function latenciesByPbx({ pbxLatencies }) {
  const some = pbxLatencies.filter(({ count }) => count > 0);
  const ofPbx = ["PBX", ({ pbxId }) => h("bdi", { class: "clip" }, pbxId)];
  const caption = t("stats.pbx.latencies");
  return [h("h3", {}, caption), latencyTable(caption, [ofPbx], some.filter(({ stage }) => stage === "total")),
    h("details", {}, h("summary", {}, t("stats.pbx.stages")), latencyTable(t("stats.pbx.stages"), [ofPbx, ofStage], some))];
}

const ofStage = [t("stats.stage"), ({ stage }) => t(`stats.stage.${stage}`)];

function latencyTable(caption, columns, rows) {
  const most = Math.max(1, ...rows.map(({ p95Ms }) => p95Ms));
  return table(caption, [
    ...columns,
    [t("stats.half"), ({ p50Ms }) => milliseconds(p50Ms)],
    [t("stats.nearly"), ({ p95Ms }) => milliseconds(p95Ms)],
    [t("stats.course"), ({ p50Ms, p95Ms }) => picture(most, 10, "line", "", [
      s("rect", { x: 0, width: Math.max(p95Ms, most / 100), y: 2, height: 6, class: "p95" }), s("rect", { x: 0, width: Math.max(p50Ms, most / 100), y: 2, height: 6, class: "p50" })])],
  ], rows);
}
