// One row of the tree: its cells, its lifeline, its words.

import { h, icon, s } from "./dom.js";
import { shape, ticks } from "./lifeline.js";
import { owns } from "./usage.js";
import { counted, cut, duration, nameOf, percent, roughly } from "./words.js";

const LONGEST = 200; // characters of a name: more are not seen

/** The cells of a service's row. */
export function cells(node, { folded, worst, shown, isFlat, cpu, usage }) {
  const kind = node.process ? `program ${node.process.pid}` : /^(Dynamic)?Supervisor$/.test(node.klass) && node.strategy ? node.strategy : node.klass;
  const guides = isFlat ? [] : Array.from({ length: node.depth }, (_, i) => h("i", { class: "guide", "aria-hidden": "true" }));
  const name = h("div", { role: "gridcell", class: "name" }, guides,
    node.children.length && !isFlat ? h("span", { class: "fold" }, icon(folded ? "closed" : "opened")) : h("span", { class: "fold" }),
    icon(shown), h("span", { class: "label" }, cut(isFlat ? node.path : node.name, LONGEST)), h("span", { class: "hidden-word" }, `, ${shown},`),
    folded && h("span", { class: "count" }, counted(node.children.length)),
    folded && worst !== node.state && icon(worst, "small"),
    h("span", { class: "klass dim" }, kind));
  const cell = (said, title) => h("div", { role: "gridcell", class: "num", title }, said);
  return [
    name, h("div", { role: "gridcell", class: "state" }, h("span", {}), h("span", {})),
    h("div", { role: "gridcell", class: "line" }),
    cell(node.restarts ? counted(node.restarts) : ""), cell(cpu > 0.0005 ? percent(cpu) : ""),
    cell(usage && usage.events + usage.ticks > 0 ? (usage.events + usage.ticks).toFixed(usage.events + usage.ticks < 100 ? 1 : 0) : ""),
    cell(owns(node, usage)),
  ];
}

/** Draw the lifeline of a row, if it is another than before. */
export function drawLine(cell, row, node, { from, to, width }, height) {
  if (!width) return;
  const { segments, marks } = shape(node, from, to, width);
  const grid = width > 150 ? ticks(from, to, width).map((at) => ((at - from) / (to - from)) * width) : [];
  const signature = JSON.stringify([width, segments.map(([a, b, c]) => [a | 0, b | 0, c]), marks.map((m) => [m.x | 0, m.kind, m.count]), grid.map((g) => g | 0)]);
  if (row.lineSignature === signature) return;
  row.lineSignature = signature;
  const y = height / 2;
  cell.replaceChildren(s("svg", { width, height, "aria-hidden": "true" },
    grid.map((x) => s("line", { class: "grid", x1: x | 0, x2: x | 0, y1: 0, y2: height })),
    segments.map(([a, b, kind]) => s("line", { class: kind, x1: a, x2: b, y1: y, y2: y })),
    marks.map((each) => [
      each.count > 1 && s("text", { x: each.x - 7, y: y + 4, "text-anchor": "end" }, `${each.count}×`),
      markOf(each, y),
    ])));
}

function markOf({ x, kind }, y) {
  if (kind === "crash") return s("line", { class: "crash", x1: x, x2: x, y1: y - 6, y2: y + 6 });
  if (kind === "hand") return s("rect", { class: "hand", x: x - 2, y: y - 5, width: 4, height: 10, rx: 1 });
  return s("path", { class: "with", d: `M${x} ${y - 4}l4 4-4 4-4-4z` });
}

/** What is said of a state: a toned word, and the rest. */
export function stateText(node, now) {
  const since = (at) => (at == null ? "" : ` ${roughly((now - at) / 1000)} ago`);
  const because = node.downBecause;
  switch (node.state) {
    case "running": {
      const up = node.startedAt == null ? "up" : `up ${duration(Math.floor((now - node.startedAt) / 1000))}`;
      return ["", node.unready !== null ? `not ready: ${node.unready}` : node.status ? `${up} · ${node.status}` : up];
    }
    case "failed": return ["failed", since(node.endedAt)];
    case "restarting":
      if (node.nextTryAt != null) return [node.nextTryAt > now ? `next try in ${duration((node.nextTryAt - now) / 1000)}` : "is being started", ""];
      return ["restarts", because?.with ? ` with ${nameOf(because.with)}` : ""];
    case "stopped": return ["", `stopped${since(node.endedAt)}${because?.by === "operator" ? ", by hand" : because?.by ? `, ${because.by}` : ""}`];
    case "finished": return ["", `finished${since(node.endedAt)}`];
    default: return [node.state, since(node.startedAt)];
  }
}
