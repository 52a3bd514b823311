// What lies in a backup: folders to go through and tables, to be downloaded or restored by choice.

import { adminDialogButton, downloadButton } from "../acts.js";
import { get } from "../api.js";
import { button, fill, h } from "../dom.js";
import { bytes, number } from "../format.js";
import { live, pages } from "../live.js";
import { clocks, section, table } from "../pieces.js";
import { t } from "../texts.js";
import { restoreDialog } from "./restore.js";

const PAGE = 200;

/** The files and the tables of a backup, each loaded when it is first looked at. */
export function contents(context, id) {
  const place = h("div", {});
  const makers = { files: () => filesOf(context, id), tables: () => tablesOf(context, id) };
  const made = {};
  const tabs = Object.keys(makers).map((name) =>
    h("button", { type: "button", "aria-pressed": "false", on: { click: () => choose(name) } }, t(`contents.${name}`)),
  );
  const choose = (name) => {
    made[name] ??= makers[name]();
    fill(place, made[name]);
    for (const [index, tab] of tabs.entries()) tab.setAttribute("aria-pressed", String(Object.keys(makers)[index] === name));
  };
  choose("files");
  return section(t("contents.title"), h("div", { class: "tabs", role: "group", "aria-label": t("contents.title") }, tabs), place);
}

function filesOf(context, id) {
  const chosen = new Set();
  const bar = h("div", {});
  const list = h("div", {});
  const told = () => fill(bar, chosenBar(id, "volume", chosen, clear));
  const clear = () => {
    chosen.clear();
    told();
    for (const box of list.querySelectorAll("input")) box.checked = false;
  };
  const open = (path) => fill(list, folder(context, id, path, open, chosen, told));
  open("");
  return h("div", {}, bar, list);
}

function folder(context, id, path, open, chosen, told) {
  let limit = PAGE;
  const load = (options) => pages(`${id}/files`, "files", { ...options, most: limit, query: { path, limit: PAGE } });
  const shown = ({ found: files, next }, refresh) => {
    const columns = [
      { name: t("contents.choose"), of: (it) => box(it.name, it.path, chosen, told) },
      { name: t("contents.name"), head: true, of: (it) => nameOf(it, open) },
      { name: t("contents.size"), right: true, of: (it) => (it.kind === "file" ? bytes(it.size) : "–") },
      { name: t("contents.changed"), of: (it) => (it.mtime ? clocks(it.mtime) : "–") },
      { name: t("contents.get"), of: (it) => rowDownload("volume", id, it.name, { path: [it.path] }) },
    ];
    const more = () => {
      limit += PAGE;
      refresh();
    };
    return [
      crumbs(path, open),
      files.length === 0 ? h("p", { class: "empty" }, t("contents.empty")) : table(t("contents.files"), columns, files),
      next !== null && button(t("action.more"), more),
    ];
  };
  // A backup never changes.
  return live(context, load, shown, { every: null });
}

function nameOf({ name, path, kind }, open) {
  if (kind === "folder") {
    return h("button", { type: "button", class: "link folder", on: { click: () => open(path) } }, name, h("span", { class: "unseen" }, ` (${t("contents.folder")})`));
  }
  return [name, kind === "file" ? null : h("small", {}, t(`contents.kind.${kind}`))];
}

function crumbs(path, open) {
  // A name that is no text has no parts that could be shown.
  const parts = path === "" ? [] : path.startsWith("base64:") ? [path] : path.split("/");
  const to = (index) => parts.slice(0, index + 1).join("/");
  return h(
    "nav",
    { class: "crumbs", "aria-label": t("contents.where") },
    button(t("contents.top"), () => open(""), { kind: "link" }),
    parts.map((part, index) => [" / ", button(part, () => open(to(index)), { kind: "link" })]),
  );
}

function tablesOf(context, id) {
  const chosen = new Set();
  const bar = h("div", {});
  const list = h("div", {});
  const told = () => fill(bar, chosenBar(id, "database", chosen, clear));
  const clear = () => {
    chosen.clear();
    told();
    for (const box of list.querySelectorAll("input")) box.checked = false;
  };
  const shown = ({ found: tables, page: { routines, events } }) => {
    const columns = [
      { name: t("contents.choose"), of: (it) => (it.kind === "table" ? box(it.name, it.name, chosen, told) : null) },
      { name: t("contents.name"), head: true, of: (it) => [it.name, it.kind === "view" ? h("small", {}, t("contents.view")) : null, it.has_triggers ? h("small", {}, t("contents.triggers")) : null] },
      { name: t("contents.inArchive"), right: true, of: (it) => bytes(it.size) },
      { name: t("contents.asSql"), right: true, of: (it) => bytes(it.sql_size) },
      { name: t("contents.get"), of: (it) => (it.kind === "table" ? rowDownload("database", id, it.name, { table: [it.name] }) : null) },
    ];
    return [
      h("p", { class: "quiet" }, t("contents.tableCount", { n: number(tables.length) }), code(routines, "routines"), code(events, "events")),
      table(t("contents.tables"), columns, tables),
    ];
  };
  fill(list, live(context, (options) => pages(`${id}/tables`, "tables", { ...options, most: Infinity, query: { limit: 1000 } }), shown, { every: null }));
  return h("div", {}, bar, list);
}

function code(extent, kind) {
  return extent ? ` · ${t(`contents.${kind}`)}: ${bytes(extent.sql_size)}` : "";
}

function box(name, value, chosen, told) {
  const change = (event) => {
    if (event.target.checked) chosen.add(value);
    else chosen.delete(value);
    told();
  };
  return h("input", { type: "checkbox", checked: chosen.has(value), "aria-label": t("contents.chooseOne", { name }), on: { change } });
}

function rowDownload(kind, id, name, query) {
  const options = { kind: "link" };
  const made = downloadButton(t("action.download"), kind, id, { selection: () => query, options });
  made.querySelector("button").setAttribute("aria-label", t("contents.download", { name }));
  return made;
}

function chosenBar(id, kind, chosen, clear) {
  if (chosen.size === 0) return null;
  const query = () => (kind === "volume" ? { path: [...chosen] } : { table: [...chosen] });
  const part = () => (kind === "volume" ? { paths: [...chosen] } : { tables: [...chosen] });
  return h(
    "div",
    { class: "chosen" },
    h("p", { role: "status" }, t("contents.chosen", { n: chosen.size })),
    downloadButton(t("action.downloadChosen"), kind, id, { selection: query }),
    adminDialogButton(t("action.restoreChosen"), async () => restoreDialog(await get(id), part())),
    button(t("action.clear"), clear, { kind: "link" }),
  );
}
