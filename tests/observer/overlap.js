// Texts that lie upon each other, or stick out of the window or of what holds them.
(() => {
  const found = [];
  const bad = new Set();
  const said = (each) => `${each.e.getAttribute("class") || e_id(each.e)} '${each.text}'`;
  const e_id = (e) => e.id || e.parentElement?.id || e.tagName;
  /** The part of a box that can be seen: what scrolls or is cut hides the rest. */
  const seen = (box, e) => {
    let { left, top, right, bottom } = box;
    for (let up = e; up && up !== document.body; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (up.ownerSVGElement) continue;
      if (style.overflowX !== "visible" || style.overflowY !== "visible" || style.contain === "strict") {
        const frame = up.getBoundingClientRect();
        left = Math.max(left, frame.left);
        right = Math.min(right, frame.right);
        top = Math.max(top, frame.top);
        bottom = Math.min(bottom, frame.bottom);
      }
      if (style.position === "fixed") break;
    }
    return { left: Math.max(left, 0), top: Math.max(top, 0), right: Math.min(right, innerWidth), bottom: Math.min(bottom, innerHeight) };
  };
  /** What lies above the rest on purpose, as a sheet does. */
  const layerOf = (e) => {
    const found = e.closest("#detail, #views, #bar, #toast, dialog");
    return found && ["fixed", "sticky"].includes(getComputedStyle(found).position) ? found : null;
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (walk.nextNode()) {
    const node = walk.currentNode;
    const e = node.parentElement;
    if (!node.data.trim() || !e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || e.closest("option, .hidden-word, #crosshair")) continue;
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      const part = seen(box, e);
      if (part.right - part.left < 2 || part.bottom - part.top < 2) continue;
      found.push({ e, ...part, layer: layerOf(e), text: node.data.trim().slice(0, 24) });
    }
  }
  found.sort((a, b) => a.top - b.top);
  for (let i = 0; i < found.length; i++) {
    const a = found[i];
    for (let j = i + 1; j < found.length && found[j].top < a.bottom; j++) {
      const b = found[j];
      if (a.layer !== b.layer || a.e === b.e || a.e.contains(b.e) || b.e.contains(a.e)) continue;
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1.5 && high > 3) bad.add(`${said(a)} and ${said(b)}: ${wide.toFixed(0)} x ${high.toFixed(0)}`);
    }
  }
  // What is cut has to say so.
  for (const e of document.querySelectorAll("#bar *, #top *, #banner *, .a-row *, .facts *, .chip, #tools *, .d-head *, .d-foot *, .row > *, #head > *")) {
    if (!e.checkVisibility() || e.ownerSVGElement || e.closest("svg, select, input, .hidden-word, #nodes, #views")) continue;
    const style = getComputedStyle(e);
    if (style.clipPath !== "none") continue; // for who listens
    if (style.overflowX === "hidden" && e.scrollWidth > e.clientWidth + 1 && style.textOverflow !== "ellipsis" && !e.querySelector("*")) bad.add(`cut: ${said({ e, text: e.innerText.slice(0, 24) })}`);
  }
  for (const e of document.querySelectorAll("button, select, input")) {
    if (!e.checkVisibility()) continue;
    const box = seen(e.getBoundingClientRect(), e.parentElement);
    const whole = e.getBoundingClientRect();
    if (e.closest("#bar, #banner, .d-foot, .d-head") && !e.closest("#nodes, #views") && whole.right - box.right > 1) bad.add(`sticks out: ${said({ e, text: e.innerText })}`);
  }
  return [...bad];
})();
