// The keyboard.

import { pause } from "./coming.js";
import { $, h } from "./dom.js";
import { store } from "./kept.js";
import { closeDetail, go, grow, view } from "./looking.js";
import { state } from "./state.js";
import { theme } from "./theme.js";
import { say } from "./toast.js";
import { setFilter } from "./tools.js";

const KEYS = [["/", "filter"], ["n", "next problem"], ["↵", "full page"], ["Esc", "close"], ["↑ ↓ ← →", "in the tree"], ["1 – 4", "services, decisions, log, stacks"], ["p", "pause"], ["t", "theme"], ["?", "all keys"]];

function nextProblem() {
  const { items } = state;
  if (!items?.length) return say("Nothing needs attention.");
  const at = items.findIndex((each) => each.path === state.selected);
  const next = items[(at + 1) % items.length];
  go(next.path);
}

export function help() {
  const dialog = $("dialog");
  const box = h("input", { type: "checkbox", checked: state.keys, onchange: (event) => { state.keys = event.target.checked; store("keys", state.keys ? "on" : "off"); } });
  dialog.replaceChildren(h("form", { method: "dialog" }, h("h2", {}, "Keys"), h("dl", { class: "keys" }, KEYS.map(([key, word]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, word)])), h("label", {}, box, " Single letters are keys"), h("div", { class: "buttons" }, h("button", { type: "submit" }, "Close"))));
  dialog.showModal();
}

function pressed(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  const typing = event.target.matches?.("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape") {
    if (typing && state.filter) setFilter("");
    else if (typing) event.target.blur();
    else if (state.selected) closeDetail();
    return;
  }
  if (typing) return;
  if (event.key === "Enter" && state.selected && !event.target.closest("button, a, summary")) {
    grow();
    return event.preventDefault();
  }
  if (!state.keys) return;
  const views = { 1: "services", 2: "decisions", 3: "log", 4: "stacks" };
  if (event.key === "/") $("filter").focus();
  else if (event.key === "n") nextProblem();
  else if (event.key === "p") pause();
  else if (event.key === "t") theme();
  else if (event.key === "?") help();
  else if (views[event.key]) view(views[event.key]);
  else return;
  event.preventDefault();
}

/** Listen to the keyboard. */
export const beginKeys = () => document.addEventListener("keydown", pressed);
