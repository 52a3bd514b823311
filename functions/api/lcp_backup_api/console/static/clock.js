// The service's time: whether a backup is overdue does not depend on a clock that nobody set.

const NOTICED = 60_000;

let ahead = 0;

/** Milliseconds since 1970, as the service counts them. */
export function now() {
  return Date.now() - ahead;
}

/** By how many milliseconds this computer's clock is ahead; 0 for less than a minute. */
export function clockAhead() {
  return ahead;
}

/** Corrects by what an earlier page knew. */
export function setClockAhead(milliseconds) {
  ahead = milliseconds;
}

/** Corrects by the time at which the service says that it answered (the header `Date`, or null). */
export function heardAt(date) {
  const off = Date.now() - Date.parse(date);
  if (!Number.isNaN(off)) ahead = Math.abs(off) < NOTICED ? 0 : off;
}
