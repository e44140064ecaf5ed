// The language that was chosen, or that of the browser: German, or else English.

import { chosen } from "./choices.js";
import de from "./texts-de.js";
import en from "./texts-en.js";

const ofBrowser = navigator.language.toLowerCase().startsWith("de") ? "de" : "en";
export const language = chosen("language") || ofBrowser;
/** How numbers and times are written: as the browser has it, unless another language was chosen. */
export const locale = language === ofBrowser ? navigator.language : { de: "de", en: "en-GB" }[language];
export const isGerman = language === "de";
const texts = isGerman ? { ...en, ...de } : en;

/** The text of this name, with `{values}` filled in. A name that has no text is shown as it is. */
export function t(name, values = {}) {
  const text = texts[name] ?? name.replace(/^(state|about)\./, "");
  return text.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
}
