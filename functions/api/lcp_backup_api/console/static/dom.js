// Elements made of text: what comes from a backup can be no markup, whatever it is called.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `properties`: `on` has listeners by event; true and false set and leave out an
 * attribute; null leaves it out. Children are elements, text, arrays of them, or null for none. */
export function h(tag, properties, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** An element of a drawing, as `h` makes one of the page. */
export function s(tag, properties, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "value") {
      element.value = value;
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...present(children));
  return element;
}

function present(children) {
  const there = children.flat(Infinity).filter((it) => it !== null && it !== undefined && it !== false);
  return there.map((it) => (it instanceof Node ? it : visible(String(it))));
}

// Of them, a browser shows nothing, or it turns around what follows: `gpj.exe` is read `exe.jpg`.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** A text with its control characters written out. */
export function visible(text) {
  return text.replace(UNSEEN, (it) => `\u27e8U+${it.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}

/** Puts children in the place of those that an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
  return element;
}

let ids = 0;

/** An id that no other element has, for labels and descriptions. */
export function newId(stem) {
  ids += 1;
  return `${stem}-${ids}`;
}

/** A labelled field: the label's text, the input, and a hint below that belongs to it. */
export function field(label, input, hint = null) {
  input.id ||= newId("field");
  const note = hint === null ? null : h("p", { class: "hint", id: `${input.id}-hint` }, hint);
  if (note) input.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, note);
}

/** A select of pairs of value and text. */
export function choice(pairs, chosen, onChange) {
  const options = pairs.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  return h("select", { on: { change: (event) => onChange(event.target.value) } }, options);
}

/** A button. With `why`, it is greyed and says why when it is reached; it stays reachable, or
 * nobody who cannot see would find the reason. */
export function button(text, onClick, { kind = "", why = null } = {}) {
  if (why === null) return h("button", { type: "button", class: kind, on: { click: onClick } }, text);
  const note = h("span", { class: "why", role: "tooltip", id: newId("why") }, why);
  const greyed = h(
    "button",
    { type: "button", class: kind, "aria-disabled": "true", "aria-describedby": note.id },
    text,
  );
  return h("span", { class: "greyed" }, greyed, note);
}

let polite = null;

/** Tells a screen reader something that changed beside what has the focus. */
export function announce(text) {
  polite ??= h("div", { class: "unseen", role: "status", "aria-live": "polite" });
  // Whoever signs in gets a new page, without it.
  if (!polite.isConnected) document.body.append(polite);
  polite.textContent = text;
}
