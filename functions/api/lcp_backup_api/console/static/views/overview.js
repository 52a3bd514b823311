// Is this site safe? What an operator sees first, at night.

import { get } from "../api.js";
import { h } from "../dom.js";
import { environment } from "../environment.js";
import { ago, between, bytes, day, dollars, duration, local, number, slotOf, until } from "../format.js";
import { kept, live, pages } from "../live.js";
import { badge, clocks, facts, figures, heading, section, verdictBadge, when } from "../pieces.js";
import { plot } from "../plots.js";
import { href } from "../router.js";
import { findings, lastRestore, lastVerified, ofTheSite, verdict } from "../safety.js";
import { t } from "../texts.js";
import { createButton, pauseSwitch } from "../acts.js";

const PLOTTED = 200;
const USAGE_EVERY = 300;

export function overviewView(context) {
  const pause = kept(pauseSwitch);
  return h(
    "div",
    {},
    heading(t("overview.title"), createButton()),
    live(context, loadFacts, (found, refresh) => showFacts(found, pause(found.schedules.restores_paused, refresh)), { ages: true }),
    live(context, loadUsage, showUsage, { every: USAGE_EVERY }),
  );
}

async function loadFacts(options) {
  const [{ backups }, { runs }, schedules, about] = await Promise.all([
    get("list", { ...options, query: { limit: 30 } }),
    get("runs", { ...options, query: { limit: 60 } }),
    get("schedules", options),
    environment(),
  ]);
  return { backups, runs, schedules, about, restoresFrom: about.restores_from };
}

function showFacts(found, pause) {
  const wrong = findings(found);
  return [
    verdictCard(verdict(wrong), found),
    wrong.map(findingBox),
    found.restoresFrom === null ? null : recoveryCard(found, pause),
    underWay(found.runs),
    h("div", { class: "cards" }, found.restoresFrom === null ? [lastCard(found), proofCard(found)] : null, nextCard(found)),
  ];
}

function verdictCard(level, { backups, restoresFrom, runs }) {
  const kind = restoresFrom === null ? "safe" : "recovery";
  const last = restoresFrom === null ? ofTheSite(backups)?.createdAt : lastRestore(runs)?.finished_at;
  const said = last ? t(`overview.${kind}.last`, { time: ago(last) }) : t(`overview.${kind}.never`);
  return h(
    "section",
    { class: `verdict ${level}` },
    h("p", { class: "verdict-mark", "aria-hidden": "true" }, { good: "✓", warn: "!", bad: "✕" }[level]),
    h("div", {}, h("h2", {}, t(`overview.${kind}.${level}`)), h("p", {}, said)),
  );
}

function findingBox({ level, text, todo, link }) {
  return h(
    "div",
    { class: `notice ${level}` },
    h("p", {}, h("strong", {}, text)),
    h("p", {}, todo, " ", link && h("a", { href: link.href }, link.text)),
  );
}

function recoveryCard({ runs, restoresFrom }, pause) {
  const last = lastRestore(runs);
  const made = slotOf(last?.backup_id);
  return section(
    t("dr.title"),
    facts([
      [t("dr.source"), restoresFrom],
      [t("dr.last"), last ? [h("a", { href: href("runs", last.id) }, last.backup_id), " ", when(last.finished_at)] : t("dr.never")],
      made && [t("dr.behind"), when(made, { words: duration(between(made)) })],
    ]),
    pause,
  );
}

function underWay(runs) {
  const now = runs.filter((run) => run.state === "running" || run.state === "queued");
  return now.map((run) =>
    h(
      "p",
      { class: "notice live" },
      badge("live", t(`state.${run.state}`)),
      " ",
      h("a", { href: href("runs", run.id) }, t(`kind.${run.kind}`)),
      run.step ? ` · ${run.step}` : "",
    ),
  );
}

function lastCard({ backups, about }) {
  const last = ofTheSite(backups);
  if (!last) return card(t("overview.lastBackup"), h("p", { class: "large" }, t("overview.noBackup")));
  return card(
    t("overview.lastBackup"),
    h("p", { class: "large" }, h("a", { href: href("backups", last.backupId) }, when(last.createdAt))),
    facts([
      [t("backup.made"), clocks(last.createdAt)],
      [t("backup.type"), t(`type.${last.type}`)],
      [t("backup.stored"), bytes(last.size)],
      [t("backup.took"), duration((Date.parse(last.createdAt) - Date.parse(last.startedAt)) / 1000)],
      [t("overview.retention"), t("overview.days", { n: about.retention_days })],
    ]),
  );
}

function proofCard({ backups }) {
  const proven = lastVerified(backups);
  if (!proven) return card(t("overview.lastProof"), h("p", { class: "large" }, backups.length > 0 ? t("overview.noProof", { n: backups.length }) : t("overview.noBackup")), h("p", {}, t("overview.noProofAbout")));
  const { verifiedAt, seconds, tables, rows, files } = proven.verification;
  return card(
    t("overview.lastProof"),
    h("p", { class: "large" }, h("a", { href: href("backups", proven.backupId) }, when(verifiedAt)), " ", verdictBadge(proven.verification)),
    facts([
      [t("verification.at"), clocks(verifiedAt)],
      [t("verification.took"), duration(seconds)],
      [t("verification.tables"), number(tables)],
      [t("verification.rows"), number(rows)],
      [t("verification.files"), number(files)],
    ]),
  );
}

function nextCard({ schedules }) {
  const rules = ["create", "restore", "verify", "cleanup"].filter((name) => schedules[name]);
  return card(
    t("overview.next"),
    facts(
      rules.map((name) => {
        const next = schedules[name].next[0];
        const paused = name === "restore" && schedules.restores_paused;
        return [t(`kind.${name}`), paused ? t("dr.isPaused") : [until(next), h("small", {}, clocks(next))]];
      }),
    ),
    h("p", {}, h("a", { href: href("schedules") }, t("overview.allSchedules"))),
  );
}

function card(title, ...children) {
  return h("section", { class: "card" }, h("h2", {}, title), children);
}

async function loadUsage(options) {
  const first = await get("usage", { ...options, query: { limit: 100 } });
  const rest = first.next === null ? { found: [] } : await pages("usage", "backups", { ...options, query: { limit: 100, next: first.next }, most: PLOTTED - 100 });
  return { ...first, backups: [...first.backups, ...rest.found], limit: (await environment()).time_limit_seconds };
}

function showUsage({ backups, live: stored, month, limit }) {
  return section(
    t("usage.title"),
    figures([
      stored && [t("usage.now"), [bytes(stored.total_bytes), stored.complete ? null : h("small", {}, t("usage.atLeast"))]],
      month && [t("usage.month"), [dollars(month.usd), h("small", {}, t("usage.rate", { rate: month.usd_per_gb, kind: month.storage_class, region: month.region }))]],
    ]),
    backups.length > 1 ? h("div", { class: "plots" }, storedPlot(backups, month), durationPlot(backups, limit)) : h("p", { class: "quiet" }, t("usage.tooFew")),
  );
}

function storedPlot(backups, month) {
  let sum = 0;
  // An upload's id may be older than the backups before it.
  const points = backups.toSorted((one, other) => (one.created_at < other.created_at ? -1 : 1)).map(({ backup_id: id, created_at: at, stored_bytes: stored }) => {
    sum += stored;
    const cost = month ? ` · ${dollars((sum / 1e9) * month.usd_per_gb)}` : "";
    return { at, value: sum, label: `${id}: ${bytes(sum)}${cost}` };
  });
  const summary = t("usage.storedSummary", { first: bytes(points[0].value), last: bytes(sum), from: day(points[0].at), to: day(points.at(-1).at) });
  return plot({ title: t("usage.stored"), summary, points, axis: bytes });
}

function durationPlot(backups, limit) {
  const made = backups.filter((it) => it.type !== "Uploaded");
  if (made.length === 0) return null;
  const points = made.map(({ created_at: at, seconds }) => ({ at, value: seconds, label: `${local(at)}: ${duration(seconds)}` }));
  const longest = Math.max(...points.map((it) => it.value));
  const summary = t("usage.durationSummary", { longest: duration(longest), limit: duration(limit) });
  return plot({
    title: t("usage.duration"),
    summary,
    points,
    axis: duration,
    isTime: true,
    limit: { value: limit, label: t("usage.limit", { limit: duration(limit) }) },
    asBars: true,
  });
}
