// What a service uses, as it was last measured. Pure.

import { bytes, counted } from "./words.js";

/** The share of one core; null: nobody has measured. */
export const cpuOf = (usage) => (usage ? usage.cpu + (usage.process?.cpu ?? 0) : null);

/** What it owns, in short. */
export function owns(node, usage) {
  const rss = usage?.process?.rss;
  if (rss) return bytes(rss).join(" ");
  const owned = usage ?? node.owned;
  const all = [[(owned.greenlets ?? 0) + (usage ? 0 : owned.tasks ?? 0), "gr"], [owned.timers, "ti"], [owned.listeners, "li"]];
  return all.filter(([n]) => n > 0).map(([n, unit]) => `${counted(n)} ${unit}`).join(" ");
}
