// Sizes, times and figures in words.

import { now } from "./clock.js";
import { t } from "./texts.js";

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const LONGEST = 300;
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Bytes, in units of 1000 as clouds bill them. */
export function bytes(count) {
  let size = count;
  let unit = 0;
  while (Math.abs(size) >= 999.5 && unit < UNITS.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || Math.abs(size) >= 99.5 ? 0 : 1;
  return `${size.toFixed(digits)}\u00a0${UNITS[unit]}`;
}

/** A number with its thousands apart. */
export function number(count) {
  return count.toLocaleString("en-GB");
}

/** An amount of US dollars. */
export function dollars(amount) {
  const digits = amount !== 0 && Math.abs(amount) < 0.01 ? 4 : 2;
  return `${amount.toFixed(digits)}\u00a0USD`;
}

/** How long something takes: the two largest units of `seconds`. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < MINUTE) return `${whole}\u00a0s`;
  if (whole < HOUR) return two(whole, MINUTE, "min", 1, "s");
  if (whole < DAY) return two(whole, HOUR, "h", MINUTE, "min");
  return two(whole, DAY, "d", HOUR, "h");
}

function two(whole, large, largeName, small, smallName) {
  const rest = Math.floor((whole % large) / small);
  const head = `${Math.floor(whole / large)}\u00a0${largeName}`;
  return rest === 0 ? head : `${head} ${rest}\u00a0${smallName}`;
}

/** Seconds from one moment (ISO) to another; to now, without one. */
export function between(from, to = null) {
  return (moment(to ?? now()) - moment(from)) / 1000;
}

/** How long ago a moment was. */
export function ago(iso) {
  const seconds = between(iso);
  return seconds < 45 ? t("time.now") : t("time.ago", { time: coarse(seconds) });
}

/** How long it is until a moment. */
export function until(iso) {
  return t("time.in", { time: coarse(-between(iso)) });
}

function coarse(seconds) {
  return seconds < MINUTE ? t("time.lessThanMinute") : duration(Math.floor(seconds / MINUTE) * MINUTE);
}

/** The beginning of a message, where many are shown; the whole is where one is. */
export function short(text) {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

/** A moment on the reader's clock. */
export function local(iso) {
  return moment(iso).toLocaleString("en-GB", {
    weekday: "short",
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  });
}

/** A moment in UTC, as schedules and ids count. */
export function utc(iso) {
  const text = moment(iso).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, 16)} UTC`;
}

/** Hours and minutes of a moment on the reader's clock. */
export function clock(iso) {
  return moment(iso).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

/** The minute (ISO) that a backup's id names; null for none. */
export function slotOf(backupId) {
  const slot = backupId?.match(/-(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)$/);
  return slot ? `${slot[1]}-${slot[2]}-${slot[3]}T${slot[4]}:${slot[5]}:00Z` : null;
}

/** A day on the reader's clock. */
export function day(iso) {
  return moment(iso).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

function moment(value) {
  return new Date(value);
}
