// One stream of events, read for as long as somebody wants it.

const SILENT = 4000; // ms: the bridge says something every second
export const RETRY = 2000;

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
    let heard = performance.now();
    const guard = setInterval(() => performance.now() - heard > SILENT && this.abort.abort(), 1000);
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
        heard = performance.now();
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
