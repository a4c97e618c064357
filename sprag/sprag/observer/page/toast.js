// What has just happened, said once.

import { h, text } from "./dom.js";

let timer = 0;
export function say(words, isBad = false) {
  let box = document.getElementById("toast");
  if (!box) {
    box = h("div", { id: "toast", role: "status" });
    document.body.append(box);
  }
  box.className = isBad ? "bad" : "";
  text(box, words);
  box.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (box.hidden = true), isBad ? 12_000 : 5000);
}
