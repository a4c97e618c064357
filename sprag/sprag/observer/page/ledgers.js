// The views beside the tree: decisions, log, stacks.

import * as api from "./api.js";
import { $, h, icon, patch, pips } from "./dom.js";
import { decision, sentence } from "./stories.js";
import { clock, counted, cut, instant, nameOf, plural, within } from "./words.js";

const LINES = 1000; // of the log in the document
const SHOWN = 300; // decisions in the document

export class Ledgers {
  constructor(state, select) {
    this.state = state;
    this.select = select;
    this.log = [];
    this.level = "debug";
    this.element = $("other-view");
    this.element.addEventListener("click", (event) => {
      const path = event.target.closest("[data-path]")?.dataset.path;
      if (path) select(path);
    });
  }

  async load() {
    const { state } = this;
    if (state.paused || document.hidden || state.mode === "gone") return;
    try {
      if (state.view === "log") this.log = await api.lines(state.app, `logs?lines=${LINES}`);
      if (state.view === "stacks") this.stacks = await api.get(state.app, "stacks");
      this.error = null;
    } catch (error) {
      this.error = error.message;
    }
    this.draw();
  }

  draw() {
    const { state } = this;
    if (state.view === "decisions") this.decisions();
    else if (state.view === "log") this.lines();
    else if (state.view === "stacks") this.everywhere();
  }

  decisions() {
    const { model, filter } = this.state;
    const typed = filter.trim().toLowerCase();
    const all = model.decisions.filter((each) => !typed || `${each.path} ${JSON.stringify(each.error ?? "")}`.toLowerCase().includes(typed));
    const shown = all.slice(-SHOWN).reverse();
    patch(this.element, ["decisions", typed, shown.length, shown[0]?.seq, shown.map((each) => model.nodes.get(each.path)?.state)], () => {
      if (!shown.length) return [h("p", { class: "empty" }, typed ? "No decision matches." : "Nobody has had to decide anything: nothing has crashed.")];
      const rows = shown.map((each, i) => {
        const one = decision(each);
        const before = shown[i - 1] && decision(shown[i - 1]);
        const isSame = before && before.path === one.path && before.error === one.error && one.error;
        const isLatest = shown.findIndex((other) => other.path === each.path) === i;
        const node = model.nodes.get(one.path);
        return h("tr", { data: { path: one.path }, class: one.path === this.state.selected ? "selected" : "" },
          h("td", {}, h("time", { title: one.at }, clock(instant(one.at)))),
          h("td", { class: "who" }, icon(isLatest && node ? node.state : node ? "running" : "unknown"), h("button", { type: "button", class: "name-link" }, within(one.path))),
          h("td", { class: "grow", title: cut(one.error, 500) }, isSame ? "the same" : cut(one.error || one.title.toLowerCase(), 200)),
          h("td", { class: "grow" }, sentence(one)),
          h("td", {}, one.limit ? pips(one.limit, { tone: isLatest && node?.state !== "running" ? undefined : one.limit.used >= one.limit.of - 1 ? "bad" : "past" }) : "–"));
      });
      return [h("table", { class: "decisions" }, h("thead", {}, h("tr", {}, ["Time", "Who ended", "Why", "Decision", "Limit"].map((each) => h("th", { scope: "col" }, each)))), h("tbody", {}, rows))];
    });
  }

  lines() {
    const { filter } = this.state;
    const typed = filter.trim().toLowerCase();
    const records = this.log.filter((each) => each.kind === "record" && (!typed || JSON.stringify(each).toLowerCase().includes(typed)));
    const atEnd = this.element.scrollTop + this.element.clientHeight > this.element.scrollHeight - 40 || this.shown !== "log";
    patch(this.element, ["log", typed, records.length, records.at(-1)?.at, this.error], () => [
      this.error ? h("p", { class: "empty" }, this.error) : records.length ? logLines(records, null) : h("p", { class: "empty" }, typed ? "No line matches." : "Nothing has been logged that is remembered."),
    ]) && atEnd && (this.element.scrollTop = this.element.scrollHeight);
    this.shown = "log";
  }

  everywhere() {
    this.shown = "stacks";
    const typed = this.state.filter.trim().toLowerCase();
    const all = (this.stacks?.stacks ?? []).filter((each) => !typed || JSON.stringify(each).toLowerCase().includes(typed));
    patch(this.element, ["stacks", typed, this.stacks, this.error], () => [
      this.error ? h("p", { class: "empty" }, this.error) : !this.stacks ? h("p", { class: "empty" }, "Asking…")
        : h("div", { class: "pad" }, h("p", { class: "dim" }, `${plural(this.stacks.greenlets, "greenlet")}, ${counted(this.stacks.count)} different stacks; alike ones are told once.`), stacksOf(all, null)),
    ]);
  }
}

/** Records of the log; a line where a life begins, if they are of one service. */
export function logLines(records, path) {
  const out = [];
  let life = null;
  for (const each of records) {
    if (each.kind !== "record") continue;
    if (path && each.path === path && each.incarnation && life !== null && each.incarnation > life && /start/.test(each.event)) {
      out.push(h("div", { class: "life" }, `life ${each.incarnation}`));
    }
    if (path && each.path === path) life = each.incarnation ?? life;
    const isOutput = each.event === "output" && each.fields?.line != null;
    const fields = isOutput ? [] : Object.entries(each.fields ?? {});
    out.push(h("div", { class: `log ${each.level}` },
      h("time", { title: each.at }, clock(instant(each.at))), h("span", { class: "level" }, isOutput ? each.fields.stream : each.level),
      h("span", { class: "said" }, (!path || each.path !== path) && h("button", { type: "button", class: "link from", data: { path: each.path ?? "" } }, each.path ? within(each.path) : "app"), isOutput ? cut(each.fields.line, 2000) : cut(each.event, 2000),
        fields.length ? h("span", { class: "dim" }, ` ${cut(fields.map(([key, value]) => `${key}=${cut(value, 1000)}`).join(" "), 3000)}`) : "")));
  }
  return h("div", { class: "logs" }, out);
}

export function stacksOf(stacks, path) {
  return stacks.slice(0, 200).map((each) => h("pre", { class: "trace stack" },
    h("b", {}, each.count > 1 ? `${counted(each.count)} alike` : "1"), ` · ${each.what}`,
    !path && each.service ? [", ", h("button", { type: "button", class: "link", data: { path: each.service } }, within(each.service))] : "", path && each.service && each.service !== path ? ` of ${nameOf(each.service)}` : "", "\n",
    framesOf(each.frames)));
}

/** Where a greenlet is, the innermost last. */
export const framesOf = (frames) => frames.map((frame) => [h("b", {}, nameOf(frame.file)), `:${frame.line} ${frame.function}\n`, frame.source ? `    ${cut(frame.source, 200)}\n` : ""]);
