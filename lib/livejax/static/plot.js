// Draws the outputs into plotly.
//
// The first draw, a change of size and a change of theme go through Plotly.react. A move of a control
// must fit into one frame of a phone, so it writes the coordinates of plain lines and markers straight
// into the SVG that plotly made; all else (bars, heat maps, filled areas) goes through Plotly.restyle,
// and only if its numbers changed.

const NARROW = 560; // CSS pixels of the figure's width; figure.css has the same
const NEVER = "rgba(0,0,0,0)";

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
      else values[attribute] = outputs[key].slice(0, count);
    }
    const follow = spec.follow.find((one) => one.name === trace.name);
    if (follow?.bar) followBars(spec, follow, values, exits);
    else if (follow) followCurve(spec, follow, trace, values, outputs, exits);
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

function followCurve(spec, follow, trace, values, outputs, exits) {
  const [xAxis, yAxis] = [spec.layout[follow.x_axis], spec.layout[follow.y_axis]];
  const y = values.y ?? follow.y;
  const x = values.x ?? (follow.x === null ? Array.from(y, (_, i) => i) : follow.x.slice(0, y.length));
  const exit = findExit(x, y, xAxis, yAxis, follow.is_path);
  const drawn = drawableCurve(x, y, xAxis, yAxis, exit, trace.mode.includes("lines"));
  values.x = drawn.x;
  values.y = drawn.y;
  if (!exit) return;
  const place = exitPlace(exit, x, follow.step);
  const sentence = exitSentence(follow.name, exit, place);
  exits.push({ name: follow.name, sentence, place, mark: drawn.mark, follow, trace });
}

// Infinities and NaN take the color of the end of the scale; NaN and +inf that of the top.
function heatRows(flat, [height, width], trace) {
  const finite = Array.from(flat, (v) => (Number.isFinite(v) ? v : v === -Infinity ? trace.zmin : trace.zmax));
  return Array.from({ length: height }, (_, i) => finite.slice(i * width, (i + 1) * width));
}

function sameNumbers(a, b) {
  if (a === undefined || a.length !== b.length) return a === b;
  for (let i = 0; i < a.length; i += 1) {
    const same = a[i] === b[i] || (Array.isArray(a[i]) && sameNumbers(a[i], b[i]))
      || (Number.isNaN(a[i]) && Number.isNaN(b[i]));
    if (!same) return false;
  }
  return true;
}

function axisPixels(value, axis) {
  const [start, stop] = axis.range;
  const share = (axisPosition(value, axis) - start) / (stop - start);
  return axis._length * (axis._id[0] === "y" ? 1 - share : share);
}

class Plot {
  #plotly;
  #node;
  #spec;
  #drawn = new Map(); // index -> the values now in the picture

  constructor(plotly, node, spec) {
    this.#plotly = plotly;
    this.#node = node;
    this.#spec = spec;
  }

  axis(key) {
    return this.#node._fullLayout[key];
  }

  async drawAll(frame, outputs, theme) {
    const twins = theme.dark ? this.#spec.palette : {};
    const data = this.#spec.data.map((trace, index) => {
      const copy = { ...recolor(trace, twins), uid: `livejax${index}`, hoverinfo: "skip" };
      if (trace.type === "contour") colorContours(copy, theme);
      for (const [attribute, values] of Object.entries(frame.traces.get(index) ?? {})) {
        setAttribute(copy, attribute, values);
      }
      return copy;
    });
    const layout = pageLayout(recolor(this.#spec.layout, twins), this.#spec, theme, this.#node, outputs);
    this.#drawn = new Map(frame.traces);
    await this.#plotly.react(this.#node, data, layout, { staticPlot: true, displayModeBar: false });
  }

  // Draws what changed since the last frame.
  draw(frame, outputs) {
    const slow = [];
    for (const [index, values] of frame.traces) {
      const changed = Object.keys(values).filter((name) => !sameNumbers(this.#drawn.get(index)?.[name], values[name]));
      if (!changed.length) continue;
      this.#drawn.set(index, values);
      for (const name of changed) setAttribute(this.#node.data[index], name, values[name]);
      if (!this.#moveDirectly(index, values, changed)) slow.push(index);
    }
    const layout = shapeUpdate(this.#spec, outputs);
    const moved = Object.entries(layout).some(([path, value]) => getAttribute(this.#node.layout, path) !== value);
    if (!slow.length && !moved) return;
    this.#plotly.update(this.#node, restyleUpdate(slow, frame), moved ? layout : {}, slow.length ? slow : [0]);
  }

  destroy() {
    this.#plotly.purge(this.#node);
  }

  // Plain lines and markers: only coordinates change. False if plotly has to do it.
  #moveDirectly(index, values, changed) {
    const trace = this.#spec.data[index];
    if (trace.type !== "scatter" || trace.fill || trace.stackgroup || trace.text) return false;
    if (trace.line?.shape || changed.some((name) => name !== "x" && name !== "y")) return false;
    const group = this.#node.querySelector(`.scatterlayer .tracelivejax${index}`);
    const xAxis = this.axis(axisKey(trace.xaxis ?? "x"));
    const yAxis = this.axis(axisKey(trace.yaxis ?? "y"));
    const y = values.y ?? trace.y;
    const x = values.x ?? trace.x;
    if (!group || !x || !y || typeof x[0] === "string" || typeof y[0] === "string") return false;
    const pixels = Array.from(y, (v, i) => [axisPixels(x[i], xAxis), axisPixels(v, yAxis)]);
    const lines = group.querySelectorAll("path.js-line");
    const points = group.querySelectorAll(".points > path.point");
    const shown = pixels.filter(([px, py]) => Number.isFinite(px) && Number.isFinite(py));
    if (trace.mode.includes("lines") && !lines.length) return false;
    if (trace.mode.includes("markers") && points.length !== shown.length) return false;
    if (lines.length) {
      lines[0].setAttribute("d", linePath(pixels));
      for (let i = 1; i < lines.length; i += 1) lines[i].setAttribute("d", "M0,0");
    }
    points.forEach((point, i) => point.setAttribute("transform", `translate(${shown[i][0]},${shown[i][1]})`));
    return true;
  }
}

// Bare contour lines are there for orientation: one quiet color, seen in both themes.
function colorContours(trace, theme) {
  if (trace.contours?.coloring !== "lines" || trace.line?.color) return;
  trace.colorscale = [[0, theme.edge], [1, theme.edge]];
  trace.line = { width: 1, ...trace.line };
}

function linePath(pixels) {
  let path = "";
  let pen = "M";
  for (const [x, y] of pixels) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) {
      pen = "M";
      continue;
    }
    path += `${pen}${x.toFixed(2)},${y.toFixed(2)}`;
    pen = "L";
  }
  return path || "M0,0";
}

function axisKey(reference) {
  return `${reference[0]}axis${reference.slice(1)}`;
}

function setAttribute(target, path, value) {
  const names = path.split(".");
  const last = names.pop();
  for (const name of names) target = target[name] ??= {};
  target[last] = value;
}

function getAttribute(target, path) {
  return path.split(/[.[\]]+/).filter(Boolean).reduce((value, name) => value?.[name], target);
}

function restyleUpdate(indices, frame) {
  const update = {};
  indices.forEach((index, place) => {
    for (const [name, values] of Object.entries(frame.traces.get(index))) {
      update[name] ??= new Array(indices.length).fill(undefined);
      update[name][place] = values;
    }
  });
  return update;
}

// Shapes that the outputs move. A coordinate that is not finite sits at the edge of the plot.
function shapeUpdate(spec, outputs) {
  const update = {};
  for (const [index, keys] of Object.entries(spec.shapes)) {
    const shape = spec.layout.shapes[index];
    for (const [attribute, key] of Object.entries(keys)) {
      const value = outputs[key][0];
      const axis = spec.layout[axisKey(shape[`${attribute[0]}ref`] ?? attribute[0])];
      update[`shapes[${index}].${attribute}`] = attribute === "visible"
        ? Boolean(value)
        : axis?.range ? clampValue(Number.isNaN(value) ? Infinity : value, axis) : value;
    }
  }
  return update;
}

function pageLayout(template, spec, theme, node, outputs) {
  const width = node.clientWidth;
  const narrow = width < NARROW;
  const size = narrow ? 12 : 13;
  const layout = {
    ...structuredClone(template),
    width,
    height: node.clientHeight,
    margin: { l: 52, r: 14, t: Object.keys(spec.titles).some((key) => key[0] === "y") ? 28 : 12, b: 46 },
    font: { family: theme.font, size, color: theme.muted },
    paper_bgcolor: NEVER,
    plot_bgcolor: NEVER,
    showlegend: false,
    hovermode: false,
    dragmode: false,
    uirevision: "livejax",
  };
  for (const key of template.axes) {
    const quiet = {
      gridcolor: theme.grid, linecolor: theme.grid, tickcolor: theme.grid, zerolinecolor: theme.grid,
      zeroline: false, showline: key[0] === "x", ticks: key[0] === "x" ? "outside" : "", ticklen: 4,
      exponentformat: "power", automargin: hasWords(spec, key), nticks: narrow ? 5 : 8,
    };
    const ticks = logTicks(layout[key], quiet.nticks);
    if (ticks.tickvals) delete layout[key].dtick;
    layout[key] = { ...quiet, ...ticks, ...layout[key] };
    const title = spec.titles[key];
    if (title && key[0] === "x") layout[key].title = { text: title, standoff: 8, font: { size, color: theme.text } };
  }
  for (const note of layout.annotations ?? []) {
    if (note.name === "livejax-y-title") note.font = { size, color: theme.text };
  }
  if (narrow) stackPanels(layout, spec);
  for (const [path, value] of Object.entries(shapeUpdate(spec, outputs))) {
    const [, index, attribute] = /\[(\d+)\]\.(.*)/.exec(path);
    layout.shapes[index][attribute] = value;
  }
  return layout;
}

// Names of categories may need more room than the margin; numbers never do.
function hasWords(spec, key) {
  return spec.data.some((trace) => axisKey(trace[`${key[0]}axis`] ?? key[0]) === key
    && typeof trace[key[0]]?.[0] === "string");
}

// Plotly prints powers of ten larger than other numbers; these are set in one size.
function logTicks(axis, most) {
  if (axis.type !== "log" || axis.tickvals || !axis.range) return {};
  const [low, high] = axisEnds(axis);
  const [first, last] = [Math.ceil(low - 1e-9), Math.floor(high + 1e-9)];
  if (last - first < 1) return {};
  const step = Math.max(Math.ceil((last - first) / most), Math.round(axis.dtick ?? 1));
  const powers = [];
  for (let power = first; power <= last; power += 1) if (power % step === 0) powers.push(power);
  const small = first >= -2 && last <= 3;
  const text = (power) => (power === 0 ? "1" : power === 1 ? "10" : `10${superscript(power)}`);
  return {
    tickvals: powers.map((power) => 10 ** power),
    ticktext: powers.map((power) => (small ? String(Number((10 ** power).toPrecision(1))) : text(power))),
  };
}

// On a phone, plots that stand side by side stand one above the other.
function stackPanels(layout, spec) {
  const pairs = new Map(spec.data.map((trace) => [axisKey(trace.xaxis ?? "x"), axisKey(trace.yaxis ?? "y")]));
  const start = (key) => layout[key].domain?.[0] ?? 0;
  const columns = [...pairs.keys()].sort((a, b) => start(a) - start(b));
  if (new Set(columns.map(start)).size < 2) return;
  const gap = 0.16;
  const share = (1 - gap * (columns.length - 1)) / columns.length;
  columns.forEach((key, i) => {
    const top = 1 - i * (share + gap);
    layout[key].domain = [0, 1];
    layout[pairs.get(key)].domain = [Math.max(0, top - share), top];
  });
}
