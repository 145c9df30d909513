// The form that asks. A right answer is remembered in this browser, and nowhere else.

let forms = 0; // makes ids unique when one question is shown twice, as Lab can do

function render({ model, el }) {
  const question = model.get("question");
  const form = make("form", "selfcheck", { noValidate: true });
  form.dataset.question = question.id;
  const key = `selfcheck:${location.pathname}#${question.id}`;
  const id = `${question.id}-answer-${(forms += 1)}`;
  const field = question.options ? optionsField(question, id) : textField(question, id);
  const reply = make("p", "selfcheck-reply", { id: `${id}-reply` });
  reply.setAttribute("role", "status"); // a polite live region

  function answer(typed) {
    const { right, text } = verdict(question, typed);
    showReply(reply, right, text);
    field.markInvalid(right === null && question.kind !== "predict");
    if (right || (question.kind === "predict" && typed !== null)) remember(key, typed);
    model.set("typed", typed);
    model.save_changes();
  }

  field.row.append(...buttons(question, () => answer(null)));
  form.append(...field.parts, reply);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answer(field.read());
  });
  form.addEventListener("input", () => {
    // A verdict must not stand beside an answer that it does not judge.
    showReply(reply, null, "");
    field.markInvalid(false);
  });
  // Lab has keyboard shortcuts on single letters.
  form.addEventListener("keydown", (event) => event.stopPropagation());
  el.replaceChildren(form);
  restore(question, key, field, reply);
}

function textField(question, id) {
  const label = make("label", "selfcheck-prompt", { htmlFor: id, textContent: question.prompt });
  const input = make("input", "selfcheck-input", {
    id, type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: false,
    maxLength: MAX_LENGTH,
  });
  input.setAttribute("aria-describedby", `${id}-help ${id}-reply`);
  const row = make("span", "selfcheck-row");
  row.append(input);
  if (question.unit) row.append(make("span", "selfcheck-unit", { textContent: question.unit }));
  const help = make("span", "selfcheck-help", { id: `${id}-help`, textContent: question.help });
  return {
    parts: [label, row, help],
    row, // where the buttons go
    read: () => input.value,
    write: (typed) => {
      input.value = typed;
    },
    markInvalid: (invalid) => {
      if (invalid) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}

function optionsField(question, id) {
  const fieldset = make("fieldset", "selfcheck-options");
  fieldset.setAttribute("aria-describedby", `${id}-reply`);
  fieldset.append(make("legend", "selfcheck-prompt", { textContent: question.prompt }));
  const radios = question.options.map((text, k) => {
    const radio = make("input", "", { type: "radio", name: id, value: String(k) });
    const label = make("label", "selfcheck-option");
    label.append(radio, make("span", "", { textContent: text }));
    fieldset.append(label);
    return radio;
  });
  const row = make("span", "selfcheck-row");
  return {
    parts: [fieldset, row],
    row,
    read: () => {
      const picked = radios.findIndex((radio) => radio.checked);
      return picked < 0 ? null : picked;
    },
    write: (typed) => {
      radios[typed].checked = true;
    },
    markInvalid: () => {}, // the reply says that an option is missing
  };
}

function buttons(question, skip) {
  const predicting = question.kind === "predict";
  const submit = make("button", "selfcheck-submit", {
    type: "submit", textContent: predicting ? "This is my prediction" : "Check",
  });
  if (!predicting) return [submit];
  const pass = make("button", "selfcheck-skip", { type: "button", textContent: "Skip" });
  pass.addEventListener("click", skip);
  return [submit, pass];
}

function showReply(reply, right, text) {
  const state = right === null ? "note" : right ? "right" : "wrong";
  reply.dataset.state = text ? state : "";
  const icon = make("span", "selfcheck-icon", { textContent: { note: "→", right: "✓", wrong: "✗" }[state] });
  icon.setAttribute("aria-hidden", "true"); // the text says it in words
  reply.replaceChildren(...(text ? [icon, make("span", "", { textContent: text })] : []));
}

function remember(key, typed) {
  try {
    localStorage.setItem(key, JSON.stringify(typed));
  } catch {
    // Storage can be full, or switched off by the reader: then nothing is remembered.
  }
}

function restore(question, key, field, reply) {
  try {
    const typed = JSON.parse(localStorage.getItem(key));
    if (typed === null) return;
    const { right, text } = verdict(question, typed);
    // The question may have changed since.
    if (right === false || (right === null && question.kind !== "predict")) return;
    field.write(typed);
    showReply(reply, right, text);
  } catch {
    // No storage, or something else under this key: the form starts empty.
  }
}

function make(tag, className, properties = {}) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  return Object.assign(element, properties);
}

export default { render };
