// Connects the native inputs of a figure to its state. Each bind function returns show(value), which
// moves the inputs to a value; change(value) is called when the reader moves them.

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

// A value that the control can have, nearest to the given one; undefined if there is none.
function nearestValue(control, value) {
  switch (control.kind) {
    case "choice": return control.options.some(([key]) => key === value) ? value : undefined;
    case "switch": return typeof value === "boolean" ? value : undefined;
    case "point": {
      if (!Array.isArray(value) || value.length !== 2) return undefined;
      if (!value.every((part) => Number.isFinite(part))) return undefined;
      return value.map((part, i) => clamp(part, ...control.bounds[i]));
    }
    default: {
      if (!Number.isFinite(value)) return undefined;
      if (control.kind === "slider") return clamp(value, control.min, control.max);
      const steps = Math.round((value - control.min) / control.step);
      return clamp(control.min + steps * control.step, control.min, control.max);
    }
  }
}

// A logarithmic slider moves a native range from 0 to `stops`; the ends are exact.
function logValue(control, stop) {
  if (stop <= 0) return control.min;
  if (stop >= control.stops) return control.max;
  const value = control.min * (control.max / control.min) ** (stop / control.stops);
  return Number(value.toPrecision(6));
}

function logStop(control, value) {
  const share = Math.log(value / control.min) / Math.log(control.max / control.min);
  return Math.round(share * control.stops);
}

function bindRange(row, { toInput, fromInput, text }, change) {
  const input = row.querySelector("input");
  const output = row.querySelector("output");
  input.disabled = false;
  input.addEventListener("input", () => change(fromInput(Number(input.value))));
  return (value) => {
    const place = String(toInput(value));
    // Writing a value that is already there would disturb a drag in progress on some phones.
    if (input.value !== place) input.value = place;
    const share = (Number(input.value) - Number(input.min)) / (Number(input.max) - Number(input.min));
    input.style.setProperty("--livejax-share", `${100 * share}%`);
    output.textContent = text(value);
    input.setAttribute("aria-valuetext", text(value));
  };
}

function bindNumber(root, control, change) {
  const log = control.kind === "slider" && control.log;
  return bindRange(root.querySelector(".livejax-row"), {
    toInput: (value) => (log ? logStop(control, value) : value),
    fromInput: (place) => (log ? logValue(control, place) : place),
    text: (value) => controlText(control, value),
  }, change);
}

function bindPoint(root, control, change) {
  let point = control.value;
  const shows = [...root.querySelectorAll(".livejax-row")].map((row, i) => bindRange(row, {
    toInput: (value) => value,
    fromInput: (place) => place,
    text: (value) => formatNumber(value, control.format),
  }, (value) => change(point.map((old, j) => (j === i ? value : old)))));
  return (value) => {
    point = value;
    shows.forEach((show, i) => show(value[i]));
  };
}

function bindSwitch(root, control, change) {
  const input = root.querySelector("input");
  input.disabled = false;
  input.addEventListener("change", () => change(input.checked));
  return (value) => { input.checked = value; };
}

function bindChoice(root, control, change) {
  const select = root.querySelector("select");
  if (select) {
    select.disabled = false;
    select.addEventListener("change", () => change(select.value));
    return (value) => { select.value = value; };
  }
  const radios = [...root.querySelectorAll("input")];
  for (const radio of radios) {
    radio.disabled = false;
    radio.addEventListener("change", () => { if (radio.checked) change(radio.value); });
  }
  return (value) => { for (const radio of radios) radio.checked = radio.value === value; };
}

function bindControl(root, control, change) {
  const bind = { switch: bindSwitch, choice: bindChoice, point: bindPoint }[control.kind] ?? bindNumber;
  return bind(root, control, change);
}

// What the compiled function takes: one argument for each control, in the order of their names.
function functionArguments(controls, state) {
  return Object.keys(controls).sort().map((name) => {
    const control = controls[name];
    if (control.kind === "choice") return control.options.findIndex(([key]) => key === state[name]);
    if (control.kind === "switch") return Number(state[name]);
    return state[name];
  });
}
