// The last minutes of one service, with the window of its restart limit, and its next try.

import { cut, clock, duration, plural, shortClock, span } from "./words.js";
import { patch, s } from "./dom.js";
import { shape, ticks } from "./lifeline.js";
import { limitOf } from "./stories.js";

const NEXT = 54; // pixels of the words below the next try

/** Draw the timeline of a service, in *box*. */
export function drawTimeline(box, node, told, state) {
  const last = told.why?.rulings?.at(-1);
  const with_ = (last?.covered ?? []).filter((each) => each !== node.path).map((each) => state.model.nodes.get(each)).filter(Boolean).slice(0, 4);
  const rows = [node, ...with_];
  const now = state.now();
  const window_ = (limitOf(told)?.window ?? last?.max_seconds ?? 60) || 60;
  const back = Math.min(Math.max(window_ * 1.35, 60), 3600) * 1000;
  const next = node.state === "restarting" && node.nextTryAt ? Math.max(0, node.nextTryAt - now) : 0;
  box.hidden = !(node.crashes.length || node.marks.length || node.state === "restarting");
  if (box.hidden) return;
  const wide = box.clientWidth || 420;
  const label = Math.min(110, 12 + 7 * Math.max(...rows.map((each) => Math.min(each.name.length, 14))));
  const width = Math.max(120, wide - label - 12);
  const to = now + Math.max(next * 1.15, back * 0.09);
  const from = now - back;
  const x = (at) => label + ((at - from) / (to - from)) * width;
  const signature = [rows.map((each) => [each.path, each.state, each.marks.length]), Math.floor(now / Math.max(1000, back / width)), wide, next > 0];
  patch(box, signature, () => {
    const height = rows.length * 21;
    const begin = Math.max(from, now - window_ * 1000);
    const svg = s("svg", { width: wide, height: height + 20, role: "img", "aria-label": `Its last ${duration(back / 1000)}: ${plural(node.crashes.filter((at) => at > from).length, "crash", "crashes")}` },
      s("rect", { class: "window", x: x(begin), y: 0, width: Math.max(0, x(now) - x(begin)), height }),
      begin > from && s("line", { class: "edge", x1: x(begin), x2: x(begin), y1: 0, y2: height }));
    rows.forEach((each, i) => {
      const y = i * 21 + 10;
      const { segments, marks } = shape(each, from, now, x(now) - label);
      svg.append(s("text", { x: label - 8, y: y + 4, "text-anchor": "end" }, cut(each.name, 14)),
        ...segments.map(([a, b, kind]) => s("line", { class: `${kind} thick`, x1: label + a, x2: label + b, y1: y, y2: y })),
        ...marks.map((mark) => markOf(mark, label, y)));
      if (each.state === "restarting") svg.append(s("line", { class: "waits", x1: x(now), x2: x(now + next) || x(now), y1: y, y2: y }));
      if (i === 0 && next) svg.append(s("circle", { class: "next", cx: x(now + next), cy: y, r: 4.5 }));
    });
    svg.append(s("line", { class: "now", x1: x(now), x2: x(now), y1: 0, y2: height }));
    const words = [[begin > from ? x(begin) : -99, `${span(window_)} window`, "middle", ""], [x(now), "now", "middle", "strong"]];
    if (next) {
      const end = Math.min(wide - 2, x(now + next) + 26);
      const begin = end - NEXT;
      words.push([end, "next try", "end", "warn-text"]);
      if (x(now) + 14 > begin) words[1] = [Math.min(x(now) + 2, begin), "now", "end", "strong"];
    }
    for (const at of ticks(from, now, width, 110)) if (Math.abs(x(at) - x(begin)) > 70 && x(now) - x(at) > 62) words.push([x(at), back < 600_000 ? clock(at) : shortClock(at), "middle", ""]);
    svg.append(...words.filter(([at]) => at > 0).map(([at, word, anchor, kind]) => s("text", { x: at, y: height + 15, "text-anchor": anchor, class: kind }, word)));
    return [svg];
  });
}

function markOf({ x, kind }, left, y) {
  const at = left + x;
  if (kind === "crash") return s("line", { class: "crash", x1: at, x2: at, y1: y - 8, y2: y + 8 });
  if (kind === "hand") return s("rect", { class: "hand", x: at - 2, y: y - 6, width: 4, height: 12, rx: 1 });
  return s("path", { class: "with", d: `M${at} ${y - 5}l5 5-5 5-5-5z` });
}
