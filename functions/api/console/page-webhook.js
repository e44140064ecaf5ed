// One webhook: how it is doing, what it was sent, and everything that its owner can do about it.

import { ask, get, post, query } from "./api.js";
import { facts, field, fill, h, notice, table } from "./dom.js";
import { aboutOf, deliveryTag, tag, time, whose } from "./format.js";
import { OVER } from "./page-delivery.js";
import { secret, settings } from "./page-webhooks.js";
import { said } from "./problem.js";
import { t } from "./texts.js";

const VERIFY = {
  JavaScript: 'new Webhook(secret).verify(body, headers)  // npm install standardwebhooks',
  Python: 'Webhook(secret).verify(body, headers)  # pip install standardwebhooks',
  Go: 'wh, _ := standardwebhooks.NewWebhook(secret); err := wh.Verify(body, headers)  // github.com/standard-webhooks/standard-webhooks/libraries/go',
  PHP: '(new \\StandardWebhooks\\Webhook($secret))->verify($body, $headers);  // composer require standard-webhooks/standard-webhooks',
  "C#": 'new StandardWebhook(secret).Verify(body, headers);  // dotnet add package StandardWebhooks',
};

/** What did not arrive and will not by itself. */
const LOST = ["failed", "expired", "cancelled"];
/** States of deliveries that need a word. */
const WORDS = ["parked", "retrying", "expired", "cancelled"];
/** How far back it is sent again, in hours. */
const PERIODS = [1, 24, 720];

export default async function webhook(view) {
  const address = `/webhooks/${encodeURIComponent(view.args[0])}`;
  const head = h("div", {});
  const extra = h("div", {});
  const place = h("div", {});
  const log = h("div", {});
  const more = h("div", {});
  const refused = h("div", {});
  const period = field(t("webhook.replay.period"), { tag: "select", class: "short", options: PERIODS.map((hours) => [hours, t(`webhook.hours.${hours}`)]) });
  const name = () => view.title(hook.description || hook.url);
  let hook = await get(address, view.signal);
  let title = name();
  let older = [];
  let testing = false;
  let newest = [];
  // The API writes it down only now and then; the log is exact.
  const lastAccepted = () => {
    const accepted = newest.filter(({ state }) => state === "delivered").map(({ attempts }) => attempts.at(-1)?.at);
    return [hook.lastSuccessAt, ...accepted].filter(Boolean).toSorted((a, b) => Date.parse(a) - Date.parse(b)).at(-1);
  };

  const act = (path) => view.attempt(async () => {
    hook = await post(address + path);
    draw();
  }, place);
  const button = (text, work, style = null) => h("button", { type: "button", class: style, onclick: work }, text);
  const draw = () => fill(head, summary(hook, lastAccepted()), h("div", { class: "row" },
    h("button", { type: "button", class: "first", onclick: test, disabled: testing }, t(testing ? "webhook.testing" : "webhook.test")),
    hook.parked > 0 || (hook.state !== "active" && !acceptsAgain(hook, lastAccepted())) ? button(t("webhook.resume"), () => act("/resume")) : null,
    hook.state !== "paused" && hook.state !== "off" ? button(t("webhook.pause"), () => act("/pause")) : null,
    hook.parked > 0 ? button(t("webhook.purge"), purge) : null,
    button(t("webhook.settings"), edit),
    button(t("webhook.rotate"), rotate),
    button(t("webhook.delete"), remove, "danger")), place);

  const test = async () => {
    testing = true;
    draw();
    await view.attempt(async () => {
      const { attempts, state } = await post(`${address}/test?wait=15`);
      const result = state === "delivered" ? "webhook.tested" : state === "failed" ? "webhook.tested.vain" : "webhook.tested.open";
      notice(t(result, { outcome: said(attempts.at(-1)?.outcome) || t(`state.${state}`) }));
    }, place);
    testing = false;
    draw();
  };
  const purge = async () => {
    if (await view.confirmed(t("webhook.purge.ask"), t("webhook.purge.what", { n: hook.parked }))) await act("/purge");
  };
  const rotate = async () => {
    if (!(await view.confirmed(t("webhook.rotate.ask"), t("webhook.rotate.what")))) return;
    await view.attempt(async () => fill(extra, secret((await post(`${address}/secret`)).secret)), place);
  };
  const remove = async () => {
    if (!(await view.confirmed(t("webhook.delete.ask"), t("webhook.delete.what")))) return;
    const ok = await view.attempt(() => ask("DELETE", address), place);
    if (ok) { notice(t("webhook.deleted")); view.go("#/webhooks"); }
  };
  const edit = () => {
    const fields = settings(hook);
    const problem = h("div", {});
    // What this form does not show stays as it is; a header without a value keeps the one that it has.
    const kept = () => ({
      kinds: hook.kinds, direction: hook.direction, party: hook.party, numberPrefix: hook.numberPrefix, minimumDuration: hook.minimumDuration,
      basicAuthUser: hook.basicAuthUser, maxPerMinute: hook.maxPerMinute, expiresAt: hook.expiresAt,
      headers: hook.headerNames.map((name) => ({ name, value: null })),
    });
    fill(extra, h("form", { class: "card", onsubmit: (event) => {
      event.preventDefault();
      view.attempt(async () => {
        hook = await ask("PUT", address, { ...kept(), ...fields.values() });
        extra.replaceChildren();
        const renamed = name();
        title.replaceWith(renamed);
        title = renamed;
        draw();
        notice(t("webhook.saved"));
      }, problem);
    } }, h("h2", {}, t("webhook.settings")), fields.parts,
    h("div", { class: "row" }, h("button", { class: "first" }, t("save")), button(t("cancel"), () => extra.replaceChildren())), problem));
  };

  const again = (delivery) => view.attempt(async () => {
    try {
      await post(`/deliveries/${delivery.id}/replay`);
    } catch (problem) {
      // Entries of earlier versions do not say that they are tests.
      if (problem.code !== "delivery_not_found") throw problem;
      return notice(t("webhook.replay.gone"));
    }
    notice(t("webhook.replayed"));
  });
  const lost = async () => {
    if (!(await view.confirmed(t("webhook.replay.ask"), t("webhook.replay.what", { period: period.input.selectedOptions[0].text }), "first"))) return;
    await view.attempt(async () => {
      const wanted = { since: new Date(Date.now() - period.input.value * 3600e3).toISOString(), states: LOST };
      let replayed = 0;
      let cursor = null;
      do {
        const answer = await post(`${address}/replay`, cursor ? { ...wanted, cursor } : wanted);
        replayed += answer.replayed;
        cursor = answer.nextCursor;
      } while (cursor);
      notice(t("webhook.replay.count", { n: replayed }));
    }, place);
  };
  const drawLog = () => {
    const seen = new Set(newest.map(({ id }) => id));
    const rows = [...newest, ...older.filter(({ id }) => !seen.has(id))];
    fill(log, rows.length === 0 ? h("p", { class: "empty" }, t("webhook.deliveries.none")) : [deliveries(rows, again), rows.some(({ state }) => WORDS.includes(state)) && h("ul", { class: "legend hint" },
      WORDS.filter((state) => rows.some((row) => row.state === state)).map((state) => h("li", {}, deliveryTag(state), " ", t(`delivery.state.${state}`))))]);
  };
  let next = null;
  const loadMore = () => view.attempt(async () => {
    const page = await get(`${address}/deliveries${query({ limit: 50, cursor: next })}`, view.signal);
    older = [...older, ...page.deliveries];
    next = page.nextCursor;
    drawLog();
    fill(more, next && button(t("more"), loadMore));
  });

  draw();
  view.main.replaceChildren(h("p", {}, h("a", { href: "#/webhooks" }, `‹ ${t("webhooks.title")}`)), title, refused,
    h("section", { class: "card" }, head), extra,
    h("section", { class: "card" }, h("div", { class: "row spread" }, h("h2", {}, t("webhook.deliveries")),
      h("div", { class: "row" }, period.parts, button(t("webhook.replay.failed"), lost))), log, more),
    h("details", { class: "card" }, h("summary", {}, t("webhook.verify")), h("p", {}, t("webhook.verify.hint"), " ", h("a", { href: "https://www.standardwebhooks.com/" }, "www.standardwebhooks.com")),
      Object.entries(VERIFY).map(([language, code]) => [h("strong", {}, language), h("pre", { tabindex: "0" }, code)])));
  let first = true;
  await view.poll(async (signal) => {
    hook = await get(address, signal);
    const page = await get(`${address}/deliveries?limit=25`, signal);
    newest = page.deliveries;
    draw();
    if (first) { next = page.nextCursor; fill(more, next && button(t("more"), loadMore)); first = false; }
    drawLog();
  }, { place: refused });
}

function summary(hook, lastAccepted) {
  // Others are told of agents or webhooks only.
  const ofCalls = hook.kinds.some((kind) => kind.startsWith("call"));
  return [h("div", { class: "row" }, tag(hook.state), hook.stateSince && h("span", { class: "quiet" }, t("webhook.since"), " ", time(hook.stateSince)), hook.reason && h("span", {}, said(hook.reason))),
    hook.state !== "active" && h("p", { class: "hint" }, t(acceptsAgain(hook, lastAccepted) ? "webhook.state.slow.again" : `webhook.state.${hook.state}`)),
    facts([
      [t("webhooks.url"), h("bdi", {}, hook.url)], [t("webhooks.method"), `${hook.method} · ${hook.format}`],
      (!ofCalls || hook.kinds.length > 1) && [t("field.kinds"), hook.kinds.map((kind) => t(`about.${kind}`)).join(", ")],
      ofCalls && [t("webhooks.statuses"), hook.missedOnly ? t("webhooks.missed") : hook.statuses.map((name) => t(`state.${name}`)).join(", ") || t("all")],
      ofCalls && [t("webhooks.extensions"), hook.extensions.join(", ") || t("all")],
      hook.maskNumbers && [t("webhooks.numbers"), t("webhooks.masked")],
      hook.parked > 0 && [t("webhooks.parked"), String(hook.parked)],
      hook.nextAttemptAt && [t("webhooks.next"), time(hook.nextAttemptAt)], [t("webhooks.success"), time(lastAccepted)],
    ])];
}

/** It stays `slow` for a while after the trouble is over. */
function acceptsAgain({ state, parked, nextAttemptAt, stateSince }, lastAccepted) {
  return state === "slow" && parked === 0 && !nextAttemptAt && Date.parse(lastAccepted) > Date.parse(stateSince);
}

function deliveries(rows, again) {
  return table(t("webhook.deliveries"), [
    [t("column.time"), (row) => time(row.occurredAt)],
    [t("column.event"), (row) => h("a", { href: `#/delivery/${row.id}` }, aboutOf(row))],
    [t("column.user"), whose],
    [t("column.state"), (row) => deliveryTag(row.state)],
    [t("webhook.attempts"), (row) => String(row.attemptCount)],
    [t("delivery.outcome"), (row) => h("span", { class: "clip" }, said(row.attempts.at(-1)?.outcome))],
    // Tests and notices are not kept.
    ["", (row) => OVER.includes(row.state) && row.trial !== "test" && row.CallId
      ? h("button", { type: "button", onclick: () => again(row) }, t("webhook.replay")) : ""],
  ], rows);
}
