// One stream for all tabs of a browser: HTTP/1.1 gives six connections to a host.

import { Memory } from "./memory.js";
import { Stream } from "./stream.js";

const FORGOTTEN = 180_000; // ms after which a tab that says nothing is gone; hidden ones say little
const streams = new Map();
const tabs = new Map();

onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data.kind === "open") open(port, data);
    else if (data.kind === "bye") leave(port);
    else if (data.kind === "retry") tabs.get(port)?.stream.stream.retry();
    else if (!tabs.has(port)) open(port, data); // it was forgotten: it has slept, as laptops do
    else {
      tabs.get(port).heard = performance.now();
      if (data.kind === "ping") port.postMessage([]);
    }
  };
};

function open(port, { url, token }) {
  leave(port);
  const key = `${url} ${token}`;
  let found = streams.get(key);
  if (!found) {
    found = { ports: new Set(), memory: new Memory(), key };
    found.stream = new Stream(url, token, (told) => {
      for (const each of told) found.memory.take(each);
      for (const each of found.ports) each.postMessage(told);
    });
    streams.set(key, found);
  } else port.postMessage(found.memory.all());
  found.ports.add(port);
  tabs.set(port, { stream: found, heard: performance.now() });
}

function leave(port) {
  const tab = tabs.get(port);
  if (!tab) return;
  tabs.delete(port);
  tab.stream.ports.delete(port);
  if (!tab.stream.ports.size) {
    tab.stream.stream.close();
    streams.delete(tab.stream.key);
  }
}

setInterval(() => {
  for (const [port, tab] of tabs) if (performance.now() - tab.heard > FORGOTTEN) leave(port);
}, 30_000);
