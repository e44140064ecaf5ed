// The language of the browser, German or else English.

import de from "./texts-de.js";
import en from "./texts-en.js";

export const language = navigator.language.toLowerCase().startsWith("de") ? "de" : "en";
const texts = language === "de" ? { ...en, ...de } : en;

/** The text of this name, with `{values}` filled in. A name that has no text is shown as it is. */
export function t(name, values = {}) {
  const text = texts[name] ?? name.replace(/^state\./, "");
  return text.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
}
