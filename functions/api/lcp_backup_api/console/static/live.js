// Parts of a page that load by themselves, say what went wrong in their own place, and are current
// whenever somebody looks at them.

import { after, get } from "./api.js";
import { button, fill, h } from "./dom.js";
import { href } from "./router.js";
import { t } from "./texts.js";

/** Milliseconds after which somebody wonders whether anything happens. */
const SLOW = 8000;

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

/** What shows the problems of something that was asked for by a button, until it is asked again.
 * A second press does nothing while the first is under way. */
export function outcomeOf(doing) {
  const told = h("div", {});
  let isBusy = false;
  const act = async (event) => {
    if (isBusy) return;
    isBusy = true;
    const pressed = event?.currentTarget;
    pressed?.setAttribute("aria-busy", "true");
    fill(told);
    const answered = tellSlow(told);
    try {
      await doing();
      answered();
    } catch (problem) {
      answered();
      fill(told, problemBox(problem));
    } finally {
      isBusy = false;
      pressed?.removeAttribute("aria-busy");
    }
  };
  return { told, act };
}

/** Says in `told` that an answer takes long, until what this answers is called. */
export function tellSlow(told) {
  const note = h("p", { class: "notice warn", role: "status" });
  const timer = setTimeout(() => {
    note.textContent = t("problem.slow");
    told.append(note);
  }, SLOW);
  return () => {
    clearTimeout(timer);
    note.remove();
  };
}

/** Makes elements of facts, and anew only once the facts are others: until then what was typed,
 * told or begun in them stays. */
export function kept(make) {
  let known = null;
  let made = null;
  return (facts, ...more) => {
    const now = JSON.stringify(facts);
    if (now !== known) made = make(facts, ...more);
    known = now;
    return made;
  };
}

/** A context for a part of a view that is put in another's place: `leave` ends it before the view. */
export function partOf(context) {
  const leaving = new AbortController();
  const signal = AbortSignal.any([context.signal, leaving.signal]);
  return { ...context, signal, leave: () => leaving.abort(new DOMException("the part was left", "AbortError")) };
}

/** An element that shows what `load` answers, by `show`; loaded anew every so many seconds (null:
 * never) while it is looked at, and at once when the page is looked at again. What is there stays
 * while that fails, and what has the focus keeps it. With `ages`, it says how long ago things were,
 * and is shown anew each minute although nothing changed. Of what `isOver`, nothing more is asked. */
export function live(context, load, show, { every = 30, ages = false, isOver = () => false } = {}) {
  const content = h("div", { class: "loading" }, t("page.loading"));
  const told = h("div", {});
  const element = h("div", {}, told, content);
  let shown = null;
  let busy = null;
  let isDone = false;
  /** What is under way already may be from before what somebody just did: it is asked again. */
  const refresh = async () => {
    while (busy) await busy;
    await once(false);
  };
  const byItself = async () => {
    if (!busy && !isDone) await once(true);
  };
  const once = (isByItself) => {
    busy = asked(isByItself).finally(() => {
      busy = null;
    });
    return busy;
  };
  const asked = async (isByItself) => {
    const answered = tellSlow(told);
    try {
      const found = await load({ signal: context.signal, waiting, byItself: isByItself });
      const text = JSON.stringify(found) + (ages ? Math.floor(Date.now() / 60_000) : "");
      isDone = isOver(found);
      fill(told);
      if (text !== shown) replace(content, () => show(found, refresh));
      shown = text;
    } catch (problem) {
      if (context.signal.aborted) return;
      fill(told, problemBox(problem, refresh));
      if (shown === null) fill(content);
      content.classList.remove("loading");
    } finally {
      answered();
    }
  };
  const waiting = (seconds, problem) => {
    fill(told, h("p", { class: "notice warn", role: "status" }, problem.title, " ", t("problem.waits", { seconds })));
  };
  refresh();
  if (every !== null) whileLooking(context, byItself, every);
  return element;
}

function replace(content, make) {
  const had = content.contains(document.activeElement) ? document.activeElement : null;
  const alike = had ? likeOf(content, had) : [];
  const place = alike.indexOf(had);
  const children = make();
  content.classList.remove("loading");
  fill(content, children);
  if (!had) return;
  const now = content.contains(had) ? had : likeOf(content, had)[place];
  now?.focus({ preventScroll: true });
}

/** What within `content` can have the focus, and is for the same as `one`. */
function likeOf(content, one) {
  const isFor = (it) => it.dataset.key ?? it.getAttribute("href") ?? it.getAttribute("aria-label") ?? it.textContent;
  return [...content.querySelectorAll(one.tagName)].filter((it) => isFor(it) === isFor(one));
}

async function whileLooking(context, byItself, every) {
  const look = () => document.visibilityState === "visible" && byItself();
  document.addEventListener("visibilitychange", look, { signal: context.signal });
  window.addEventListener("online", look, { signal: context.signal });
  try {
    for (;;) {
      await after(every, context.signal);
      if (document.visibilityState === "visible") await byItself();
    }
  } catch {
    // The view was left.
  }
}

/** Every entry of a list of pages, up to `most` of them; `next` is where the rest begins, and `page`
 * the last answer. */
export async function pages(path, name, { query = {}, most, ...options }) {
  const found = [];
  let page = { next: null };
  do {
    page = await get(path, { ...options, query: { ...query, next: page.next } });
    found.push(...page[name]);
  } while (page.next !== null && found.length < most);
  return { found, next: page.next, page };
}
