// Who is signed in: a token in memory and, for a page that is loaded again, in sessionStorage.

import { clockAhead, now, setClockAhead } from "./clock.js";

const KEY = "lcp-backup-session";
const TOLD_BEFORE = 5 * 60 * 1000;

let current = stored();
const listeners = new Set();

function stored() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY));
    setClockAhead(found?.ahead ?? 0);
    return found && Date.parse(found.expiresAt) > now() ? found : null;
  } catch {
    return null;
  }
}

/** The session: token, expiresAt (ISO), name, role; null when nobody is signed in. */
export function session() {
  return current;
}

/** Begins, changes or (with null) ends the session. */
export function setSession(value) {
  current = value;
  try {
    if (value) sessionStorage.setItem(KEY, JSON.stringify({ ...value, ahead: clockAhead() }));
    else sessionStorage.removeItem(KEY);
  } catch {
    // A browser that keeps nothing: the token lives as long as the page.
  }
  for (const listener of listeners) listener(value);
}

/** Calls `listener` with the session whenever it changes. */
export function onSession(listener) {
  listeners.add(listener);
}

/** Whether the session ends within five minutes, and it is time to say so. */
export function endsSoon() {
  return current !== null && Date.parse(current.expiresAt) - now() < TOLD_BEFORE;
}

/** Whether the session's time is over. */
export function hasEnded() {
  return current !== null && Date.parse(current.expiresAt) <= now();
}

/** Whether who is signed in may change something. */
export function isAdmin() {
  return current?.role === "admin";
}
