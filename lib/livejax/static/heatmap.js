// A heat map's picture, one pixel a cell. Plotly's own redraw of a map takes several times as long as
// computing it.

const LEVELS = 256;

// The color scale as LEVELS pixels of red, green, blue, opacity.
function scalePixels(stops) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [LEVELS, 1];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const gradient = context.createLinearGradient(0.5, 0, LEVELS - 0.5, 0);
  for (const [place, color] of stops) gradient.addColorStop(place, color);
  context.fillStyle = gradient;
  context.fillRect(0, 0, LEVELS, 1);
  return context.getImageData(0, 0, LEVELS, 1).data;
}

// The picture as a data address, the first row of z at the bottom.
function heatPicture(rows, low, high, scale) {
  const [height, width] = [rows.length, rows[0].length];
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const image = context.createImageData(width, height);
  rows.forEach((row, i) => {
    for (let j = 0; j < width; j += 1) {
      const share = clamp((row[j] - low) / (high - low), 0, 1);
      const from = 4 * Math.round(share * (LEVELS - 1));
      const to = 4 * ((height - 1 - i) * width + j);
      for (let k = 0; k < 4; k += 1) image.data[to + k] = scale[from + k];
    }
  });
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

// Replaces the picture of the only heat map of the plot. False where plotly draws cells of unequal
// size, smooths, or leaves gaps: then its picture is another one.
function paintHeatMap(node, index, rows) {
  const trace = node._fullData[index];
  const images = node.querySelectorAll(".heatmaplayer image");
  const [x, y] = [trace.xaxis, trace.yaxis].map((name) => node._fullLayout[axisKey(name ?? "x")]);
  const upright = [x, y].every((axis) => axis.type === "linear" && axis.range[0] < axis.range[1]);
  const plainCells = trace._islinear && !trace.zsmooth && !trace.xgap && !trace.ygap;
  if (images.length !== 1 || !upright || !plainCells) return false;
  const scale = scalePixels(trace.colorscale);
  images[0].setAttribute("href", heatPicture(rows, trace.zmin, trace.zmax, scale));
  return true;
}
