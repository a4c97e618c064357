// How times and numbers are said. Pure.

const number = new Intl.NumberFormat("en-US");
export const counted = (n) => (Number.isFinite(n) ? number.format(n) : "?");
export const plural = (n, one, many = `${one}s`) => `${counted(n)} ${n === 1 ? one : many}`;
const two = (n) => String(n).padStart(2, "0");

/** Seconds in words: "6.2 s", "3 m 02 s", "2 h 41 m", "6 d 4 h"; "?" for what is unknown. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "?";
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${s.toFixed(1)} s`;
  const whole = Math.floor(s);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} m`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** The same in one unit, where a glance is enough: "11 s", "12 m", "3 h 12 m". */
export function roughly(seconds) {
  if (!Number.isFinite(seconds)) return "?";
  const s = Math.max(0, seconds);
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m`;
  return duration(s);
}

/** A length that somebody has set: "60 s", "10 min", "2 h". */
export function span(seconds) {
  if (!Number.isFinite(seconds)) return "?";
  const plain = (n) => String(Math.round(n * 10) / 10);
  if (seconds < 120) return `${plain(seconds)} s`;
  return seconds < 7200 ? `${plain(seconds / 60)} min` : `${plain(seconds / 3600)} h`;
}

export const clock = (ms) => {
  if (!Number.isFinite(ms)) return "?";
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
};
export const shortClock = (ms) => clock(ms).slice(0, 5);

/** Milliseconds of an ISO time, or of a number of seconds since 1970; null for none. */
export function instant(told) {
  if (typeof told === "number") return told * 1000;
  const ms = typeof told === "string" ? Date.parse(told) : NaN;
  return Number.isNaN(ms) ? null : ms;
}

export function bytes(n) {
  if (!Number.isFinite(n)) return ["?", ""];
  for (const [size, unit, digits] of [[2 ** 30, "GB", 1], [2 ** 20, "MB", 0], [2 ** 10, "kB", 0]]) {
    if (n >= size) return [(n / size).toFixed(n / size < 10 ? Math.max(digits, 1) : digits), unit];
  }
  return [String(n), "B"];
}

export const percent = (share, digits = 1) => (Number.isFinite(share) ? (share * 100).toFixed(digits) : "?");

/** The first *most* characters of what may be a megabyte. */
export const cut = (text, most) => {
  const whole = String(text ?? "");
  return whole.length > most ? `${whole.slice(0, most)}…` : whole;
};

export const cause = (failure) => {
  if (!failure) return "";
  const line = cut(failure.message, 600).split("\n", 1)[0];
  return line ? `${failure.type}: ${line}` : String(failure.type);
};

export const list = (names, most = 3) => {
  const shown = names.slice(0, most);
  const more = names.length - shown.length;
  if (more > 0) return `${shown.join(", ")} and ${counted(more)} more`;
  return shown.length > 1 ? `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}` : shown.join("");
};

/** A path without the root's name: as the command line takes it. */
export const within = (path) => (path.includes("/") ? path.slice(path.indexOf("/") + 1) : path);
export const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);
export const parentOf = (path) => (path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "");
