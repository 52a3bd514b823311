// Runs: what is under way on top, then what was, newest first.

import { button, choice, field, fill, h } from "../dom.js";
import { between, bytes, duration, local, short } from "../format.js";
import { live, pages, partOf } from "../live.js";
import { heading, section, stateBadge, table, when } from "../pieces.js";
import { href } from "../router.js";
import { t } from "../texts.js";

const PAGE = 50;
const EVERY = 5;
const KINDS = ["create", "restore", "verify", "report", "upload", "download", "cleanup"];
const STATES = ["queued", "running", "succeeded", "failed"];

export function runsView(context) {
  const filter = { kind: "", state: "", ...context.query };
  const holder = h("div", {});
  let part = null;
  let most = PAGE;
  const anew = () => {
    part?.leave();
    part = partOf(context);
    context.keep(filter);
    fill(holder, live(part, load, show, { every: EVERY, ages: true }));
  };
  const load = (options) => pages("runs", "runs", { ...options, most, query: { ...filter, limit: PAGE } });
  const show = ({ found, next }, refresh) => {
    const more = () => {
      most += PAGE;
      refresh();
    };
    const under = found.filter((run) => run.state === "running" || run.state === "queued");
    const past = found.filter((run) => !under.includes(run));
    return [
      under.length > 0 && section(t("runs.live"), rowsOf(under)),
      section(t("runs.past"), past.length > 0 ? rowsOf(past) : h("p", { class: "empty" }, t("runs.none"))),
      next !== null && button(t("action.older"), more),
    ];
  };
  const set = (name) => (value) => {
    filter[name] = value;
    anew();
  };
  anew();
  return h(
    "div",
    {},
    heading(t("runs.title")),
    h(
      "div",
      { class: "filters", role: "search" },
      field(t("run.kind"), choice([["", t("runs.any")], ...KINDS.map((it) => [it, t(`kind.${it}`)])], filter.kind, set("kind"))),
      field(t("run.state"), choice([["", t("runs.any")], ...STATES.map((it) => [it, t(`state.${it}`)])], filter.state, set("state"))),
    ),
    holder,
  );
}

function rowsOf(runs) {
  const columns = [
    { name: t("run.kind"), head: true, of: (it) => h("a", { href: href("runs", it.id), "data-key": it.id }, t(`kind.${it.kind}`)) },
    { name: t("run.state"), of: (it) => stateBadge(it.state) },
    { name: t("run.began"), of: (it) => [when(it.started_at), h("small", { class: "whole" }, local(it.started_at))] },
    { name: t("run.took"), right: true, of: (it) => duration(between(it.started_at, it.finished_at)) },
    { name: t("run.backup"), of: (it) => (it.backup_id ? h("a", { href: href("backups", it.backup_id) }, it.backup_id) : "–") },
    { name: t("run.what"), of: whatOf },
  ];
  return table(t("runs.title"), columns, runs);
}

function whatOf({ error, step, progress, finished_at: ended }) {
  if (error) return [h("code", {}, error.code), " ", short(error.message)];
  const moved = Object.entries(progress).map(([half, done]) => `${t(`half.${half}`)} ${bytes(done)}`);
  // The last step of a run that has ended reads as if it were still at it.
  return [ended ? null : step, ...moved].filter(Boolean).join(" · ") || "–";
}
