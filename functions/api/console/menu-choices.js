// The choice of language and colours, below every page.

import { LANGUAGES, SCHEMES, choose, chosen, showScheme } from "./choices.js";
import { field, fill, h } from "./dom.js";
import { t } from "./texts.js";

/** Draws it at a place. */
export function showChoices(place) {
  showScheme(chosen("scheme"));
  fill(place, choice("language", LANGUAGES, () => location.reload()), choice("scheme", SCHEMES, showScheme));
}

function choice(what, values, use) {
  const options = ["", ...values].map((value) => [value, t(`choice.${what}.${value || "system"}`)]);
  const { parts, input } = field(t(`choice.${what}`), { tag: "select", class: "short", options });
  input.value = chosen(what);
  input.addEventListener("change", () => {
    // What cannot be kept lasts until the page is loaded again.
    if (choose(what, input.value) || what === "scheme") use(input.value);
  });
  return h("div", { class: "row" }, parts);
}
