// Draws the outputs into plotly.
//
// The first draw, a change of size and a change of theme go through Plotly.react. A move of a control
// must fit into one frame of a phone, so it writes the coordinates of plain lines and markers, and the
// picture of a heat map, straight into the SVG that plotly made; all else (bars, filled areas) goes
// through Plotly.update, and only if its numbers changed.

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
      const old = this.#drawn.get(index) ?? {};
      const changed = Object.keys(values).filter((name) => !sameNumbers(old[name], values[name]));
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
    if (trace.type === "heatmap" && changed.join() === "z") return paintHeatMap(this.#node, index, values.z);
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
