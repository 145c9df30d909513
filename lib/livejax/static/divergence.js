// Where a curve leaves the plot for good: the twin of divergence.py, and what is drawn instead.

// In the units of the axis range: log10 on a logarithmic axis.
function axisPosition(value, axis) {
  if (axis.type !== "log") return value;
  return value <= 0 ? -Infinity : Math.log10(value);
}

function axisEnds(axis) {
  const [first, last] = axis.range;
  return first < last ? [first, last] : [last, first];
}

function isInside(value, axis) {
  const [low, high] = axisEnds(axis);
  const slack = 1e-9 * (high - low);
  const place = axisPosition(value, axis);
  return place >= low - slack && place <= high + slack;
}

// A path may leave through any edge. Of a function graph only the part above the x range counts.
function findExit(x, y, xAxis, yAxis, isPath) {
  let count = y.length;
  if (!isPath) {
    let last = count - 1;
    while (last >= 0 && !isInside(x[last], xAxis)) last -= 1;
    if (last >= 0) count = last + 1;
  }
  const good = (i) => isInside(y[i], yAxis) && (!isPath || isInside(x[i], xAxis));
  if (count === 0 || good(count - 1)) return null;
  let index = count - 1;
  while (index > 0 && !good(index - 1)) index -= 1;
  const below = yAxis.type === "log" && axisPosition(y[index], yAxis) < axisEnds(yAxis)[0];
  return { index, below };
}

function exitPlace(exit, x, step) {
  if (step === null) return `step ${exit.index}`;
  const spec = step === "step" ? "d" : ".3g";
  return `${step}${step === "step" ? " " : " = "}${formatNumber(x[exit.index], spec)}`;
}

// A name at the start of a sentence: "heavy ball" gets a capital, "μ" and "x" do not.
function sentenceStart(name) {
  return /^[a-z]{2}/.test(name) ? name[0].toUpperCase() + name.slice(1) : name;
}

function exitSentence(trace, exit, place) {
  const name = sentenceStart(trace);
  if (exit.index === 0) return `${name} lies outside the plot.`;
  if (exit.below) return `${name} falls below the plot at ${place} and stays there.`;
  return `${name} leaves the plot at ${place} and does not return.`;
}

function barSentence(name, values, axis) {
  const outside = values.filter((value) => !isInside(value, axis)).length;
  return outside ? `${outside} of ${values.length} bars of ${name} end beyond the plot.` : null;
}

// A huge or infinite coordinate becomes one that lies well outside the plot; NaN becomes a gap.
function clampValue(value, axis) {
  const place = axisPosition(value, axis);
  const [low, high] = axisEnds(axis);
  const reach = 20 * (high - low);
  if (Number.isNaN(place)) return NaN;
  const clamped = Math.min(high + reach, Math.max(low - reach, place));
  if (clamped === place) return value;
  return axis.type === "log" ? 10 ** Math.min(300, Math.max(-300, clamped)) : clamped;
}

// Where the segment from the last inside point to the first outside one meets the edge, as positions.
function edgePoint(from, to, xAxis, yAxis) {
  let share = 1;
  const ends = [[from[0], to[0], xAxis], [from[1], to[1], yAxis]];
  for (const [start, stop, axis] of ends) {
    const [low, high] = axisEnds(axis);
    if (stop > high) share = Math.min(share, stop === Infinity ? share : (high - start) / (stop - start));
    if (stop < low) share = Math.min(share, stop === -Infinity ? share : (low - start) / (stop - start));
  }
  return ends.map(([start, stop, axis]) => {
    const [low, high] = axisEnds(axis);
    let place = stop;
    if (Number.isNaN(stop)) place = start;
    else if (Number.isFinite(stop)) place = start + Math.max(0, share) * (stop - start);
    return Math.min(high, Math.max(low, place));
  });
}

function fromPosition(place, axis) {
  return axis.type === "log" ? 10 ** place : place;
}

// The arrays to draw for a followed curve: cut at the edge after its exit, clamped before it.
// mark is where the edge is labeled, in axis values.
function drawableCurve(x, y, xAxis, yAxis, exit, connected) {
  const stop = exit ? exit.index : y.length;
  const drawnX = Array.from(x.subarray ? x.subarray(0, stop) : x.slice(0, stop), (v) => clampValue(v, xAxis));
  const drawnY = Array.from(y.subarray ? y.subarray(0, stop) : y.slice(0, stop), (v) => clampValue(v, yAxis));
  if (!exit) return { x: drawnX, y: drawnY, mark: null };
  const place = (i) => [axisPosition(x[i], xAxis), axisPosition(y[i], yAxis)];
  const middle = (axis) => (axis.range[0] + axis.range[1]) / 2;
  const from = stop > 0 ? place(stop - 1) : [middle(xAxis), middle(yAxis)];
  const edge = edgePoint(from, place(stop), xAxis, yAxis);
  const mark = [fromPosition(edge[0], xAxis), fromPosition(edge[1], yAxis)];
  if (connected && stop > 0) {
    drawnX.push(mark[0]);
    drawnY.push(mark[1]);
  }
  return { x: drawnX, y: drawnY, mark };
}
