// Parts of a page that load by themselves, say what went wrong in their own place, and are current
// whenever somebody looks at them.

import { after, get } from "./api.js";
import { button, fill, h } from "./dom.js";
import { href } from "./router.js";
import { t } from "./texts.js";

/** A problem, told where it happened. `again` is what a button tries once more. */
export function problemBox(problem, again = null) {
  return h(
    "div",
    { class: "notice bad", role: "alert" },
    h("p", {}, h("strong", {}, problem.title ?? t("problem.unexpected"))),
    h("p", {}, problem.detail ?? problem.message),
    problem.action && h("p", {}, problem.action),
    problem.runId && h("p", {}, h("a", { href: href("runs", problem.runId) }, t("problem.run"))),
    again && button(t("action.again"), again),
  );
}

/** What shows the problems of something that was asked for by a button, until it is asked again. */
export function outcomeOf(doing) {
  const told = h("div", {});
  const act = async (event) => {
    const pressed = event?.currentTarget;
    pressed?.setAttribute("aria-busy", "true");
    fill(told);
    try {
      await doing();
    } catch (problem) {
      fill(told, problemBox(problem));
    } finally {
      pressed?.removeAttribute("aria-busy");
    }
  };
  return { told, act };
}

/** A context for a part of a view that is put in another's place: `leave` ends it before the view. */
export function partOf(context) {
  const leaving = new AbortController();
  const signal = AbortSignal.any([context.signal, leaving.signal]);
  return { ...context, signal, leave: () => leaving.abort(new DOMException("the part was left", "AbortError")) };
}

/** An element that shows what `load` answers, by `show`; loaded anew every so many seconds (null:
 * never) while it is looked at, and at once when the page is looked at again. What is there stays
 * while that fails. Within `show`, elements with the same `data-key` keep the focus. With `ages`,
 * it says how long ago things were, and is shown anew each minute although nothing changed. */
export function live(context, load, show, { every = 30, ages = false } = {}) {
  const content = h("div", { class: "loading" }, t("page.loading"));
  const told = h("div", {});
  const element = h("div", {}, told, content);
  let shown = null;
  let busy = null;
  const refresh = async () => {
    if (busy) return busy;
    busy = once();
    await busy;
    busy = null;
  };
  const once = async () => {
    try {
      const found = await load({ signal: context.signal, waiting });
      const text = JSON.stringify(found) + (ages ? Math.floor(Date.now() / 60_000) : "");
      fill(told);
      if (text !== shown) replace(content, show(found, refresh));
      shown = text;
    } catch (problem) {
      if (context.signal.aborted) return;
      fill(told, problemBox(problem, refresh));
      if (shown === null) fill(content);
      content.classList.remove("loading");
    }
  };
  const waiting = (seconds, problem) => {
    fill(told, h("p", { class: "notice warn", role: "status" }, problem.title, " ", t("problem.waits", { seconds })));
  };
  refresh();
  if (every !== null) whileLooking(context, refresh, every);
  return element;
}

function replace(content, children) {
  const key = content.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  content.classList.remove("loading");
  fill(content, children);
  if (key) content.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

async function whileLooking(context, refresh, every) {
  const look = () => document.visibilityState === "visible" && refresh();
  document.addEventListener("visibilitychange", look, { signal: context.signal });
  window.addEventListener("online", look, { signal: context.signal });
  try {
    for (;;) {
      await after(every, context.signal);
      if (document.visibilityState === "visible") await refresh();
    }
  } catch {
    // The view was left.
  }
}

/** Every entry of a list of pages, up to `most` of them; `next` is where the rest begins. */
export async function pages(path, name, { query = {}, most, signal, waiting = null }) {
  const found = [];
  let next = null;
  do {
    const page = await get(path, { query: { ...query, next }, signal, waiting });
    found.push(...page[name]);
    next = page.next;
  } while (next !== null && found.length < most);
  return { found, next };
}
