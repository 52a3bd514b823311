// What an admin can do, as buttons that others see greyed, with why.

import { get, send } from "./api.js";
import { ask } from "./dialog.js";
import { announce, button, field, fill, h } from "./dom.js";
import { outcomeOf } from "./live.js";
import { when } from "./pieces.js";
import { go } from "./router.js";
import { isAdmin } from "./session.js";
import { t } from "./texts.js";

const ASSEMBLED_TRIES = 60;
const LONGEST_QUERY = 7000;

/** A button for admins: greyed for everybody else, and told why. */
export function adminButton(text, act, options = {}) {
  return button(text, act, { ...options, why: isAdmin() ? null : t("role.why") });
}

/** A button that asks for a run and shows it; `start` answers what the API said. */
function runButton(text, start, options = {}) {
  const { told, act } = outcomeOf(async () => {
    const { run_id: run } = await start();
    go("runs", run);
  });
  return h("div", { class: "act" }, adminButton(text, act, options), told);
}

/** Makes a backup now. */
export function createButton() {
  return runButton(t("action.create"), () => send("POST", "create"), { kind: "primary" });
}

/** Verifies a backup. */
export function verifyButton(backupId) {
  return runButton(t("action.verify"), () => send("POST", `verify/${backupId}`));
}

/** Compares a backup's rows with its files. */
export function reportButton(backupId) {
  return runButton(t("action.report"), () => send("POST", `${backupId}/report`));
}

/** Downloads the list of what a backup's last report found. */
export function reportListButton(backupId) {
  const { told, act } = outcomeOf(async () => fetchFile((await get(`${backupId}/report`)).download));
  return h("div", { class: "act" }, button(t("report.list"), act, { kind: "link" }), told);
}

/** Pins a backup with a reason, or lets it go again; `changed` is called after that. */
export function pinButton({ backupId, pinned }, changed) {
  if (pinned) {
    const { told, act } = outcomeOf(async () => {
      await send("DELETE", `${backupId}/pin`);
      announce(t("pin.gone"));
      await changed();
    });
    return h("div", { class: "act" }, adminButton(t("action.unpin"), act), told);
  }
  return adminButton(t("action.pin"), () => {
    const reason = h("input", { maxlength: 500, required: true });
    ask({
      title: t("pin.title"),
      body: [h("p", {}, t("pin.about")), field(t("pin.reason"), reason, t("pin.hint"))],
      verb: t("action.pin.verb"),
      isReady: () => reason.value.trim() !== "",
      act: async () => {
        await send("PUT", `${backupId}/pin`, { reason: reason.value });
        announce(t("pin.set"));
        await changed();
      },
    });
  });
}

/** Deletes a backup, once its id was typed. */
export function deleteButton({ backupId, pinned }) {
  if (pinned && isAdmin()) return button(t("action.delete"), null, { kind: "danger", why: t("delete.pinned") });
  return adminButton(
    t("action.delete"),
    () => {
      const typed = h("input", { autocomplete: "off", spellcheck: "false" });
      ask({
        title: t("delete.title"),
        body: [h("p", {}, t("delete.about", { id: backupId })), field(t("delete.type", { id: backupId }), typed)],
        verb: t("action.delete.verb"),
        kind: "danger",
        isReady: () => typed.value.trim() === backupId,
        act: async () => {
          await send("DELETE", backupId);
          announce(t("delete.done", { id: backupId }));
          go("backups");
        },
      });
    },
    { kind: "danger" },
  );
}

/** A button of admins that opens a dialog, of what has to be asked for first. */
export function adminDialogButton(text, open, options = {}) {
  const { told, act } = outcomeOf(open);
  return h("div", { class: "act" }, adminButton(text, act, options), told);
}

/** The switch that pauses scheduled restores, with what it says now; `changed` is called after. */
export function pauseSwitch(pause, changed) {
  const reason = h("input", { maxlength: 500 });
  const { told, act } = outcomeOf(async () => {
    if (pause) await send("DELETE", "restore/pause");
    else await send("PUT", "restore/pause", { reason: reason.value });
    announce(t(pause ? "dr.resumed" : "dr.pausedNow"));
    await changed();
  });
  const said = pause
    ? h("p", {}, t("dr.paused", { by: pause.by, reason: pause.reason || t("dr.noReason") }), " ", when(pause.since))
    : h("p", {}, t("dr.running"));
  return h(
    "div",
    { class: pause ? "switch paused" : "switch" },
    said,
    !pause && isAdmin() && field(t("dr.reason"), reason),
    adminButton(t(pause ? "action.resume" : "action.pause"), act, { kind: "large" }),
    told,
  );
}

/** A button that downloads an archive, or of it what `selection` answers: {path: [...]} of a
 * volume, {table: [...]} of a database. */
export function downloadButton(text, kind, backupId, { selection = () => ({}), options = {} } = {}) {
  const told = h("div", { role: "status" });
  const { told: failed, act } = outcomeOf(async () => {
    try {
      await download(kind, backupId, selection(), (seconds) => fill(told, h("p", { class: "quiet" }, t("download.assembled", { seconds }))));
    } finally {
      fill(told);
    }
  });
  return h("div", { class: "act" }, button(text, act, options), told, failed);
}

async function download(kind, backupId, query, waiting) {
  if (new URLSearchParams(Object.entries(query)).toString().length > LONGEST_QUERY) {
    throw { title: t("download.tooMany"), detail: t("download.tooManyDetail"), action: t("download.tooManyAction") };
  }
  fetchFile(await get(`download/${kind}/${backupId}`, { query, waiting, tries: ASSEMBLED_TRIES }));
}

function fetchFile(found) {
  // S3 sends it as a file, so the page stays where it is.
  h("a", { href: found.url, download: found.file_name, rel: "noreferrer" }).click();
  announce(t("download.begun", { name: found.file_name }));
}
