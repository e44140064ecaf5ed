// Who is monitored, and click to call.

import { get, query } from "./api.js";
import { callsByPbx } from "./charts.js";
import { dialling } from "./dialling.js";
import { field, fill, h, notice, table } from "./dom.js";
import { addressOf } from "./format.js";
import { SELDOM, lookNow } from "./poll.js";
import { maySeeStats, statsInTurn } from "./stats.js";
import { t } from "./texts.js";

export default async function users(view) {
  const { parts, input } = field(t("users.filter"), { type: "search" });
  const list = h("div", {});
  const place = h("div", {});
  const dial = h("div", {});
  const pbxs = h("div", {});
  let all = [];
  const draw = () => {
    const wanted = input.value.trim().toLowerCase();
    const some = all.filter((user) => `${user.extension} ${user.longName} ${user.name}`.toLowerCase().includes(wanted));
    fill(list, all.length === 0
      ? [h("p", { class: "empty" }, t("users.none")), h("p", { class: "quiet" }, t("users.none.hint"))]
      : some.length === 0 ? h("p", { class: "empty" }, t("users.no.match")) : shown(some, view, (user) => fill(dial, dialler(user, view, () => fill(dial)))));
  };
  input.addEventListener("input", draw);
  view.main.replaceChildren(view.title(t("users.title")), h("section", { class: "card" }, parts, place, list), dial, pbxs);
  const stats = maySeeStats(view) && statsInTurn((numbers) => fill(pbxs, numbers.pbxHours.length > 0
    && h("section", { class: "card" }, h("h2", {}, t("stats.pbxs")), callsByPbx(numbers))));
  // Each look is a command to the agent, so it looks seldom, and after what it does itself.
  await view.poll(async (signal) => {
    const found = [];
    let cursor = null;
    do {
      const page = await get(`/rcc/users${query({ wait: 5, cursor })}`, signal);
      found.push(...(page.users ?? []));
      cursor = page.nextCursor;
    } while (cursor && found.length < 2000);
    all = found;
    draw();
    if (stats) await stats(signal);
  }, { every: SELDOM, place });
}

function shown(users, view, choose) {
  return table(t("users.title"), [
    [t("users.extension"), (user) => h("bdi", {}, user.extension)],
    [t("users.name"), (user) => h("bdi", { class: "clip" }, user.longName || user.name)],
    [t("users.registered"), (user) => user.registered ? t("users.registered.yes") : t("users.registered.no")],
    [t("users.calls"), (user) => String(user.calls)],
    ["", (user) => view.may("calls:write") ? h("button", { type: "button", onclick: () => choose(user) }, t("users.call.from")) : ""],
  ], users);
}

function dialler(user, view, close) {
  const { parts, input } = field(t("users.number"), { name: "to", type: "tel", required: true, autocomplete: "off" }, t("users.hint"));
  const place = h("div", {});
  const { button, hangUp, dial } = dialling(view, place, t("users.call"), lookNow);
  const form = h("form", { class: "card", onsubmit: async (event) => {
    event.preventDefault();
    const number = input.value;
    const ok = await dial(addressOf(user), number);
    if (ok) {
      notice(t("users.dialled", { extension: user.extension, number }));
      lookNow();
    }
  } }, h("h2", {}, t("users.dial", { extension: user.longName || user.extension })), parts, h("div", { class: "row" }, button, hangUp, h("button", { type: "button", onclick: close }, t("cancel"))), place);
  queueMicrotask(() => { input.focus(); form.scrollIntoView({ block: "nearest" }); });
  return form;
}
