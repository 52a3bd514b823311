// What runs by itself: each schedule in words, its next ten times, and the rule it became.

import { pauseSwitch } from "../acts.js";
import { get } from "../api.js";
import { h } from "../dom.js";
import { environment } from "../environment.js";
import { until } from "../format.js";
import { kept, live } from "../live.js";
import { clocks, facts, heading } from "../pieces.js";
import { t } from "../texts.js";

const KINDS = ["create", "restore", "verify", "cleanup"];

export function schedulesView(context) {
  const load = async (options) => {
    const [schedules, about] = await Promise.all([get("schedules", options), environment()]);
    return { schedules, restoresFrom: about.restores_from };
  };
  const pause = kept(pauseSwitch);
  return h(
    "div",
    {},
    heading(t("schedules.title")),
    h("p", { class: "quiet" }, t("schedules.about")),
    live(context, load, (found, refresh) => shown(found, pause(found.schedules.restores_paused, refresh)), { ages: true }),
  );
}

function shown({ schedules, restoresFrom }, pause) {
  return [
    h("div", { class: "cards" }, KINDS.map((kind) => ruleCard(kind, schedules[kind]))),
    (schedules.restore || restoresFrom !== null) && h("section", {}, h("h2", {}, t("dr.title")), pause),
  ];
}

function ruleCard(kind, rule) {
  if (!rule) return h("section", { class: "card" }, h("h2", {}, t(`kind.${kind}`)), h("p", { class: "quiet" }, t("schedules.never")));
  const rules = rule.rules?.length ? rule.rules : null;
  return h(
    "section",
    { class: "card" },
    h("h2", {}, t(`kind.${kind}`)),
    h("p", { class: "large" }, rule.words ?? rule.cron),
    facts([
      [t("schedules.cron"), h("code", {}, rule.cron)],
      [t("schedules.eventbridge"), rule.eventbridge.map((it) => h("code", {}, it))],
      rules && [t("schedules.rules"), rules.map((it) => h("code", {}, it))],
      [t("schedules.next"), until(rule.next[0])],
    ]),
    h("ol", { class: "times" }, rule.next.map((it) => h("li", {}, clocks(it)))),
  );
}
