// The bar: who is looked at, how fresh that is, and what may be done. The tab's title and icon, too.

import { choose } from "./apps.js";
import { titleOf } from "./attention.js";
import { $, ago, h, icon, patch, text } from "./dom.js";
import { view } from "./looking.js";
import { state, WRITE_FOR } from "./state.js";
import { counted, duration, roughly } from "./words.js";

export function drawBar() {
  const { model } = state;
  const name = model.about?.app ?? state.apps.find((each) => each.key === state.app)?.name ?? "sprag";
  text($("app-name"), name);
  const up = model.root?.startedAt;
  const version = model.about?.version;
  patch($("app-about"), [state.pid, up, state.node, version], () => [state.pid ? `pid ${state.pid}` : "", up ? [" · up ", ago(up, "two")] : "", version ? ` · sprag ${version}` : ""]);
  const worst = ["failed", "restarting", "starting"].find((each) => model.counts[each]) ?? (model.root ? "running" : "unknown");
  const pills = [];
  if (state.apps.length > 1) for (const each of state.apps) pills.push({ kind: "app", key: each.key, name: each.key, state: each.key === state.app ? worst : "", on: each.key === state.app && !state.node });
  if (state.nodes.length > 1) for (const each of state.nodes) {
    const isLost = each.answered === false || each.state === "lost" || each.error;
    const isHere = each.here ?? each.pid === state.pid;
    pills.push({ kind: "node", key: each.name, name: each.name, more: isLost && Number.isFinite(each.age) ? `no answer ${roughly(each.age)}` : "", state: isLost ? "unknown" : isHere && !state.node ? worst : "running", on: state.node ? state.node === each.name : Boolean(isHere), isHere });
  }
  $("nodes").hidden = !pills.length;
  patch($("nodes"), pills, () => pills.map((each) => h("button", { type: "button", "aria-pressed": each.on, title: each.more || null, onclick: () => choose(each) }, each.state && icon(each.state), h("span", {}, each.name), each.more && h("small", {}, each.more))));
  const count = model.decisions.length;
  patch($("views"), [state.view, count], () => [["services", "Services"], ["decisions", "Decisions"], ["log", "Log"], ["stacks", "Stacks"]].map(([key, word]) =>
    h("button", { type: "button", "aria-current": state.view === key ? "page" : null, onclick: () => view(key) }, word, key === "decisions" && count > 0 && h("small", {}, ` ${counted(count)}`))));
  const age = state.heardAt ? (performance.now() - state.heardAt) / 1000 : NaN;
  const [mark, said] = { connecting: ["unknown", "Connecting"], live: ["running", "Live"], stale: ["unknown", `${duration(state.behind)} behind`], gone: ["unknown", "No connection"], ended: ["stopped", "Ended"], none: ["unknown", "No app"], refused: ["unknown", "No token"] }[state.mode];
  const shown = state.paused ? ["stopped", "Paused"] : [mark, said];
  patch($("link"), [...shown, state.mode], () => [icon(shown[0]), h("span", { class: "link-word" }, shown[1]), state.mode === "live" && !state.paused && h("span", { class: "age" })]);
  const ageBox = $("link").querySelector(".age");
  if (ageBox) text(ageBox, `${Math.min(age, 9.9).toFixed(1)} s ago`);
  $("pause").setAttribute("aria-pressed", state.paused);
  text($("pause").firstChild, state.paused ? "Go on " : "Pause ");
  // By the time of day, which goes on while a laptop sleeps; one that is set back ends it, too.
  const left = state.writeUntil - Date.now();
  if (left < 0 || left > WRITE_FOR) state.write = false;
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
