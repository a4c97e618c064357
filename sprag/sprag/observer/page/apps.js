// Which app, and which of its nodes, is looked at.

import * as api from "./api.js";
import { begin, lost, noVitals, take, thaw } from "./coming.js";
import { follow } from "./link.js";
import { remember } from "./looking.js";
import { dirty, state } from "./state.js";

const PATIENCE = 10_000; // ms for an answer of another node, which the app waits for for 2 s
let link = null;
let asked = null; // which app, last, for its nodes
/** Whether this tab reads for all of them. */
export const reads = () => link?.reads() ?? false;

/** Find out which apps there are, and look at one. */
export async function load() {
  try {
    const told = await api.apps();
    state.apps = told.apps;
    state.canWrite = told.write;
    const wanted = new URLSearchParams(location.hash.slice(1));
    state.app ||= state.apps.find((each) => each.key === wanted.get("app"))?.key ?? state.apps[0]?.key ?? "";
    if (!state.app) {
      state.mode = "none";
      setTimeout(load, 2000);
    } else if (!link) {
      state.selected ??= wanted.get("path");
      if (wanted.get("view")) state.view = wanted.get("view");
      open(state.app);
    }
  } catch (error) {
    state.mode = error.status === 401 || error.status === 403 ? "refused" : "gone";
    state.reason = error.message;
    state.isBridge = true;
    state.since ??= Date.now();
    if (state.mode === "gone") setTimeout(load, 2000);
  }
  dirty();
}

function open(app) {
  link?.close();
  if (app !== state.app) {
    state.nodes = [];
    asked = null;
  }
  state.app = app;
  state.model.clear();
  Object.assign(state, { pid: null, mode: "connecting", ended: null, frozenAt: null, usage: new Map(), samples: new Map(), held: null, lag: null, loop: null, since: null, paused: false, vitals: noVitals() });
  begin();
  link = follow(api.urlOf(app, "events"), api.takeToken(), (batch) => {
    if (state.app === app && !state.node) take(batch);
  });
  dirty();
}

/** Apps come and go, too. */
export async function look() {
  for (;;) {
    await api.sleep(10_000);
    if (document.hidden || state.mode === "refused") continue;
    try {
      state.apps = (await api.apps()).apps;
      dirty();
    } catch {
      // the stream says so
    }
  }
}

/** Look at another app or node. */
export function choose(each) {
  if (each.kind === "app" && each.key !== state.app) {
    state.node = "";
    state.selected = null;
    open(each.key);
  } else if (each.kind === "node") {
    const before = state.node;
    state.node = each.isHere ? "" : each.key;
    if (before !== state.node) {
      state.model.clear();
      if (state.node) state.mode = "connecting";
      else open(state.app);
    }
  }
  remember();
  dirty();
}

/** Try now what would be tried in a moment. */
export async function tryNow() {
  state.retryAt = performance.now();
  link?.retry();
  try {
    await api.get(state.app, "retry");
  } catch {
    // the banner says it already
  }
}

const IN_NO_CLUSTER = 409;

/** Keep the list of nodes up to date. */
export async function nodes() {
  let due = 0;
  for (;; await api.sleep(500)) {
    if (document.hidden || state.mode !== "live") continue;
    if (asked === state.app && performance.now() < due) continue;
    asked = state.app;
    due = performance.now() + 5000;
    try {
      const told = await api.get(asked, "nodes");
      if (asked === state.app) state.nodes = told.nodes ?? []; // else it is of another one
    } catch (error) {
      if (asked !== state.app || error.status !== IN_NO_CLUSTER) continue; // what is known stays
      state.nodes = [];
      due += 60_000;
    }
    dirty();
  }
}

/** Another node's tree is looked at now and then: what goes on there is not followed from here. */
export async function far() {
  for (;;) {
    const { node, app } = state;
    if (node && !document.hidden && !state.paused) {
      try {
        const root = await api.get(app, `tree?path=${encodeURIComponent(`${node}:`)}`, { signal: AbortSignal.timeout(PATIENCE) });
        if (node === state.node) {
          state.model.take({ event: "begin" });
          const stack = [[root, ""]];
          while (stack.length) {
            const [each, above] = stack.pop();
            const path = above ? `${above}/${each.name}` : each.name;
            state.model.take({ ...each, ...each.policy, path, event: "snapshot" });
            for (const child of [...(each.children ?? [])].reverse()) stack.push([child, path]);
          }
          state.model.take({ event: "live", app: root.app, pid: root.pid });
          thaw();
          state.mode = "live";
          state.heardAt = performance.now();
        }
      } catch (error) {
        if (node === state.node) lost({ event: "gone", reason: error.name === "TimeoutError" ? "it is silent" : error.message, retry: 2 });
      }
      dirty();
    }
    await api.sleep(2000);
  }
}
