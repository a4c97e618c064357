// What a service uses, and what it was declared to be.

import { backoffSaid } from "./attention.js";
import { h, patch, s, spark } from "./dom.js";
import { seconds } from "./stories.js";
import { bytes, clock, counted, cut, instant, list, percent, span } from "./words.js";

/** What it uses and owns; of a program, how it ended and what it said last. */
export function drawResources(part, node, told, state) {
  const samples = state.samples.get(state.selected) ?? [];
  const { service } = told;
  const now = state.now();
  patch(part, [state.full, samples.length, samples.at(-1)?.at, service?.counters, service?.program?.ended, service?.process, node?.state], () => {
    const isDown = node?.state !== "running";
    const chart = (title, value, unit, numbers, options = {}) => h("div", { class: "chart" }, h("span", {}, title), h("strong", {}, isDown ? "down" : value, !isDown && unit && h("small", {}, ` ${unit}`)), spark(numbers, { width: 400, height: 54, ...options }),
      samples.length > 1 && h("span", { class: "ends" }, h("span", {}, clock(samples[0].at)), h("span", {}, "now")));
    const last = samples.at(-1);
    const out = [state.full && h("h3", {}, "Resources ", h("small", {}, "while this page looks"))];
    if (samples.some((each) => each.rss)) {
      const [value, unit] = bytes(last.rss);
      const limit = service?.process?.memory_limit;
      const of = node?.process ? ` of pid ${node.process.pid}` : "";
      const rss = samples.map((each) => each.rss);
      // Up to the limit, so that it is seen how near that is.
      const most = limit && Math.max(limit, ...rss.filter(Number.isFinite));
      const drawn = chart(`Memory (RSS)${of}${limit ? `; dashed: the ${bytes(limit).join(" ")} of its cgroup` : ""}`, value, unit, rss, { most, line: limit });
      out.push(marked(drawn, samples, node));
    }
    if (samples.length) {
      out.push(chart(node?.process ? "CPU, of one core" : "CPU, share of the loop", percent(last.cpu), "%", samples.map((each) => each.cpu)));
      if (!node?.process) out.push(chart("Events and ticks/s", last.events.toFixed(1), "", samples.map((each) => each.events)));
    } else out.push(h("p", { class: "dim" }, "Measured only while this page looks: a moment."));
    const rows = [];
    const owned = node?.owned ?? {};
    for (const key of ["greenlets", "timers", "listeners", "tasks", "cleanups"]) if (owned[key]) rows.push([key[0].toUpperCase() + key.slice(1), counted(owned[key])]);
    const process = service?.process;
    if (process?.threads != null) rows.push(["Threads", counted(process.threads)]);
    // Each process has the limit for itself: of several the sum says nothing beside it.
    const most = process?.processes === 1 ? process.descriptors_limit : null;
    if (process?.descriptors != null) rows.push(["Open files", `${counted(process.descriptors)}${most != null ? ` of ${counted(most)}` : ""}`]);
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

/** What it was declared to be. */
export function drawPolicy(part, told, state) {
  const { service } = told;
  patch(part, [state.full, service?.policy, service?.error], () => {
    const policy = service?.policy;
    const out = [state.full && h("h3", {}, "Policy")];
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

const table = (rows) => h("dl", { class: "table" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));


/** Ends of the process as marks on its chart. */
function marked(chart, samples, node) {
  const svg = chart.querySelector("svg");
  const from = samples[0].at;
  const to = samples.at(-1).at;
  if (to > from) for (const at of node?.crashes ?? []) if (at > from && at <= to) svg.append(s("line", { class: "crash", x1: ((at - from) / (to - from)) * 400, x2: ((at - from) / (to - from)) * 400, y1: 0, y2: 54 }));
  return chart;
}
