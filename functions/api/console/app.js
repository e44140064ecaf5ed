// Signs in, shows the page that the address names, and ends what a page does when another one is shown.

import { Problem, get, key } from "./api.js";
import { confirmed, field, fill, h, notice } from "./dom.js";
import { showChoices } from "./menu-choices.js";
import { poll } from "./poll.js";
import { clear, showAt, showIn, shown, told as inWords } from "./problem.js";
import { language, t } from "./texts.js";
import apiPage from "./page-api.js";
import audit from "./page-audit.js";
import delivery from "./page-delivery.js";
import keys from "./page-keys.js";
import live from "./page-live.js";
import overview from "./page-overview.js";
import tryIt from "./page-try.js";
import users from "./page-users.js";
import webhook from "./page-webhook.js";
import webhooks from "./page-webhooks.js";

/** In the order of the menu. A page without `menu` is reached from another one. `scopes`: one of them is enough. */
const PAGES = {
  overview: { menu: "nav.overview", show: overview, scopes: [] },
  live: { menu: "nav.live", show: live, scopes: ["calls:read", "webhooks"] },
  users: { menu: "nav.users", show: users, scopes: ["calls:read"] },
  webhooks: { menu: "nav.webhooks", show: webhooks, scopes: ["webhooks"] },
  webhook: { show: webhook, scopes: ["webhooks"], within: "webhooks" },
  delivery: { show: delivery, scopes: ["webhooks"], within: "webhooks" },
  keys: { menu: "nav.keys", show: keys, scopes: ["admin"] },
  audit: { menu: "nav.audit", show: audit, scopes: ["admin"] },
  api: { menu: "nav.api", show: apiPage, scopes: [] },
  try: { menu: "nav.try", show: tryIt, scopes: ["calls:read", "webhooks"] },
};

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const connection = document.getElementById("connection");
const signedIn = document.getElementById("signed-in");
const signOut = document.getElementById("sign-out");

let me = null;
let ending = new AbortController();

function may(...scopes) {
  return me !== null && (scopes.length === 0 || me.scopes.includes("admin") || scopes.some((scope) => me.scopes.includes(scope)));
}

/** What a page gets: its place, its arguments, the key, and ways to ask that end with it. */
function view(args, signal) {
  return {
    main, args, signal, me, may,
    title: (text) => { document.title = `${text} · EasyConnect`; return h("h1", {}, text); },
    /** Looks again and again; what the API refuses is shown at `place`, so that it is not taken for a lost connection. */
    poll: (look, { every, place } = {}) => poll(look, signal, (problem) => told(problem, place), every),
    attempt: (work, place) => attempt(work, place),
    go: (address) => { location.hash = address; },
    /** `style` is that of the button that does it: what cannot be undone is red. */
    confirmed: (question, consequence, style = "danger") => confirmed(question, consequence, { yes: question.replace(/\?$/, ""), no: t("cancel"), style }),
  };
}

function told(problem, place) {
  const refused = place && problem?.status > 0;
  if (place) showAt(place, refused ? problem : null);
  connected(refused && !isKeyLost(problem) ? null : problem);
}

/** Whether the key is not valid any more. */
const isKeyLost = ({ code }) => code === "invalid_key" || code === "key_disabled";

function connected(problem) {
  if (problem && isKeyLost(problem)) return leave(t("problem.key"));
  connection.className = problem ? "tag bad" : "";
  connection.textContent = problem ? t("connection.lost") : "";
}

/** Does something that may fail; the problem is shown at `place`, with what to do about it. Returns whether it went well. */
async function attempt(work, place) {
  clear(place);
  try {
    await work();
    return true;
  } catch (problem) {
    if (problem.name === "AbortError") return false;
    if (!(problem instanceof Problem)) console.error(problem);
    if (place) showIn(place, problem);
    else notice(inWords(problem));
    return false;
  }
}

function menu(current) {
  const entries = Object.entries(PAGES).filter(([, page]) => page.menu && may(...page.scopes));
  fill(nav, entries.map(([name, page]) => h("a", { href: `#/${name}`, "aria-current": name === current ? "page" : null }, t(page.menu))));
}

async function show() {
  ending.abort();
  ending = new AbortController();
  connected(null);
  if (!me) return signIn("");
  const [name, ...args] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const page = PAGES[name] ?? PAGES.overview;
  menu(page.within ?? (PAGES[name] ? name : "overview"));
  main.replaceChildren(h("p", { class: "empty" }, t("loading")));
  if (!may(...page.scopes)) {
    main.replaceChildren(view(args, ending.signal).title(t(page.menu ?? PAGES[page.within].menu)), h("p", {}, t("problem.scope", { scopes: page.scopes.join(", ") })));
    return;
  }
  const { signal } = ending;
  try {
    await page.show(view(args, signal));
  } catch (problem) {
    if (signal.aborted) return;
    if (isKeyLost(problem)) return leave(t("problem.key"));
    if (!(problem instanceof Problem)) console.error(problem);
    main.replaceChildren(shown(problem), h("button", { type: "button", onclick: show }, t("retry")));
  }
}

function leave(reason) {
  key.forget();
  me = null;
  ending.abort();
  signOut.hidden = true;
  signedIn.hidden = true;
  nav.replaceChildren();
  connection.textContent = "";
  connection.className = "";
  signIn(reason);
}

function signIn(reason) {
  document.title = "EasyConnect";
  const { parts, input } = field(t("sign.key"), { type: "password", autocomplete: "off", required: true, spellcheck: "false" }, t("sign.hint"));
  const place = h("div", {}, reason && h("div", { class: "problem", role: "alert" }, h("strong", {}, reason), h("div", {}, t("problem.key.hint"))));
  const form = h("form", { class: "card", onsubmit: async (event) => {
    event.preventDefault();
    await attempt(() => enter(input.value.trim()), place);
  } }, parts, h("p", {}, h("button", { class: "first" }, t("sign.in"))), place);
  main.replaceChildren(h("h1", {}, t("sign.title")), h("p", {}, t("sign.what")), form);
  input.focus();
}

async function enter(text) {
  key.set(text);
  try {
    me = await get("/apikeys/self");
  } catch (problem) {
    key.forget();
    throw problem;
  }
  signedIn.textContent = t("sign.as", { name: me.name });
  signedIn.title = me.name;
  signedIn.hidden = false;
  signOut.hidden = false;
  await show();
}

/** The local stack hands its key over behind the `#`, which no server sees. It does not stay in the address. */
function handedOver() {
  const found = /^#key=(ec_[0-9a-f]+)$/.exec(location.hash);
  if (found) history.replaceState(null, "", `${location.pathname}#/try`);
  return found?.[1] ?? key.get();
}

document.documentElement.lang = language;
showChoices(document.getElementById("choices"));
signOut.textContent = t("sign.out");
signOut.addEventListener("click", () => leave(""));
addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
});
const known = handedOver();
if (!known) signIn("");
else if (!(await attempt(() => enter(known), null))) signIn("");
