// Why a service is as it is: what happens if it crashes again, and each decision about it.

import { backoffSaid, forecast } from "./attention.js";
import { h, icon, patch, pips } from "./dom.js";
import { decision, foldLibraries, frames, limitOf } from "./stories.js";
import { clock, cut, duration, instant, list, nameOf, parentOf, plural, span } from "./words.js";

export class Why {
  constructor(state, redraw) {
    this.state = state;
    this.redraw = redraw;
    this.shownTrace = new Set(); // of decisions whose traceback, the same as the latest, is shown
  }

  /** Draw it, in *part*. */
  draw(part, node, told) {
    const answer = told.why;
    const limit = limitOf(told);
    const parent = this.state.model.nodes.get(parentOf(this.state.selected));
    const says = node && ["running", "restarting", "starting"].includes(node.state) && told.service?.policy ? forecast(told.service, parent, limit, parent?.parent) : "";
    const all = (answer?.rulings ?? []).map((each) => decision(each, answer.path)).reverse();
    patch(part, [this.state.full, answer?.error, answer?.count, all[0]?.at, says, node?.state, [...this.shownTrace], answer?.path], () => {
      const out = [this.state.full && h("h3", {}, "Why ", h("small", {}, answer?.count ? `${plural(answer.count, "decision")}, the latest first` : ""))];
      if (says) out.push(h("p", { class: "forecast" }, h("strong", {}, "If it crashes again: "), says));
      if (!answer) out.push(h("p", { class: "dim" }, "Asking…"));
      else if (answer.error) out.push(h("p", { class: "dim" }, answer.error));
      else if (!all.length) out.push(h("p", { class: "dim" }, nothingDecided(node)));
      all.forEach((one, i) => out.push(this.entry(one, all[i + 1], i, node, told)));
      const other = [...(answer?.holds ?? []), ...(answer?.moves ?? []), ...(answer?.replacements ?? [])];
      for (const note of other.reverse()) out.push(h("p", { class: "note" }, h("time", {}, clock(instant(note.at))), ` ${note.what ?? "replaced"}: ${note.because ?? note.path}`));
      return out;
    });
  }

  entry(one, before, index, node, told) {
    const isSame = index > 0 && sameAsLatest(one, told);
    const key = `${one.at}`;
    const isOpen = this.shownTrace.has(key) || !isSame;
    const life = one.incarnation ? ` in life ${one.incarnation}` : "";
    const policy = index === 0 ? told.service?.policy : null;
    const rule = one.rule ? `${one.rule}; ` : policy ? `${policy.restart}; ` : "";
    const trace = one.traceback && (isOpen ? traceback(one.traceback) : null);
    const latest = index === 0 && node ? node.state : "running";
    return h("article", { class: "entry" },
      h("time", { title: one.at }, clock(instant(one.at))), icon(latest, "at"),
      h("div", {},
        h("h4", {}, one.isOwn ? `${one.title}${life}${lasted(one, before)}` : `${nameOf(one.path)}: ${one.title.toLowerCase()}${life}`),
        h("dl", {},
          (one.error || trace) && [h("dt", {}, "Error"), h("dd", {}, isSame && !this.shownTrace.has(key)
            ? ["the same ", h("button", { type: "button", class: "link", onclick: () => { this.shownTrace.add(key); this.redraw(); } }, "traceback")]
            : h("code", {}, cut(one.error, 1000)))],
          trace && [h("dd", { class: "wide" }, trace)],
          one.strategy && (index === 0 || !isSame) && [h("dt", {}, "Rule"), h("dd", {}, rule, nameOf(one.supervisor), " is ", h("strong", {}, one.strategy), policy?.backoff ? `; backoff ${backoffSaid(policy.backoff)}` : "")],
          [h("dt", {}, "So"), h("dd", {}, one.so[0], " ", one.so[1] && h("strong", {}, one.so[1]), one.with.length ? [", with it ", h("strong", {}, list(one.with, 4))] : "")],
          one.limit && [h("dt", {}, "Limit"), h("dd", {}, pips(one.limit, { words: false, tone: index ? "past" : undefined }), ` restart ${one.limit.used} of at most ${one.limit.of} within ${span(one.limit.window)}`)])));
  }
}

function sameAsLatest(one, told) {
  const latest = told.why.rulings.at(-1);
  return Boolean(one.traceback) && latest.traceback === one.traceback;
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
