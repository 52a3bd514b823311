// All backups: found by what is known of them, and gone through with the keyboard.

import { button, choice, field, fill, h } from "../dom.js";
import { createButton } from "../acts.js";
import { bytes, duration, local, number, short } from "../format.js";
import { live, pages, partOf } from "../live.js";
import { badge, heading, table, verdictBadge, when } from "../pieces.js";
import { href } from "../router.js";
import { t } from "../texts.js";

const PAGE = 100;

export function backupsView(context) {
  const filter = { status: "succeeded", type: "", verified: "", text: "", ...context.query };
  let most = PAGE;
  const place = h("div", {});
  let found = null;
  const narrow = () => {
    context.keep({ ...filter, status: filter.status === "succeeded" ? "" : filter.status });
    if (found) fill(place, listed(found.found.filter((it) => matches(it, filter)), found, more));
  };
  const more = () => {
    most += PAGE;
    refresh();
  };
  let refresh = () => {};
  let part = null;
  const list = () => {
    part?.leave();
    part = partOf(context);
    return live(
      part,
      (options) => pages("list", "backups", { ...options, most, query: { status: filter.status, limit: PAGE } }),
      (answer, again) => {
        found = answer;
        refresh = again;
        narrow();
        return place;
      },
      { ages: true },
    );
  };
  const holder = h("div", {}, list());
  const anew = () => {
    found = null;
    context.keep(filter);
    fill(holder, list());
  };
  return h(
    "div",
    {},
    heading(t("backups.title"), createButton()),
    filters(filter, narrow, anew),
    holder,
  );
}

function filters(filter, narrow, anew) {
  const search = h("input", { type: "search", value: filter.text, placeholder: t("backups.searchFor"), "data-search": true });
  search.addEventListener("input", () => {
    filter.text = search.value;
    narrow();
  });
  const set = (name, then) => (value) => {
    filter[name] = value;
    then();
  };
  const status = ["succeeded", "failed", "all"].map((it) => [it, t(`backups.status.${it}`)]);
  const type = ["", "Auto", "Manual", "Uploaded"].map((it) => [it, it ? t(`type.${it}`) : t("backups.anyType")]);
  const verified = ["", "verified", "bad", "none", "pinned"].map((it) => [it, t(`backups.verified.${it || "any"}`)]);
  return h(
    "div",
    { class: "filters", role: "search" },
    field(t("backups.search"), search),
    field(t("backups.status"), choice(status, filter.status, set("status", anew))),
    field(t("backups.type"), choice(type, filter.type, set("type", narrow))),
    field(t("backups.verified"), choice(verified, filter.verified, set("verified", narrow))),
  );
}

function matches(backup, { type, verified, text }) {
  if (type && backup.type !== type) return false;
  if (verified === "pinned" && !backup.pinned) return false;
  if (verified === "none" && backup.verification) return false;
  if ((verified === "verified" || verified === "bad") && backup.verification?.verdict !== verified) return false;
  const said = [backup.backupId, backup.runId, backup.startedAt, backup.type, backup.error, backup.pinned?.reason, backup.pinned?.by];
  return said.join(" ").toLowerCase().includes(text.trim().toLowerCase());
}

function listed(backups, { next }, more) {
  const rows = backups.length === 0 ? h("p", { class: "empty" }, t(next === null ? "backups.none" : "backups.noneYet")) : rowsOf(backups);
  return [
    h("p", { class: "quiet", role: "status" }, t("backups.count", { n: backups.length })),
    rows,
    next !== null && h("p", {}, button(t("action.older"), more)),
    h("p", { class: "quiet keys" }, t("backups.keys")),
  ];
}

function rowsOf(backups) {
  const columns = [
    { name: t("backup.id"), head: true, of: idOf },
    { name: t("backup.type"), of: (it) => (it.type ? t(`type.${it.type}`) : "–") },
    { name: t("backup.made"), of: (it) => [when(it.createdAt ?? it.startedAt), h("small", { class: "whole" }, local(it.createdAt ?? it.startedAt))] },
    { name: t("backup.took"), right: true, of: (it) => (it.createdAt ? duration((Date.parse(it.createdAt) - Date.parse(it.startedAt)) / 1000) : "–") },
    { name: t("backup.stored"), right: true, of: (it) => (it.size === null ? "–" : bytes(it.size)) },
    { name: t("backup.whole"), right: true, of: (it) => (it.wholeSize ? bytes(it.wholeSize) : "–") },
    { name: t("backup.change"), of: (it) => changeOf(it.change) },
    { name: t("backup.marks"), of: marksOf },
  ];
  const shown = table(t("backups.title"), columns, backups, { key: keyOf });
  shown.addEventListener("keydown", walk);
  return shown;
}

/** An unreadable one knows of no run. */
function keyOf({ runId, backupId }) {
  return runId ?? backupId;
}

function idOf(backup) {
  const { backupId, status, runId, error } = backup;
  const to = status === "failed" ? href("runs", runId) : href("backups", backupId);
  return [h("a", { class: "whole", href: to, "data-key": keyOf(backup) }, backupId ?? runId), error && h("small", { class: "bad" }, short(error))];
}

/** What a backup changed, in a few words. */
export function changeOf(change) {
  if (!change) return "–";
  const signed = (count) => `${count < 0 ? "−" : "+"}${number(Math.abs(count))}`;
  const size = change.fileBytes + change.sqlBytes;
  const parts = [
    change.files !== 0 && t("change.files", { n: signed(change.files) }),
    change.tables !== 0 && t("change.tables", { n: signed(change.tables) }),
    size !== 0 && `${size < 0 ? "−" : "+"}${bytes(Math.abs(size))}`,
  ].filter(Boolean);
  return parts.length === 0 ? t("change.none") : parts.join(", ");
}

function marksOf({ status, verification, pinned, warnings }) {
  return h(
    "span",
    { class: "badges" },
    status === "succeeded" ? verdictBadge(verification) : badge("bad", t(`state.${status}`)),
    pinned && badge("pin", t("backup.pinned")),
    warnings > 0 && badge("warn", t("backup.warnings", { n: warnings })),
  );
}

/** Arrow keys, or j and k, go from row to row; Enter follows the link that has the focus. */
function walk(event) {
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
  if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
  const links = [...event.currentTarget.querySelectorAll("tbody th a")];
  const here = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
  const next = links[Math.min(links.length - 1, Math.max(0, here + step))];
  event.preventDefault();
  next?.focus();
}
