// What is done with the tree: filters, orders, and what its marks mean.

import { $, h, icon, patch, s } from "./dom.js";
import { past } from "./measuring.js";
import { redraw, state } from "./state.js";
import { counted } from "./words.js";

export function drawTools() {
  const { counts } = state.model;
  const shown = [["failed", "failed"], ["restarting", "restarting"], ...(counts.starting ? [["starting", "starting"]] : []), ...(counts.stopping ? [["stopping", "stopping"]] : []), ["stopped", "stopped"], ["finished", "finished"], ["running", "running"]];
  const known = state.model.root !== null;
  const focused = document.activeElement?.dataset?.state;
  const isNew = patch($("chips"), [shown.map(([key]) => [key, counts[key]]), [...state.states], known], () => shown.map(([key, word]) =>
    h("button", { type: "button", class: `chip ${counts[key] ? "some" : ""}`, "aria-pressed": state.states.has(key), data: { state: key }, onclick: () => chip(key) }, icon(key), h("strong", {}, known ? counted(counts[key]) : "?"), ` ${word}`)));
  if (isNew && focused) $("chips").querySelector(`[data-state="${focused}"]`)?.focus();
  if (document.activeElement !== $("filter") && $("filter").value !== state.filter) $("filter").value = state.filter;
  $("tools").classList.toggle("plain", state.view !== "services");
}

function chip(key) {
  if (state.states.has(key)) state.states.delete(key);
  else state.states.add(key);
  redraw();
}

export function setFilter(value) {
  state.filter = value;
  if ($("filter").value !== value) $("filter").value = value;
  redraw();
}

/** Listen to what is typed and chosen; the legend never changes. */
export function beginTools() {
  $("filter").addEventListener("input", (event) => setFilter(event.target.value));
  $("scroll").addEventListener("click", (event) => {
    if (event.target.id !== "clear-filter") return;
    state.states.clear();
    setFilter("");
  });
  $("order").addEventListener("change", (event) => {
    state.order = event.target.value;
    redraw();
  });
  $("span").addEventListener("change", (event) => {
    state.span = Number(event.target.value);
    past();
    redraw();
  });
  patch($("legend"), "legend", () => [
    [["up", "up"], ["crash", "crash"], ["with", "restarted with it"], ["waits", "waits for its restart"], ["failed", "failed"], ["hand", "by hand"]].map(([kind, word]) => h("span", {}, legendMark(kind), word)),
    h("span", { class: "spring" }),
    [["n", "next problem"], ["↵", "full page"], ["?", "all keys"]].map(([key, word]) => h("span", { class: "hint" }, h("kbd", {}, key), word)),
  ]);
}

function legendMark(kind) {
  const svg = s("svg", { width: 16, height: 14, "aria-hidden": "true" });
  if (kind === "crash") svg.append(s("line", { class: "crash", x1: 8, x2: 8, y1: 1, y2: 13 }));
  else if (kind === "with") svg.append(s("path", { class: "with", d: "M8 3l4 4-4 4-4-4z" }));
  else if (kind === "hand") svg.append(s("rect", { class: "hand", x: 6, y: 2, width: 4, height: 10, rx: 1 }));
  else svg.append(s("line", { class: kind, x1: 0, x2: 16, y1: 7, y2: 7 }));
  return svg;
}
