// What somebody chose for this browser: the language and the colours. Nothing else is kept in it, and never the key.

export const LANGUAGES = ["en", "de"];
export const SCHEMES = ["light", "dark"];
const PLACES = { language: "easyconnect-language", scheme: "easyconnect-scheme" };
const KNOWN = { language: LANGUAGES, scheme: SCHEMES };

/** Nothing, if it is to be as the browser or the system has it. In a frame the browser may refuse to keep anything. */
export function chosen(what) {
  try {
    const value = localStorage.getItem(PLACES[what]);
    return KNOWN[what].includes(value) ? value : "";
  } catch {
    return "";
  }
}

export function choose(what, value) {
  try {
    if (value) localStorage.setItem(PLACES[what], value);
    else localStorage.removeItem(PLACES[what]);
    return true;
  } catch {
    return false;
  }
}

export function showScheme(scheme) {
  if (scheme) document.documentElement.dataset.scheme = scheme;
  else delete document.documentElement.dataset.scheme;
}
