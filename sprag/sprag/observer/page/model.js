// What is known of the app: its services, told by snapshots and changes. Pure.

import { livesOf, turned } from "./lives.js";
import { instant, nameOf, parentOf } from "./words.js";

export const STATES = ["failed", "restarting", "starting", "stopping", "stopped", "finished", "running"];
const AFTER = {
  started: "running", restarted: "running", crashed: "restarting", finished: "finished",
  stopped: "stopped", gave_up: "failed", starting: "starting", stopping: "stopping",
};
const COMES_BACK = ["restart", "back_off"];
const MARKS = 40; // of one service
const JITTER = 1000; // ms by which two pictures of one start may differ
const SAME = 40; // ms between a crash and what is decided about it
const CRASH_WINDOW = 600_000; // ms in which several crashes make a service unstable

const blank = (path) => ({
  path, name: nameOf(path), parent: null, depth: 0, children: [], klass: "", kind: "worker",
  state: "stopped", incarnation: 0, restarts: 0, startedAt: null, endedAt: null, nextTryAt: null,
  downBecause: null, unready: null, status: null, owned: {}, process: null, failure: null,
  strategy: null, limit: null, held: null, seen: 0, below: {}, marks: [], lives: [], crashes: [], crashedLives: [],
  decision: null, hay: "",
});

export class Model {
  constructor() {
    this.clear();
  }

  clear() {
    this.nodes = new Map();
    this.root = null;
    this.counts = Object.fromEntries(STATES.map((each) => [each, 0]));
    this.troubled = new Set(); // neither running nor down on purpose
    this.unstable = new Set(); // have crashed lately
    this.unready = new Set();
    this.generation = 0;
    this.isLive = false;
    this.shape = 0; // grows when services come or go
    this.version = 0; // grows with every change
    this.decisions = [];
    this.lastSeq = 0;
    this.crashTimes = [];
    this.lastRestart = null;
    this.about = null;
  }

  /** Take one line of the stream. Returns the event, for who wants to act on it. */
  take(told) {
    const event = told.event;
    if (event === "begin") {
      this.generation += 1;
      this.isLive = false;
    } else if (event === "snapshot") this.#picture(told);
    else if (event === "live") this.#live(told);
    else if (event === "left") this.#remove(told.path);
    else if (event === "ruling") this.#decided(told, true);
    else if (typeof told.path === "string") this.#change(told);
    this.version += 1;
    return event;
  }

  /** Whether a picture is of another life of the app than the one that is known. */
  isOfAnother(told) {
    const before = this.root?.startedAt;
    if (told.path !== this.root?.path || before == null || this.isLive) return false;
    return Math.abs((instant(told.started_at) ?? before) - before) > JITTER;
  }

  node(path) {
    let node = this.nodes.get(path);
    if (!node) {
      node = blank(path);
      this.nodes.set(path, node);
      const parent = this.nodes.get(parentOf(path));
      if (parent) {
        node.parent = parent;
        node.depth = parent.depth + 1;
        parent.children.push(node);
      } else if (!this.root) this.root = node;
      this.counts[node.state] += 1;
      this.shape += 1;
      node.seen = this.generation;
    }
    return node;
  }

  #picture(told) {
    const node = this.node(told.path);
    const at = instant(told.at);
    node.seen = this.generation;
    node.klass = told.class ?? "";
    node.kind = told.kind ?? "worker";
    node.incarnation = told.incarnation ?? 0;
    node.restarts = told.restarts ?? 0;
    node.startedAt = instant(told.started_at);
    node.endedAt = instant(told.ended_at);
    node.status = told.status ?? null;
    node.owned = told.owned ?? {};
    node.process = told.process ?? null;
    node.failure = told.last_failure ?? null;
    node.strategy = told.strategy ?? null;
    node.limit = told.max_restarts == null ? null : { of: told.max_restarts, window: told.max_seconds };
    node.held = told.held ?? null;
    node.hay = "";
    this.#ready(node, told.ready === false && told.unready != null ? told.unready : null);
    this.#because(node, told, at);
    this.#move(node, told.state);
    // What was not seen to change has done so when this state began.
    if (node.lives.length) turned(node, node.lives, node.state === "running" ? node.startedAt : node.endedAt ?? at);
    const failedAt = instant(node.failure?.at);
    if (failedAt) this.#crashed(node, failedAt, node.failure.incarnation);
  }

  #live(told) {
    this.isLive = true;
    this.about = { app: told.app, pid: told.pid, version: told.version };
    for (const node of [...this.nodes.values()]) {
      if (node.seen !== this.generation) this.#remove(node.path);
    }
  }

  #change(told) {
    const known = told.event in AFTER && this.nodes.get(told.path);
    const before = known ? livesOf(known) : null;
    const node = this.node(told.path);
    const at = instant(told.at);
    const { event } = told;
    const stale = told.incarnation != null && told.incarnation < node.incarnation;
    if (event === "crashed") {
      this.#crashed(node, at, told.incarnation);
      if (told.exception) {
        node.failure = { type: told.exception, message: told.message ?? "", at: told.at, incarnation: told.incarnation };
        node.hay = "";
      }
    }
    if (stale) return;
    if (told.incarnation != null) node.incarnation = told.incarnation;
    if (told.restarts != null) node.restarts = told.restarts;
    if (event === "started" || event === "restarted") {
      const isRestart = event === "restarted" && node.startedAt !== at;
      node.startedAt = at;
      node.endedAt = null;
      this.#ready(node, null);
      if (isRestart) {
        this.lastRestart = !this.lastRestart || at >= this.lastRestart.at ? { at, path: node.path } : this.lastRestart;
        const own = node.crashes.at(-1);
        if (!own || at - own > 60_000) mark(node, { at, kind: "with" });
      }
    } else if (event === "unready") this.#ready(node, told.reason || "not ready");
    else if (event === "ready") this.#ready(node, null);
    else if (["crashed", "finished", "stopped", "gave_up"].includes(event)) {
      node.endedAt = at;
      if (event === "stopped" && told.down_because?.by === "operator") mark(node, { at, kind: "hand" });
    }
    this.#because(node, told, at);
    this.#move(node, this.#after(node, told));
    if (before) turned(node, before, at);
    node.seen = this.generation;
  }

  /** The state that a change leads to. A crash is decided about, which may have been told before. */
  #after(node, told) {
    const state = AFTER[told.event] ?? node.state;
    const by = told.down_because?.by;
    if (["stopped", "finished"].includes(state) && (by === "group" || by === "needs")) return "restarting";
    const decided = node.decision;
    if (told.event === "crashed" && decided && decided.incarnation === told.incarnation && !COMES_BACK.includes(decided.action)) return "failed";
    return state;
  }

  #because(node, told, at) {
    if ("down_because" in told || ["started", "restarted"].includes(told.event)) node.downBecause = told.down_because ?? null;
    else if (told.event === "snapshot") node.downBecause = null;
    if (typeof told.next_try === "number") node.nextTryAt = (at ?? this.now?.() ?? Date.now()) + told.next_try * 1000;
    else if (told.next_try_at) node.nextTryAt = instant(told.next_try_at);
    else if (told.event !== "unready" && told.event !== "ready") node.nextTryAt = null;
  }

  /** One crash is told by several: as it happens, by a picture, by the decision about it. */
  #crashed(node, at, life) {
    if (node.crashes.some((each) => Math.abs(each - at) < SAME) || (life != null && node.crashedLives.includes(life))) return;
    node.crashes.push(at);
    node.crashes.sort((a, b) => a - b);
    if (life != null) node.crashedLives.push(life);
    if (node.crashes.length > MARKS) node.crashes.shift();
    if (node.crashedLives.length > MARKS) node.crashedLives.shift();
    mark(node, { at, kind: "crash" });
    this.crashTimes.push(at);
    if (this.crashTimes.length > 5000) this.crashTimes.splice(0, 1000);
    this.unstable.add(node);
  }

  #decided(told, isNow) {
    if (told.seq <= this.lastSeq) return;
    this.lastSeq = told.seq;
    this.decisions.push(told);
    if (this.decisions.length > 1000) this.decisions.splice(0, 200);
    const node = this.nodes.get(told.path);
    if (!node) return;
    node.decision = told;
    if (told.error || /crash|fail/.test(told.kind ?? "")) this.#crashed(node, instant(told.at), told.incarnation);
    const isOfThis = told.incarnation === node.incarnation && ["restarting", "failed"].includes(node.state);
    const comesBack = COMES_BACK.includes(told.action);
    const back = instant(told.at) + (told.delay ?? 0) * 1000;
    if (comesBack && back >= (this.lastRestart?.at ?? 0) && node.state === "running") this.lastRestart = { at: back, path: told.path };
    if (isOfThis && comesBack) node.nextTryAt = told.action === "back_off" ? instant(told.at) + told.delay * 1000 : null;
    if (isNow && isOfThis) {
      const down = { finished: "finished", stopped: "stopped", ignored: "stopped" }[told.kind] ?? "failed";
      const before = livesOf(node);
      this.#move(node, comesBack ? "restarting" : down);
      turned(node, before, instant(told.at));
    }
    for (const path of told.with ?? []) {
      const other = this.nodes.get(path);
      if (other && other !== node) mark(other, { at: instant(told.at), kind: "with" });
    }
  }

  /** Take how services have fared before: pieces of time, and what the lives among them ended of. */
  history(told) {
    const from = instant(told.from);
    for (const [path, pieces] of Object.entries(told.lives ?? {})) {
      const node = this.nodes.get(path);
      if (!node || from === null) continue;
      const seen = node.lives.filter(([begin]) => begin > instant(told.now));
      node.lives = pieces.map(([begin, end, state]) => [from + begin * 1000, end === null ? null : from + end * 1000, state]);
      // The answer has taken its time, in which more has happened.
      if (seen.length && node.lives.at(-1)?.[1] === null) node.lives.at(-1)[1] = seen[0][0];
      node.lives.push(...seen);
      for (const [, end, state, how] of pieces) {
        if (end === null || state !== "running" || !how) continue;
        const at = from + end * 1000;
        if (how === "group") mark(node, { at, kind: "with" });
        else if (["crashed", "gave_up", "start_failed"].includes(how)) this.#crashed(node, at);
        else if (how === "stopped") mark(node, { at, kind: "hand" });
      }
    }
    this.version += 1;
  }

  /** Take what was decided before, the oldest first. */
  past(decisions) {
    for (const each of decisions) this.#decided(each);
    this.version += 1;
  }

  #ready(node, reason) {
    node.unready = reason;
    if (reason === null) this.unready.delete(node);
    else this.unready.add(node);
  }

  #move(node, state) {
    const before = node.state;
    const after = STATES.includes(state) ? state : before;
    node.state = after;
    if (["failed", "restarting", "starting", "stopping"].includes(after)) this.troubled.add(node);
    else this.troubled.delete(node);
    if (before === after) return;
    this.counts[before] -= 1;
    this.counts[after] += 1;
    for (let up = node.parent; up; up = up.parent) {
      up.below[before] = Math.max(0, (up.below[before] ?? 0) - 1);
      up.below[after] = (up.below[after] ?? 0) + 1;
    }
  }

  #remove(path) {
    const gone = this.nodes.get(path);
    if (!gone) return;
    const stack = [gone];
    while (stack.length) {
      const node = stack.pop();
      stack.push(...node.children);
      this.nodes.delete(node.path);
      this.counts[node.state] -= 1;
      for (let up = node.parent; up; up = up.parent) if (up.below[node.state]) up.below[node.state] -= 1;
      for (const set of [this.troubled, this.unstable, this.unready]) set.delete(node);
    }
    if (gone.parent) gone.parent.children.splice(gone.parent.children.indexOf(gone), 1);
    if (this.root === gone) this.root = null;
    this.shape += 1;
  }

  /** Crashes of a service in the last ten minutes. */
  lately(node, now) {
    return node.crashes.filter((at) => now - at < CRASH_WINDOW).length;
  }

  /** Forget who has been stable for long enough. */
  settle(now) {
    for (const node of this.unstable) if (!this.lately(node, now)) this.unstable.delete(node);
  }

  /** The state that matters most at or below a service. */
  worst(node) {
    for (const state of ["failed", "restarting", "starting", "stopping"]) {
      if (node.state === state || node.below[state] > 0) return state;
    }
    return node.state;
  }
}

function mark(node, one) {
  if (one.at == null || node.marks.some((each) => Math.abs(each.at - one.at) < SAME && each.kind === one.kind)) return;
  node.marks.push(one);
  if (node.marks.length > MARKS) node.marks.shift();
}
