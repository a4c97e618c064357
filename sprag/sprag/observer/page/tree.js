// The tree: rows of one height, of which only those in the window are in the document.

import { $, h, patch, s, text } from "./dom.js";
import { ticks } from "./lifeline.js";
import { cells, drawLine, stateText } from "./row.js";
import { filtered, flatten, isFolded, matcher, moved, ranked, windowOf } from "./rows.js";
import { cpuOf, owns } from "./usage.js";
import { clock, counted, shortClock } from "./words.js";

export class Tree {
  constructor(state, { select, open }) {
    this.state = state;
    this.select = select;
    this.choice = new Map();
    this.rows = [];
    this.count = 0;
    this.pool = new Map();
    this.ids = 0;
    this.made = "";
    this.grid = $("rows");
    this.scroller = $("scroll");
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.scroller);
    this.grid.addEventListener("click", (event) => {
      const row = event.target.closest("[data-path]");
      if (!row) return;
      if (event.target.closest(".fold") && this.folds) this.fold(row.dataset.path);
      else select(row.dataset.path, { byHand: true });
    });
    this.grid.addEventListener("dblclick", (event) => {
      const row = event.target.closest("[data-path]");
      if (row && !event.target.closest(".fold")) open(row.dataset.path);
    });
    this.grid.addEventListener("keydown", (event) => this.key(event));
    $("tree-view").addEventListener("pointermove", (event) => this.cross(event));
    $("tree-view").addEventListener("pointerleave", () => ($("crosshair").hidden = true));
  }

  get height() {
    return matchMedia("(max-width: 640px)").matches ? 44 : 27;
  }

  /** Whether rows can be folded: what was looked for is shown, wherever it is. */
  get folds() {
    const { order, filter, states } = this.state;
    return order === "tree" && !filter && !states.size;
  }

  fold(path, to) {
    const node = this.state.model.nodes.get(path);
    if (!node) return;
    this.choice.set(path, to ?? !isFolded(node, this.choice));
    this.update();
  }

  /** Make the rows anew, if the tree, the filter or the order are others; then draw. */
  update() {
    const { model, filter, states, order } = this.state;
    const folds = [...this.choice].map((each) => each.join()).join();
    const moving = filter || states.size || order !== "tree";
    const made = [model.shape, filter, [...states].join(), order, folds, moving ? model.version : ""].join("|");
    if (made !== this.made) {
      this.made = made;
      const matches = matcher(filter);
      if (matches || states.size) {
        const found = filtered(model, matches, states);
        this.rows = found.rows;
        this.count = found.count;
        if (order !== "tree") this.rows = this.rows.filter((each) => (!matches || matches(each)) && (!states.size || states.has(each.state)));
      } else {
        this.rows = order === "tree" ? flatten(model.root, this.choice) : [...model.nodes.values()];
        this.count = this.rows.length;
      }
      if (order !== "tree") this.rows = ranked(this.rows, this.by(order));
    }
    this.draw();
  }

  by(order) {
    const { usage } = this.state;
    return {
      restarts: (node) => node.restarts,
      cpu: (node) => cpuOf(usage.get(node.path)) ?? -1,
      recent: (node) => Math.max(node.startedAt ?? 0, node.endedAt ?? 0),
    }[order];
  }

  /** Bring a row into the window. */
  show(path) {
    for (let node = this.state.model.nodes.get(path)?.parent; node; node = node.parent) {
      if (isFolded(node, this.choice)) this.choice.set(node.path, false);
    }
    this.update();
    const at = this.rows.findIndex((each) => each.path === path);
    if (at < 0) return;
    const { height } = this;
    const { scrollTop, clientHeight } = this.scroller;
    if (at * height < scrollTop) this.scroller.scrollTop = at * height;
    else if ((at + 1) * height > scrollTop + clientHeight) this.scroller.scrollTop = (at + 1) * height - clientHeight;
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const to = moved(this.rows, this.state.selected, event.key, this.folds ? this.choice : null, Math.floor(this.scroller.clientHeight / this.height) - 1);
    if (!Object.keys(to).length) return;
    event.preventDefault();
    if (to.fold) this.fold(to.fold, true);
    else if (to.unfold) this.fold(to.unfold, false);
    else if (to.path) {
      this.select(to.path);
      this.show(to.path);
    }
  }

  draw() {
    const { state, rows, height } = this;
    if (state.view !== "services" || this.scroller.offsetParent === null) return;
    const { from, to } = windowOf(rows.length, height, this.scroller.scrollTop, Math.min(this.scroller.clientHeight, innerHeight));
    this.grid.style.height = `${rows.length * height}px`;
    this.grid.setAttribute("aria-rowcount", rows.length);
    const now = state.now();
    this.axis = { from: now - state.span * 1000, to: now };
    const seen = new Set();
    for (let i = from; i < to; i++) {
      const node = rows[i];
      seen.add(node.path);
      let row = this.pool.get(node.path);
      if (!row) {
        row = h("div", { role: "row", class: "row", id: `row-${(this.ids += 1)}`, data: { path: node.path } });
        this.pool.set(node.path, row);
        this.grid.append(row);
      }
      row.style.transform = `translateY(${i * height}px)`;
      this.fill(row, node, i, now, height);
    }
    for (const [path, row] of this.pool) {
      if (!seen.has(path)) {
        row.remove();
        this.pool.delete(path);
      }
    }
    const { selected } = state;
    if (selected && seen.has(selected)) this.grid.setAttribute("aria-activedescendant", this.pool.get(selected).id);
    else this.grid.removeAttribute("aria-activedescendant");
    this.head();
    $("tree-view").style.setProperty("--bar-width", `${this.scroller.offsetWidth - this.scroller.clientWidth}px`);
    const isNone = !rows.length;
    $("nothing").hidden = !isNone;
    if (isNone) this.nothing();
  }

  nothing() {
    const { state } = this;
    const isFiltered = state.filter || state.states.size;
    patch($("nothing"), [isFiltered ? 1 : 0, state.filter, state.mode, state.model.isLive], () =>
      isFiltered
        ? [h("p", {}, h("strong", {}, "No service matches."), ` ${counted(state.model.nodes.size)} are there.`), h("button", { type: "button", id: "clear-filter" }, "Show all")]
        : [h("p", {}, state.mode === "gone" ? "Nothing is known of its services." : "Waiting for the first picture of the app.")]);
  }

  fill(row, node, index, now, height) {
    const { state } = this;
    const usage = state.usage.get(node.path);
    const folded = this.folds && isFolded(node, this.choice);
    const isFlat = state.order !== "tree";
    const shown = node.state === "running" && node.unready !== null ? "unready" : node.state;
    const worst = folded ? state.model.worst(node) : node.state;
    const attrs = {
      "aria-level": isFlat ? 1 : node.depth + 1, "aria-rowindex": index + 1, "aria-selected": state.selected === node.path,
      "aria-expanded": node.children.length && !isFlat ? String(!folded) : null,
    };
    for (const [key, value] of Object.entries(attrs)) {
      if (value === null) row.removeAttribute(key);
      else if (row.getAttribute(key) !== String(value)) row.setAttribute(key, value);
    }
    const tone = node.state === "failed" ? "bad" : ["restarting", "starting", "stopping"].includes(node.state) ? "warn" : "";
    row.className = `row ${tone} ${node.path === state.selected ? "selected" : ""}`;
    const cpu = cpuOf(usage);
    const values = [node.name, node.klass, node.strategy, node.children.length, folded, worst, shown, isFlat, node.depth, node.restarts, cpu, usage?.events, usage?.ticks, owns(node, usage), node.process?.pid];
    if (patch(row, values, () => cells(node, { folded, worst, shown, isFlat, cpu, usage }))) row.lineSignature = "";
    const said = stateText(node, now);
    text(row.children[1].firstChild, said[0]);
    text(row.children[1].lastChild, said[1]);
    row.children[1].firstChild.className = tone;
    row.children[1].title = said.join("");
    // Alike in all rows, and asked for once: each time the browser has to lay out what was changed.
    this.axis.width ??= row.children[2].clientWidth;
    drawLine(row.children[2], row, node, this.axis, height);
  }

  head() {
    const { from, to } = this.axis;
    const width = this.axis.width ?? 0;
    const times = width > 150 ? ticks(from, to, width).filter((at) => ((to - at) / (to - from)) * width > 46) : [];
    const isTime = (i) => times[i] !== undefined && ((times[i] - from) / (to - from)) * width;
    patch($("head"), [times.map(shortClock), width, this.state.order], () => [
      h("span", {}, "Service"), h("span", {}, "State"),
      h("span", { class: "axis" }, s("svg", { width, height: 26, "aria-hidden": "true" },
        times.map((at, i) => s("text", { x: isTime(i), y: 17, "text-anchor": isTime(i) < 16 ? "start" : "middle" }, shortClock(at))),
        s("text", { x: width, y: 17, "text-anchor": "end" }, "now"))),
      h("span", { class: "num", title: "Restarts" }, "↺"), h("span", { class: "num", title: "Share of the loop's thread; of a program: of one core" }, "CPU %"),
      h("span", { class: "num", title: "Calls of listeners and timers per second" }, "Ev/s"), h("span", { class: "num", title: "Greenlets, timers, listeners; of a program: memory" }, "Owns"),
    ]);
  }

  cross(event) {
    const cell = this.grid.querySelector(".line");
    const hair = $("crosshair");
    if (!cell || !this.axis || event.pointerType === "touch") return;
    const box = cell.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right;
    hair.hidden = !inside;
    if (!inside) return;
    const frame = $("tree-view").getBoundingClientRect();
    hair.style.transform = `translateX(${event.clientX - frame.left}px)`;
    const at = this.axis.from + ((event.clientX - box.left) / box.width) * (this.axis.to - this.axis.from);
    text(hair.firstChild, clock(at));
  }
}
