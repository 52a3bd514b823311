// The dialog of a restore: from what, into where, what will be replaced, and the name to be typed.

import { send } from "../api.js";
import { ask } from "../dialog.js";
import { field, fill, h } from "../dom.js";
import { environment } from "../environment.js";
import { bytes, duration, number } from "../format.js";
import { clocks, facts } from "../pieces.js";
import { go } from "../router.js";
import { t } from "../texts.js";

const SHOWN = 8;

/** Asks for a restore of a backup (as GET /backup/{id} answers it), whole or of `part`: {paths} or
 * {tables}. The run is shown once it has begun. Raises Problem when the environment is not known. */
export async function restoreDialog(backup, part = null) {
  const about = await environment();
  const typed = h("input", { autocomplete: "off", spellcheck: "false", "data-typed": true });
  const keep = h("input", { type: "checkbox" });
  let only = null;
  const replaced = h("div", { class: "notice warn" });
  const tellReplaced = () => fill(replaced, replacedBy(part, only));
  tellReplaced();
  const choose = (value) => {
    only = value || null;
    tellReplaced();
  };
  ask({
    title: t("restore.title"),
    body: [
      facts([
        [t("restore.from"), [backup.backupId, h("small", {}, clocks(backup.createdAt))]],
        [t("restore.into"), [h("strong", {}, `${about.project} / ${about.environment}`), h("small", {}, t("restore.database", { name: backup.databaseName }))]],
        !part && backup.restoreEstimate && [t("restore.time"), [duration(backup.restoreEstimate.seconds), h("small", {}, t(`restore.basis.${backup.restoreEstimate.basis}`))]],
        !part && backup.wholeSize && [t("restore.size"), bytes(backup.wholeSize)],
      ]),
      part ? partList(part) : whatToRestore(choose),
      replaced,
      h("label", { class: "check" }, keep, t("restore.keep")),
      h("p", { class: "notice" }, t("restore.stopLiferay")),
      field(t("restore.type", { name: about.environment }), typed),
    ],
    verb: t("restore.verb"),
    kind: "danger",
    isReady: () => typed.value.trim() === about.environment,
    act: async () => {
      const body = { ...part };
      if (only) body.only = only;
      if (keep.checked) body.keep_previous = true;
      const { run_id: run } = await send("POST", `restore/${backup.backupId}`, body);
      go("runs", run);
    },
  });
}

function whatToRestore(choose) {
  const option = (value, text) =>
    h("label", { class: "check" }, h("input", { type: "radio", name: "only", value, checked: value === "", on: { change: () => choose(value) } }), text);
  return h(
    "fieldset",
    {},
    h("legend", {}, t("restore.what")),
    option("", t("restore.whole")),
    option("database", t("restore.onlyDatabase")),
    option("volume", t("restore.onlyVolume")),
  );
}

function partList({ paths, tables }) {
  const names = paths ?? tables;
  return h(
    "div",
    {},
    h("p", {}, t(paths ? "restore.paths" : "restore.tables", { n: number(names.length) })),
    h("ul", { class: "names" }, names.slice(0, SHOWN).map((it) => h("li", {}, it))),
    names.length > SHOWN && h("p", { class: "quiet" }, t("restore.more", { n: names.length - SHOWN })),
  );
}

function replacedBy(part, only) {
  if (part) return h("p", {}, t(part.paths ? "restore.replaces.paths" : "restore.replaces.tables"));
  return h("p", {}, t(`restore.replaces.${only ?? "whole"}`));
}
