// Asking the bridge. Each call has the token; no cookie is ever used.

export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

const base = new URL(".", document.baseURI);
let token = "";

/** Take the token out of the address bar, where it would be seen and kept in the history. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.has("token")) {
    token = given.get("token");
    try {
      sessionStorage.setItem("sprag-token", token);
    } catch {
      // kept by this page alone
    }
    given.delete("token");
    const rest = given.toString();
    history.replaceState(null, "", location.pathname + (rest ? `#${rest}` : ""));
  } else token = sessionStorage.getItem("sprag-token") ?? "";
  return token;
}

export const urlOf = (app, rest) => new URL(`v1/at/${encodeURIComponent(app)}/${rest}`, base).href;
export const pathPart = (path) => path.split("/").map(encodeURIComponent).join("/");

async function asked(url, { method = "GET", signal } = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(url, { method, headers, cache: "no-store", signal });
  if (answer.ok) return answer;
  let reason = answer.statusText;
  try {
    reason = (await answer.json()).error ?? reason;
  } catch {
    // not JSON: the status must do
  }
  throw new Refused(answer.status, reason);
}

export const apps = async () => (await asked(new URL("v1/apps", base))).json();
export const get = async (app, rest, options) => (await asked(urlOf(app, rest), options)).json();
export const post = async (app, rest) => (await asked(urlOf(app, rest), { method: "POST" })).json();

/** The JSON objects of an answer that has one a line, and an end. */
export async function lines(app, rest, options) {
  const body = await (await asked(urlOf(app, rest), options)).text();
  return body.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

/** Wait between two questions. */
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
