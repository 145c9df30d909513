// Brings a question's form to life. A right answer is remembered in this browser, and nowhere else.

const ICONS = { note: "→", right: "✓", wrong: "✗" };
let forms = 0;

function render({ model, el }) {
  if (!el.querySelector("form")) el.innerHTML = model.get("_html");
  const form = el.querySelector("form");
  const question = model.get("question");
  const key = `selfcheck:${location.pathname}#${question.id}`;
  const field = question.options ? optionsField(form) : textField(form);
  const reply = form.querySelector(".selfcheck-reply"); // a polite live region
  makeIdsUnique(form);
  reply.replaceChildren();
  for (const control of form.elements) control.disabled = false;

  function answer(typed) {
    const { right, text } = verdict(question, typed);
    showReply(reply, right, text);
    field.markInvalid(right === null && question.kind !== "predict");
    if (right || (question.kind === "predict" && typed !== null)) remember(key, typed);
    model.set("typed", typed);
    model.save_changes();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answer(field.read());
  });
  form.querySelector(".selfcheck-skip")?.addEventListener("click", () => answer(null));
  form.addEventListener("input", () => {
    // A verdict must not stand beside an answer that it does not judge.
    showReply(reply, null, "");
    field.markInvalid(false);
  });
  // Lab has keyboard shortcuts on single letters.
  form.addEventListener("keydown", (event) => event.stopPropagation());
  restore(question, key, field, reply);
}

// Lab can show one question twice.
function makeIdsUnique(form) {
  forms += 1;
  for (const element of form.querySelectorAll("[id], [for], [aria-describedby]")) {
    for (const name of ["id", "for", "aria-describedby"]) {
      const ids = element.getAttribute(name);
      if (ids) element.setAttribute(name, ids.split(" ").map((id) => `${id}-${forms}`).join(" "));
    }
  }
}

function textField(form) {
  const input = form.querySelector(".selfcheck-input");
  return {
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

function optionsField(form) {
  const radios = [...form.querySelectorAll("[type=radio]")];
  return {
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

function showReply(reply, right, text) {
  const state = right === null ? "note" : right ? "right" : "wrong";
  reply.dataset.state = text ? state : "";
  const [icon, words] = [ICONS[state], text].map((part) => {
    const span = document.createElement("span");
    span.textContent = part;
    return span;
  });
  icon.className = "selfcheck-icon";
  icon.setAttribute("aria-hidden", "true"); // the text says it in words
  reply.replaceChildren(...(text ? [icon, words] : []));
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

export default { render };
