// A call that a page places, and how it is ended from there.

import { once } from "./api.js";
import { h } from "./dom.js";
import { t } from "./texts.js";

/** The two buttons, and what the first one's form does; `ended` is done when the call was ended here. What goes wrong is told at `place`. */
export function dialling(view, place, text, ended = () => {}) {
  const button = h("button", { class: "first" }, text);
  const hangUp = h("button", { type: "button", class: "danger", hidden: true, onclick: () => view.attempt(async () => {
    await once("/rcc/disconnect", { CallId: hangUp.value });
    hangUp.hidden = true;
    button.focus();
    ended();
  }, place) }, t("live.end"));
  /** Returns whether it went well. */
  const dial = async (from, to) => {
    button.disabled = true;
    const ok = await view.attempt(async () => {
      const call = await once("/rcc/makecall", { from, to });
      hangUp.value = call.CallId ?? "";
      hangUp.hidden = !call.CallId;
    }, place);
    button.disabled = false;
    if (document.activeElement === document.body) button.focus();
    return ok;
  };
  return { button, hangUp, dial };
}
