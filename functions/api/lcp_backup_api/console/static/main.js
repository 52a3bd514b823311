// The page around the views: who is signed in, where one can go, and what is about to end.

import { announce, button, fill, h } from "./dom.js";
import { environment, forgetEnvironment } from "./environment.js";
import { href, startRouter, stopRouter } from "./router.js";
import { endsSoon, hasEnded, onSession, session, setSession } from "./session.js";
import { comeBack } from "./sso.js";
import { t } from "./texts.js";
import { backupView } from "./views/backup.js";
import { backupsView } from "./views/backups.js";
import { overviewView } from "./views/overview.js";
import { runView } from "./views/run.js";
import { runsView } from "./views/runs.js";
import { schedulesView } from "./views/schedules.js";
import { askAgainWhenRefused, signInDialog, signInPage } from "./views/sign_in.js";
import { uploadView } from "./views/upload.js";

const VIEWS = [
  { name: "overview", args: 0, view: overviewView },
  { name: "backups", args: 0, view: backupsView },
  { name: "backups", args: 1, view: backupView },
  { name: "runs", args: 0, view: runsView },
  { name: "runs", args: 1, view: runView },
  { name: "schedules", args: 0, view: schedulesView },
  { name: "upload", args: 0, view: uploadView },
];
const PLACES = ["overview", "backups", "runs", "schedules", "upload"];
const LOOKED_AT = 15;

let signedInAs = null;
let role = null;

async function begin() {
  askAgainWhenRefused();
  // A file that misses its zone would replace this page by itself.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
  onSession(render);
  let problem = null;
  try {
    await comeBack();
  } catch (error) {
    problem = error;
  }
  render(session(), problem);
  setInterval(tellEnd, LOOKED_AT * 1000);
}

function render(now, problem = null) {
  // A token for the same person changes nothing of what is on the page, unless they may do more or less.
  if (now && now.name === signedInAs && now.role === role) return tellEnd();
  signedInAs = now?.name ?? null;
  role = now?.role ?? null;
  forgetEnvironment();
  stopRouter();
  if (now) showShell(now);
  else fill(document.body, h("main", { id: "main" }, signInPage(problem)));
  return null;
}

const ending = h("div", { class: "ending" });

function showShell({ name, role }) {
  const main = h("main", { id: "main" });
  const links = PLACES.map((place) => h("a", { href: href(place), "data-place": place }, t(`nav.${place}`)));
  const skip = h("button", { type: "button", class: "skip", on: { click: () => main.querySelector("h1")?.focus() } });
  skip.textContent = t("nav.skip");
  const site = h("span", { class: "site" });
  const out = button(t("signIn.out"), () => setSession(null), { kind: "link" });
  fill(
    document.body,
    skip,
    h(
      "header",
      {},
      h("a", { class: "brand", href: href("overview") }, t("page.name"), site),
      h("nav", { "aria-label": t("nav.label") }, links),
      h("p", { class: "who" }, h("span", {}, name, h("small", {}, t(`role.${role}`))), out),
    ),
    ending,
    main,
  );
  nameSite(site);
  tellEnd();
  let first = true;
  startRouter(VIEWS, main, (place, heading) => {
    for (const link of links) {
      if (link.dataset.place === place) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (!first) {
      heading?.focus();
      scrollTo(0, 0);
    }
    first = false;
  });
}

async function nameSite(place) {
  try {
    const { project, environment: name } = await environment();
    place.textContent = `${project} / ${name}`;
  } catch {
    // The views below say what is wrong; a name is not worth saying it twice.
  }
}

function tellEnd() {
  const told = hasEnded() ? t("signIn.hasEnded") : endsSoon() ? t("signIn.endsSoon") : null;
  if (ending.dataset.told === (told ?? "")) return;
  ending.dataset.told = told ?? "";
  const again = () => signInDialog().catch(() => {});
  fill(ending, told && h("div", { class: "notice warn" }, h("p", {}, told), button(t("signIn.again"), again)));
  if (told) announce(told);
}

begin();
