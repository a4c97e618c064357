// Starting, stopping and restarting: asked for twice, and never by mistake.

import * as api from "./api.js";
import { $, h } from "./dom.js";
import { counted, duration, list, nameOf, plural } from "./words.js";

const below = (node) => {
  let count = 0;
  const stack = [node];
  while (stack.length) {
    const each = stack.pop();
    if (each.state === "running") count += 1;
    stack.push(...each.children);
  }
  return count;
};

/** Ask whether it is meant; carry it out; say how it went. */
export async function act(what, path, state, tell) {
  const node = state.model.nodes.get(path);
  if (!node || !state.write) return;
  const isRoot = !node.parent;
  if (what !== "start" && !(await confirmed(what, node, isRoot, state))) return;
  try {
    const target = isRoot ? "stop?whole=1&wait=0" : `${what}/${api.pathPart(path)}?wait=0`;
    await api.post(state.app, target);
    tell(`${{ start: "Starting", stop: "Stopping", restart: "Restarting" }[what]} ${path}.`);
  } catch (error) {
    tell(`${path}: ${error.message}`, true);
  }
}

async function confirmed(what, node, isRoot, state) {
  const dialog = $("dialog");
  const count = below(node);
  let shutdown = null;
  try {
    shutdown = (await api.get(state.app, `service/${api.pathPart(node.path)}`)).policy.shutdown;
  } catch {
    // then it is not said
  }
  const verb = what === "stop" ? "Stop" : "Restart";
  const others = count - 1;
  const kills = shutdown == null ? "" : ` What is left after ${duration(shutdown)} is killed.`;
  const says = isRoot ? `All ${counted(count)} services stop, and the process ends. Nothing starts it again from here.`
    : others > 0 ? `It stops with the ${plural(others, "service")} below it${node.children.length <= 4 ? `: ${list(node.children.map((each) => each.name), 4)}` : ""}.` : "It stops, and nothing else does.";
  const after = isRoot ? "" : what === "stop" ? " Nobody restarts it until somebody starts it." : " Then it starts anew.";
  const leave = h("button", { type: "submit", value: "", autofocus: true, id: "leave" }, "Leave it");
  const go = h("button", { type: "submit", value: "go", class: "danger", disabled: isRoot }, isRoot ? "Stop the app" : verb);
  const typed = isRoot && h("input", { type: "text", autocomplete: "off", spellcheck: "false", "aria-label": `Type ${node.name}`, oninput: (event) => (go.disabled = event.target.value !== node.name) });
  dialog.replaceChildren(h("form", { method: "dialog" },
    h("h2", {}, `${verb} ${isRoot ? node.name : nameOf(node.path)}?`), h("p", {}, says, kills, after),
    isRoot && h("p", {}, "To do so, type ", h("strong", {}, node.name), " ", typed),
    h("div", { class: "buttons" }, leave, go)));
  dialog.returnValue = "";
  dialog.showModal();
  leave.focus();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  return dialog.returnValue === "go" && (!isRoot || typed.value === node.name);
}
