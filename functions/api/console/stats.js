// Numbers of the last 24 hours. They cost more than other answers and change slowly, so a page asks for them twice a minute.

import { get } from "./api.js";

const EVERY = 30_000;

/** Whether the key may see them: the numbers are of all users. */
export const maySeeStats = (view) => view.may("calls:read", "webhooks") && !view.me.extensions?.length;

/** A part of a page's `poll` that has the numbers drawn when it is time. */
export function statsInTurn(draw) {
  let next = 0;
  return async (signal) => {
    if (Date.now() < next) return;
    draw(await get("/stats", signal));
    next = Date.now() + EVERY;
  };
}
