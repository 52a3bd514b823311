// Whether a site is safe: what of its backups and runs somebody has to do something about.

import { ago, between, duration, short } from "./format.js";
import { href } from "./router.js";
import { t } from "./texts.js";

const GRACE = 3600;

/** What somebody has to look at, worst first: `level` (`bad` or `warn`), `text`, `todo`, and a
 * `link` with its words (or null). `facts` holds backups and runs (newest first), schedules, and
 * restoresFrom: null, or where a disaster-recovery environment gets its backups from. */
export function findings(facts) {
  const found = facts.restoresFrom === null ? ofSite(facts) : ofRecovery(facts);
  return found.filter(Boolean).sort((one, other) => rank(one) - rank(other));
}

/** The worst level of what was found; `good` when nothing was. */
export function verdict(found) {
  return found[0]?.level ?? "good";
}

function rank({ level }) {
  return level === "bad" ? 0 : 1;
}

function ofSite({ backups, runs, schedules }) {
  // An uploaded one may be of another site, or of another year.
  const known = readable(backups);
  const last = ofTheSite(known);
  return [
    ...backups.filter((it) => !known.includes(it)).map(unreadable),
    last ? overdue(last.createdAt, schedules.create, "overdue") : none(),
    schedules.create === null && finding("warn", "noSchedule"),
    failed(runs, "create", last?.createdAt),
    ...verification(known),
    last?.warnings > 0 && finding("warn", "warnings", { n: last.warnings }, link("backup", "backups", last.backupId)),
  ];
}

/** The last backup that was made of this site, of these. */
export function ofTheSite(backups) {
  return readable(backups).find((it) => it.type !== "Uploaded");
}

/** Those of which more is known than their ids. */
export function readable(backups) {
  return backups.filter((it) => it.status !== "unreadable");
}

function unreadable({ backupId, error }) {
  return finding("bad", "unreadable", { id: backupId, reason: short(error ?? "") }, link("backup", "backups", backupId));
}

function ofRecovery({ runs, schedules }) {
  const last = lastRestore(runs);
  const pause = schedules.restores_paused;
  const late = last && !pause && overdue(last.finished_at, schedules.restore, "restoreOverdue");
  return [
    pause && finding("warn", "paused", { by: pause.by, time: ago(pause.since), reason: pause.reason || t("dr.noReason") }),
    !last && finding("bad", "neverRestored"),
    late,
    failed(runs, "restore", last?.finished_at),
  ];
}

/** The last restore that succeeded, of these runs. */
export function lastRestore(runs) {
  return runs.find((run) => run.kind === "restore" && run.state === "succeeded");
}

function none() {
  return finding("bad", "none");
}

function overdue(since, rule, kind) {
  if (!rule || rule.next.length < 2) return null;
  // Not every gap is alike (`0 1 * * MON-FRI`): the longest is what is never late.
  const times = rule.next.map((it) => Date.parse(it) / 1000);
  const longest = Math.max(...times.slice(1).map((it, index) => it - times[index]));
  const age = between(since);
  if (age < longest + GRACE) return null;
  return finding("bad", kind, { age: duration(age), gap: duration(longest) }, link("runs", "runs"));
}

function failed(runs, kind, since) {
  const run = runs.find((it) => it.kind === kind && (it.state === "failed" || it.state === "succeeded"));
  if (!run || run.state === "succeeded" || (since && run.started_at < since)) return null;
  const reason = short(run.error?.message ?? "");
  return finding("bad", `failed.${kind}`, { time: ago(run.started_at), reason }, link("run", "runs", run.id));
}

function verification(backups) {
  const proven = lastVerified(backups);
  if (!proven) return backups.length > 0 ? [finding("warn", "unproven", { n: backups.length }, link("backup", "backups", backups[0].backupId))] : [];
  const { verdict: said, error } = proven.verification;
  if (said === "verified") return [];
  const level = said === "bad" ? "bad" : "warn";
  const where = link("backup", "backups", proven.backupId);
  return [finding(level, `verdict.${said}`, { id: proven.backupId, reason: short(error ?? "") }, where)];
}

/** The backup whose verification is the latest, of these. */
export function lastVerified(backups) {
  const verified = backups.filter((it) => it.verification);
  return verified.sort((one, other) => (one.verification.verifiedAt < other.verification.verifiedAt ? 1 : -1))[0];
}

function finding(level, kind, values = {}, where = null) {
  return { level, text: t(`finding.${kind}`, values), todo: t(`finding.${kind}.todo`), link: where };
}

function link(words, ...parts) {
  return { text: t(`finding.link.${words}`), href: href(...parts) };
}
