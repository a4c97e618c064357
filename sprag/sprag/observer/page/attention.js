// What an operator has to know in three seconds: the verdict, and what needs attention. Pure.

import { cause, clock, counted, cut, duration, instant, list, nameOf, plural, roughly, span } from "./words.js";

export const MOST = 5;
const UNSTABLE = 2; // crashes in ten minutes

/** Who is worth a look, worst first; who only went along is folded into the one that crashed. */
export function attention(model, now) {
  const failed = [], restarting = [], unstable = [], along = new Map();
  for (const node of model.troubled) {
    const because = node.downBecause;
    const other = because?.by === "group" ? model.nodes.get(because.with) : null;
    if (other && other !== node && (model.troubled.has(other) || model.unstable.has(other))) {
      if (!along.has(other)) along.set(other, []);
      along.get(other).push(node.name);
    } else if (node.state === "failed") failed.push(node);
    else if (node.state === "restarting") restarting.push(node);
  }
  for (const node of model.unstable) {
    if (node.state === "running" && model.lately(node, now) >= UNSTABLE) unstable.push(node);
  }
  const latest = (a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0) || (a.path < b.path ? -1 : 1);
  const most = (a, b) => model.lately(b, now) - model.lately(a, now) || (a.path < b.path ? -1 : 1);
  return [
    ...failed.sort(latest).map((node) => item("failed", node, model, now, along.get(node))),
    ...restarting.sort(latest).map((node) => item("restarting", node, model, now, along.get(node))),
    ...unstable.sort(most).map((node) => item("unstable", node, model, now, along.get(node))),
  ];
}

function item(kind, node, model, now, along = []) {
  const times = model.lately(node, now);
  const first = node.crashes.find((at) => now - at < 600_000) ?? node.endedAt;
  const since = kind === "failed" ? node.endedAt : first;
  return {
    kind, path: node.path, node, times,
    seconds: since == null ? NaN : (now - since) / 1000,
    cause: causeOf(kind, node, times, along, model),
    back: comesBack(kind, node, now),
    limit: limitOf(node, now),
  };
}

function causeOf(kind, node, times, along, model) {
  const because = node.downBecause;
  let said = cause(node.failure) || because?.error || because?.reason || "";
  if (!said && because?.with) said = `with ${because.with}`;
  if (!said) said = node.decision?.kind ? String(node.decision.kind) : "nothing is known of why";
  const rule = node.decision?.rule?.on_failure;
  if (kind === "failed" && rule) said += ` — its rule for ${node.failure?.type ?? "this"} is ${rule}`;
  else if (kind === "failed" && node.decision?.action === "gave_up_tries") said += " — it has no tries left";
  if (times > 1) said += `, ${times} times in 10 min`;
  const with_ = along.length ? along : (node.decision?.with ?? []).filter((each) => each !== node.path).map(nameOf);
  if (with_.length && kind !== "failed" && model) said += `; takes ${list(with_)} along`;
  return said;
}

/** The answer to "Comes back by itself?": a word, the rest, and how far a wait is, 0 to 1. */
export function comesBack(kind, node, now) {
  if (kind === "failed") {
    return node.downBecause?.by === "operator"
      ? { word: "No,", rest: "it was stopped by hand" }
      : { word: "No,", rest: "nobody restarts it" };
  }
  if (kind === "unstable") {
    return { word: "Is back,", rest: `for ${duration((now - node.startedAt) / 1000)}` };
  }
  const attempt = (node.decision?.limit?.used ?? node.restarts) + 1;
  if (node.nextTryAt == null || node.nextTryAt <= now) return { word: "Yes,", rest: "it is being started" };
  const left = Math.max(0, (node.nextTryAt - now) / 1000);
  const whole = (node.nextTryAt - (node.endedAt ?? now)) / 1000;
  const done = whole > 0 ? Math.min(1, Math.max(0, 1 - left / whole)) : 1;
  return { word: "Yes,", rest: `try ${attempt} in`, strong: duration(left), done };
}

/** How much of the restart limit that it counts toward is used; null: it does not count. */
export function limitOf(node, now) {
  const told = node.decision?.limit;
  if (!told || told.of == null || node.state === "failed") return null;
  const age = (now - (instant(node.decision.at) ?? now)) / 1000;
  return { used: age > told.window ? 0 : told.used, of: told.of, window: told.window };
}

export const isNear = (limit) => limit !== null && limit.of > 0 && limit.used >= Math.max(1, limit.of - 1);

/** One sentence that names the worst thing, and one with the rest in numbers. */
export function verdict(model, items, now, { wasAt = null, hasEnded = null, isStale = false } = {}) {
  const { counts } = model;
  const run = counts.running;
  const tense = wasAt !== null;
  const past = (said) => (tense ? `At ${clock(wasAt)}, ${said}` : said);
  if (hasEnded) {
    return { tone: "unknown", head: `${hasEnded.app} has ended`, rest: hasEnded.text };
  }
  if (!model.root || (!model.isLive && model.generation <= 1)) {
    return { tone: "unknown", head: "Nothing is known yet", rest: "The app has not answered so far." };
  }
  const app = model.root.name;
  const failed = items.filter((each) => each.kind === "failed");
  const restarting = items.filter((each) => each.kind === "restarting");
  const unstable = items.filter((each) => each.kind === "unstable");
  const near = items.filter((each) => each.kind !== "failed" && isNear(each.limit)).length;
  const nearSaid = near ? `${plural(near, "is", "are")} near ${near === 1 ? "its" : "their"} restart limit` : "";
  const said = (parts, others) => {
    const rest = parts.filter(Boolean);
    if (others) rest.push(others);
    return rest.length ? `${rest.join("; ")}.` : "";
  };
  const others = run ? `the other ${counted(run)} run` : "";
  const frozen = "Nothing is known since. Clocks and countdowns stand still.";
  const answer = (tone, head, rest) => ({ tone: isStale && !tense ? tone : tone, head: past(head), rest: tense ? frozen : rest });
  if (model.root.state === "stopping") return answer("warn", tense ? `${app} was stopping` : `${app} is stopping`, said([], `${counted(run)} still run`));
  if (failed.length) {
    const first = failed[0];
    const since = Number.isFinite(first.seconds) ? `Failed ${minutes(first.seconds)} ago.` : "";
    const head = failed.length === 1
      ? `${shown(first)} ${tense ? "was" : "is"} down and ${tense ? "would" : "will"} not come back by itself`
      : `${counted(failed.length)} services ${tense ? "were" : "are"} down and ${tense ? "would" : "will"} not come back by themselves`;
    const more = counts.restarting ? `${plural(counts.restarting, "more is", "more are")} being restarted` : "";
    return answer("bad", head, `${since} ${said([[more, nearSaid].filter(Boolean).join(", ")], others)}`.trim());
  }
  if (model.root.state === "starting") {
    return answer("warn", tense ? `${app} was starting` : `${app} is starting`, said([], `${counted(run)} of ${counted(model.nodes.size)} services run`));
  }
  if (restarting.length) {
    const head = restarting.length === 1
      ? `${shown(restarting[0])} ${tense ? "was" : "is"} down, and ${tense ? "was" : "is"} being restarted`
      : `${counted(restarting.length)} services ${tense ? "were" : "are"} down, and ${tense ? "were" : "are"} being restarted`;
    const along = counts.restarting - restarting.length;
    const more = along > 0 ? `${plural(along, "goes", "go")} along` : "";
    return answer("warn", head, `It comes back by itself. ${said([[more, nearSaid].filter(Boolean).join(", ")], others)}`.replace("It comes", restarting.length === 1 ? "It comes" : "They come").replace("by itself", restarting.length === 1 ? "by itself" : "by themselves"));
  }
  const stopped = counts.stopped ? `${counted(counts.stopped)} stopped` : "";
  const finished = counts.finished ? `${counted(counts.finished)} finished` : "";
  const last = model.lastRestart ? `Last restart ${minutes((now - model.lastRestart.at) / 1000)} ago: ${cut(model.lastRestart.path, 200)}` : "";
  const waits = model.unready.size ? `${plural(model.unready.size, "is", "are")} not ready` : "";
  if (unstable.length) {
    const first = unstable[0];
    const head = unstable.length === 1
      ? `All run, but ${shown(first)} ${tense ? "had" : "has"} crashed ${first.times} times in 10 min`
      : `All run, but ${counted(unstable.length)} services ${tense ? "had" : "have"} crashed several times in 10 min`;
    return answer("warn", head, [nearSaid, waits, stopped, finished].filter(Boolean).join(" · ") || `${counted(run)} run.`);
  }
  if (counts.starting) return answer("warn", `${plural(counts.starting, "service")} ${counts.starting === 1 ? "is" : "are"} starting`, said([], others));
  const head = tense ? `all ${counted(run)} services that should run, ran` : `All ${counted(run)} services that should run, run`;
  return answer("good", head, [last, waits, stopped, finished].filter(Boolean).join(" · ") || "Nothing has been restarted since this page was opened.");
}

const shown = (item) => cut(item.path, 200);
const minutes = (seconds) => roughly(seconds).replace(/ m$/, " min");

export const titleOf = (model, app) => {
  const { failed, restarting } = model.counts;
  const marks = [failed && `✗${failed}`, restarting && `↻${restarting}`].filter(Boolean);
  return [...marks, app].join(" ");
};

/** What happens if it crashes once more, in words; "" where nothing is known. */
export function forecast(service, supervisor, limit, parent) {
  const policy = service?.policy;
  if (!policy) return "";
  const above = supervisor ? nameOf(supervisor.path) : "the app";
  if (policy.restart === "temporary") return "it is not restarted: its restart is temporary.";
  const rules = Object.entries(policy.on_failure ?? {}).map(([type, done]) => `${type}: ${typeof done === "string" ? done : "its own backoff"}`);
  const except = rules.length ? ` Except for ${list(rules)}.` : "";
  const waits = policy.backoff ? `it is tried again after ${backoffSaid(policy.backoff)}` : "it is restarted at once";
  const group = { one_for_all: `, with all of ${above}`, rest_for_one: `, with those of ${above} that start after it` }[supervisor?.strategy] ?? "";
  if (!limit || limit.of == null) return `${waits}${group}, without a limit.${except}`;
  const left = Math.max(0, limit.of - limit.used);
  const then = parent ? `${nameOf(parent.path)} then restarts ${above}` : "the app then ends";
  const gives = left === 0
    ? `${above} gives up: ${limit.used} of ${limit.of} restarts within ${span(limit.window)} are used; ${then}.`
    : `${waits}${group}. ${plural(left + 1, "more crash", "more crashes")} within ${span(limit.window)}, and ${above} gives up; ${then}.`;
  return gives + except;
}

export function backoffSaid(backoff) {
  const first = backoff.initial ?? backoff.first ?? backoff.min ?? backoff.delay;
  const most = backoff.maximum ?? backoff.max ?? backoff.most;
  if (first == null) return "its backoff";
  return most == null || most === first ? span(first) : `${span(first)} to ${span(most)}`;
}
