// The stream of events, of which a browser has one: HTTP/1.1 gives six connections to a host.

import { Share } from "./share.js";
import { RETRY } from "./stream.js";

const HERE = 20_000; // ms between two signs of life to the worker
const LOOK = 1000; // ms between two looks whether it has said something, as it does every second
const SILENT = 3; // looks without a word, and without an answer, after which it is gone
const START = 10; // more of them for its start
const LOST = 10; // looks after which whoever reads should have told something, if only that it hears nothing

/**
 * Follow an app; returns {close, retry, reads}. A SharedWorker reads for all tabs; where a browser has
 * none, or it does not run, or has crashed, which no event tells, one of the tabs does. Whoever reads, and
 * whatever has become of it: who is told nothing any more says so, and begins anew.
 */
export function follow(url, token, deliver) {
  let via = null;
  let quiet = Number.NEGATIVE_INFINITY; // looks since something was told; before that nothing can be old
  const told = (batch) => {
    quiet = 0;
    deliver(batch);
  };
  const share = () => {
    via?.close();
    via = new Share(url, token, told);
  };
  const looking = setInterval(() => {
    quiet += 1;
    if (quiet <= LOST) return;
    told([{ event: "cut", reason: "it is silent", retry: RETRY / 1000 }]);
    share();
  }, LOOK);
  if (globalThis.SharedWorker) {
    try {
      via = working(url, token, told, share);
    } catch {
      share();
    }
  } else share();
  const close = () => {
    clearInterval(looking);
    via.close();
  };
  return { close, retry: () => via.retry(), reads: () => via.reads ?? false };
}

function working(url, token, deliver, failed) {
  const worker = new SharedWorker(addressOf("worker.js"), { type: "module", name: "sprag" });
  const { port } = worker;
  const open = { kind: "open", url, token };
  worker.addEventListener("error", failed, { once: true });
  // Looks are counted, and no time: of a tab that is frozen or slept there are none.
  let silent = -START;
  port.onmessage = ({ data }) => {
    silent = 0;
    if (data.length) deliver(data);
  };
  const looking = setInterval(() => {
    if (silent >= SILENT) return failed();
    silent += 1;
    return silent > 1 && port.postMessage({ kind: "ping" });
  }, LOOK);
  port.postMessage(open);
  const here = () => port.postMessage({ ...open, kind: "here" });
  const alive = setInterval(here, HERE);
  const bye = () => port.postMessage({ kind: "bye" });
  const back = (event) => event.persisted && port.postMessage(open);
  addEventListener("pagehide", bye);
  document.addEventListener("visibilitychange", here);
  document.addEventListener("resume", here);
  addEventListener("pageshow", back);
  return {
    close() {
      clearInterval(alive);
      clearInterval(looking);
      worker.removeEventListener("error", failed);
      removeEventListener("pagehide", bye);
      document.removeEventListener("visibilitychange", here);
      document.removeEventListener("resume", here);
      removeEventListener("pageshow", back);
      port.onmessage = null;
      bye();
    },
    retry: () => port.postMessage({ kind: "retry" }),
  };
}

let address = null;
/** The address of a script, as the page's policy of trusted types wants it. */
function addressOf(name) {
  if (address) return address;
  const place = new URL(name, document.baseURI).href;
  const policy = globalThis.trustedTypes?.createPolicy("sprag", { createScriptURL: () => place });
  address = policy ? policy.createScriptURL(place) : place;
  return address;
}
