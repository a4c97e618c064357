// What changes with time alone: ages, countdowns.

import { text } from "./dom.js";
import { state } from "./state.js";
import { duration, roughly } from "./words.js";

const FORMS = {
  exact: (seconds) => duration(seconds), rough: roughly,
  two: (seconds) => duration(Math.floor(seconds)),
};

/** Bring every text that counts up to date; nothing else changes with time alone. */
export function tick() {
  const now = state.now();
  for (const each of document.querySelectorAll("[data-since]")) {
    const seconds = (now - Number(each.dataset.since)) / 1000;
    text(each, (FORMS[each.dataset.form] ?? FORMS.exact)(seconds < 10 && each.dataset.form !== "exact" ? Math.floor(seconds) : seconds));
  }
  for (const each of document.querySelectorAll("[data-until]")) {
    if (each.dataset.bar) {
      const whole = Number(each.dataset.until) - Number(each.dataset.from);
      each.value = whole > 0 ? Math.min(1, Math.max(0, (now - Number(each.dataset.from)) / whole)) : 1;
    } else text(each, duration((Number(each.dataset.until) - now) / 1000));
  }
  for (const each of document.querySelectorAll("[data-wall]")) text(each, duration(Math.floor((Date.now() - Number(each.dataset.wall)) / 1000)));
  for (const each of document.querySelectorAll("[data-retry]")) text(each, duration(Math.max(0, Math.ceil((state.retryAt - performance.now()) / 1000))));
}
