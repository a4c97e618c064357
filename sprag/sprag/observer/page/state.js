// What is known and what is looked at: the one place, which everything else reads.

import { stored } from "./kept.js";
import { Model } from "./model.js";

export const WRITE_FOR = 5 * 60_000; // ms after which the switch goes off

export const state = {
  model: new Model(), app: "", apps: [], nodes: [], node: "", view: "services", selected: null, full: false,
  paused: false, mode: "connecting", reason: "", since: null, retryAt: null, behind: 0, heardAt: null, offset: 0,
  ended: null, held: null, write: false, canWrite: false, writeUntil: 0, filter: "", states: new Set(),
  order: "tree", span: 900, usage: new Map(), samples: new Map(), vitals: { busy: [], lag: [], greenlets: [], rss: [] },
  keys: stored("keys", "on") === "on",
  // Whatever is no time of day is measured with performance.now(): nobody sets that clock.
  /** The time at the app, in ms; stands still when nothing is known, or while paused. */
  now() {
    if (this.frozenAt) return this.frozenAt;
    return Date.now() + this.offset;
  },
  frozenAt: null,
  isDirty: true, // something is to be drawn
};
state.model.now = () => state.now();

/** Something is to be drawn, with the next beat. */
export const dirty = () => (state.isDirty = true);

const heard = new EventTarget();
/** Have *then* called when something happens: `draw`, to be drawn now; `live`, all is known. */
export const on = (what, then) => heard.addEventListener(what, () => then());
export const happens = (what) => heard.dispatchEvent(new Event(what));
/** Draw now what has changed. */
export function redraw() {
  dirty();
  happens("draw");
}
