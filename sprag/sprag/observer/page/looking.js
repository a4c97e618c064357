// What of the app is looked at: a view, a service, beside the tree or as a page.

import { act } from "./act.js";
import { Detail } from "./detail.js";
import { $ } from "./dom.js";
import { Ledgers } from "./ledgers.js";
import { redraw, state } from "./state.js";
import { say } from "./toast.js";
import { Tree } from "./tree.js";

export const tree = new Tree(state, {
  select,
  open(path) {
    state.full = true;
    select(path);
  },
});
export const detail = new Detail(state, {
  select, grow, close: closeDetail,
  act: (what, path) => act(what, path, state, say).then(() => detail.load(true)),
});
export const ledgers = new Ledgers(state, select);

export function select(path, { byHand = false } = {}) {
  state.selected = path;
  if (path && byHand) $("rows").focus({ preventScroll: true });
  remember();
  detail.load(true);
  redraw();
}

/** Select a service where it can be seen. */
export function go(path) {
  state.view = "services";
  select(path);
  tree.show(path);
}

/** Make a page of what is selected, or a panel of the page. */
export function grow() {
  state.full = !state.full;
  detail.load(true);
  redraw();
}

export function closeDetail() {
  if (state.full) state.full = false;
  else state.selected = null;
  remember();
  redraw();
  $("rows").focus({ preventScroll: true });
}

export function view(key) {
  state.view = key;
  if (key !== "services") state.full = false;
  remember();
  ledgers.load();
  redraw();
}

/** Keep in the address what is looked at: it survives a reload. */
export function remember() {
  const kept = new URLSearchParams();
  if (state.view !== "services") kept.set("view", state.view);
  if (state.app && state.apps.length > 1) kept.set("app", state.app);
  if (state.selected) kept.set("path", state.selected);
  const said = kept.toString();
  history.replaceState(null, "", location.pathname + (said ? `#${said}` : ""));
}
