// One service's line on the time axis that all rows share. Pure.

import { livesOf } from "./lives.js";

const NEAR = 9; // pixels within which several crashes become a count

/** Ends and marks of a line: segments [x1, x2, style], marks {x, kind, count}. */
export function shape(node, from, to, width) {
  const x = (at) => Math.max(0, Math.min(width, ((at - from) / (to - from)) * width));
  const segments = [];
  const add = (a, b, style) => {
    if (b > a && b > from && a < to) segments.push([x(a), x(b), style]);
  };
  for (const [begin, end, state] of livesOf(node)) add(begin, end ?? to, style(state));
  const marks = [];
  for (const each of [...node.marks].sort((a, b) => a.at - b.at)) {
    if (each.at < from || each.at > to) continue;
    const at = x(each.at);
    const last = marks.at(-1);
    if (last && at - last.x < NEAR && last.kind === each.kind) {
      last.x = at;
      last.count += 1;
    } else if (!(last && at - last.x < 4 && each.kind === "with")) marks.push({ x: at, kind: each.kind, count: 1 });
  }
  return { segments, marks };
}

const style = (state) => ({
  running: "up", stopping: "up", starting: "waits", restarting: "waits", failed: "failed", finished: "down", stopped: "down", up: "up",
})[state] ?? "down";

/** Round times on the axis, some *apart* pixels from each other. */
export function ticks(from, to, width, apart = 90) {
  const steps = [15, 30, 60, 120, 300, 600, 900, 1800, 3600].map((each) => each * 1000);
  const step = steps.find((each) => (each / (to - from)) * width >= apart) ?? steps.at(-1);
  const found = [];
  for (let at = Math.ceil(from / step) * step; at < to - step / 3; at += step) found.push(at);
  return found;
}
