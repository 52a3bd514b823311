// One backup: what it is, what it warns of, what is in it, and what can be done with it.

import { get } from "../api.js";
import { adminDialogButton, deleteButton, downloadButton, pinButton, reportButton, reportListButton, verifyButton } from "../acts.js";
import { button, h } from "../dom.js";
import { bytes, duration, number } from "../format.js";
import { kept, live } from "../live.js";
import { badge, clocks, facts, heading, section, table, verdictBadge, when } from "../pieces.js";
import { href } from "../router.js";
import { t } from "../texts.js";
import { changeOf } from "./backups.js";
import { contents } from "./contents.js";
import { restoreDialog } from "./restore.js";

export function backupView(context) {
  const [id] = context.args;
  const inside = contents(context, id);
  const acts = kept(actions);
  return h(
    "div",
    { class: "backup" },
    h("p", { class: "back" }, h("a", { href: href("backups") }, t("nav.backups"))),
    heading(id, button(t("action.print"), () => print(), { kind: "link" })),
    live(context, (options) => get(id, options), (backup, refresh) => shown(backup, acts(backup, refresh)), { ages: true }),
    inside,
  );
}

function shown(backup, acts) {
  return [
    h("p", { class: "badges" }, badge("", t(`type.${backup.type}`)), verdictBadge(backup.verification), backup.pinned && badge("pin", t("backup.pinned"))),
    acts,
    pinNote(backup.pinned),
    h("div", { class: "cards" }, aboutCard(backup), proofCard(backup), reportCard(backup)),
    warnings(backup),
  ];
}

function actions(backup, refresh) {
  const id = backup.backupId;
  return h(
    "div",
    { class: "actions" },
    adminDialogButton(t("action.restore"), () => restoreDialog(backup), { kind: "primary" }),
    downloadButton(t("action.downloadDatabase"), "database", id),
    downloadButton(t("action.downloadVolume"), "volume", id),
    verifyButton(id),
    reportButton(id),
    pinButton(backup, refresh),
    deleteButton(backup),
  );
}

function pinNote(pinned) {
  if (!pinned) return null;
  return h("p", { class: "notice pin" }, t("pin.note", { by: pinned.by, reason: pinned.reason }), " ", when(pinned.since));
}

function aboutCard(backup) {
  const { database, volume, change } = backup;
  return h(
    "section",
    { class: "card" },
    h("h2", {}, t("backup.about")),
    facts([
      [t("backup.made"), [when(backup.createdAt), h("small", {}, clocks(backup.createdAt))]],
      [t("backup.took"), duration((Date.parse(backup.createdAt) - Date.parse(backup.startedAt)) / 1000)],
      [t("backup.database"), [backup.databaseName, h("small", {}, `${backup.server} · ${t("backup.tables", { n: number(backup.tables) })}`)]],
      [t("backup.files"), number(backup.files)],
      [t("backup.stored"), [bytes(backup.size), h("small", {}, t("backup.halves", { database: bytes(database.size), volume: bytes(volume.size) }))]],
      backup.wholeSize && [t("backup.whole"), bytes(backup.wholeSize)],
      [t("backup.change"), [changeOf(change), change?.since && h("small", {}, h("a", { href: href("backups", change.since) }, t("change.since")))]],
      [t("backup.kept"), backup.keptUntil ? [when(backup.keptUntil, { words: untilDay(backup.keptUntil) })] : t("backup.keptAlways")],
      [t("backup.run"), h("a", { href: href("runs", backup.runId) }, backup.runId)],
      [t("backup.sums"), [sum("database", database), sum("volume", volume)]],
    ]),
  );
}

function untilDay(iso) {
  return new Date(iso).toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
}

function sum(kind, { sha256 }) {
  return h("small", {}, `${t(`half.${kind}`)}: `, sha256 ? h("code", {}, sha256) : t("backup.noSum"));
}

function proofCard({ verification, restoreEstimate }) {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, t("verification.title")),
    verification
      ? [
          h("p", { class: "large" }, verdictBadge(verification), " ", when(verification.verifiedAt)),
          verification.error && h("p", { class: "notice bad" }, verification.error),
          facts([
            [t("verification.at"), clocks(verification.verifiedAt)],
            [t("verification.took"), duration(verification.seconds)],
            [t("verification.tables"), number(verification.tables)],
            [t("verification.rows"), number(verification.rows)],
            [t("verification.files"), number(verification.files)],
            [t("verification.read"), bytes(verification.readBytes)],
            [t("backup.run"), h("a", { href: href("runs", verification.runId) }, verification.runId)],
          ]),
        ]
      : h("p", {}, t("verification.none")),
    restoreEstimate &&
      h("p", {}, t("restore.estimate", { time: duration(restoreEstimate.seconds), basis: t(`restore.basis.${restoreEstimate.basis}`) })),
  );
}

function reportCard({ backupId, report }) {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, t("report.title")),
    report
      ? [
          h("p", { class: report.differences ? "notice bad" : "" }, report.text),
          h("p", { class: "quiet" }, when(report.madeAt)),
          report.differences > 0 && reportListButton(backupId),
        ]
      : h("p", {}, t("report.none")),
  );
}

function warnings({ notices, noticesLeftOut: more }) {
  if (notices.length === 0) return null;
  const columns = [
    { name: t("notice.code"), head: true, of: (it) => h("code", {}, it.code) },
    { name: t("notice.subject"), of: (it) => it.subject },
    { name: t("notice.detail"), of: (it) => it.detail || "–" },
  ];
  return section(
    t("notice.title", { n: notices.length + more }),
    h("p", { class: "quiet" }, t("notice.about")),
    table(t("notice.title", { n: notices.length }), columns, notices),
    more > 0 && h("p", { class: "quiet" }, t("notice.more", { n: more })),
  );
}
