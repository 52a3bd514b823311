// Dialogs: modal, left by Escape, and with the focus back where it was.

import { button, fill, h, newId } from "./dom.js";
import { outcomeOf, problemBox } from "./live.js";
import { t } from "./texts.js";

/** Opens a dialog; answers how to close it. `content` is a function of that, or children. */
export function openDialog(title, content, { canLeave = true, isOfView = true, onLeft = () => {} } = {}) {
  const heading = h("h2", { id: newId("dialog") }, title);
  const dialog = h("dialog", { "aria-labelledby": heading.id }, heading);
  const close = () => dialog.close();
  dialog.append(...[typeof content === "function" ? content(close) : content].flat());
  dialog.addEventListener("cancel", (event) => {
    if (!canLeave) event.preventDefault();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    onLeft();
  });
  // A link in it, or the browser's back: it was about the view that is left.
  if (isOfView) addEventListener("hashchange", close, { once: true });
  document.body.append(dialog);
  dialog.showModal();
  return close;
}

/** Opens a dialog that asks before something is done. The button stays greyed while `isReady`
 * says no; a problem is told in the dialog, and what was typed stays.
 * @param {object} asked title, body (elements), verb, kind of the button, isReady, act */
export function ask({ title, body, verb, kind = "primary", isReady = () => true, act }) {
  openDialog(title, (close) => {
    const go = h("button", { type: "submit", class: kind }, verb);
    const update = () => {
      go.disabled = !isReady();
    };
    const { told: outcome, act: sendOnce } = outcomeOf(async () => {
      try {
        await act();
      } catch (problem) {
        if (form.isConnected) throw problem;
        // Left, or gone with the page of whoever was signed in: what came of it is told all the same.
        openDialog(title, (leave) => [problemBox(problem), h("div", { class: "actions" }, button(t("action.close"), leave))]);
      }
      close();
    });
    const form = h(
      "form",
      {
        on: {
          input: update,
          submit: async (event) => {
            event.preventDefault();
            if (!isReady()) return;
            go.setAttribute("aria-busy", "true");
            await sendOnce();
            go.removeAttribute("aria-busy");
          },
        },
      },
      body,
      outcome,
      h("div", { class: "actions" }, go, button(t("action.cancel"), close)),
    );
    update();
    return form;
  });
}
