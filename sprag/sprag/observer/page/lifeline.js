// One service's line on the time axis that all rows share. Pure.

const NEAR = 9; // pixels within which several crashes become a count

/** Ends and marks of a line: segments [x1, x2, style], marks {x, kind, count}. */
export function shape(node, from, to, width) {
  const x = (at) => Math.max(0, Math.min(width, ((at - from) / (to - from)) * width));
  const segments = [];
  const add = (a, b, style) => {
    if (b > a && b > from && a < to) segments.push([x(a), x(b), style]);
  };
  const lives = node.lives.length ? node.lives : [];
  const known = lives.length ? lives[0][0] : null;
  for (const [begin, end, state] of lives) add(begin, Math.min(end ?? to, node.startedAt && !end ? node.startedAt : Infinity), style(state));
  const crash = node.crashes.at(-1);
  if (node.state === "running" || node.state === "stopping") {
    const began = node.startedAt ?? to;
    if (!lives.length) earlier(node, began, from, add);
    add(began, to, "up");
  } else {
    const ended = node.endedAt ?? crash ?? (known === null ? from : to);
    if (!lives.length) add(node.crashes.length > 1 ? from : from, ended, node.endedAt || crash ? "up" : "down");
    add(ended, to, style(node.state));
  }
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

function earlier(node, began, from, add) {
  // Of the time before this life only the crashes are known: it was up until each.
  if (node.crashes.length && node.crashes[0] < began) add(from, node.crashes.at(-1), "up");
  else if (node.restarts) add(from, began, "up");
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
