// The API, called with the session's token; what is safe to ask again is asked again.

import { heardAt } from "./clock.js";
import { session } from "./session.js";
import { t } from "./texts.js";

const TRIES = 5;
const LONGEST_PAUSE = 15;
/** Seconds: API Gateway itself gives up after thirty. */
const LONGEST_WAIT = 40;
const ACTIONS = new Set(["not-found", "pinned", "lease-held", "throttled"]);
const AGAIN = new Set([429, 502, 503, 504]);

/** What the API answered instead of what was asked for, or that it did not answer. */
export class Problem extends Error {
  constructor({ status, code, title, detail, action, runId = null, backupId = null, pause = null }) {
    super(detail);
    this.status = status;
    this.code = code;
    this.title = title;
    this.detail = detail;
    this.action = action;
    this.runId = runId;
    this.backupId = backupId;
    this.pause = pause;
  }
}

let signInAgain = null;

/** What to do when the token is refused: a function that resolves once there is a new one. It is
 * told whether it was refused to somebody, or to the page that only kept itself current. */
export function onRefusal(ask) {
  signInAgain = ask;
}

/** What GET answers. `waiting` is told the seconds and the problem before it is asked again;
 * `byItself` says that nobody asked for it just now. */
export async function get(path, options = {}) {
  const { query = {}, signal = null, waiting = null, tries = TRIES, isOpen = false, byItself = false } = options;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call("GET", path, { query, signal, isOpen, byItself });
    } catch (error) {
      const again = error instanceof Problem && (error.status === 0 || AGAIN.has(error.status));
      if (!again || attempt >= tries) throw error;
      const pause = Math.min(error.pause ?? 2 ** (attempt - 1), LONGEST_PAUSE);
      waiting?.(pause, error);
      await after(pause, signal);
    }
  }
}

/** What POST, PUT or DELETE answers; sent once, for it may have taken effect. */
export function send(method, path, body = undefined, { query = {}, isOpen = false } = {}) {
  return call(method, path, { body, query, isOpen });
}

/** Resolves after so many seconds; rejects as soon as the view is left. */
export function after(seconds, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", leave);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", leave, { once: true });
  });
}

async function call(method, path, { body, query = {}, signal = null, isOpen = false, byItself = false }) {
  const answer = await fetched(method, path, { body, query, signal, isOpen });
  if (answer.status === 401 && !isOpen && signInAgain) {
    // What was typed stays where it is meanwhile.
    const who = session()?.name;
    await signInAgain(byItself);
    // What one person asked for is not done in the name of another.
    if (session()?.name !== who) throw other();
    const again = await fetched(method, path, { body, query, signal, isOpen });
    return read(again);
  }
  return read(answer);
}

async function fetched(method, path, { body, query, signal, isOpen }) {
  // Below the page's own address, which may have a path in front.
  const url = new URL(`./backup/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") url.searchParams.append(name, each);
    }
  }
  const headers = { Accept: "application/json" };
  if (!isOpen && session()) headers.Authorization = `Bearer ${session().token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const limits = [signal, AbortSignal.timeout(LONGEST_WAIT * 1000)].filter(Boolean);
  try {
    const answer = await fetch(url, { method, headers, body: sent, signal: AbortSignal.any(limits), credentials: "omit" });
    heardAt(answer.headers.get("date"));
    return answer;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw away();
  }
}

async function read(answer) {
  const text = await answer.text().catch(() => {
    throw away();
  });
  let document = null;
  try {
    document = text === "" ? null : JSON.parse(text);
  } catch {
    // Of something between, such as a proxy's page; a yes of it is not the service's.
    if (answer.ok) throw notTheService();
    // Of the gateway itself, or of something between: its status is all there is.
  }
  if (answer.ok) return document;
  throw problem(answer, document ?? {});
}

function problem(answer, said) {
  const code = said.type?.split(":").at(-1) ?? `http-${answer.status}`;
  const pause = Number.parseInt(answer.headers.get("retry-after") ?? "", 10);
  return new Problem({
    status: answer.status,
    code,
    title: said.title ?? t("problem.title", { status: answer.status }),
    detail: said.detail ?? said.message ?? t("problem.noDetail"),
    // The service's own words are for programs: they name calls, where a page has buttons.
    action: ACTIONS.has(code) ? t(`problem.do.${code}`) : said.action ?? t(AGAIN.has(answer.status) ? "problem.later" : "problem.noAction"),
    runId: said.run_id,
    backupId: said.backup_id,
    pause: Number.isNaN(pause) ? null : pause,
  });
}

function other() {
  return new Problem({
    status: 401,
    code: "somebody-else",
    title: t("signIn.other"),
    detail: t("signIn.otherDetail"),
    action: t("signIn.otherAction"),
  });
}

function notTheService() {
  return new Problem({
    status: 0,
    code: "not-the-service",
    title: t("problem.other"),
    detail: t("problem.otherDetail"),
    action: t("problem.otherAction"),
  });
}

function away() {
  return new Problem({
    status: 0,
    code: "away",
    title: t("problem.away"),
    detail: t("problem.awayDetail"),
    action: t("problem.awayAction"),
  });
}
