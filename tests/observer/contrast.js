// Texts with a contrast below 4.5 to what is behind them.
(() => {
  const lum = ([r, g, b]) => {
    const f = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgb = (colour) => {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      known.set(colour, [...canvas.getImageData(0, 0, 1, 1).data]);
    }
    return known.get(colour);
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return rgb(getComputedStyle(document.documentElement).colorScheme.includes("dark") ? "#000" : "#fff");
  };
  const share = (e) => {
    let all = 1;
    for (; e; e = e.parentElement) all *= Number(getComputedStyle(e).opacity);
    return all;
  };
  const bad = new Set();
  const look = (e, colour, name) => {
    const back = behind(e);
    const whole = rgb(colour);
    const opaque = (share(e) * whole[3]) / 255;
    const seen = [0, 1, 2].map((i) => whole[i] * opaque + back[i] * (1 - opaque));
    const a = lum(seen);
    const b = lum(back);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.add(`${name} ${ratio.toFixed(2)}`);
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    // What cannot be used may be paler; what is for ears alone has no colour.
    if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest("[hidden], script, option, .hidden-word, :disabled")) continue;
    const style = getComputedStyle(e);
    look(e, e.ownerSVGElement ? style.fill : style.color, `${e.ownerSVGElement ? "svg text " : ""}${e.getAttribute("class") || e.tagName}: ${walk.currentNode.data.slice(0, 20)}`);
  }
  for (const e of document.querySelectorAll("input[placeholder]")) {
    if (e.checkVisibility()) look(e, getComputedStyle(e, "::placeholder").color, "placeholder");
  }
  return [...bad];
})();
