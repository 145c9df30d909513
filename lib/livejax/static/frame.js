// From the outputs of the function to the numbers that are drawn, all of them finite.

// The numbers that each live trace shows: index in spec.data -> { attribute: values }, and the exits.
function computeFrame(spec, outputs) {
  const traces = new Map();
  const exits = [];
  spec.data.forEach((trace, index) => {
    const fills = spec.fills[trace.name];
    if (!fills) return;
    const count = fills.count ? outputs[fills.count][0] : undefined;
    const values = {};
    for (const [attribute, key] of Object.entries(fills)) {
      if (attribute === "count") continue;
      if (attribute === "visible") values.visible = Boolean(outputs[key][0]);
      else if (attribute === "z") values.z = heatRows(outputs[key], spec.outputs[key], trace);
      else if (attribute === "x" || attribute === "y") values[attribute] = outputs[key].slice(0, count);
      else values[attribute] = allFinite(outputs[key].slice(0, count), attribute, trace);
    }
    const follow = spec.follow.find((one) => one.name === trace.name);
    if (follow?.bar) followBars(spec, follow, values, exits);
    else if (follow) followCurve(spec, follow, trace, values, count, exits);
    traces.set(index, values);
  });
  return { traces, exits };
}

function followBars(spec, follow, values, exits) {
  const axis = spec.layout[follow.y_axis];
  const y = values.y ?? follow.y;
  const sentence = axis.range && barSentence(follow.name, Array.from(y), axis);
  if (sentence) exits.push({ name: follow.name, sentence, mark: null });
  if (axis.range && values.y) values.y = Array.from(values.y, (v) => clampValue(v, axis));
}

function followCurve(spec, follow, trace, values, count, exits) {
  const [xAxis, yAxis] = [spec.layout[follow.x_axis], spec.layout[follow.y_axis]];
  const y = values.y ?? follow.y.slice(0, count);
  const x = values.x ?? (follow.x === null ? Array.from(y, (_, i) => i) : follow.x.slice(0, y.length));
  const exit = findExit(x, y, xAxis, yAxis, follow.is_path);
  const drawn = drawableCurve(x, y, xAxis, yAxis, exit, trace.mode.includes("lines"));
  values.x = drawn.x;
  values.y = drawn.y;
  if (!exit) return;
  const place = exitPlace(exit, x, follow.step);
  const sentence = exitSentence(follow.name, exit, place);
  // What is outside from its first point on has no place where it leaves.
  const tag = exit.index === 0 ? "outside" : place;
  exits.push({ name: follow.name, sentence, tag, mark: drawn.mark, follow, trace });
}

// Sizes, widths and lengths that are not finite are drawn as zero, colors as the end of their scale.
function allFinite(values, attribute, trace) {
  const other = attribute === "marker.color" ? trace.marker.cmax : 0;
  return Array.from(values, (value) => (Number.isFinite(value) ? value : other));
}

// Infinities and NaN take the color of the end of the scale; NaN and +inf that of the top.
function heatRows(flat, [height, width], trace) {
  const finite = Array.from(flat, (v) => (Number.isFinite(v) ? v : v === -Infinity ? trace.zmin : trace.zmax));
  return Array.from({ length: height }, (_, i) => finite.slice(i * width, (i + 1) * width));
}

function sameNumbers(a, b) {
  if (typeof a !== "object" || a.length !== b.length) return a === b;
  for (let i = 0; i < a.length; i += 1) {
    const same = a[i] === b[i] || (Array.isArray(a[i]) && sameNumbers(a[i], b[i]))
      || (Number.isNaN(a[i]) && Number.isNaN(b[i]));
    if (!same) return false;
  }
  return true;
}
