// The page: what is known, what is shown of it, and when.

import { act } from "./act.js";
import * as api from "./api.js";
import { attention, MOST, titleOf, verdict } from "./attention.js";
import { Detail } from "./detail.js";
import { $, ago, h, icon, patch, pips, s, spark, text } from "./dom.js";
import { Ledgers } from "./ledgers.js";
import { follow } from "./link.js";
import { Model } from "./model.js";
import { cpuOf, Tree } from "./tree.js";
import { bytes, clock, counted, cut, duration, instant, nameOf, parentOf, percent, roughly, span } from "./words.js";

const REDRAW = 250; // ms: four times a second at most
const MEASURE = 2; // seconds of one measurement
const SAMPLES = 450; // of each service: 15 min
const WRITE_FOR = 5 * 60_000; // ms after which the switch goes off
const SAY = 5000; // ms between two changes of the verdict that is read out
const LAG = [2, 12]; // seconds behind: slow; without an answer

const stored = (key, fallback) => {
  try {
    return localStorage.getItem(`sprag-${key}`) ?? fallback;
  } catch {
    return fallback;
  }
};
const store = (key, value) => {
  try {
    localStorage.setItem(`sprag-${key}`, value);
  } catch {
    // then it is not kept
  }
};

const state = {
  model: new Model(), app: "", apps: [], nodes: [], node: "", view: "services", selected: null, full: false,
  paused: false, mode: "connecting", reason: "", since: null, retryAt: null, behind: 0, heardAt: null, offset: 0,
  ended: null, held: null, write: false, canWrite: false, writeUntil: 0, filter: "", states: new Set(),
  order: "tree", span: 900, usage: new Map(), samples: new Map(), vitals: { busy: [], lag: [], greenlets: [], rss: [] },
  keys: stored("keys", "on") === "on",
  /** The time at the app, in ms; stands still when nothing is known, or while paused. */
  now() {
    if (this.frozenAt) return this.frozenAt;
    return Date.now() + this.offset;
  },
  frozenAt: null,
};
state.model.now = () => state.now();
let link = null;
let isDirty = true;
let queue = []; // what came while paused
const dirty = () => (isDirty = true);

const select = (path, { byHand = false } = {}) => {
  state.selected = path;
  if (path && byHand) $("rows").focus({ preventScroll: true });
  remember();
  dirty();
  detail.load(true);
  draw();
};
const tree = new Tree(state, { select, open: (path) => { state.full = true; select(path); } });
const detail = new Detail(state, {
  select, close: () => closeDetail(), grow: () => { state.full = !state.full; detail.load(true); dirty(); draw(); },
  act: (what, path) => act(what, path, state, say).then(() => detail.load(true)),
});
const ledgers = new Ledgers(state, (path) => { if (path) select(path); });

function closeDetail() {
  if (state.full) state.full = false;
  else state.selected = null;
  remember();
  dirty();
  draw();
  $("rows").focus({ preventScroll: true });
}

function remember() {
  const kept = new URLSearchParams();
  if (state.view !== "services") kept.set("view", state.view);
  if (state.app && state.apps.length > 1) kept.set("app", state.app);
  if (state.selected) kept.set("path", state.selected);
  const said = kept.toString();
  history.replaceState(null, "", location.pathname + (said ? `#${said}` : ""));
}

// -- what comes ----------------------------------------------------------------------------

function take(batch) {
  for (const told of batch) {
    if (told.event === "pulse") pulse(told);
    else if (state.paused && !["gone", "cut", "begin", "end"].includes(told.event)) queue.push(told);
    else one(told);
  }
  if (queue.length > 200_000) resume(); // nobody waits that long: what is shown is brought up to date
}

function one(told) {
  const { event } = told;
  state.heardAt = Date.now();
  if (event === "gone" || event === "cut") return lost(told);
  if (event === "end") {
    state.ended = { at: instant(told.at) ?? state.now(), reason: told.reason ?? "", code: told.code ?? told.exit_code ?? null };
    state.mode = "ended";
    freeze();
    return dirty();
  }
  if (event === "begin") {
    const isOther = state.pid && told.pid !== state.pid;
    if (isOther) {
      state.model.clear();
      state.usage.clear();
      state.samples.clear();
      state.vitals = { busy: [], lag: [], greenlets: [], rss: [] };
      say(`${told.app} runs again, with pid ${told.pid}.`);
    }
    state.pid = told.pid;
    state.ended = null;
    setClock(told.at);
    thaw();
    state.mode = "live";
    state.behind = 0;
  }
  state.model.take(told);
  if (event === "live") {
    state.mode = "live";
    document.documentElement.dataset.live = state.model.generation;
    past();
    detail.load(true);
  }
  dirty();
}

function pulse(told) {
  state.heardAt = Date.now();
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
  if (state.mode === "live" && told.behind > LAG[0]) state.mode = "stale";
  if (state.mode === "stale") {
    if (told.behind <= LAG[0]) state.mode = "live";
    if (told.behind > LAG[1]) {
      state.since ??= state.now() - told.behind * 1000;
    }
  }
  dirty();
}

function lost(told) {
  if (state.ended && told.event === "gone") return;
  if (state.mode !== "gone") {
    state.since = state.now();
    freeze();
  }
  state.mode = "gone";
  state.reason = told.reason === "refused" ? "the token is an old one" : told.reason;
  state.retryAt = Date.now() + (told.retry ?? 2) * 1000;
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

const freeze = () => (state.frozenAt ??= Date.now() + state.offset);
function thaw() {
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

function pause() {
  if (state.paused) resume();
  else {
    state.paused = true;
    freeze();
  }
  dirty();
  draw();
}

// -- what is asked for ---------------------------------------------------------------------

async function past() {
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

async function measure() {
  for (;;) {
    if (!isWatching()) {
      await sleep(500);
      continue;
    }
    const { app } = state;
    const began = Date.now();
    try {
      const told = await api.get(app, `top?seconds=${MEASURE}&limit=500`);
      if (app !== state.app) continue; // of another app: not kept
      const at = state.now();
      state.usage = new Map(told.services.map((each) => [each.path, each]));
      let rss = 0;
      for (const each of told.services) {
        if (each.process?.rss) rss += each.process.rss;
        if (!(each.process || each.path === state.selected || cpuOf(each) > 0)) continue;
        if (!state.samples.has(each.path)) state.samples.set(each.path, []);
        const kept = state.samples.get(each.path);
        kept.push({ at, cpu: cpuOf(each), events: each.events + each.ticks, rss: each.process?.rss });
        if (kept.length > SAMPLES) kept.shift();
      }
      if (state.samples.size > 600) state.samples.delete(state.samples.keys().next().value);
      const { vitals } = state;
      if (!state.loop) push(vitals.busy, told.cpu.services + told.cpu.others);
      push(vitals.greenlets, told.greenlets ?? NaN);
      push(vitals.rss, Number.isFinite(state.loop?.rss) ? state.loop.rss + rss : NaN);
      dirty();
    } catch {
      // it is asked again
    }
    // Whoever answers at once, or refuses, is not asked without a pause.
    await sleep(Math.max(50, began + 1000 - Date.now()));
  }
}
function push(values, value) {
  values.push(value);
  if (values.length > 60) values.shift();
}
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function nodes() {
  for (;;) {
    if (!document.hidden && state.app && state.mode === "live") {
      try {
        const told = await api.get(state.app, "nodes");
        state.nodes = told.nodes ?? [];
        state.hasCluster = true;
      } catch {
        state.nodes = [];
        state.hasCluster = false;
      }
      dirty();
    }
    await sleep(state.hasCluster ? 5000 : 60_000);
  }
}

/** Another node's tree is looked at now and then: what goes on there is not followed from here. */
async function far() {
  for (;;) {
    const { node, app } = state;
    if (node && !document.hidden && !state.paused) {
      try {
        const root = await api.get(app, `tree?path=${encodeURIComponent(`${node}:`)}`);
        if (node === state.node) {
          state.model.take({ event: "begin" });
          const stack = [[root, ""]];
          while (stack.length) {
            const [each, above] = stack.pop();
            const path = above ? `${above}/${each.name}` : each.name;
            state.model.take({ ...each, ...each.policy, path, event: "snapshot" });
            for (const child of [...(each.children ?? [])].reverse()) stack.push([child, path]);
          }
          state.model.take({ event: "live", app: root.app, pid: root.pid });
          thaw();
          state.mode = "live";
        }
      } catch (error) {
        if (node === state.node) lost({ event: "gone", reason: error.message, retry: 2 });
      }
      dirty();
    }
    await sleep(2000);
  }
}

async function load() {
  try {
    const told = await api.apps();
    state.apps = told.apps;
    state.canWrite = told.write;
    const wanted = new URLSearchParams(location.hash.slice(1));
    state.app ||= state.apps.find((each) => each.key === wanted.get("app"))?.key ?? state.apps[0]?.key ?? "";
    if (!state.app) {
      state.mode = "none";
      setTimeout(load, 2000);
    } else if (!link) {
      state.selected ??= wanted.get("path");
      if (wanted.get("view")) state.view = wanted.get("view");
      open(state.app);
    }
  } catch (error) {
    state.mode = error.status === 401 || error.status === 403 ? "refused" : "gone";
    state.reason = error.message;
    state.isBridge = true;
    state.since ??= Date.now();
    if (state.mode === "gone") setTimeout(load, 2000);
  }
  dirty();
}

function open(app) {
  link?.close();
  state.app = app;
  state.model.clear();
  Object.assign(state, { pid: null, mode: "connecting", ended: null, frozenAt: null, usage: new Map(), samples: new Map(), held: null, lag: null, loop: null });
  queue = [];
  link = follow(api.urlOf(app, "events"), api.takeToken(), (batch) => {
    if (state.app === app && !state.node) take(batch);
  });
  dirty();
}

async function look() {
  // Apps come and go, too.
  for (;;) {
    await sleep(10_000);
    if (document.hidden || state.mode === "refused") continue;
    try {
      state.apps = (await api.apps()).apps;
      dirty();
    } catch {
      // the stream says so
    }
  }
}

// -- what is shown -------------------------------------------------------------------------

let saidVerdict = "";
let saidAt = 0;

function draw() {
  isDirty = false;
  const now = state.now();
  state.model.settle(now);
  const items = attention(state.model, now);
  state.items = items;
  document.body.dataset.mode = state.mode;
  document.body.dataset.view = state.view;
  drawBar(now);
  drawBanner(now);
  drawVerdict(items, now);
  drawVitals(now);
  drawAttention(items, now);
  drawTools();
  $("tree-view").hidden = state.view !== "services";
  $("other-view").hidden = state.view === "services";
  if (state.view === "services") tree.update();
  else ledgers.draw();
  detail.draw();
  tick();
}

function drawBar(now) {
  const { model } = state;
  const name = model.about?.app ?? state.apps.find((each) => each.key === state.app)?.name ?? "sprag";
  text($("app-name"), name);
  const up = model.root?.startedAt;
  patch($("app-about"), [state.pid, up, state.node], () => [state.pid ? `pid ${state.pid}` : "", up ? [" · up ", ago(up, "two")] : ""]);
  const worst = ["failed", "restarting", "starting"].find((each) => model.counts[each]) ?? (model.root ? "running" : "unknown");
  const pills = [];
  if (state.apps.length > 1) for (const each of state.apps) pills.push({ kind: "app", key: each.key, name: each.key, state: each.key === state.app ? worst : "", on: each.key === state.app && !state.node });
  if (state.nodes.length > 1) for (const each of state.nodes) {
    const isLost = each.answered === false || each.state === "lost" || each.error;
    const isHere = each.here ?? each.pid === state.pid;
    pills.push({ kind: "node", key: each.name, name: each.name, more: isLost && Number.isFinite(each.age) ? `no answer ${roughly(each.age)}` : "", state: isLost ? "unknown" : isHere && !state.node ? worst : "running", on: state.node ? state.node === each.name : Boolean(isHere), isHere });
  }
  $("nodes").hidden = !pills.length;
  patch($("nodes"), pills, () => pills.map((each) => h("button", { type: "button", "aria-pressed": each.on, onclick: () => choose(each) }, each.state && icon(each.state), h("span", {}, each.name), each.more && h("small", {}, each.more))));
  const count = model.decisions.length;
  patch($("views"), [state.view, count], () => [["services", "Services"], ["decisions", "Decisions"], ["log", "Log"], ["stacks", "Stacks"]].map(([key, word]) =>
    h("button", { type: "button", "aria-current": state.view === key ? "page" : null, onclick: () => view(key) }, word, key === "decisions" && count > 0 && h("small", {}, ` ${counted(count)}`))));
  const age = state.heardAt ? (Date.now() - state.heardAt) / 1000 : NaN;
  const [mark, said] = { connecting: ["unknown", "Connecting"], live: ["running", "Live"], stale: ["unknown", `${duration(state.behind)} behind`], gone: ["unknown", "No connection"], ended: ["stopped", "Ended"], none: ["unknown", "No app"], refused: ["unknown", "No token"] }[state.mode];
  const shown = state.paused ? ["stopped", "Paused"] : [mark, said];
  patch($("link"), [...shown, state.mode], () => [icon(shown[0]), h("span", { class: "link-word" }, shown[1]), state.mode === "live" && !state.paused && h("span", { class: "age" })]);
  const ageBox = $("link").querySelector(".age");
  if (ageBox) text(ageBox, `${Math.min(age, 9.9).toFixed(1)} s ago`);
  $("pause").setAttribute("aria-pressed", state.paused);
  text($("pause").firstChild, state.paused ? "Go on " : "Pause ");
  if (state.write && Date.now() > state.writeUntil) state.write = false;
  $("write").checked = state.write;
  $("write").disabled = !state.canWrite;
  $("write-switch").title = state.canWrite ? "Goes off by itself after 5 minutes" : "Start it with 'sprag observe --write' to change anything from here";
  text($("write-word"), state.write ? "Can change" : "Read-only");
  const title = state.mode === "gone" ? `? ${name}` : state.mode === "ended" ? `■ ${name}` : titleOf(model, name);
  if (document.title !== title) {
    document.title = title;
    favicon(state.mode === "gone" || state.mode === "connecting" ? "unknown" : state.mode === "ended" ? "stopped" : worst);
  }
}

const COLOURS = { failed: "#c4281f", restarting: "#b57614", starting: "#b57614", running: "#2d7048", unknown: "#77808f", stopped: "#77808f" };
function favicon(kind) {
  const shapes = { failed: "<path d='M3 3l10 10M13 3L3 13' stroke='C' stroke-width='3'/>", restarting: "<path d='M12.8 5.2A5.6 5.6 0 1 0 13.6 9M13.4 1.8v3.9H9.5' fill='none' stroke='C' stroke-width='2.4'/>", stopped: "<rect x='3' y='3' width='10' height='10' fill='C'/>", unknown: "<circle cx='8' cy='8' r='5' fill='none' stroke='C' stroke-width='2'/>" };
  const shape_ = (shapes[kind] ?? "<circle cx='8' cy='8' r='5.5' fill='C'/>").replace("C", COLOURS[kind] ?? COLOURS.restarting);
  $("favicon").href = `data:image/svg+xml,${encodeURIComponent(`<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>${shape_}</svg>`)}`;
}

function drawBanner(now) {
  const banner = $("banner");
  const app = $("app-name").textContent;
  const { mode } = state;
  banner.hidden = !["gone", "stale", "ended", "none", "refused"].includes(mode) && !state.paused;
  const signature = [mode, state.since, state.reason, state.isBridge, state.paused, mode === "stale" ? [Math.floor(state.behind), state.held?.path] : "", state.ended, state.note];
  patch(banner, signature, () => {
    if (mode === "gone") {
      const who = state.isBridge ? "sprag observe" : state.node || app;
      return [h("strong", {}, `No answer from ${who} since ${clock(state.since)}.`), h("span", {}, state.reason ? `${state.reason[0].toUpperCase()}${state.reason.slice(1)}. ` : "", "What you see is ", h("span", { data: { wall: state.since - state.offset } }), " old. Trying again in ", h("span", { data: { retry: "1" } }), "."), h("span", { class: "spring" }), h("button", { type: "button", id: "try-now", onclick: tryNow }, "Try now")];
    }
    if (mode === "stale") {
      const { held } = state;
      const who = held?.path ? `by ${held.path}` : "by code of no service";
      return [h("strong", {}, `${app} answers slowly.`), h("span", {}, held ? `Its loop has been held for ${duration(held.seconds ?? state.behind)} ${who}; what you see is ${duration(state.behind)} old.` : `It has owed an answer for ${duration(state.behind)}: its loop is held, or the process is stopped.`), h("span", { class: "spring" }), held?.stack && h("button", { type: "button", onclick: () => showStack(held) }, "Its stack")];
    }
    if (mode === "ended") return [h("strong", {}, `${app} has ended${state.ended.at ? ` at ${clock(state.ended.at)}` : ""}.`), h("span", {}, `Exit code ${state.ended.code ?? "?"}. This is the last picture of it; a new one of its name is shown when it comes.`)];
    if (mode === "none") return [h("strong", {}, "No app is running."), h("span", {}, "Start one with sprag run; it appears here by itself.")];
    if (mode === "refused") return [h("strong", {}, "This page has no token, or an old one."), h("span", {}, "Open the address that sprag observe prints.")];
    if (state.paused) return [h("strong", {}, "Paused."), h("span", {}, `What you see is how it was at ${clock(state.frozenAt)}.`), h("span", { class: "spring" }), h("button", { type: "button", onclick: pause }, "Go on")];
    return [];
  });
}

async function tryNow() {
  state.retryAt = Date.now();
  link?.retry();
  try {
    await api.get(state.app, "retry");
  } catch {
    // the banner says it already
  }
}

function showStack(held) {
  const dialog = $("dialog");
  const stack = (held.stack ?? []).join("\n");
  dialog.replaceChildren(h("form", { method: "dialog" }, h("h2", {}, `Who holds the loop${held.path ? `: ${held.path}` : ""}`), h("pre", { class: "trace" }, cut(stack, 20_000)), h("div", { class: "buttons" }, h("button", { type: "submit" }, "Close"))));
  dialog.showModal();
}

function drawVerdict(items, now) {
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
  if (said !== saidVerdict && (head !== saidVerdict.split("\n")[0] || Date.now() - saidAt > SAY)) {
    if (Date.now() - saidAt > SAY || !saidVerdict || saidVerdict.startsWith("Nothing is known") || tone !== state.saidTone || wasAt || hasEnded) {
      saidVerdict = said;
      saidAt = Date.now();
      state.saidTone = tone;
      text($("verdict-head"), head);
      text($("verdict-rest"), rest);
    }
  }
}

function drawVitals(now) {
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

function drawAttention(items, now) {
  const section = $("attention");
  section.hidden = !items.length || ["none", "refused"].includes(state.mode);
  if (section.hidden) return;
  const shown = items.slice(0, MOST);
  const signature = [items.length, state.selected, shown.map((each) => [each.kind, each.path, each.cause, each.back.word, each.back.rest, each.limit, each.node.nextTryAt, each.node.startedAt, each.node.endedAt])];
  const focused = section.contains(document.activeElement) ? document.activeElement.dataset.path : null;
  patch(section, signature, () => [
    h("div", { class: "a-head", "aria-hidden": "true" }, ["Needs attention", "Service", "Cause", "Comes back by itself?", "Restart limit used"].map((each) => h("span", {}, each))),
    shown.map((each) => {
      const { node } = each;
      const word = each.kind[0].toUpperCase() + each.kind.slice(1);
      const since = now - each.seconds * 1000;
      return h("button", { type: "button", class: `a-row ${each.kind} ${each.path === state.selected ? "selected" : ""}`, data: { path: each.path }, onclick: () => { state.view = "services"; select(each.path); tree.show(each.path); } },
        h("span", { class: "a-state" }, icon(each.kind === "unstable" ? "running" : each.kind), h("strong", {}, word), Number.isFinite(each.seconds) && h("span", { class: "dim" }, "for ", ago(since, "rough"))),
        h("span", { class: "a-path" }, h("span", { class: "dim" }, parentOf(each.path), parentOf(each.path) && "/"), h("strong", {}, nameOf(each.path))),
        h("span", { class: "a-cause", title: cut(each.cause, 600) }, each.cause),
        h("span", { class: "a-back" }, h("strong", {}, each.back.word), " ",
          each.kind === "unstable" ? ["for ", ago(node.startedAt, "exact")] : each.back.strong ? [each.back.rest, " ", h("strong", { data: { until: node.nextTryAt } }), h("progress", { max: 1, "aria-hidden": "true", data: { from: node.endedAt ?? now, until: node.nextTryAt, bar: "1" } })] : each.back.rest),
        h("span", { class: "a-limit" }, pips(each.limit), each.limit && h("span", { class: "dim" }, ` in ${span(each.limit.window)}`)));
    }),
    items.length > MOST && h("button", { type: "button", class: "a-more link", onclick: () => { state.states = new Set(["failed", "restarting"]); state.view = "services"; dirty(); draw(); } }, `and ${counted(items.length - MOST)} more`),
  ]);
  if (focused) section.querySelector(`[data-path="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function drawTools() {
  const { counts } = state.model;
  const shown = [["failed", "failed"], ["restarting", "restarting"], ...(counts.starting ? [["starting", "starting"]] : []), ...(counts.stopping ? [["stopping", "stopping"]] : []), ["stopped", "stopped"], ["finished", "finished"], ["running", "running"]];
  const known = state.model.root !== null;
  const focused = document.activeElement?.dataset?.state;
  const isNew = patch($("chips"), [shown.map(([key]) => [key, counts[key]]), [...state.states], known], () => shown.map(([key, word]) =>
    h("button", { type: "button", class: `chip ${counts[key] ? "some" : ""}`, "aria-pressed": state.states.has(key), data: { state: key }, onclick: () => chip(key) }, icon(key), h("strong", {}, known ? counted(counts[key]) : "?"), ` ${word}`)));
  if (isNew && focused) $("chips").querySelector(`[data-state="${focused}"]`)?.focus();
  if (document.activeElement !== $("filter") && $("filter").value !== state.filter) $("filter").value = state.filter;
  $("tools").classList.toggle("plain", state.view !== "services");
}

function chip(key) {
  if (state.states.has(key)) state.states.delete(key);
  else state.states.add(key);
  dirty();
  draw();
}

function view(key) {
  state.view = key;
  if (key !== "services") state.full = false;
  remember();
  ledgers.load();
  dirty();
  draw();
}

function choose(each) {
  if (each.kind === "app" && each.key !== state.app) {
    state.node = "";
    state.selected = null;
    open(each.key);
  } else if (each.kind === "node") {
    const before = state.node;
    state.node = each.isHere ? "" : each.key;
    if (before !== state.node) {
      state.model.clear();
      if (!state.node) open(state.app);
    }
  }
  remember();
  dirty();
}

let sayTimer = 0;
function say(words, isBad = false) {
  let box = $("toast");
  if (!box) {
    box = h("div", { id: "toast", role: "status" });
    document.body.append(box);
  }
  box.className = isBad ? "bad" : "";
  text(box, words);
  box.hidden = false;
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => (box.hidden = true), isBad ? 12_000 : 5000);
}

// -- clocks --------------------------------------------------------------------------------

const FORMS = {
  exact: (seconds) => duration(seconds), rough: roughly,
  two: (seconds) => duration(Math.floor(seconds)), 
};

/** Bring every text that counts up to date; nothing else changes with time alone. */
function tick() {
  const now = state.now();
  for (const each of document.querySelectorAll("[data-since]")) {
    const seconds = (now - Number(each.dataset.since)) / 1000;
    text(each, (FORMS[each.dataset.form] ?? FORMS.exact)(seconds < 10 && each.dataset.form !== "exact" ? Math.floor(seconds) : seconds));
  }
  for (const each of document.querySelectorAll("[data-until]")) {
    if (each.dataset.bar) {
      const whole = Number(each.dataset.until) - Number(each.dataset.from);
      each.value = whole > 0 ? Math.min(1, Math.max(0, (now - Number(each.dataset.from)) / whole)) : 1;
    } else text(each, duration((Number(each.dataset.until) - now) / 1000));
  }
  for (const each of document.querySelectorAll("[data-wall]")) text(each, duration(Math.floor((Date.now() - Number(each.dataset.wall)) / 1000)));
  for (const each of document.querySelectorAll("[data-retry]")) text(each, duration(Math.max(0, Math.ceil((state.retryAt - Date.now()) / 1000))));
}

// -- keys ----------------------------------------------------------------------------------

const KEYS = [["/", "filter"], ["n", "next problem"], ["↵", "full page"], ["Esc", "close"], ["↑ ↓ ← →", "in the tree"], ["1 – 4", "services, decisions, log, stacks"], ["p", "pause"], ["t", "theme"], ["?", "all keys"]];

function nextProblem() {
  const { items } = state;
  if (!items?.length) return say("Nothing needs attention.");
  const at = items.findIndex((each) => each.path === state.selected);
  const next = items[(at + 1) % items.length];
  state.view = "services";
  select(next.path);
  tree.show(next.path);
}

function help() {
  const dialog = $("dialog");
  const box = h("input", { type: "checkbox", checked: state.keys, onchange: (event) => { state.keys = event.target.checked; store("keys", state.keys ? "on" : "off"); } });
  dialog.replaceChildren(h("form", { method: "dialog" }, h("h2", {}, "Keys"), h("dl", { class: "keys" }, KEYS.map(([key, word]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, word)])), h("label", {}, box, " Single letters are keys"), h("div", { class: "buttons" }, h("button", { type: "submit" }, "Close"))));
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  const typing = event.target.matches?.("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape") {
    if (typing && state.filter) setFilter("");
    else if (typing) event.target.blur();
    else if (state.selected) closeDetail();
    return;
  }
  if (typing) return;
  if (event.key === "Enter" && state.selected && !event.target.closest("button, a, summary")) {
    state.full = !state.full;
    detail.load(true);
    dirty();
    draw();
    return event.preventDefault();
  }
  if (!state.keys) return;
  const views = { 1: "services", 2: "decisions", 3: "log", 4: "stacks" };
  if (event.key === "/") $("filter").focus();
  else if (event.key === "n") nextProblem();
  else if (event.key === "p") pause();
  else if (event.key === "t") theme();
  else if (event.key === "?") help();
  else if (views[event.key]) view(views[event.key]);
  else return;
  event.preventDefault();
});

function setFilter(value) {
  state.filter = value;
  if ($("filter").value !== value) $("filter").value = value;
  dirty();
  draw();
}

const THEMES = ["auto", "light", "dark"];
function theme(to) {
  const before = stored("theme", "auto");
  const next = to ?? THEMES[(THEMES.indexOf(before) + 1) % THEMES.length];
  store("theme", next);
  document.documentElement.dataset.theme = next;
  $("theme").title = `Theme: ${next === "auto" ? "as the system" : next}`;
}

// -- the beginning -------------------------------------------------------------------------

$("filter").addEventListener("input", (event) => setFilter(event.target.value));
$("scroll").addEventListener("click", (event) => {
  if (event.target.id !== "clear-filter") return;
  state.states.clear();
  setFilter("");
});
$("order").addEventListener("change", (event) => { state.order = event.target.value; dirty(); draw(); });
$("span").addEventListener("change", (event) => { state.span = Number(event.target.value); past(); dirty(); draw(); });
$("pause").addEventListener("click", pause);
$("theme").addEventListener("click", () => theme());
$("help").addEventListener("click", help);
$("write").addEventListener("change", (event) => {
  state.write = event.target.checked && state.canWrite;
  state.writeUntil = Date.now() + WRITE_FOR;
  dirty();
  draw();
});
document.addEventListener("visibilitychange", dirty);
addEventListener("resize", dirty);

patch($("legend"), "legend", () => [
  [["up", "up"], ["crash", "crash"], ["with", "restarted with it"], ["waits", "waits for its restart"], ["failed", "failed"], ["hand", "by hand"]].map(([kind, word]) => h("span", {}, legendMark(kind), word)),
  h("span", { class: "spring" }),
  [["n", "next problem"], ["↵", "full page"], ["?", "all keys"]].map(([key, word]) => h("span", { class: "hint" }, h("kbd", {}, key), word)),
]);
function legendMark(kind) {
  const svg = s("svg", { width: 16, height: 14, "aria-hidden": "true" });
  if (kind === "crash") svg.append(s("line", { class: "crash", x1: 8, x2: 8, y1: 1, y2: 13 }));
  else if (kind === "with") svg.append(s("path", { class: "with", d: "M8 3l4 4-4 4-4-4z" }));
  else if (kind === "hand") svg.append(s("rect", { class: "hand", x: 6, y: 2, width: 4, height: 10, rx: 1 }));
  else svg.append(s("line", { class: kind, x1: 0, x2: 16, y1: 7, y2: 7 }));
  return svg;
}

theme(stored("theme", "auto"));
api.takeToken();
load();
measure();
nodes();
far();
look();
let beats = 0;
setInterval(() => {
  beats += 1;
  if (document.hidden) return;
  if (isDirty || (beats % 4 === 0 && state.mode !== "gone" && !state.frozenAt)) draw();
  else tick();
  if (beats % 8 === 0) {
    detail.load();
    if (state.view !== "services") ledgers.load();
  }
}, REDRAW);

globalThis.sprag = { state, tree, detail, draw, take }; // for who debugs, and for the tests
