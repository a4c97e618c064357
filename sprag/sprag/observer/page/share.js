// One stream for all tabs where there is no SharedWorker: one of them reads, and tells the others.
//
// The one who reads says every now and then that it does, also while it hears nothing itself, which it
// tells in time. Who hears nothing of it for a few seconds reads itself: the other has been closed, or
// frozen by its browser. Each who takes over does so in a higher term; who learns of a higher one, as a
// tab does that thaws, lets go.

import { Memory } from "./memory.js";
import { Stream } from "./stream.js";

const ANSWER = 300; // ms in which who reads answers one who is new
const SILENT = 3500; // ms of silence after which somebody else reads
const LOOK = 500; // ms between two looks
const SOME = 400; // ms by which tabs differ, so that one is the first

export class Share {
  #channel;
  #id = crypto.getRandomValues(new Uint32Array(4)).join("-");
  #term = 0;
  #reader = null; // the id of who reads
  #stream = null; // ours, if it is us
  #memory = new Memory();
  #isIn = false; // whether we have been told how all is
  #heard = performance.now();
  #patience = ANSWER + Math.random() * SOME;

  constructor(url, token, deliver) {
    Object.assign(this, { url, token, deliver });
    // Who does not have the token does not know its name.
    this.#channel = new BroadcastChannel(`sprag ${url} ${token}`);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#say({ kind: "hello" });
    this.looking = setInterval(() => this.#look(), LOOK);
    this.first = setTimeout(() => this.#look(), this.#patience + 10);
    this.leave = () => this.#bye();
    this.back = (event) => event.persisted && this.#return();
    addEventListener("pagehide", this.leave);
    addEventListener("pageshow", this.back);
  }

  get reads() {
    return this.#stream !== null;
  }

  close() {
    clearInterval(this.looking);
    clearTimeout(this.first);
    removeEventListener("pagehide", this.leave);
    removeEventListener("pageshow", this.back);
    this.#bye();
    this.#channel.close();
  }

  retry() {
    if (this.#stream) this.#stream.retry();
    else this.#say({ kind: "retry" });
  }

  #say(words) {
    this.#channel.postMessage({ ...words, id: this.#id, term: this.#term });
  }

  #hear(data) {
    const { kind, id, term } = data;
    if (kind === "hello") return this.#stream && this.#say({ kind: "all", to: id, batch: this.#memory.all() });
    if (kind === "retry") return this.#stream?.retry();
    if (term < this.#term || (term === this.#term && this.#reader && id < this.#reader)) {
      // It does not know yet that somebody else reads.
      if (this.#stream) this.#reads();
      return undefined;
    }
    if (kind === "bye") {
      if (id !== this.#reader) return undefined;
      this.#patience = Math.random() * SOME;
      return setTimeout(() => this.#look(), this.#patience + 10);
    }
    if (id !== this.#reader) this.#follow(id, term);
    this.#heard = performance.now();
    this.#patience = SILENT + Math.random() * SOME;
    const isAll = kind === "all";
    if (isAll && (data.to !== this.#id || this.#isIn)) return undefined;
    if (isAll || data.batch[0]?.event === "begin") this.#isIn = true;
    if (this.#isIn && data.batch.length) this.deliver(data.batch);
    return undefined;
  }

  #follow(id, term) {
    this.#stream?.close();
    this.#stream = null;
    this.#memory.clear();
    this.#reader = id;
    this.#term = term;
    // What it has said before is not known here.
    this.#isIn = false;
    this.#say({ kind: "hello" });
  }

  #look() {
    if (this.#stream) return this.#reads();
    if (performance.now() - this.#heard < this.#patience) return undefined;
    this.#term += 1;
    this.#reader = this.#id;
    this.#isIn = true;
    this.#stream = new Stream(this.url, this.token, (batch) => {
      for (const each of batch) this.#memory.take(each);
      this.#say({ kind: "told", batch });
      this.deliver(batch);
    });
    return this.#reads();
  }

  #reads() {
    this.#say({ kind: "told", batch: [] });
  }

  #bye() {
    if (!this.#stream) return;
    this.#stream.close();
    this.#stream = null;
    this.#say({ kind: "bye" });
    this.#reader = null;
    this.#isIn = false;
  }

  #return() {
    this.#heard = performance.now();
    this.#patience = ANSWER + Math.random() * SOME;
    this.#say({ kind: "hello" });
  }
}
