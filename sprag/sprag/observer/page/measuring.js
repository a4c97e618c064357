// What is asked for while somebody looks: what each service uses, and how it was before.

import * as api from "./api.js";
import { push } from "./coming.js";
import { dirty, state } from "./state.js";
import { cpuOf } from "./usage.js";

const MEASURE = 2; // seconds of one measurement
const SAMPLES = 450; // of each service: 15 min
const SERVICES = 600; // of which samples are kept

/** Ask for what was decided, and how all fared, before this page was opened. */
export async function past() {
  const { app } = state;
  try {
    const told = await api.get(app, "decisions?limit=1000");
    state.model.past(told.decisions ?? []);
  } catch {
    // an older app, which keeps no ledger of all
  }
  try {
    const told = await api.get(app, `history?seconds=${Math.max(state.span, 900)}`);
    state.model.history(told);
  } catch {
    // likewise
  }
  dirty();
}

const isWatching = () => !document.hidden && !state.paused && ["live", "stale"].includes(state.mode) && !state.node;

/** Measure, again and again, as long as somebody looks. */
export async function measure() {
  for (;;) {
    if (!isWatching()) {
      await api.sleep(500);
      continue;
    }
    const { app } = state;
    const began = performance.now();
    try {
      const told = await api.get(app, `top?seconds=${MEASURE}&limit=500`);
      if (app !== state.app) continue; // of another app: not kept
      const at = state.now();
      state.usage = new Map(told.services.map((each) => [each.path, each]));
      let rss = 0;
      for (const each of told.services) {
        if (each.process?.rss) rss += each.process.rss;
        if (!(each.process || each.path === state.selected || cpuOf(each) > 0)) continue;
        const kept = state.samples.get(each.path) ?? [];
        state.samples.delete(each.path);
        state.samples.set(each.path, kept); // the last one now: who has left is forgotten first
        kept.push({ at, cpu: cpuOf(each), events: each.events + each.ticks, rss: each.process?.rss });
        if (kept.length > SAMPLES) kept.shift();
      }
      while (state.samples.size > SERVICES) state.samples.delete(state.samples.keys().next().value);
      const { vitals } = state;
      if (!state.loop) push(vitals.busy, told.cpu.services + told.cpu.others);
      push(vitals.greenlets, told.greenlets ?? NaN);
      push(vitals.rss, Number.isFinite(state.loop?.rss) ? state.loop.rss + rss : NaN);
      dirty();
    } catch {
      // it is asked again
    }
    // Whoever answers at once, or refuses, is not asked without a pause.
    await api.sleep(Math.max(50, began + 1000 - performance.now()));
  }
}
