// The page: its beginning, and what is drawn when.

import * as api from "./api.js";
import { far, load, look, nodes, reads } from "./apps.js";
import { attention } from "./attention.js";
import { drawBanner } from "./banner.js";
import { drawBar } from "./bar.js";
import { tick } from "./clocks.js";
import { pause, take } from "./coming.js";
import { $ } from "./dom.js";
import { beginKeys, help } from "./keys.js";
import { stored } from "./kept.js";
import { detail, ledgers, tree } from "./looking.js";
import { measure, past } from "./measuring.js";
import { dirty, on, redraw, state, WRITE_FOR } from "./state.js";
import { drawVerdict, drawVitals } from "./summary.js";
import { theme } from "./theme.js";
import { say } from "./toast.js";
import { beginTools, drawTools } from "./tools.js";
import { drawTroubles } from "./troubles.js";

const REDRAW = 250; // ms: four times a second at most

function draw() {
  state.isDirty = false;
  const now = state.now();
  state.model.settle(now);
  const items = attention(state.model, now);
  state.items = items;
  document.body.dataset.mode = state.mode;
  document.body.dataset.view = state.view;
  drawBar();
  drawBanner();
  drawVerdict(items, now);
  drawVitals(now);
  drawTroubles(items, now);
  drawTools();
  $("tree-view").hidden = state.view !== "services";
  $("other-view").hidden = state.view === "services";
  if (state.view === "services") tree.update();
  else ledgers.draw();
  detail.draw();
  tick();
}

let beats = 0;
function beat() {
  beats += 1;
  if (document.hidden) return;
  if (state.isDirty || (beats % 4 === 0 && state.mode !== "gone" && !state.frozenAt)) draw();
  else tick();
  if (beats % 8 === 0) {
    detail.load();
    if (state.view !== "services") ledgers.load();
  }
}

on("draw", draw);
on("live", () => {
  past();
  detail.load(true);
});
$("pause").addEventListener("click", pause);
$("theme").addEventListener("click", () => theme());
$("help").addEventListener("click", help);
$("write").addEventListener("change", (event) => {
  state.write = event.target.checked && state.canWrite;
  state.writeUntil = Date.now() + WRITE_FOR;
  redraw();
});
document.addEventListener("visibilitychange", dirty);
addEventListener("resize", dirty);

beginTools();
beginKeys();
theme(stored("theme", "auto"));
api.takeToken();
load();
measure();
nodes();
far();
look();
setInterval(beat, REDRAW);

globalThis.sprag = { state, tree, detail, draw, take, reads, say }; // for who debugs, and for the tests
