// What needs attention, worst first.

import { MOST } from "./attention.js";
import { $, ago, h, icon, patch, pips } from "./dom.js";
import { go } from "./looking.js";
import { redraw, state } from "./state.js";
import { counted, cut, nameOf, parentOf, span } from "./words.js";

export function drawTroubles(items, now) {
  const section = $("attention");
  section.hidden = !items.length || ["none", "refused"].includes(state.mode);
  if (section.hidden) return;
  const shown = items.slice(0, MOST);
  const signature = [items.length, state.selected, shown.map((each) => [each.kind, each.path, each.cause, each.back.word, each.back.rest, each.limit, each.node.nextTryAt, each.node.startedAt, each.node.endedAt])];
  const focused = section.contains(document.activeElement) ? document.activeElement.dataset.path : null;
  patch(section, signature, () => [
    h("div", { class: "a-head", "aria-hidden": "true" }, ["Needs attention", "Service", "Cause", "Comes back by itself?", "Restart limit used"].map((each) => h("span", {}, each))),
    shown.map((each) => {
      const { node } = each;
      const word = each.kind[0].toUpperCase() + each.kind.slice(1);
      const since = now - each.seconds * 1000;
      return h("button", { type: "button", class: `a-row ${each.kind} ${each.path === state.selected ? "selected" : ""}`, data: { path: each.path }, onclick: () => go(each.path) },
        h("span", { class: "a-state" }, icon(each.kind === "unstable" ? "running" : each.kind), h("strong", {}, word), Number.isFinite(each.seconds) && h("span", { class: "dim" }, "for ", ago(since, "rough"))),
        h("span", { class: "a-path" }, h("span", { class: "dim" }, cut(parentOf(each.path), 200), parentOf(each.path) && "/"), h("strong", {}, cut(nameOf(each.path), 200))),
        h("span", { class: "a-cause", title: cut(each.cause, 600) }, each.cause),
        h("span", { class: "a-back" }, h("strong", {}, each.back.word), " ",
          each.kind === "unstable" ? ["for ", ago(node.startedAt, "exact")] : each.back.strong ? [each.back.rest, " ", h("strong", { data: { until: node.nextTryAt } }), h("progress", { max: 1, "aria-hidden": "true", data: { from: node.endedAt ?? now, until: node.nextTryAt, bar: "1" } })] : each.back.rest),
        h("span", { class: "a-limit" }, pips(each.limit), each.limit && h("span", { class: "dim" }, ` in ${span(each.limit.window)}`)));
    }),
    items.length > MOST && h("button", { type: "button", class: "a-more link", onclick: () => { state.states = new Set(["failed", "restarting"]); state.view = "services"; redraw(); } }, `and ${counted(items.length - MOST)} more`),
  ]);
  if (focused) section.querySelector(`[data-path="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}
