// What is told of one service, or of a decision: from answers to words. Pure.

import { cause, duration, list, nameOf, roughly, span } from "./words.js";

const LIBRARY = /site-packages|dist-packages|\/lib(?:64)?\/python\d|<frozen/;
const MOST = 60; // frames of a traceback
const LONGEST = 20_000; // characters of it that are looked at

/** The frames of a traceback as Python writes it, and its last lines. */
export function frames(traceback) {
  const whole = String(traceback ?? "");
  // The end says most. A megabyte of it would say no more.
  const lines = (whole.length > LONGEST ? whole.slice(-LONGEST) : whole).split("\n");
  const found = [];
  let message = [];
  let last = null;
  for (const line of lines) {
    const frame = /^\s+File "([^"]*)", line (\d+)(?:, in (.*))?$/.exec(line);
    if (frame) {
      last = { file: nameOf(frame[1]), line: frame[2], name: frame[3] ?? "", source: "", isLibrary: LIBRARY.test(frame[1]) };
      found.push(last);
      message = [];
    } else if (/^\s{4}/.test(line) && last && !message.length) {
      if (!last.source && !/^\s*[\^~]+\s*$/.test(line)) last.source = line.trim();
    } else if (line.trim() && !/^Traceback/.test(line)) message.push(line);
  }
  return { frames: found.slice(-MOST), message: message.slice(-8).join("\n") };
}

/** Frames of libraries one after another become one. */
export function foldLibraries(all) {
  const shown = [];
  for (const frame of all) {
    const last = shown.at(-1);
    if (frame.isLibrary && last?.isLibrary) last.count += 1;
    else shown.push({ ...frame, count: 1 });
  }
  return shown;
}

const REASONS = {
  crashed: "Crashed", finished: "Finished", start_failed: "Failed to start", gave_up: "Gave up",
  shutdown: "Shut down", stopped: "Stopped", ignored: "Ignored", recycled: "Recycled",
};

/** One decision, of the ledger or of `why`, in one form. */
export function decision(told, path) {
  const child = told.child ?? told.path;
  const word = told.decision ?? told.action ?? "";
  const with_ = (told.covered ?? told.with ?? []).filter((each) => each !== child).map(nameOf);
  const delay = told.delay ?? 0;
  const limit = told.limit ?? (told.max_restarts == null || !told.restarts ? null : { used: told.restarts, of: told.max_restarts, window: told.max_seconds });
  const kind = told.reason ?? told.kind ?? "";
  const failure = told.failure ?? told.error ?? null;
  return {
    path: child, at: told.at, incarnation: told.incarnation, failure,
    error: typeof failure === "string" ? failure : cause(failure),
    title: REASONS[kind] ?? (kind ? kind[0].toUpperCase() + kind.slice(1).replaceAll("_", " ") : "Ended"),
    so: so(word, delay), delay, with: with_, rule: ruleSaid(told.rule, failure), word, limit, traceback: told.traceback ?? null,
    isOwn: path === undefined || child === path, supervisor: told.supervisor ?? "", strategy: told.strategy ?? told.rule?.strategy ?? "",
  };
}

/** By what was decided, in words. */
function ruleSaid(rule, failure) {
  if (!rule) return "";
  return rule.on_failure ? `its rule for ${failure?.type ?? "this"} is ${rule.on_failure}` : rule.restart ?? "";
}

function so(word, delay) {
  switch (word) {
    case "restart": return ["restart", "at once"];
    case "back_off":
    case "backoff": return ["restart", `after ${duration(delay)}`];
    case "give_up": return ["give up:", "its limit is used up"];
    case "gave_up_tries": return ["stay down:", "no more tries"];
    case "escalate": return ["give up:", "its failure is to be escalated"];
    case "exit": return ["the app", "is asked to exit"];
    case "shut_down": return ["shut down:", "its significant children have ended"];
    case "keep":
    case "stop": return ["stay down", ""];
    default: return [String(word).replaceAll("_", " "), ""];
  }
}

export const sentence = (one) => `${one.so.filter(Boolean).join(" ")}${one.with.length ? `, with ${list(one.with)}` : ""}`;

/** How long it was up before its last row of crashes. */
function ranWell(node) {
  const { crashes } = node;
  let first = crashes.length - 1;
  while (first > 0 && crashes[first] - crashes[first - 1] < 60_000) first -= 1;
  if (first === crashes.length - 1 && crashes.length < 2) return "";
  const before = first > 0 ? crashes[first] - crashes[first - 1] : null;
  return before ? ` It ran well for ${roughly(before / 1000).replace(/ m$/, " min")} before.` : "";
}

/** The sentence below a service's name: pieces, of which some are times or strong. */
export function headline(node, now, decided) {
  const crash = node.crashes.at(-1);
  const times = node.crashes.filter((at) => now - at < 600_000);
  const ordinal = ["", "first", "second", "third", "fourth", "fifth"][times.length] ?? `${times.length}th`;
  const because = node.downBecause;
  switch (node.state) {
    case "running": {
      if (times.length > 1) return ["Runs for ", { since: node.startedAt }, `. Crashed ${times.length} times in 10 min.`];
      if (crash) return ["Runs since ", { since: node.startedAt }, "; crashed before, ", { since: crash, form: "rough" }, " ago."];
      return ["Runs since ", { since: node.startedAt }, decided ? " without a failure of its own." : " without a failure that is remembered."];
    }
    case "restarting":
      if (because?.with) return [`Waits with ${because.with}, which has crashed.`];
      if (!crash) return ["Waits to be started."];
      return ["Crashed ", { since: crash }, " ago", times.length > 1 ? `, for the ${ordinal} time in ${roughly((now - times[0]) / 1000)}.` : ".", ranWell(node)];
    case "failed": return ["Failed ", { since: node.endedAt, form: "rough" }, " ago; nobody restarts it."];
    case "stopped": return ["Stopped ", { since: node.endedAt, form: "rough" }, " ago", because?.by === "operator" ? " by hand." : because?.with ? ` with ${because.with}.` : "."];
    case "finished": return ["Finished ", { since: node.endedAt, form: "rough" }, " ago, as it was to."];
    default: return [`Is ${node.state}.`];
  }
}

/** The restart limit that it counts toward, as it is used now. */
export function limitOf(told) {
  const parent = told.parent;
  const used = parent?.counters?.child_restarts_within_window;
  const policy = parent?.policy;
  if (used == null || !policy) return null;
  return { used, of: policy.max_restarts, window: policy.max_seconds, name: nameOf(parent.path) };
}

export const seconds = (value, none = "none") => (value == null ? none : span(value));
