// What one stream of events comes to, so that a tab which opens later needs none of its own. Pure.

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
