// Two files on their way to the bucket: in parts, side by side, straight to S3. It goes on while
// other views are looked at, and after a closed tab once the same files are chosen again.

import { after, get, Problem, send } from "../api.js";
import { onSession } from "../session.js";
import { t } from "../texts.js";

const SIDE_BY_SIDE = 4;
const TRIES = 6;
const KEY = "lcp-backup-upload";
const HALVES = ["database", "volume"];

/** The upload that is under way here: id, files, sent (bytes by half), state (`sending`, `paused`,
 * `failed`, `completing`, `done`), problem, rate; null when there is none. */
let current = null;
const listeners = new Set();

// Whoever signs in next does not send it on in their name.
onSession((now) => {
  if (now === null && current?.state === "sending") pause();
});

/** The upload that this page sends, or null. */
export function currentUpload() {
  return current;
}

/** Calls `listener` whenever something of the upload changes, until the signal says otherwise. */
export function onUpload(listener, signal) {
  listeners.add(listener);
  signal.addEventListener("abort", () => listeners.delete(listener));
}

/** What an earlier page began and did not end: id and files (name, size, lastModified), or null. */
export function leftUpload() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}

/** Gives up at the service what this or an earlier page began, and forgets it; that it is gone is
 * no fault. What the service refuses is not forgotten. */
export async function giveUp() {
  const id = current?.id ?? leftUpload()?.id;
  stop("paused");
  try {
    if (id) await send("DELETE", `upload/${id}`);
  } catch (problem) {
    if (problem.status !== 404) throw problem;
  }
  remember(null);
  forget();
}

/** Lets go of an upload that is done. */
export function forget() {
  current = null;
  told();
}

/** Sends the files {database, volume}; with an `id`, goes on with what was begun under it. */
export async function sendFiles(files, id = null) {
  const sizes = Object.fromEntries(HALVES.map((half) => [half, { size: files[half].size }]));
  const plan = id === null ? await send("POST", "upload", sizes) : await leftPlan(id);
  current = { id: plan.upload_id, files, plan, sent: {}, state: "sending", problem: null, rate: null, requests: new Set() };
  remember({ id: current.id, ...Object.fromEntries(HALVES.map((half) => [half, known(files[half])])) });
  window.addEventListener("beforeunload", warn);
  run(current, false);
}

/** What is missing of an upload that an earlier page began. One that is gone is forgotten, so that
 * the same files begin a new one. */
async function leftPlan(id) {
  try {
    return await get(`upload/${id}`);
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    remember(null);
    throw gone();
  }
}

/** Stops sending; what arrived stays where it is. */
export function pause() {
  stop("paused");
}

/** Goes on after a pause or a failure. */
export function resume() {
  if (current?.state !== "paused" && current?.state !== "failed") return;
  current.state = "sending";
  current.problem = null;
  run(current, true);
}

function stop(state) {
  if (!current) return;
  current.state = state;
  for (const request of current.requests) request.abort();
  told();
}

async function run(upload, isStale) {
  const mark = { at: performance.now(), sent: null };
  try {
    for (let attempt = 1; upload.state === "sending"; attempt += 1) {
      if (attempt > 1 || isStale) upload.plan = await get(`upload/${upload.id}`);
      const left = missing(upload);
      mark.sent ??= total(upload);
      told();
      if (left.length === 0) break;
      const done = await sendAll(upload, left, mark);
      // Addresses live for minutes, and lines break: as long as any part gets through it goes on.
      if (done > 0) attempt = 1;
      else if (upload.state === "sending" && (await changed(upload.files))) throw fileChanged();
      else if (attempt >= TRIES) throw notSent();
      else if (upload.state === "sending") await after(attempt, null);
    }
    if (upload.state === "sending") await complete(upload);
  } catch (problem) {
    if (upload.state !== "sending" && upload.state !== "completing") return;
    // An answer that got lost may have been a yes.
    if (await isTakenIn(upload)) return finish(upload);
    upload.state = "failed";
    upload.problem = problem;
    told();
  }
  return null;
}

/** Whether the upload has its run already, which has the same id. */
async function isTakenIn({ id }) {
  try {
    return Boolean(await get(`runs/${id}`, { tries: 1 }));
  } catch {
    return false;
  }
}

async function complete(upload) {
  upload.state = "completing";
  told();
  await send("POST", `upload/${upload.id}/complete`);
  finish(upload);
}

function finish(upload) {
  window.removeEventListener("beforeunload", warn);
  upload.state = "done";
  remember(null);
  told();
}

/** The parts that have to be sent, of both files; notes what has arrived. */
function missing(upload) {
  const left = [];
  for (const half of HALVES) {
    const { url, size, arrived, parts } = upload.plan[half];
    const all = url ? [{ number: 1, offset: 0, size, arrived, url }] : parts;
    upload.sent[half] = all.filter((it) => it.arrived).reduce((sum, it) => sum + it.size, 0);
    left.push(...all.filter((it) => !it.arrived).map((it) => ({ ...it, half })));
  }
  return left;
}

/** Sends these parts, some side by side; answers how many got through. */
async function sendAll(upload, parts, mark) {
  const queue = [...parts];
  let done = 0;
  const work = async () => {
    while (queue.length > 0 && upload.state === "sending") {
      if (await sendPart(upload, queue.shift(), mark)) done += 1;
      else return;
    }
  };
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, work));
  return done;
}

function sendPart(upload, { half, offset, size, url }, mark) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    let counted = 0;
    const count = (loaded) => {
      upload.sent[half] += loaded - counted;
      counted = loaded;
      upload.rate = (total(upload) - mark.sent) / ((performance.now() - mark.at) / 1000);
      told();
    };
    request.upload.addEventListener("progress", (event) => count(event.loaded));
    request.addEventListener("loadend", () => {
      upload.requests.delete(request);
      const arrived = request.status === 200;
      count(arrived ? size : 0);
      resolve(arrived);
    });
    request.open("PUT", url);
    upload.requests.add(request);
    request.send(upload.files[half].slice(offset, offset + size));
  });
}

function total(upload) {
  return HALVES.reduce((sum, half) => sum + (upload.sent[half] ?? 0), 0);
}

function known({ name, size, lastModified }) {
  return { name, size, lastModified };
}

function remember(value) {
  if (value === null) window.removeEventListener("beforeunload", warn);
  try {
    if (value) localStorage.setItem(KEY, JSON.stringify(value));
    else localStorage.removeItem(KEY);
  } catch {
    // A browser that keeps nothing: then it cannot be gone on with after a closed tab.
  }
}

function warn(event) {
  if (current?.state === "sending") event.preventDefault();
}

function notSent() {
  return new Problem({
    status: 0,
    code: "not-sent",
    title: t("upload.notSent"),
    detail: t("upload.notSentDetail"),
    action: t("upload.notSentAction"),
  });
}

/** Whether one of the files is not any more what was chosen: a browser reads nothing of it then. */
async function changed(files) {
  try {
    for (const half of HALVES) await files[half].slice(0, 1).arrayBuffer();
    return false;
  } catch {
    return true;
  }
}

function gone() {
  return new Problem({
    status: 404,
    code: "upload-gone",
    title: t("upload.gone"),
    detail: t("upload.goneDetail"),
    action: t("upload.goneAction"),
  });
}

function fileChanged() {
  return new Problem({
    status: 0,
    code: "file-changed",
    title: t("upload.changed"),
    detail: t("upload.changedDetail"),
    action: t("upload.changedAction"),
  });
}

function told() {
  for (const listener of listeners) listener();
}
