// Times, numbers and states for people.

import { h } from "./dom.js";
import { locale, t } from "./texts.js";

export function time(iso) {
  if (!iso) return "–";
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  const text = at.toLocaleString(locale, today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" });
  return h("time", { datetime: iso, title: at.toLocaleString(locale) }, text);
}

export function seconds(count) {
  if (count === null || count < 0) return "–";
  const minutes = Math.floor(count / 60);
  return minutes ? `${minutes}:${String(count % 60).padStart(2, "0")} min` : `${count} s`;
}

export function milliseconds(count) {
  if (count < 1000) return `${count}\u00a0ms`;
  return count < 60_000 ? `${(count / 1000).toLocaleString(locale, { maximumFractionDigits: 1 })}\u00a0s` : seconds(Math.round(count / 1000));
}

const TONES = {
  online: "good", pbx_offline: "bad", agent_offline: "bad", up: "good", down: "bad",
  active: "good", slow: "warn", failing: "bad", paused: "plain", off: "bad",
  delivered: "good", retrying: "warn", parked: "warn", expired: "plain", failed: "bad", cancelled: "plain",
  ringing: "warn", connected: "good", disconnected: "plain", missed: "bad",
};

const labelled = (state, text) => h("span", { class: `tag ${TONES[state] ?? "plain"}` }, text);

export const tag = (state) => labelled(state, t(`state.${state}`));

/** Of a delivery. One that is `parked` waits, which is another thing than a call that is parked. */
export const deliveryTag = (state) => labelled(state, state === "parked" ? t("delivery.parked") : t(`state.${state}`));

/** What a delivery tells, and whether it is only a test. */
export const aboutOf = ({ about, trial }) => trial === "test" ? `${t(`about.${about}`)} (${t("delivery.test")})` : t(`about.${about}`);

/** Whose call a delivery tells of, and which way it goes. Nobody's, if it is a notice; entries of earlier versions do not say it. The name
 * is missing where a webhook masks numbers. */
export function whose({ monitoredUser, monitoredExtension, direction }) {
  const user = monitoredUser ? `${monitoredUser} (${monitoredExtension})` : monitoredExtension;
  return direction ? [h("bdi", { class: "clip" }, user), h("div", { class: "hint" }, t(direction))] : "";
}

/** A party of a call: its name and number, as far as they are known. */
export function party(name, number) {
  const known = [name, number].filter(Boolean);
  return h("bdi", { class: "clip" }, known.length ? known.join(" · ") : t("unknown"));
}

/** What names a user and nobody else. An agent of an earlier version tells none. */
export function addressOf(user) {
  return user.address ?? user.extension;
}
