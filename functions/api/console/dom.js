// Elements from values. Everything that comes from the API becomes text, never markup.

/** `h("button", {class: "first", onclick: f}, "Save")` */
export function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

const present = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

/** Puts these children in place of those that are there. What is equal stays, and with it the focus: pages do this every two seconds. */
export function fill(element, ...children) {
  const wanted = present(children).map((child) => child instanceof Node ? child : document.createTextNode(child));
  wanted.forEach((child, n) => {
    const before = element.childNodes[n];
    if (!before) return element.append(child);
    if (child === before) return;
    stayOpen(before, child);
    if (!before.isEqualNode(child)) before.replaceWith(child);
  });
  while (element.childNodes.length > wanted.length) element.lastChild.remove();
  return element;
}

/** What somebody has opened stays open. */
function stayOpen(before, after) {
  const folds = (node) => node instanceof Element ? [...node.querySelectorAll("details")] : [];
  const next = folds(after);
  folds(before).forEach(({ open }, n) => { if (open && next[n]) next[n].open = true; });
}

/** A table whose cells stand below each other on a phone. `columns`: [title, cell(row)]. */
export function table(caption, columns, rows, attributes = () => ({})) {
  const cell = ([title, content], row) => h("td", { "data-label": title }, h("div", {}, content(row)));
  return h("div", { class: "scroll" }, h("table", { class: "stack", "aria-label": caption },
    h("thead", {}, h("tr", {}, columns.map(([title]) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, rows.map((row) => h("tr", attributes(row), columns.map((column) => cell(column, row)))))));
}

/** What is known about one thing: `[name, value]`, those without a value left out. */
export function facts(entries) {
  return h("dl", { class: "facts" }, entries.filter(Boolean).filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

let fields = 0;

/** A labelled field. Returns its elements and the input. */
export function field(label, attributes = {}, hint = "") {
  const id = `field-${++fields}`;
  const { tag = "input", options, ...rest } = attributes;
  const input = h(tag, { id, ...rest, "aria-describedby": hint ? `${id}-hint` : null },
    (options ?? []).map(([value, text]) => h("option", { value }, text)));
  const parts = [h("label", { for: id }, label), input, hint && h("p", { class: "hint", id: `${id}-hint` }, hint)];
  return { parts, input };
}

export function checks(legend, entries, chosen = [], name = null) {
  const boxes = entries.map(([value, text]) => ({ value, box: h("input", { type: "checkbox", defaultChecked: chosen.includes(value) }), text }));
  const parts = h("fieldset", { name }, h("legend", {}, legend), boxes.map(({ box, text }) => h("label", { class: "check" }, box, text)));
  return { parts, values: () => boxes.filter(({ box }) => box.checked).map(({ value }) => value) };
}

/** Says something for a few seconds. */
export function notice(text) {
  const note = h("div", {}, text);
  document.getElementById("notices").append(note);
  setTimeout(() => note.remove(), 6000);
}

/** Asks before something is done that has consequences. */
export function confirmed(question, consequence, { yes, no, style }) {
  return new Promise((resolve) => {
    const done = (answer) => { dialog.close(); dialog.remove(); resolve(answer); };
    const dialog = h("dialog", { "aria-label": question, oncancel: () => done(false) },
      h("h2", {}, question), h("p", {}, consequence),
      h("div", { class: "row" },
        h("button", { type: "button", class: style, onclick: () => done(true) }, yes),
        h("button", { type: "button", onclick: () => done(false) }, no)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function copyButton(text, label, done) {
  return h("button", { type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      notice(done);
    } catch {
      notice(text);
    }
  } }, label);
}
