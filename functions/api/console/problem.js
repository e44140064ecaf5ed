// What went wrong, for people: what happened, and what to do about it.

import { h } from "./dom.js";
import { t } from "./texts.js";

export function shown(problem) {
  const [message, hint] = problem.code === "unreachable" ? [t("problem.unreachable"), t("problem.unreachable.hint")] : [problem.message, advice(problem)];
  return h("div", { class: "problem", role: "alert" }, h("strong", {}, quoted(message)), hint && h("div", {}, quoted(hint)));
}

/** What the API advises, unless it speaks of requests, which a person does not make. */
export function advice({ code, hint }) {
  const name = `problem.hint.${code}`;
  const own = t(name);
  return own === name ? hint ?? "" : own;
}

/** The API writes names of fields and values between backticks. */
const quoted = (text) => text.split("`").map((part, n) => n % 2 ? h("code", {}, part) : part);

/** Shows a problem at a place, or that there is none any more. What stands there already is not told again. */
export function showAt(place, problem) {
  const text = problem ? `${problem.code} ${problem.message}` : "";
  if (place.dataset.problem === text) return;
  place.dataset.problem = text;
  place.replaceChildren(...(problem ? [shown(problem)] : []));
}
