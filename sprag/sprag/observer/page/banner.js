// What is wrong with the picture itself: it is old, paused, or the last one.

import { tryNow } from "./apps.js";
import { pause } from "./coming.js";
import { $, h, patch } from "./dom.js";
import { framesOf } from "./ledgers.js";
import { state } from "./state.js";
import { clock, duration } from "./words.js";

export function drawBanner() {
  const banner = $("banner");
  const app = $("app-name").textContent;
  const { mode } = state;
  banner.hidden = !["gone", "stale", "ended", "none", "refused"].includes(mode) && !state.paused;
  const signature = [mode, state.since, state.reason, state.isBridge, state.paused, mode === "stale" ? [Math.floor(state.behind), state.held?.path] : "", state.ended, state.note];
  patch(banner, signature, () => {
    if (mode === "gone") {
      const who = state.isBridge ? "sprag observe" : state.node || app;
      return [h("strong", {}, `No answer from ${who} since ${clock(state.since)}.`), h("span", {}, state.reason ? `${state.reason[0].toUpperCase()}${state.reason.slice(1)}. ` : "", "What you see is ", h("span", { data: { wall: state.since - state.offset } }), " old. Trying again in ", h("span", { data: { retry: "1" } }), "."), h("span", { class: "spring" }), h("button", { type: "button", id: "try-now", onclick: tryNow }, "Try now")];
    }
    if (mode === "stale") {
      const { held } = state;
      const who = held?.path ? `by ${held.path}` : "by code of no service";
      return [h("strong", {}, `${app} answers slowly.`), h("span", {}, held ? `Its loop has been held for ${duration(held.seconds ?? state.behind)} ${who}; what you see is ${duration(state.behind)} old.` : `It has owed an answer for ${duration(state.behind)}: its loop is held, or the process is stopped.`), h("span", { class: "spring" }), held?.stack && h("button", { type: "button", onclick: () => showStack(held) }, "Its stack")];
    }
    if (mode === "ended") return [h("strong", {}, `${app} has ended${state.ended.at ? ` at ${clock(state.ended.at)}` : ""}.`), h("span", {}, `Exit code ${state.ended.code ?? "?"}. This is the last picture of it; a new one of its name is shown when it comes.`)];
    if (mode === "none") return [h("strong", {}, "No app is running."), h("span", {}, "Start one with sprag run; it appears here by itself.")];
    if (mode === "refused") return [h("strong", {}, "This page has no token, or an old one."), h("span", {}, "Open the address that sprag observe prints.")];
    if (state.paused) return [h("strong", {}, "Paused."), h("span", {}, `What you see is how it was at ${clock(state.frozenAt)}.`), h("span", { class: "spring" }), h("button", { type: "button", onclick: pause }, "Go on")];
    return [];
  });
}

function showStack(held) {
  const dialog = $("dialog");
  dialog.replaceChildren(h("form", { method: "dialog" }, h("h2", {}, `Who holds the loop${held.path ? `: ${held.path}` : ""}`), h("pre", { class: "trace" }, framesOf(held.stack)), h("div", { class: "buttons" }, h("button", { type: "submit" }, "Close"))));
  dialog.showModal();
}
