// Which services are shown, and which of those are in the window. Pure.

const MANY = 60; // children with which a supervisor begins folded

export const isFolded = (node, choice) => node.children.length > 0 && (choice.get(node.path) ?? node.children.length > MANY);

/** The rows of the tree, parents first, without what is folded. */
export function flatten(root, choice) {
  const rows = [];
  if (!root) return rows;
  const stack = [root];
  while (stack.length) {
    const node = stack.pop();
    rows.push(node);
    if (!isFolded(node, choice)) for (let i = node.children.length - 1; i >= 0; i--) stack.push(node.children[i]);
  }
  return rows;
}

const hay = (node) => {
  node.hay ||= `${node.path}\n${node.klass}\n${node.failure ? `${node.failure.type} ${node.failure.message}` : ""}`.toLowerCase();
  return node.hay;
};

/** Compile what was typed: words that all have to occur, or a glob over paths. */
export function matcher(text) {
  const typed = text.trim().toLowerCase();
  if (!typed) return null;
  if (/[*?]/.test(typed)) {
    const parts = typed.replace(/\*{2,}/g, "**").split(/(\*\*|\*|\?)/).map((each) => ({ "**": ".*", "*": "[^/]*", "?": "[^/]" })[each] ?? each.replace(/[.+^${}()|[\]\\]/g, "\\$&"));
    const glob = new RegExp(`^(?:[^/]*/)?${parts.join("").replace(/^\//, "")}$`);
    return (node) => glob.test(node.path.toLowerCase());
  }
  const words = typed.split(/\s+/);
  return (node) => words.every((word) => hay(node).includes(word));
}

/** The rows that match, each with the way to it; those of the way are no matches themselves. */
export function filtered(model, matches, states) {
  const kept = new Set();
  let count = 0;
  const wanted = states?.size ? states : null;
  for (const node of model.nodes.values()) {
    if ((wanted && !wanted.has(node.state)) || (matches && !matches(node))) continue;
    count += 1;
    for (let up = node; up && !kept.has(up); up = up.parent) kept.add(up);
  }
  const rows = [];
  if (!model.root || !kept.has(model.root)) return { rows, count };
  const stack = [model.root];
  while (stack.length) {
    const node = stack.pop();
    rows.push(node);
    for (let i = node.children.length - 1; i >= 0; i--) if (kept.has(node.children[i])) stack.push(node.children[i]);
  }
  return { rows, count };
}

/** Those in the order of a number, the largest first. */
export const ranked = (rows, by) => [...rows].sort((a, b) => by(b) - by(a) || (a.path < b.path ? -1 : 1));

/** The part of *count* rows that is to be in the document: from and to. */
export function windowOf(count, rowHeight, top, height, beyond = 8) {
  const from = Math.max(0, Math.min(count, Math.floor(top / rowHeight)) - beyond);
  const to = Math.min(count, Math.ceil((top + height) / rowHeight) + beyond);
  return { from: Math.min(from, to), to };
}

/** Where a key leads in the tree: a path to select, and one to fold or unfold; no *choice*: none is folded. */
export function moved(rows, path, key, choice, page = 20) {
  const at = rows.findIndex((each) => each.path === path);
  const node = rows[at];
  const to = (index) => ({ path: rows[Math.max(0, Math.min(rows.length - 1, index))]?.path });
  switch (key) {
    case "ArrowDown": return to(at + 1);
    case "ArrowUp": return to(at < 0 ? 0 : at - 1);
    case "PageDown": return to(at + page);
    case "PageUp": return to(at - page);
    case "Home": return to(0);
    case "End": return to(rows.length - 1);
    case "ArrowRight":
      if (!node?.children.length) return {};
      return choice && isFolded(node, choice) ? { unfold: node.path } : to(at + 1);
    case "ArrowLeft":
      if (choice && node?.children.length && !isFolded(node, choice)) return { fold: node.path };
      return node?.parent ? { path: node.parent.path } : {};
    default: return {};
  }
}
