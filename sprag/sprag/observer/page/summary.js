// What one has to know in three seconds: the verdict, and the vitals.

import { verdict } from "./attention.js";
import { $, h, icon, patch, spark, text } from "./dom.js";
import { state } from "./state.js";
import { bytes, counted, percent } from "./words.js";

const SAY = 5000; // ms between two changes of the verdict that is read out

let saidVerdict = "";
let saidAt = 0;

export function drawVerdict(items, now) {
  const wasAt = state.mode === "gone" ? state.since : null;
  const hasEnded = state.mode === "ended" ? { app: $("app-name").textContent, text: `Exit code ${state.ended.code ?? "?"}. Below is the last picture of it.` } : null;
  let told;
  if (state.mode === "none") told = { tone: "unknown", head: "No app is running", rest: "Nothing listens on a control socket of this user." };
  else if (state.mode === "refused") told = { tone: "unknown", head: "Nothing can be shown", rest: state.reason };
  else told = verdict(state.model, items, now, { wasAt, hasEnded });
  const { tone, head, rest } = told;
  document.body.dataset.tone = tone;
  const mark = tone === "bad" ? "failed" : tone === "warn" ? (state.model.counts.restarting ? "restarting" : "starting") : tone === "good" ? "running" : "unknown";
  patch($("verdict-icon"), [mark, tone], () => icon(mark, tone));
  // A live region: it says the same for five seconds, whatever happens, unless the worst is new.
  const said = `${head}\n${rest}`;
  if (said !== saidVerdict && (head !== saidVerdict.split("\n")[0] || performance.now() - saidAt > SAY)) {
    if (performance.now() - saidAt > SAY || !saidVerdict || saidVerdict.startsWith("Nothing is known") || tone !== state.saidTone || wasAt || hasEnded) {
      saidVerdict = said;
      saidAt = performance.now();
      state.saidTone = tone;
      text($("verdict-head"), head);
      text($("verdict-rest"), rest);
    }
  }
}

export function drawVitals(now) {
  const { vitals, model } = state;
  const minutes = Array.from({ length: 30 }, (_, i) => {
    const from = now - (30 - i) * 30_000;
    return model.crashTimes.reduce((sum, at) => sum + (at > from && at <= from + 30_000 ? 1 : 0), 0);
  });
  const lastMinute = model.crashTimes.reduce((sum, at) => sum + (now - at < 60_000 && now >= at), 0);
  const known = state.model.isLive;
  const lag = state.mode === "stale" ? Math.max(state.behind, state.lag ?? 0) : state.lag;
  const lagSaid = lag == null ? ["?", ""] : lag >= 1 ? [lag.toFixed(1), "s"] : [String(Math.round(lag * 1000)), "ms"];
  const rss = vitals.rss.at(-1);
  const cells = [
    ["Restarts", "per min", known ? [counted(lastMinute), ""] : ["?", ""], minutes, { bars: true, width: 90 }, ""],
    ["Loop busy", "", [vitals.busy.length ? percent(vitals.busy.at(-1), 0) : "?", vitals.busy.length ? "%" : ""], vitals.busy, { most: 1 }, vitals.busy.at(-1) > 0.85 ? "warn" : ""],
    ["Loop lag", "max 1 min", lagSaid, vitals.lag, { most: Math.max(0.02, ...vitals.lag) }, lag > 0.25 ? "warn" : ""],
    ["Greenlets", "", [counted(vitals.greenlets.at(-1)), ""], vitals.greenlets, {}, ""],
    ["Memory", "RSS, all pids", bytes(rss), vitals.rss, {}, ""],
  ];
  patch($("vitals"), cells, () => cells.map(([name, note, [value, unit], values, options, tone]) =>
    h("div", { class: `vital ${tone} v-${name.split(" ").at(-1).toLowerCase()}` }, h("dt", {}, name, h("small", {}, note)), h("dd", {}, h("strong", {}, value, unit && h("small", {}, ` ${unit}`)), spark(values, options)))));
}
