// What the stream of events says, and what it means for what is known: live, slow, gone, ended.

import { dirty, happens, redraw, state } from "./state.js";
import { say } from "./toast.js";
import { instant } from "./words.js";

const SLOW = 2; // seconds behind
const LATE = 12; // seconds without an answer: since then nothing is known
const WAITING = 200_000; // lines that wait while it is paused
const SAMPLES = 60; // of each vital

let queue = []; // what came while paused

export function take(batch) {
  for (const told of batch) {
    if (told.event === "pulse") pulse(told);
    else if (state.paused && !["gone", "cut", "begin", "end"].includes(told.event)) queue.push(told);
    else one(told);
  }
  if (queue.length > WAITING) resume(); // nobody waits that long: what is shown is brought up to date
}

function one(told) {
  const { event } = told;
  state.heardAt = performance.now();
  if (event === "gone" || event === "cut") return lost(told);
  if (event === "end") {
    state.ended = { at: instant(told.at) ?? state.now(), reason: told.reason ?? "", code: told.code ?? told.exit_code ?? null };
    state.mode = "ended";
    freeze();
    return dirty();
  }
  if (event === "begin") {
    begin(); // what waits of the life before is about nobody who is here now
    if (state.pid && told.pid !== state.pid) renew(told);
    state.pid = told.pid;
    state.ended = null;
    setClock(told.at);
    thaw();
    state.mode = "live";
    state.behind = 0;
  }
  // In a container the next life has the pid of the last one.
  if (event === "snapshot" && state.model.isOfAnother(told)) renew({ app: told.path, pid: state.pid });
  state.model.take(told);
  if (event === "live") {
    state.mode = "live";
    document.documentElement.dataset.live = state.model.generation;
    happens("live");
  }
  dirty();
}

/** Another process: nothing that is known is about it. */
function renew({ app, pid }) {
  state.model.clear();
  state.model.take({ event: "begin" });
  state.usage.clear();
  state.samples.clear();
  state.vitals = noVitals();
  say(`${app} runs again, with pid ${pid}.`);
}

export const noVitals = () => ({ busy: [], lag: [], greenlets: [], rss: [] });

function pulse(told) {
  state.heardAt = performance.now();
  setClock(told.at);
  state.behind = told.behind;
  const loop = told.loop;
  if (loop) {
    push(state.vitals.lag, loop.lag);
    if (Number.isFinite(loop.busy)) push(state.vitals.busy, loop.busy);
    state.lag = loop.worst ?? null;
    state.held = loop.held ?? null;
    state.loop = loop;
  }
  if (["live", "connecting"].includes(state.mode) && told.behind > SLOW) state.mode = "stale";
  if (state.mode === "stale") {
    if (told.behind <= SLOW) state.mode = state.model.generation ? "live" : "connecting";
    if (told.behind > LATE) {
      state.since ??= state.now() - told.behind * 1000;
    }
  }
  dirty();
}

export function lost(told) {
  if (state.ended && told.event === "gone") return;
  if (state.mode !== "gone") {
    state.since = state.now();
    freeze();
  }
  state.mode = "gone";
  state.reason = told.reason === "refused" ? "its token is another one now: open the address that it prints" : told.reason;
  state.retryAt = performance.now() + (told.retry ?? 2) * 1000;
  state.isBridge = told.event === "cut";
  dirty();
}

function setClock(at) {
  const told = instant(at);
  if (told === null) return;
  const offset = told - Date.now();
  // Less than that is how long it took to come here.
  if (Math.abs(offset - state.offset) > 250) state.offset = offset;
}

/** From now on the clocks stand still. */
export const freeze = () => (state.frozenAt ??= Date.now() + state.offset);
export function thaw() {
  if (!state.paused) state.frozenAt = null;
  state.since = null;
}

function resume() {
  const waiting = queue;
  queue = [];
  state.paused = false;
  if (state.mode !== "gone" && state.mode !== "ended") state.frozenAt = null;
  for (const told of waiting) one(told);
}

export function pause() {
  if (state.paused) resume();
  else {
    state.paused = true;
    freeze();
  }
  redraw();
}

/** Forget what waits: it is about another app. */
export function begin() {
  queue = [];
}

/** Keep one more value of a vital. */
export function push(values, value) {
  values.push(value);
  if (values.length > SAMPLES) values.shift();
}
