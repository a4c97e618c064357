// Light, dark, or as the system.

import { $ } from "./dom.js";
import { store, stored } from "./kept.js";

const THEMES = ["auto", "light", "dark"];
/** Take the next theme, or *to*. */
export function theme(to) {
  const before = stored("theme", "auto");
  const next = to ?? THEMES[(THEMES.indexOf(before) + 1) % THEMES.length];
  store("theme", next);
  document.documentElement.dataset.theme = next;
  $("theme").title = `Theme: ${next === "auto" ? "as the system" : next}`;
}
