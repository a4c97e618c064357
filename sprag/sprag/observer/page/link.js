// The stream of events, shared by the tabs of one browser through a SharedWorker.

const SILENT = 4000; // ms: the bridge says something every second
export const RETRY = 2000;

/** What a tab that comes later has to be told. */
export class Memory {
  constructor() {
    this.clear();
  }

  clear() {
    this.pictures = new Map();
    this.changes = new Map();
    this.about = new Map();
  }

  take(told) {
    const { event, path } = told;
    if (event === "begin") this.clear();
    if (["begin", "live", "gone", "end", "cut"].includes(event)) {
      this.about.delete("gone");
      this.about.delete("cut");
      this.about.set(event, told);
    } else if (event === "snapshot") {
      this.pictures.set(path, told);
      this.changes.delete(path);
    } else if (event === "left") {
      this.pictures.delete(path);
      this.changes.delete(path);
    } else if (event !== "pulse" && event !== "ruling" && path) {
      if (!this.changes.has(path)) this.changes.set(path, new Map());
      const before = this.changes.get(path);
      before.delete(event);
      before.set(event, told);
    }
  }

  all() {
    const about = new Map(this.about);
    const found = [];
    const put = (key) => about.has(key) && (found.push(about.get(key)), about.delete(key));
    put("begin");
    found.push(...this.pictures.values());
    put("live");
    for (const each of this.changes.values()) found.push(...each.values());
    found.push(...about.values());
    return found;
  }
}

/** Reads one stream, for ever: what breaks is tried again. */
export class Stream {
  constructor(url, token, deliver) {
    this.url = url;
    this.token = token;
    this.deliver = deliver;
    this.isOver = false;
    this.wake = () => {};
    this.#run();
  }

  close() {
    this.isOver = true;
    this.abort?.abort();
    this.wake();
  }

  retry() {
    this.wake();
  }

  async #run() {
    while (!this.isOver) {
      let reason = "it has hung up";
      try {
        reason = (await this.#read()) ?? reason;
      } catch (error) {
        reason = error.name === "AbortError" ? "it is silent" : "nobody answers";
      }
      if (this.isOver) return;
      this.deliver([{ event: "cut", reason, retry: RETRY / 1000 }]);
      await new Promise((done) => {
        this.wake = done;
        setTimeout(done, RETRY);
      });
    }
  }

  async #read() {
    this.abort = new AbortController();
    let heard = Date.now();
    const guard = setInterval(() => Date.now() - heard > SILENT && this.abort.abort(), 1000);
    try {
      const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
      const answer = await fetch(this.url, { headers, signal: this.abort.signal, cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) return "refused";
      if (!answer.ok) return `status ${answer.status}`;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return null;
        heard = Date.now();
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        const told = [];
        for (const line of lines) {
          if (!line) continue;
          try {
            told.push(JSON.parse(line));
          } catch {
            // half a line of a stream that was cut off
          }
        }
        if (told.length) this.deliver(told);
      }
    } finally {
      clearInterval(guard);
    }
  }
}

/** Follow an app; returns {close, retry}. Without SharedWorker each tab reads for itself. */
export function follow(url, token, deliver) {
  if (globalThis.SharedWorker) {
    try {
      const place = new URL("worker.js", document.baseURI).href;
      const policy = globalThis.trustedTypes?.createPolicy("sprag", { createScriptURL: () => place });
      follow.address ??= policy ? policy.createScriptURL(place) : place;
      const worker = new SharedWorker(follow.address, { type: "module", name: "sprag" });
      const { port } = worker;
      const open = { kind: "open", url, token };
      port.onmessage = ({ data }) => deliver(data);
      port.postMessage(open);
      const alive = setInterval(() => port.postMessage({ kind: "here" }), 20_000);
      const bye = () => port.postMessage({ kind: "bye" });
      const back = (event) => event.persisted && port.postMessage(open);
      addEventListener("pagehide", bye);
      addEventListener("pageshow", back);
      return {
        close() {
          clearInterval(alive);
          removeEventListener("pagehide", bye);
          removeEventListener("pageshow", back);
          bye();
        },
        retry: () => port.postMessage({ kind: "retry" }),
      };
    } catch {
      // a browser that has none for this page
    }
  }
  const stream = new Stream(url, token, deliver);
  return { close: () => stream.close(), retry: () => stream.retry() };
}
