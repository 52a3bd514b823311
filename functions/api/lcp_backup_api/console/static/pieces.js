// Small pieces that several views show alike.

import { h } from "./dom.js";
import { ago, local, utc } from "./format.js";
import { t } from "./texts.js";

/** A moment: how long ago, with the reader's clock and UTC beside it. */
export function when(iso, { words = ago(iso) } = {}) {
  return h("time", { datetime: iso, title: `${local(iso)} · ${utc(iso)}` }, words);
}

/** A moment in both clocks, to be read without a pointer; once where they are the same. */
export function clocks(iso) {
  const isSame = new Date(iso).getTimezoneOffset() === 0;
  return h("time", { datetime: iso }, isSame ? `${local(iso)} UTC` : [local(iso), h("small", {}, utc(iso))]);
}

/** A word with the colour of what it means; never the colour alone. */
export function badge(kind, text) {
  return h("span", { class: `badge ${kind}` }, text);
}

/** The badge of a run's state. */
export function stateBadge(state) {
  const kinds = { succeeded: "good", failed: "bad", running: "live", queued: "live" };
  return badge(kinds[state] ?? "", t(`state.${state}`));
}

/** The badge of what the last verification found out; null stands for none. */
export function verdictBadge(verification) {
  if (!verification) return badge("quiet", t("verdict.none"));
  const kinds = { verified: "good", bad: "bad", "could-not-verify": "warn" };
  const { verdict } = verification;
  return badge(kinds[verdict] ?? "", t(`verdict.${verdict}`));
}

/** Names and what they stand for, in two columns; null leaves a line out. */
export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    pairs.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

/** A few figures that matter, side by side; null leaves one out. */
export function figures(pairs) {
  return h("dl", { class: "figures" }, pairs.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** A heading with what can be done beside it. */
export function heading(text, ...actions) {
  return h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, text), h("div", { class: "actions" }, actions));
}

/** A section with a heading of its own. */
export function section(text, ...children) {
  return h("section", {}, h("h2", {}, text), children);
}

/** A table that becomes a list of cards where there is no room. `columns` are {name, of, right}:
 * its heading, what is shown of an entry, and whether it is a figure. */
export function table(caption, columns, entries, { key = null } = {}) {
  const row = (entry) =>
    h(
      "tr",
      { "data-row": key?.(entry) },
      columns.map(({ name, of, right, head }) =>
        h(head ? "th" : "td", { "data-name": name, class: right && "right", scope: head && "row" }, h("div", {}, of(entry))),
      ),
    );
  return h(
    "table",
    {},
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, columns.map(({ name, right }) => h("th", { scope: "col", class: right && "right" }, name)))),
    h("tbody", {}, entries.map(row)),
  );
}
