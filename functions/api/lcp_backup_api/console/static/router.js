// Views by the part of the address behind `#`, which no server gets to see.

import { fill, h } from "./dom.js";
import { t } from "./texts.js";

let views = [];
let outlet = null;
let leaving = new AbortController();
let onShown = () => {};

/** Where a view is: `href("backups", id)`, with what it is filtered by as `query`. */
export function href(...parts) {
  const query = typeof parts.at(-1) === "object" ? parts.pop() : {};
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

/** Shows a view, as if its link had been followed. */
export function go(...parts) {
  const target = href(...parts);
  if (location.hash === target) show();
  else location.hash = target;
}

/** Shows the views in `element` from now on. `routes` is a list of a name, how many parts follow
 * it, and the view: a function of a context, which answers an element. */
export function startRouter(routes, element, shown) {
  views = routes;
  outlet = element;
  onShown = shown;
  window.addEventListener("hashchange", show);
  show();
}

/** Leaves the view that is shown, and shows none. */
export function stopRouter() {
  window.removeEventListener("hashchange", show);
  leaving.abort(left());
}

function left() {
  return new DOMException("the view was left", "AbortError");
}

/** Shows the view of the address anew. */
export function show() {
  leaving.abort(left());
  leaving = new AbortController();
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...args] = path.split("/").map(decoded);
  const found = views.find((it) => it.name === (name || "overview") && it.args === args.length);
  const context = {
    args,
    query: Object.fromEntries(new URLSearchParams(search ?? "")),
    signal: leaving.signal,
    /** Keeps filters in the address, without showing the view anew. */
    keep: (query) => history.replaceState(null, "", href(name, ...args, query)),
  };
  fill(outlet, found ? found.view(context) : nothing());
  const heading = outlet.querySelector("h1");
  document.title = t("page.title", { view: heading?.textContent ?? "" });
  onShown(found?.name ?? null, heading);
}

function nothing() {
  return h("div", {}, h("h1", { tabindex: "-1" }, t("page.nothing")), h("a", { href: "#/" }, t("nav.overview")));
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
