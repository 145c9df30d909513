// Reads what a live figure shows. Used by figures.py, in the pages of a `Tab`.

window.readFigure = async (id, live) => {
  const figure = document.querySelector(`figure.livejax#${id}`);
  const plot = figure.querySelector(".livejax-plot");
  await figure.livejax.ready;
  await nextFrame(); // the figure draws with the next frame after a move
  await nextFrame();

  const layout = plot._fullLayout;
  const corner = plot.querySelector("svg.main-svg").getBoundingClientRect();
  const areas = Object.values(layout._plots).map(({ xaxis, yaxis }) => ({
    left: corner.left + xaxis._offset, right: corner.left + xaxis._offset + xaxis._length,
    top: corner.top + yaxis._offset, bottom: corner.top + yaxis._offset + yaxis._length,
  }));

  function inside(element) {
    const box = element.getBoundingClientRect();
    if (box.width < 0.5 && box.height < 0.5) return false;
    if (!element.checkVisibility({ visibilityProperty: true })) return false;
    return areas.some((area) => box.left < area.right && box.right > area.left &&
      box.top < area.bottom && box.bottom > area.top);
  }

  const kinds = {
    scatter: (k) => `.scatterlayer .tracelivejax${k} :is(.js-line, .point, .js-fill)`,
    bar: () => ".barlayer .point path",
    heatmap: () => ".heatmaplayer image",
    contour: () => ".contourlayer path",
  };
  const selectors = live.map((k) => (kinds[plot.data[k].type] ?? (() => ".trace path"))(k));
  const marks = selectors.flatMap((selector) => [...plot.querySelectorAll(selector)]);
  const labels = [...figure.querySelectorAll(".livejax-exit")];

  return {
    state: figure.livejax.state,
    outputs: Object.fromEntries(Object.entries(figure.livejax.outputs).map(([key, v]) => [key, base64(v)])),
    drawing: await fingerprint([...plot.querySelectorAll(".cartesianlayer, .shapelayer")]),
    marks: [...marks, ...labels].filter(inside).length,
    text: [figure.innerText, ...[...plot.querySelectorAll("text")].map((text) => text.textContent)].join("\n"),
  };
};

function base64(array) {
  const bytes = new Uint8Array(new Float64Array(array).buffer);
  let text = "";
  for (let k = 0; k < bytes.length; k += 8192) text += String.fromCharCode(...bytes.subarray(k, k + 8192));
  return btoa(text);
}

// Where and how the marks are drawn, without what plotly numbers anew at each draw.
async function fingerprint(layers) {
  const names = ["d", "transform", "href", "x", "y", "width", "height", "style", "display"];
  const text = layers.flatMap((layer) => [...layer.querySelectorAll("path, image, rect, text")])
    .map((mark) => names.map((name) => mark.getAttribute(name) ?? "").join("|")).join("\n");
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
