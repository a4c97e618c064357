// Making and mending elements. No text is ever taken for HTML.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, props = {}, ...children) {
  return make(document.createElement(tag), props, children);
}
export function s(tag, props = {}, ...children) {
  return make(document.createElementNS(SVG, tag), props, children);
}

function make(element, props, children) {
  for (const [key, value] of Object.entries(props)) {
    if (value == null || (value === false && !key.startsWith("aria-"))) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true && !key.startsWith("aria-") ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((each) => each != null && each !== false && each !== ""));
  return element;
}

export const $ = (id) => document.getElementById(id);

export const icon = (name, className = "") => s("svg", { class: `icon ${name} ${className}`, "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));

const built = new WeakMap();
/** Build the children of *element* anew, but only if *signature* is another than before. */
export function patch(element, signature, build) {
  const told = typeof signature === "string" ? signature : JSON.stringify(signature);
  if (built.get(element) === told) return false;
  built.set(element, told);
  element.replaceChildren(...[build()].flat(Infinity).filter((each) => each != null && each !== false && each !== ""));
  return true;
}
export const text = (element, said) => {
  if (element.textContent !== said) element.textContent = said;
};

/** How much of a limit is used, as boxes and in words. */
export function pips(limit, { words = true, tone } = {}) {
  if (!limit) return h("span", { class: "dim" }, "does not count");
  const near = limit.of > 0 && limit.used >= Math.max(1, limit.of - 1);
  const used = tone ?? (near ? "bad" : "warn");
  const boxes = limit.of <= 10 ? Array.from({ length: limit.of }, (_, i) => h("i", { class: i < limit.used ? `pip ${used}` : "pip" })) : [];
  return h("span", { class: "limit" }, boxes.length ? h("span", { class: "pips", "aria-hidden": "true" }, boxes) : null, words && h("span", {}, `${limit.used} of ${limit.of}`));
}

/** A line of numbers, the latest at the right; *line*: another one across, dashed. */
export function spark(values, { width = 72, height = 22, bars = false, hot = -1, most, line } = {}) {
  const known = values.filter(Number.isFinite);
  const top = most ?? Math.max(...known, 1e-9);
  const svg = s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (!known.length) return svg;
  const step = width / Math.max(values.length - (bars ? 0 : 1), 1);
  const y = (value) => height - 1 - (Math.min(value, top) / top) * (height - 3);
  if (bars) {
    values.forEach((value, i) => {
      const isHot = i === hot || (hot < 0 && i === values.length - 1 && value > 0);
      svg.append(s("rect", { x: (i * step).toFixed(1), y: Math.min(y(value), height - 1).toFixed(1), width: Math.max(1, step - 1).toFixed(1), height: Math.max(1, height - y(value)).toFixed(1), class: isHot ? "hot" : "" }));
    });
    return svg;
  }
  const points = values.map((value, i) => (Number.isFinite(value) ? `${(i * step).toFixed(1)},${y(value).toFixed(1)}` : null)).filter(Boolean);
  if (points.length < 2) points.push(`${width},${points[0].split(",")[1]}`);
  const begin = points[0].split(",")[0];
  svg.append(s("polygon", { points: `${begin},${height} ${points.join(" ")} ${points.at(-1).split(",")[0]},${height}` }), s("polyline", { points: points.join(" ") }));
  if (line) svg.append(s("line", { class: "most", x1: 0, x2: width, y1: y(line).toFixed(1), y2: y(line).toFixed(1) }));
  return svg;
}

/** Text that goes on counting: since a moment, or until one. `tick` keeps it up to date. */
export const ago = (at, form, tag = "span") => h(tag, { data: { since: at, form } });
export const until = (at, tag = "span") => h(tag, { data: { until: at } });
