// Since when a service has been as it is, and how it was before. Pure.

const MOST = 80; // pieces of one service

export const isUp = (state) => state === "running" || state === "stopping";

/** Pieces of its time, the oldest first: [begin, end, state]. Those that begin at 0 are a guess. */
export function livesOf(node) {
  if (node.lives.length) return node.lives;
  const crash = node.crashes.at(-1);
  if (!isUp(node.state)) {
    const ended = node.endedAt ?? crash;
    return ended == null ? [[0, null, node.state]] : [[0, ended, "running"], [ended, null, node.state]];
  }
  const began = node.startedAt;
  if (began === null) return [];
  const now = [began, null, node.state];
  // Of the time before this life only the crashes are known: it was up until each.
  if (node.crashes[0] < began) return [[0, node.crashes.findLast((at) => at < began), "running"], now];
  return node.restarts ? [[0, began, "running"], now] : [now];
}

/** Another state from now on; *before*: the pieces until then. */
export function turned(node, before, at) {
  const last = before.at(-1);
  node.lives = before;
  if (last?.[2] === node.state || at == null) return;
  if (last && last[1] === null) last[1] = Math.max(at, last[0]);
  node.lives.push([at, null, node.state]);
  if (node.lives.length > MOST) node.lives.shift();
}

/** The part of the time since *from* that it was up, and since when that is known; null: it is not. */
export function upSince(node, from, now) {
  const lives = livesOf(node);
  const begin = Math.max(from, lives[0]?.[0] ?? 0);
  if (!lives[0]?.[0] || begin >= now) return null;
  let up = 0;
  for (const [since, until, state] of lives) if (isUp(state)) up += Math.max(0, Math.min(until ?? now, now) - Math.max(since, begin));
  return { begin, share: up / (now - begin) };
}
