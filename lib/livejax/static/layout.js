// The layout that plotly gets: the template's, with quiet axes in the colors and at the size of the page.

const NARROW = 560; // CSS pixels of the figure's width; figure.css has the same
const CLEAR = "rgba(0,0,0,0)";

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
    paper_bgcolor: CLEAR,
    plot_bgcolor: CLEAR,
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
