// The page's scripts arrive all or not at all: where one is lost, as when a browser changes its network
// amid the load, nothing of the others runs, and nobody would say so.

const AGAIN = 1000; // ms before the page is loaded once more
const TRIES = 3;
const COUNTED = "sprag tries"; // for this tab

let tries = 0;
try {
  tries = Number(sessionStorage.getItem(COUNTED) ?? 0);
} catch {
  tries = TRIES; // nothing is kept here: it would be loaded for ever
}
const note = (count) => {
  try {
    if (count) sessionStorage.setItem(COUNTED, count);
    else sessionStorage.removeItem(COUNTED);
  } catch {
    // as above
  }
};

import("./app.js").then(
  () => note(0),
  (error) => {
    console.warn(error);
    if (tries < TRIES) {
      note(tries + 1);
      setTimeout(() => location.reload(), AGAIN);
    } else {
      note(0);
      document.getElementById("verdict-head").textContent = "The page has not arrived whole: reload it";
    }
  },
);
