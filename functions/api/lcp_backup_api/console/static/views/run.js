// One run: live while it works, and its record afterwards.

import { get } from "../api.js";
import { announce, h } from "../dom.js";
import { between, bytes, clock, duration, number, slotOf } from "../format.js";
import { live } from "../live.js";
import { clocks, facts, heading, section, stateBadge, table, when } from "../pieces.js";
import { href } from "../router.js";
import { t } from "../texts.js";

const EVERY = 2;
const TOLD_EVERY = 15_000;

export function runView(context) {
  const [id] = context.args;
  const rates = {};
  const sizes = {};
  let told = { at: 0, state: null };
  const load = async (options) => {
    const run = await get(`runs/${id}`, options);
    Object.assign(sizes, await expected(run, options, sizes));
    // How long it has been at work changes although the record does not.
    return { run, now: over(run) ? null : Math.floor(Date.now() / 1000) };
  };
  const show = ({ run }) => {
    measure(rates, run);
    const state = t(`state.${run.state}`);
    if (told.state !== null && (told.state !== state || Date.now() - told.at > TOLD_EVERY)) announce(spoken(run, sizes));
    if (told.state !== state || Date.now() - told.at > TOLD_EVERY) told = { at: Date.now(), state };
    return shown(run, sizes, rates);
  };
  return h(
    "div",
    {},
    h("p", { class: "back" }, h("a", { href: href("runs") }, t("nav.runs"))),
    heading(t("run.title", { kind: kindIn(id) })),
    h("p", { class: "quiet" }, h("code", {}, id)),
    live(context, load, show, { every: EVERY, isOver: ({ run }) => over(run) }),
  );
}

function kindIn(id) {
  const kind = id.split("-")[1];
  return kind ? t(`kind.${kind}`) : t("run.noKind");
}

function over({ state }) {
  return state === "succeeded" || state === "failed";
}

/** How many bytes each half will have moved in the end, as far as that is known. */
async function expected(run, options, known) {
  if (known.of === run.kind || over(run) || !run.backup_id) return {};
  if (run.kind !== "restore" && run.kind !== "verify" && run.kind !== "create") return {};
  try {
    const path = run.kind === "create" ? null : run.backup_id;
    const backup = path ? await get(path, { ...options, tries: 1 }) : (await get("list", { ...options, query: { limit: 1 } })).backups[0];
    // What a create finds unchanged is not stored: only of the dump is known how large it gets.
    if (!backup) return { of: run.kind };
    return { of: run.kind, database: backup.database.rawSize, volume: path ? backup.volume.rawSize : null };
  } catch {
    return { of: run.kind };
  }
}

function measure(rates, { progress, updated_at: at }) {
  for (const [half, done] of Object.entries(progress)) {
    const last = rates[half];
    if (!last) rates[half] = { first: done, since: at, done, at, rate: null };
    else if (at > last.at) {
      rates[half] = { ...last, done, at, rate: (done - last.first) / Math.max(between(last.since, at), 0.001) };
    }
  }
}

function shown(run, sizes, rates) {
  return [
    h("p", { class: "badges" }, stateBadge(run.state)),
    over(run) ? outcome(run) : working(run, sizes, rates),
    h("div", { class: "cards" }, record(run), results(run)),
    notices(run.warnings),
  ];
}

function working(run, sizes, rates) {
  return h(
    "section",
    { class: "working" },
    h("p", { class: "large" }, notYet(run) || run.step || t("run.waiting")),
    h("p", { class: "quiet" }, t("run.since", { time: duration(between(run.started_at)) })),
    Object.entries(run.progress).map(([half, done]) => bar(half, done, sizes[half], rates[half]?.rate)),
    h("p", { class: "quiet" }, t("run.leave")),
  );
}

/** That a backup begins with the next minute, because this one has its backup already. */
function notYet({ state, kind, backup_id: id }) {
  const slot = state === "queued" && kind === "create" ? slotOf(id) : null;
  return slot && between(slot) < 0 ? t("run.nextMinute", { time: clock(slot) }) : null;
}

function bar(half, done, total, rate) {
  // What was expected is an estimate: a site grows.
  const most = total ? Math.max(total, done) : null;
  const name = t(`half.${half}`);
  const left = most && rate > 0 ? t("run.left", { time: duration((most - done) / rate) }) : null;
  const said = [
    most ? t("run.of", { done: bytes(done), total: bytes(most) }) : bytes(done),
    rate > 0 ? t("run.rate", { rate: bytes(rate) }) : null,
    left,
  ].filter(Boolean);
  return h(
    "div",
    { class: "progress" },
    h("p", {}, h("strong", {}, name), " ", said.join(" · ")),
    h("progress", { max: most ?? 1, value: most ? done : null, "aria-label": name }),
  );
}

function spoken(run, sizes) {
  if (over(run)) return `${t(`kind.${run.kind}`)}: ${t(`state.${run.state}`)}`;
  const parts = Object.entries(run.progress).map(([half, done]) => {
    const total = sizes[half];
    return `${t(`half.${half}`)} ${total ? `${Math.floor((100 * Math.min(done, total)) / total)}%` : bytes(done)}`;
  });
  return [run.step, ...parts].join(", ");
}

function outcome(run) {
  const took = duration(between(run.started_at, run.finished_at));
  if (run.state === "failed") {
    // Two asked in the same moment: the other one's run was first.
    const isHeld = run.error.code === "lease-held";
    const holder = isHeld && run.error.message.match(/\b\d{8}T\d{6}-[a-z]+-[0-9a-f]{8}\b/)?.[0];
    return h(
      "div",
      { class: "notice bad" },
      h("p", {}, h("strong", {}, t("run.failed", { time: took }))),
      h("p", { class: "reason" }, run.error.message),
      h("p", {}, t("run.code"), " ", h("code", {}, run.error.code), ". ", t(isHeld ? "run.todo.held" : `run.todo.${run.kind}`)),
      holder && h("p", {}, h("a", { href: href("runs", holder) }, t("problem.run"))),
    );
  }
  return h(
    "div",
    { class: "notice good" },
    h("p", {}, h("strong", {}, t("run.succeeded", { time: took }))),
    h("p", {}, t(`run.after.${run.kind}`)),
    run.backup_id && run.kind !== "cleanup" && h("p", {}, h("a", { href: href("backups", run.backup_id) }, run.backup_id)),
  );
}

function record(run) {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, t("run.record")),
    facts([
      [t("run.kind"), t(`kind.${run.kind}`)],
      run.backup_id && [t("run.backup"), h("a", { href: href("backups", run.backup_id) }, run.backup_id)],
      [t("run.began"), [when(run.started_at), h("small", {}, clocks(run.started_at))]],
      run.finished_at && [t("run.ended"), clocks(run.finished_at)],
      run.finished_at && [t("run.took"), duration(between(run.started_at, run.finished_at))],
      ...Object.entries(run.progress).map(([half, done]) => [t("run.moved", { half: t(`half.${half}`) }), bytes(done)]),
    ]),
  );
}

function results({ result }) {
  const pairs = Object.entries(result).filter(([, value]) => value !== null && !(Array.isArray(value) && value.length === 0));
  if (pairs.length === 0) return null;
  return h("section", { class: "card" }, h("h2", {}, t("run.result")), facts(pairs.map(([name, value]) => [name.replaceAll("_", " "), resultOf(name, value)])));
}

function resultOf(name, value) {
  if (Array.isArray(value)) return h("ul", {}, value.map((it) => h("li", {}, String(it))));
  if (typeof value !== "number") return String(value);
  return /bytes/.test(name) ? bytes(value) : number(value);
}

function notices(warnings) {
  if (warnings.length === 0) return null;
  const columns = [
    { name: t("notice.code"), head: true, of: (it) => h("code", {}, it.code) },
    { name: t("notice.subject"), of: (it) => it.subject },
    { name: t("notice.detail"), of: (it) => it.detail || "–" },
  ];
  return section(t("notice.title", { n: warnings.length }), table(t("notice.title", { n: warnings.length }), columns, warnings));
}
