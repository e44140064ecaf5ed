// What went wrong, for people: what happened, and what to do about it. The API speaks English and of its fields; a page speaks the
// language of its reader and of what stands before the input.

import { h } from "./dom.js";
import { CODES, FAULTS, SAYINGS } from "./problems-de.js";
import { isGerman, t } from "./texts.js";

/** Codes whose message says more than the code. */
const DETAILED = ["invalid_request", "missing_scope", "pbx_refused"];

/** The problem as an element. `form` is where the refused field may be. */
export function shown(problem, form) {
  const { message, detail, hint } = inWords(problem, labelOf(refused(problem, form)));
  return h("div", { class: "problem", role: "alert" }, h("strong", {}, quoted(message)), detail && h("div", { lang: "en" }, quoted(detail)), hint && h("div", {}, quoted(hint)));
}

/** The same as text. */
export function told(problem) {
  const { message, detail, hint } = inWords(problem, null);
  return [message, detail, hint].filter(Boolean).join(" ");
}

/** `detail` is English where the rest is not. */
function inWords(problem, label) {
  if (problem.code === "unreachable") return { message: t("problem.unreachable"), hint: t("problem.unreachable.hint") };
  const found = FIELD.exec(problem.message);
  const name = found && (label ?? labelOfName(found[1]));
  const known = isGerman && CODES[problem.code];
  if (!known) return { message: labelled(name ? `“${name}” ${found[2]}` : problem.message, problem), hint: advice(problem) };
  if (!name) return { message: known[0], detail: DETAILED.includes(problem.code) && problem.message, hint: known[1] };
  const fault = translated(FAULTS, found[2]);
  return fault ? { message: `„${name}“ ${fault}`, hint: known[1] } : { message: `„${name}“: ${known[0]}`, detail: problem.message, hint: known[1] };
}

/** With the names of other fields as they are called here. */
const labelled = (text, { code }) => code === "invalid_request" ? text.replace(/`(\w+)`/g, (all, name) => labelOfName(name) ? `“${labelOfName(name)}”` : all) : text;

/** How the API names a field: by itself, or with the entry of it that is wrong. */
const FIELD = /^Field `(\w+)` (.*)$/s;

/** What the API advises, unless it speaks of requests, which a person does not make. */
function advice({ code, hint }) {
  const name = `problem.hint.${code}`;
  const own = t(name);
  return own === name ? hint ?? "" : own;
}

/** What a field of the API is called here, if it has a name. */
export function labelOfName(name) {
  const text = t(`field.${name}`);
  return text === `field.${name}` ? null : text;
}

/** The input that a refusal names, if it is in this form. */
function refused({ code, message }, form) {
  const name = code === "invalid_request" && FIELD.exec(message)?.[1];
  return name ? form?.elements.namedItem(name) ?? null : null;
}

const labelOf = (input) => input?.labels?.[0]?.textContent ?? input?.querySelector?.("legend")?.textContent ?? null;

/** Shows a problem at its field, if the form around `place` has it, and else at `place`. */
export function showIn(place, problem) {
  const form = place.closest("form");
  const field = refused(problem, form);
  const element = shown(problem, form);
  if (!field) return place.replaceChildren(element);
  // A group of boxes cannot be invalid itself.
  const input = field.matches("fieldset") ? field.querySelector("input") : field;
  const before = input.getAttribute("aria-describedby");
  element.id = "refused";
  field.after(element);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", ["refused", before].filter(Boolean).join(" "));
  input.focus();
  forget = () => {
    forget = () => {};
    element.remove();
    input.removeAttribute("aria-invalid");
    if (before) input.setAttribute("aria-describedby", before);
    else input.removeAttribute("aria-describedby");
  };
}

let forget = () => {};

/** Nothing is wrong any more, as far as is known. */
export function clear(place) {
  forget();
  place?.replaceChildren();
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

function translated(known, text) {
  const found = known.find(([pattern]) => pattern.test(text));
  return found ? text.replace(...found) : null;
}

/** What stands between the reason of a webhook that is failing and what its receiver did last. Earlier versions wrote no colon. */
const LAST = /; the last attempt:? /;

/** What a receiver did, or why a webhook is not active, in the language of the page. */
export function said(text) {
  if (!text || !isGerman) return text ?? "";
  const [why, last] = text.split(LAST);
  const known = translated(SAYINGS, why) ?? why;
  return last ? `${known}; zuletzt: ${said(last)}` : known;
}

/** A code in words, where the page has words of its own for it. */
export const refusal = (code) => isGerman && CODES[code] ? CODES[code][0].replace(/\.$/, "") : code;
