// One service: a panel beside the tree, a sheet on phones, or the full page.

import * as api from "./api.js";
import { $, ago, h, icon, patch, pips, text, until } from "./dom.js";
import { logLines, stacksOf } from "./ledgers.js";
import { drawPolicy, drawResources } from "./resources.js";
import { headline, limitOf } from "./stories.js";
import { upSince } from "./lives.js";
import { drawTimeline } from "./timeline.js";
import { Why } from "./why.js";
import { bytes, clock, counted, cut, duration, instant, nameOf, parentOf, plural, roughly, span, within } from "./words.js";

const TABS = ["Why", "Log", "Stacks", "Resources", "Policy"];
const FRESH = 4000; // ms after which it is asked again while somebody looks

export class Detail {
  constructor(state, { close, grow, act, select }) {
    this.state = state;
    this.tab = "Why";
    this.close = close;
    this.grow = grow;
    this.act = act;
    this.select = select;
    this.told = {};
    this.whys = new Why(state, () => this.draw());
    this.element = $("detail");
    this.element.append(
      h("div", { class: "d-top" }, this.head = h("div", { class: "d-head" }), this.facts = h("dl", { class: "facts" }), this.time = h("div", { class: "timeline" })),
      this.tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "What of it" }),
      this.body = h("div", { class: "d-body" }), this.foot = h("div", { class: "d-foot" }),
    );
    this.parts = Object.fromEntries(TABS.map((name) => [name, h("section", { class: `part ${name.toLowerCase()}`, "aria-label": name })]));
    this.body.append(...TABS.map((name) => this.parts[name]));
  }

  /** Ask for what is shown; *now* whether or not it is fresh. */
  async load(now = false) {
    const { state } = this;
    const path = state.selected;
    if (!path || state.paused || state.mode === "gone" || document.hidden) return;
    const wants = ["service", "why"];
    if (state.full || this.tab === "Log") wants.push("logs");
    if (state.full || this.tab === "Stacks") wants.push("stacks");
    if (this.told.path !== path) this.told = { path };
    const told = this.told;
    if (!now && performance.now() - (told.at ?? 0) < FRESH && wants.every((each) => each in told)) return;
    if (this.isLoading === path) return;
    this.isLoading = path;
    told.at = performance.now();
    const there = state.node ? `${state.node}:` : "";
    const place = there + api.pathPart(path);
    const targets = {
      service: () => api.get(state.app, `service/${place}`), why: () => api.get(state.app, `why/${place}`),
      logs: () => api.lines(state.app, `logs/${place}?lines=200`), stacks: () => api.get(state.app, `stacks?path=${encodeURIComponent(there + path)}`),
      parent: () => api.get(state.app, `service/${there}${api.pathPart(parentOf(path))}`),
    };
    if (parentOf(path)) wants.push("parent");
    await Promise.all(wants.map(async (each) => {
      try {
        told[each] = await targets[each]();
      } catch (error) {
        told[each] ??= { error: error.message };
      }
    }));
    if (this.isLoading === path) this.isLoading = null;
    this.draw();
  }

  show(tab) {
    this.tab = tab;
    this.draw();
    this.load();
  }

  draw() {
    const { state, element } = this;
    const path = state.selected;
    element.hidden = !path;
    document.body.classList.toggle("with-detail", Boolean(path));
    document.body.classList.toggle("full", Boolean(path) && state.full);
    if (!path) return;
    const node = state.model.nodes.get(path);
    const told = this.told.path === path ? this.told : {};
    this.header(path, node);
    if (!node) {
      patch(this.facts, "gone", () => []);
      this.facts.hidden = true;
      this.time.hidden = true;
    } else {
      this.numbers(node, told);
      drawTimeline(this.time, node, told, state);
    }
    const counts = {
      Why: told.why?.count ?? null, Log: told.logs?.length ? told.logs.length - 1 : null, Stacks: told.stacks?.greenlets ?? null,
    };
    patch(this.tabs, [this.tab, counts], () => TABS.map((name) =>
      h("button", { type: "button", role: "tab", "aria-selected": name === this.tab, onclick: () => this.show(name) }, name, counts[name] != null && h("small", {}, ` ${counted(counts[name])}`))));
    for (const name of TABS) this.parts[name].hidden = !state.full && name !== this.tab;
    const isShown = (name) => !this.parts[name].hidden;
    if (isShown("Why")) this.whys.draw(this.parts.Why, node, told);
    if (isShown("Log")) this.log(told);
    else this.logOf = null;
    if (isShown("Stacks")) this.stacks(node, told);
    if (isShown("Resources")) drawResources(this.parts.Resources, node, told, state);
    if (isShown("Policy")) drawPolicy(this.parts.Policy, told, state);
    this.footer(path, node);
  }

  header(path, node) {
    const { state } = this;
    const crumbs = path.split("/").slice(0, -1);
    const shown = node ? (node.state === "running" && node.unready !== null ? "unready" : node.state) : "unknown";
    const kind = node ? (node.process ? "program" : node.klass || node.kind) : "no longer in the tree";
    const says = node ? headline(node, state.now(), (this.told.why?.count ?? 0) > 0) : ["It has left the tree. What is remembered of it is below."];
    patch(this.head, [path, shown, kind, says, state.full], () => [
      h("div", { class: "crumbs" }, crumbs.map((name, i) => [h("button", { type: "button", class: "link", onclick: () => this.select(crumbs.slice(0, i + 1).join("/")) }, cut(name, 100)), " / "]),
        h("span", { class: "spring" }),
        h("button", { type: "button", class: "bare", id: "grow", "aria-label": state.full ? "Beside the tree" : "Full page", title: state.full ? "Beside the tree" : "Full page (Enter)", onclick: this.grow }, icon(state.full ? "shrink" : "grow")),
        h("button", { type: "button", class: "bare", id: "close", "aria-label": "Close", title: "Close (Esc)", onclick: this.close }, icon("close"))),
      h("h2", {}, icon(shown), h("span", { class: "d-name" }, cut(nameOf(path), 300)), h("span", { class: "dim kind" }, `${kind}${node ? ` · ${node.unready !== null && node.state === "running" ? "not ready" : node.state}` : ""}`)),
      h("p", {}, says.map((each) => (typeof each === "string" ? each : h("strong", {}, ago(each.since, each.form ?? "exact"))))),
      node?.unready && node.state === "running" && h("p", { class: "warn-text" }, `Not ready: ${cut(node.unready, 300)}`),
    ]);
  }

  numbers(node, told) {
    const { state } = this;
    const limit = limitOf(told);
    const last = told.why?.rulings?.at(-1);
    const cells = [];
    const program = told.service?.program;
    const usage = state.usage.get(node.path);
    if (node.state === "restarting" && node.nextTryAt != null) {
      cells.push(["Next try", [until(node.nextTryAt)], `at ${clock(node.nextTryAt)}${last?.delay ? `, backoff ${duration(last.delay)}` : ""}`]);
    } else if (node.process) cells.push(["Process", [`pid ${node.process.pid}`], cut(program?.command ?? "", 60)]);
    if (limit?.of != null && (limit.used > 0 || node.restarts > 0 || node.state !== "running")) {
      const oldest = last && instant(last.at) ? (instant(last.at) - state.now()) / 1000 + limit.window : null;
      const drops = limit.used && oldest > 0 ? `; all are out in ${duration(oldest)}` : "";
      cells.push([`Restart limit of ${limit.name}`, [limit.of <= 8 && pips(limit, { words: false }), `${limit.used} of ${limit.of}`], `in ${span(limit.window)}${drops}`]);
    }
    const rss = usage?.process?.rss ?? told.service?.process?.rss;
    if (rss) cells.push(["Memory", [bytes(rss)[0], h("small", {}, ` ${bytes(rss)[1]}`)], growth(state.samples.get(node.path))]);
    if (node.incarnation > 1 && cells.length < 3) cells.push(["Lives", [counted(node.incarnation)], livesSaid(node, state)]);
    this.facts.hidden = !cells.length;
    patch(this.facts, cells.map(([a, b, c]) => [a, b.map((e) => e?.dataset?.until ?? e?.textContent ?? e), c]), () => cells.map(([name, value, more]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("strong", {}, value), more && h("span", {}, more)))));
  }

  log(told) {
    const { logs } = told;
    const { body, state } = this;
    // Who has scrolled up reads there, whatever is written meanwhile.
    const follows = this.logOf !== state.selected || body.scrollHeight - body.scrollTop - body.clientHeight < 40;
    const isNew = patch(this.parts.Log, [this.state.full, logs?.error, logs?.length, logs?.at?.(-2)?.at, this.state.selected], () => [
      this.state.full && h("h3", {}, "Log ", h("small", {}, logs?.length ? `${plural(logs.length - 1, "line")} · following` : "")),
      !logs ? h("p", { class: "dim" }, "Asking…") : logs.error ? h("p", { class: "dim" }, logs.error) : logLines(logs, this.state.selected),
    ]);
    if (isNew && follows && this.tab === "Log" && !state.full) body.scrollTop = body.scrollHeight;
    this.logOf = logs ? state.selected : null;
  }

  stacks(node, told) {
    patch(this.parts.Stacks, [this.state.full, told.stacks, node?.state], () => [
      this.state.full && h("h3", {}, "Stacks ", h("small", {}, told.stacks?.greenlets != null ? plural(told.stacks.greenlets, "greenlet") : "")),
      !told.stacks ? h("p", { class: "dim" }, "Asking…") : told.stacks.error ? h("p", { class: "dim" }, told.stacks.error)
        : told.stacks.count ? stacksOf(told.stacks.stacks, this.state.selected)
        : h("p", { class: "dim" }, node?.state === "running" ? "No greenlet of it is anywhere: it waits for nothing but events and timers." : "It does not run, so no greenlet is anywhere. Where it was when it crashed is under Why."),
    ]);
  }

  footer(path, node) {
    const { state } = this;
    const isDown = node && ["stopped", "finished", "failed", "restarting"].includes(node.state);
    const verb = isDown ? "start" : "restart";
    const command = !node ? `sprag why ${within(path)}` : node.parent ? `sprag ${verb} ${within(path)}` : "sprag stop";
    patch(this.foot, [path, state.write, command, isDown, node?.state, Boolean(node)], () => {
      if (state.write && node) {
        const button = (what, word, kind = "") => h("button", { type: "button", class: kind, onclick: () => this.act(what, path) }, word);
        return node.parent ? [isDown ? button("start", node.state === "restarting" ? "Start now" : "Start") : button("restart", "Restart…"), (!isDown || node.state === "restarting") && button("stop", "Stop…", "danger")] : [button("stop", "Stop the app…", "danger")];
      }
      const copy = h("button", { type: "button", class: "link" }, "Copy");
      copy.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(command);
          text(copy, "Copied");
        } catch {
          text(copy, "Select it");
        }
      });
      return [icon("eye"), h("span", {}, "Read-only. In a shell:"), h("code", { class: "command" }, cut(command, 500)), copy];
    });
  }
}

/** Within which time it had its lives, and which part of the time that is shown it was up. */
function livesSaid(node, state) {
  const now = state.now();
  const { startedAt } = state.model.root;
  const up = upSince(node, now - state.span * 1000, now);
  return [
    startedAt != null && `in ${roughly((now - startedAt) / 1000)}`,
    up && `up ${Math.floor(up.share * 100)} % of ${span(Math.round((now - up.begin) / 1000))}`,
  ].filter(Boolean).join("; ");
}

function growth(samples) {
  const known = (samples ?? []).filter((each) => each.rss);
  if (known.length < 5) return "";
  const first = known.at(-Math.min(15, known.length));
  const last = known.at(-1);
  const rate = (last.rss - first.rss) / ((last.at - first.at) / 1000);
  return rate > 100_000 ? `grows ${bytes(rate).join(" ")}/s` : "";
}
