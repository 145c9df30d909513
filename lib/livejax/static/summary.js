// Sentences with live numbers: the twin of summary.py.

function controlText(control, value) {
  switch (control.kind) {
    case "choice": return control.options.find(([key]) => key === value)[1];
    case "switch": return value ? "on" : "off";
    case "point": return `(${value.map((part) => formatNumber(part, control.format)).join(", ")})`;
    default: return withUnit(formatNumber(value, control.format), control.unit);
  }
}

function readoutText(readout, outputs) {
  const value = outputs[readout.key][0];
  const text = formatNumber(value, readout.format);
  return Number.isFinite(value) ? withUnit(text, readout.unit) : text;
}

function fillText(parts, controls, state, outputs) {
  return parts.map((part) => {
    if (typeof part === "string") return part;
    if (part.output !== undefined) return formatNumber(outputs[part.output][0], part.format);
    const control = controls[part.control];
    const value = state[part.control];
    if (part.index !== null) return formatNumber(value[part.index], part.format || control.format);
    return part.format ? formatNumber(value, part.format) : controlText(control, value);
  }).join("");
}

function chooseCase(cases, outputs) {
  return cases.find((one) => one.if === null || Boolean(outputs[one.if][0])).parts;
}

// The whole live summary: the author's sentence, then one for each curve that leaves the plot.
function summaryText(spec, state, outputs, exits) {
  const sentence = fillText(chooseCase(spec.summary, outputs), spec.controls, state, outputs);
  return [sentence, ...exits.map((exit) => exit.sentence)].join(" ");
}
