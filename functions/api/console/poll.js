// Asks again and again while somebody looks: every two seconds, every fifteen when nothing was touched for five minutes, never while
// the page is hidden. A long poll would hold a function for each open tab.

const OFTEN = 2000;
export const SELDOM = 15000;
const IDLE = 5 * 60 * 1000;

let touched = Date.now();
for (const event of ["pointerdown", "keydown", "scroll"]) {
  addEventListener(event, () => { touched = Date.now(); }, { passive: true });
}

let wanted = () => {};

/** Has the page look at once, because something was done that it should show. */
export const lookNow = () => wanted();

/** Calls `look` until `signal` ends it. `told(problem)` hears of each failure, and of `null` when it works again. */
export async function poll(look, signal, told, often = OFTEN) {
  let failures = 0;
  while (!signal.aborted) {
    if (!document.hidden) {
      try {
        await look(signal);
        failures = 0;
        told(null);
      } catch (problem) {
        if (signal.aborted || problem.name === "AbortError") return;
        failures += 1;
        told(problem);
      }
    }
    const wait = Date.now() - touched > IDLE ? SELDOM : often;
    await pause(Math.min(wait * 2 ** Math.min(failures, 3), SELDOM), signal);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", shown);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const shown = () => { if (!document.hidden) { touched = Date.now(); done(); } };
    const timer = setTimeout(done, milliseconds);
    document.addEventListener("visibilitychange", shown);
    signal.addEventListener("abort", done);
    wanted = done;
  });
}
