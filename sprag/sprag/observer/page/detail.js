// One service: a panel beside the tree, a sheet on phones, or the full page.

import * as api from "./api.js";
import { backoffSaid, forecast } from "./attention.js";
import { $, ago, h, icon, patch, pips, s, spark, text, until } from "./dom.js";
import { shape, ticks } from "./lifeline.js";
import { logLines } from "./ledgers.js";
import { decision, foldLibraries, frames, headline, seconds, sentence } from "./stories.js";
import { stacksOf } from "./ledgers.js";
import { bytes, clock, counted, cut, duration, instant, list, nameOf, parentOf, percent, plural, shortClock, span, within } from "./words.js";

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
    this.shownTrace = new Set();
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
    if (!now && Date.now() - (told.at ?? 0) < FRESH && wants.every((each) => each in told)) return;
    if (this.isLoading === path) return;
    this.isLoading = path;
    told.at = Date.now();
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
      this.timeline(node, told);
    }
    const counts = {
      Why: told.why?.count ?? null, Log: told.logs?.length ? told.logs.length - 1 : null, Stacks: told.stacks?.greenlets ?? null,
    };
    patch(this.tabs, [this.tab, counts], () => TABS.map((name) =>
      h("button", { type: "button", role: "tab", "aria-selected": name === this.tab, onclick: () => this.show(name) }, name, counts[name] != null && h("small", {}, ` ${counted(counts[name])}`))));
    for (const name of TABS) this.parts[name].hidden = !state.full && name !== this.tab;
    const isShown = (name) => !this.parts[name].hidden;
    if (isShown("Why")) this.why(node, told);
    if (isShown("Log")) this.log(told);
    if (isShown("Stacks")) this.stacks(node, told);
    if (isShown("Resources")) this.resources(node, told);
    if (isShown("Policy")) this.policy(told);
    this.footer(path, node);
  }

  header(path, node) {
    const { state } = this;
    const crumbs = path.split("/").slice(0, -1);
    const shown = node ? (node.state === "running" && node.unready !== null ? "unready" : node.state) : "unknown";
    const kind = node ? (node.process ? "program" : node.klass || node.kind) : "no longer in the tree";
    const says = node ? headline(node, state.now(), (this.told.why?.count ?? 0) > 0) : ["It has left the tree. What is remembered of it is below."];
    patch(this.head, [path, shown, kind, says, state.full], () => [
      h("div", { class: "crumbs" }, crumbs.map((name, i) => [h("button", { type: "button", class: "link", onclick: () => this.select(crumbs.slice(0, i + 1).join("/")) }, name), " / "]),
        h("span", { class: "spring" }),
        h("button", { type: "button", class: "bare", id: "grow", "aria-label": state.full ? "Beside the tree" : "Full page", title: state.full ? "Beside the tree" : "Full page (Enter)", onclick: this.grow }, icon(state.full ? "shrink" : "grow")),
        h("button", { type: "button", class: "bare", id: "close", "aria-label": "Close", title: "Close (Esc)", onclick: this.close }, icon("close"))),
      h("h2", {}, icon(shown), h("span", { class: "d-name" }, nameOf(path)), h("span", { class: "dim kind" }, `${kind}${node ? ` · ${node.unready !== null && node.state === "running" ? "not ready" : node.state}` : ""}`)),
      h("p", {}, says.map((each) => (typeof each === "string" ? each : h("strong", {}, ago(each.since, each.form ?? "exact"))))),
      node?.unready && node.state === "running" && h("p", { class: "warn-text" }, `Not ready: ${cut(node.unready, 300)}`),
    ]);
  }

  /** The restart limit that it counts toward, as it is used now. */
  limit(told) {
    const parent = told.parent;
    const used = parent?.counters?.child_restarts_within_window;
    const policy = parent?.policy;
    if (used == null || !policy) return null;
    return { used, of: policy.max_restarts, window: policy.max_seconds, name: nameOf(parent.path) };
  }

  numbers(node, told) {
    const { state } = this;
    const limit = this.limit(told);
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
    if (node.incarnation > 1 && cells.length < 3) cells.push(["Lives", [counted(node.incarnation)], node.startedAt ? `the last since ${clock(node.startedAt)}` : ""]);
    this.facts.hidden = !cells.length;
    patch(this.facts, cells.map(([a, b, c]) => [a, b.map((e) => e?.dataset?.until ?? e?.textContent ?? e), c]), () => cells.map(([name, value, more]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("strong", {}, value), more && h("span", {}, more)))));
  }

  timeline(node, told) {
    const { state } = this;
    const last = told.why?.rulings?.at(-1);
    const with_ = (last?.covered ?? []).filter((each) => each !== node.path).map((each) => state.model.nodes.get(each)).filter(Boolean).slice(0, 4);
    const rows = [node, ...with_];
    const now = state.now();
    const window_ = (this.limit(told)?.window ?? last?.max_seconds ?? 60) || 60;
    const back = Math.min(Math.max(window_ * 1.35, 60), 3600) * 1000;
    const next = node.state === "restarting" && node.nextTryAt ? Math.max(0, node.nextTryAt - now) : 0;
    this.time.hidden = !(node.crashes.length || node.marks.length || node.state === "restarting");
    if (this.time.hidden) return;
    const wide = this.time.clientWidth || 420;
    const label = Math.min(110, 12 + 7 * Math.max(...rows.map((each) => Math.min(each.name.length, 14))));
    const width = Math.max(120, wide - label - 12);
    const to = now + Math.max(next * 1.15, back * 0.09);
    const from = now - back;
    const x = (at) => label + ((at - from) / (to - from)) * width;
    const signature = [rows.map((each) => [each.path, each.state, each.marks.length]), Math.floor(now / Math.max(1000, back / width)), wide, next > 0];
    patch(this.time, signature, () => {
      const height = rows.length * 21;
      const begin = Math.max(from, now - window_ * 1000);
      const svg = s("svg", { width: wide, height: height + 20, role: "img", "aria-label": `Its last ${duration(back / 1000)}: ${plural(node.crashes.filter((at) => at > from).length, "crash", "crashes")}` },
        s("rect", { class: "window", x: x(begin), y: 0, width: Math.max(0, x(now) - x(begin)), height }),
        begin > from && s("line", { class: "edge", x1: x(begin), x2: x(begin), y1: 0, y2: height }));
      rows.forEach((each, i) => {
        const y = i * 21 + 10;
        const { segments, marks } = shape(each, from, now, x(now) - label);
        svg.append(s("text", { x: label - 8, y: y + 4, "text-anchor": "end" }, cut(each.name, 14)),
          ...segments.map(([a, b, kind]) => s("line", { class: `${kind} thick`, x1: label + a, x2: label + b, y1: y, y2: y })),
          ...marks.map((mark) => markOf(mark, label, y)));
        if (each.state === "restarting") svg.append(s("line", { class: "waits", x1: x(now), x2: x(now + next) || x(now), y1: y, y2: y }));
        if (i === 0 && next) svg.append(s("circle", { class: "next", cx: x(now + next), cy: y, r: 4.5 }));
      });
      svg.append(s("line", { class: "now", x1: x(now), x2: x(now), y1: 0, y2: height }));
      const words = [[begin > from ? x(begin) : -99, `${span(window_)} window`, "middle", ""], [x(now), "now", "middle", "strong"]];
      if (next) words.push([Math.min(wide - 2, x(now + next) + 26), "next try", "end", "warn-text"]);
      for (const at of ticks(from, now, width, 110)) if (Math.abs(x(at) - x(begin)) > 70 && x(now) - x(at) > 46) words.push([x(at), back < 600_000 ? clock(at) : shortClock(at), "middle", ""]);
      if (next && Math.abs(x(now + next) - x(now)) < 30) words[1][2] = "end";
      svg.append(...words.filter(([at]) => at > 0).map(([at, word, anchor, kind]) => s("text", { x: at, y: height + 15, "text-anchor": anchor, class: kind }, word)));
      return [svg];
    });
  }

  why(node, told) {
    const part = this.parts.Why;
    const answer = told.why;
    const limit = this.limit(told);
    const parent = this.state.model.nodes.get(parentOf(this.state.selected));
    const says = node && ["running", "restarting", "starting"].includes(node.state) && told.service?.policy ? forecast(told.service, parent, limit, parent?.parent) : "";
    const all = (answer?.rulings ?? []).map((each) => decision(each, answer.path)).reverse();
    patch(part, [this.state.full, answer?.error, answer?.count, all[0]?.at, says, node?.state, [...this.shownTrace], answer?.path], () => {
      const out = [this.state.full && h("h3", {}, "Why ", h("small", {}, answer?.count ? `${plural(answer.count, "decision")}, the latest first` : ""))];
      if (says) out.push(h("p", { class: "forecast" }, h("strong", {}, "If it crashes again: "), says));
      if (!answer) out.push(h("p", { class: "dim" }, "Asking…"));
      else if (answer.error) out.push(h("p", { class: "dim" }, answer.error));
      else if (!all.length) out.push(h("p", { class: "dim" }, nothingDecided(node)));
      all.forEach((one, i) => out.push(this.entry(one, all[i + 1], i, node)));
      const other = [...(answer?.holds ?? []), ...(answer?.moves ?? []), ...(answer?.replacements ?? [])];
      for (const note of other.reverse()) out.push(h("p", { class: "note" }, h("time", {}, clock(instant(note.at))), ` ${note.what ?? "replaced"}: ${note.because ?? note.path}`));
      return out;
    });
  }

  entry(one, before, index, node) {
    const isSame = index > 0 && this.sameAsLatest(one);
    const key = `${one.at}`;
    const isOpen = this.shownTrace.has(key) || !isSame;
    const life = one.incarnation ? ` in life ${one.incarnation}` : "";
    const policy = index === 0 ? this.told.service?.policy : null;
    const rule = one.rule ? `${one.rule}; ` : policy ? `${policy.restart}; ` : "";
    const trace = one.traceback && (isOpen ? traceback(one.traceback) : null);
    const latest = index === 0 && node ? node.state : "running";
    return h("article", { class: "entry" },
      h("time", { title: one.at }, clock(instant(one.at))), icon(latest, "at"),
      h("div", {},
        h("h4", {}, one.isOwn ? `${one.title}${life}${lasted(one, before)}` : `${nameOf(one.path)}: ${one.title.toLowerCase()}${life}`),
        h("dl", {},
          (one.error || trace) && [h("dt", {}, "Error"), h("dd", {}, isSame && !this.shownTrace.has(key)
            ? ["the same ", h("button", { type: "button", class: "link", onclick: () => { this.shownTrace.add(key); this.draw(); } }, "traceback")]
            : h("code", {}, cut(one.error, 1000)))],
          trace && [h("dd", { class: "wide" }, trace)],
          one.strategy && (index === 0 || !isSame) && [h("dt", {}, "Rule"), h("dd", {}, rule, nameOf(one.supervisor), " is ", h("strong", {}, one.strategy), policy?.backoff ? `; backoff ${backoffSaid(policy.backoff)}` : "")],
          [h("dt", {}, "So"), h("dd", {}, one.so[0], " ", one.so[1] && h("strong", {}, one.so[1]), one.with.length ? [", with it ", h("strong", {}, list(one.with, 4))] : "")],
          one.limit && [h("dt", {}, "Limit"), h("dd", {}, pips(one.limit, { words: false, tone: index ? "past" : undefined }), ` restart ${one.limit.used} of at most ${one.limit.of} within ${span(one.limit.window)}`)])));
  }

  sameAsLatest(one) {
    const latest = this.told.why.rulings.at(-1);
    return Boolean(one.traceback) && latest.traceback === one.traceback;
  }

  log(told) {
    const { logs } = told;
    patch(this.parts.Log, [this.state.full, logs?.error, logs?.length, logs?.at?.(-2)?.at, this.state.selected], () => [
      this.state.full && h("h3", {}, "Log ", h("small", {}, logs?.length ? `${plural(logs.length - 1, "line")} · following` : "")),
      !logs ? h("p", { class: "dim" }, "Asking…") : logs.error ? h("p", { class: "dim" }, logs.error) : logLines(logs, this.state.selected),
    ]) && this.tab === "Log" && !this.state.full && (this.body.scrollTop = this.body.scrollHeight);
  }

  stacks(node, told) {
    patch(this.parts.Stacks, [this.state.full, told.stacks, node?.state], () => [
      this.state.full && h("h3", {}, "Stacks ", h("small", {}, told.stacks?.greenlets != null ? plural(told.stacks.greenlets, "greenlet") : "")),
      !told.stacks ? h("p", { class: "dim" }, "Asking…") : told.stacks.error ? h("p", { class: "dim" }, told.stacks.error)
        : told.stacks.count ? stacksOf(told.stacks.stacks, this.state.selected)
        : h("p", { class: "dim" }, node?.state === "running" ? "No greenlet of it is anywhere: it waits for nothing but events and timers." : "It does not run, so no greenlet is anywhere. Where it was when it crashed is under Why."),
    ]);
  }

  resources(node, told) {
    const samples = this.state.samples.get(this.state.selected) ?? [];
    const { service } = told;
    const now = this.state.now();
    patch(this.parts.Resources, [this.state.full, samples.length, samples.at(-1)?.at, service?.counters, service?.program?.ended, node?.state], () => {
      const isDown = node?.state !== "running";
      const chart = (title, value, unit, numbers, options = {}) => h("div", { class: "chart" }, h("span", {}, title), h("strong", {}, isDown ? "down" : value, !isDown && unit && h("small", {}, ` ${unit}`)), spark(numbers, { width: 400, height: 54, ...options }));
      const last = samples.at(-1);
      const out = [this.state.full && h("h3", {}, "Resources ", h("small", {}, "while this page looks"))];
      if (samples.some((each) => each.rss)) {
        const [value, unit] = bytes(last.rss);
        out.push(marked(chart(`Memory (RSS)${node?.process ? ` of pid ${node.process.pid}` : ""}`, value, unit, samples.map((each) => each.rss)), samples, node));
      }
      if (samples.length) {
        out.push(chart(node?.process ? "CPU, of one core" : "CPU, share of the loop", percent(last.cpu), "%", samples.map((each) => each.cpu)));
        if (!node?.process) out.push(chart("Events and ticks/s", last.events.toFixed(1), "", samples.map((each) => each.events)));
      } else out.push(h("p", { class: "dim" }, "Measured only while this page looks: a moment."));
      const rows = [];
      const owned = node?.owned ?? {};
      for (const key of ["greenlets", "timers", "listeners", "tasks", "cleanups"]) if (owned[key]) rows.push([key[0].toUpperCase() + key.slice(1), counted(owned[key])]);
      const process = service?.process;
      if (process?.descriptors != null) rows.push(["Open files", counted(process.descriptors)]);
      if (process?.processes != null) rows.push(["Processes", counted(process.processes)]);
      const program = service?.program;
      if (program) {
        rows.push(["Command", h("code", {}, program.command)]);
        if (program.port) rows.push(["Port", String(program.port)]);
        if (program.ended) rows.push(["Last end", `${program.ended.signal ? `by ${program.ended.signal}` : `with code ${program.ended.code}`}${program.ended.asked ? ", as asked" : ""}, ${clock(instant(program.ended.at))}`]);
      }
      for (const cron of service?.crons ?? []) rows.push([cron.expression, cron.next_run ? `next at ${clock(instant(cron.next_run))}` : "never again"]);
      for (const probe of service?.probes ?? []) rows.push([`Probe ${probe.function}`, `${probe.failed} of ${probe.failures} failed`]);
      out.push(table(rows));
      const errors = (program?.output ?? []).filter((each) => each.stream === "stderr").slice(-8);
      if (errors.length) out.push(h("h4", {}, "Last lines of its stderr"), h("pre", { class: "trace" }, errors.map((each) => cut(each.line, 500)).join("\n")));
      return out;
    });
  }

  policy(told) {
    const { service } = told;
    patch(this.parts.Policy, [this.state.full, service?.policy, service?.error], () => {
      const policy = service?.policy;
      const out = [this.state.full && h("h3", {}, "Policy")];
      if (!policy) return [...out, h("p", { class: "dim" }, service?.error ?? "Asking…")];
      const rows = [["Class", h("code", {}, `${service.module}.${service.class}`)], ["Restart", policy.restart], ["Shutdown", policy.shutdown == null ? "without a limit" : `${span(policy.shutdown)}, then killed`], ["Start timeout", seconds(policy.start_timeout)],
        ["Backoff", policy.backoff ? backoffSaid(policy.backoff) : "none"], ["On failure", Object.entries(policy.on_failure ?? {}).map(([type, done]) => `${type}: ${done}`).join(", ") || "no rules"], ["Significant", policy.significant ? "yes" : "no"]];
      if (policy.needs?.length) rows.push(["Needs", list(policy.needs, 9)]);
      if (policy.heartbeat) rows.push(["Heartbeat", span(policy.heartbeat)]);
      if (service.kind === "supervisor") rows.push(["Strategy", policy.strategy], ["Restart limit", policy.max_restarts == null ? "none" : `${policy.max_restarts} in ${span(policy.max_seconds)}`]);
      const given = Object.entries(service.arguments ?? {});
      if (given.length) rows.push(["Arguments", h("code", {}, cut(given.map(([key, value]) => `${key}=${value}`).join(", "), 600))]);
      return [...out, table(rows)];
    });
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
      return [icon("eye"), h("span", {}, "Read-only. In a shell:"), h("code", { class: "command" }, command), copy];
    });
  }
}

function markOf({ x, kind }, left, y) {
  const at = left + x;
  if (kind === "crash") return s("line", { class: "crash", x1: at, x2: at, y1: y - 8, y2: y + 8 });
  if (kind === "hand") return s("rect", { class: "hand", x: at - 2, y: y - 6, width: 4, height: 12, rx: 1 });
  return s("path", { class: "with", d: `M${at} ${y - 5}l5 5-5 5-5-5z` });
}

/** How long a life has lasted: since the last decision, and the wait after it. */
function lasted(one, before) {
  if (!before?.isOwn || before.incarnation + 1 !== one.incarnation) return "";
  const length = (instant(one.at) - instant(before.at)) / 1000 - (before.word === "back_off" ? before.delay : 0);
  return length >= 0 ? ` after ${length < 1 ? duration(length) : duration(Math.round(length)).replace(".0 ", " ")}` : "";
}

function nothingDecided(node) {
  const said = "No supervisor has had to decide about it: it has neither crashed nor been restarted";
  return node?.state === "finished" ? `${said}. It ended by itself, cleanly.` : node?.state === "stopped" ? `${said}. It was stopped on purpose, or ignored.` : `${said}.`;
}

function traceback(told) {
  const found = frames(told);
  if (!found.frames.length) return h("pre", { class: "trace" }, cut(found.message || String(told), 4000));
  return h("pre", { class: "trace" }, foldLibraries(found.frames).map((frame) =>
    frame.isLibrary ? [`${frame.file}:${frame.line} ${frame.name}`, frame.count > 1 ? ` · ${frame.count} library frames` : "", "\n"]
      : [h("b", {}, frame.file), `:${frame.line} ${frame.name}\n`, frame.source ? `    ${cut(frame.source, 300)}\n` : ""]),
  h("span", { class: "bad-text" }, cut(found.message, 2000)));
}

const table = (rows) => h("dl", { class: "table" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

/** Ends of the process as marks on its chart. */
function marked(chart, samples, node) {
  const svg = chart.querySelector("svg");
  const from = samples[0].at;
  const to = samples.at(-1).at;
  if (to > from) for (const at of node?.crashes ?? []) if (at > from && at <= to) svg.append(s("line", { class: "crash", x1: ((at - from) / (to - from)) * 400, x2: ((at - from) / (to - from)) * 400, y1: 0, y2: 54 }));
  return chart;
}

function growth(samples) {
  const known = (samples ?? []).filter((each) => each.rss);
  if (known.length < 5) return "";
  const first = known.at(-Math.min(15, known.length));
  const last = known.at(-1);
  const rate = (last.rss - first.rss) / ((last.at - first.at) / 1000);
  return rate > 100_000 ? `grows ${bytes(rate).join(" ")}/s` : "";
}
