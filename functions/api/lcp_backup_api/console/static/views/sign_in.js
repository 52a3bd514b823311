// Signing in: name and password, and whatever the user pool asks for after that.

import { get, onRefusal, Problem, send } from "../api.js";
import { openDialog } from "../dialog.js";
import { button, field, fill, h } from "../dom.js";
import { outcomeOf, problemBox } from "../live.js";
import { onSession, session, setSession } from "../session.js";
import { leaveForSignIn } from "../sso.js";
import { t } from "../texts.js";

/** The page of somebody who is not signed in. */
export function signInPage(problem = null) {
  return h(
    "div",
    { class: "sign-in" },
    h("h1", { tabindex: "-1" }, t("signIn.title")),
    h("p", { class: "quiet" }, t("signIn.about")),
    problem && problemBox(problem),
    signInForm(() => {}),
  );
}

/** Asks for the password again whenever a token is refused, over whatever is on the page. */
export function askAgainWhenRefused() {
  let asking = null;
  let isLeft = false;
  onSession(() => {
    isLeft = false;
  });
  onRefusal((byItself) => {
    // Once it was left, only what somebody does asks for it again, not each reload of the page.
    if (byItself && isLeft) return Promise.reject(notSignedIn());
    asking ??= signInDialog()
      .catch((problem) => {
        isLeft = true;
        throw problem;
      })
      .finally(() => {
        asking = null;
      });
    return asking;
  });
}

/** A dialog to sign in again; rejects when it is left without. */
export function signInDialog() {
  return new Promise((resolve, reject) => {
    let done = false;
    openDialog(
      t("signIn.again"),
      (close) => [
        h("p", {}, t("signIn.againAbout")),
        signInForm(() => {
          done = true;
          close();
        }, session()?.name),
      ],
      {
        isOfView: false,
        onLeft: () => {
          if (done) resolve();
          else reject(notSignedIn());
        },
      },
    );
  });
}

function notSignedIn() {
  return new Problem({
    status: 401,
    code: "unauthenticated",
    title: t("signIn.ended"),
    detail: t("signIn.endedDetail"),
    action: t("signIn.endedAction"),
  });
}

function signInForm(onDone, user = "") {
  const place = h("div", {});
  const focusFirst = () => place.querySelector("input, select")?.focus();
  const startOver = () => {
    fill(place, first());
    focusFirst();
  };
  const answered = (answer) => {
    if (answer.signed_in) {
      const { token, expires_at: expiresAt, name, role } = answer.signed_in;
      setSession({ token, expiresAt, name, role });
      onDone();
    } else {
      fill(place, challengeForm(answer.challenge, answered, startOver));
      focusFirst();
    }
  };
  const first = () => passwordForm(user, answered, (typed) => {
    user = typed;
  });
  return fill(place, first());
}

function passwordForm(user, answered, named) {
  const name = h("input", { autocomplete: "username", required: true, spellcheck: "false", value: user });
  name.addEventListener("input", () => named(name.value));
  const password = h("input", { type: "password", autocomplete: "current-password", required: true });
  const other = h("div", {});
  // A pool without a page of its own is the rule, and not worth a message.
  get("login", { tries: 1, isOpen: true })
    .then(({ sso }) => {
      if (!sso) return;
      const { told, act } = outcomeOf(() => leaveForSignIn(sso));
      fill(other, button(t("signIn.sso"), act), told);
    })
    .catch(() => {});
  return sendingForm(
    t("signIn.verb"),
    [field(t("signIn.user"), name), field(t("signIn.password"), password)],
    async () => {
      const body = { user: name.value, password: password.value };
      answered(await send("POST", "login", body, { isOpen: true }));
    },
    other,
  );
}

function challengeForm(challenge, answered, startOver) {
  const input = challengeInput(challenge);
  const label = t(`signIn.label.${challenge.name}`);
  return sendingForm(
    t("signIn.go"),
    [
      h("p", {}, t(`signIn.asks.${challenge.name}`, { to: challenge.sent_to ?? t("signIn.somewhere") })),
      challenge.secret && h("p", {}, h("code", { class: "secret" }, challenge.secret)),
      field(label, input),
    ],
    async () => {
      const { name, session: asked, user } = challenge;
      const body = { name, session: asked, user, answer: input.value };
      answered(await send("POST", "login/challenge", body, { isOpen: true }));
    },
    button(t("signIn.startOver"), startOver),
  );
}

function challengeInput({ name, choices }) {
  if (name === "NEW_PASSWORD_REQUIRED") {
    return h("input", { type: "password", autocomplete: "new-password", required: true });
  }
  if (name === "SELECT_MFA_TYPE") {
    return h("select", {}, choices.map((it) => h("option", { value: it }, t(`signIn.choice.${it}`))));
  }
  return h("input", { inputmode: "numeric", autocomplete: "one-time-code", required: true });
}

function sendingForm(verb, fields, act, other) {
  const go = h("button", { type: "submit", class: "primary" }, verb);
  const { told, act: sendOnce } = outcomeOf(() => act().catch(inWords));
  const submit = async (event) => {
    event.preventDefault();
    go.setAttribute("aria-busy", "true");
    await sendOnce();
    go.removeAttribute("aria-busy");
  };
  return h("form", { on: { submit } }, fields, told, h("div", { class: "actions" }, go, other));
}

/** Raises what the API said to a program as what somebody at a page can do. */
function inWords(problem) {
  if (problem.code === "unauthenticated") throw { title: t("signIn.wrong"), detail: t("signIn.wrongDetail") };
  if (problem.code === "sign-in-expired") throw { title: t("signIn.late"), detail: t("signIn.lateDetail") };
  throw problem;
}
