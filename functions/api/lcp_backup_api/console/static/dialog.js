// Dialogs: modal, left by Escape, and with the focus back where it was.

import { button, fill, h, newId } from "./dom.js";
import { problemBox } from "./live.js";
import { t } from "./texts.js";

/** Opens a dialog; answers how to close it. `content` is a function of that, or children. */
export function openDialog(title, content, { canLeave = true, onLeft = () => {} } = {}) {
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
  document.body.append(dialog);
  dialog.showModal();
  return close;
}

/** Opens a dialog that asks before something is done. The button stays greyed while `isReady`
 * says no; a problem is told in the dialog, and what was typed stays.
 * @param {object} asked title, body (elements), verb, kind of the button, isReady, act */
export function ask({ title, body, verb, kind = "primary", isReady = () => true, act }) {
  openDialog(title, (close) => {
    const told = h("div", {});
    const go = h("button", { type: "submit", class: kind }, verb);
    const update = () => {
      go.disabled = !isReady();
    };
    const form = h(
      "form",
      {
        on: {
          input: update,
          submit: async (event) => {
            event.preventDefault();
            if (!isReady()) return;
            go.disabled = true;
            go.setAttribute("aria-busy", "true");
            fill(told);
            try {
              await act();
              close();
            } catch (problem) {
              fill(told, problemBox(problem));
            } finally {
              go.removeAttribute("aria-busy");
              update();
            }
          },
        },
      },
      body,
      told,
      h("div", { class: "actions" }, go, button(t("action.cancel"), close)),
    );
    update();
    return form;
  });
}
