// What lies over the plot: labels where curves leave it, and the handles of points.

function overlayPosition(plot, xKey, yKey, [x, y]) {
  const [xAxis, yAxis] = [plot.axis(xKey), plot.axis(yKey)];
  return [xAxis._offset + axisPixels(x, xAxis), yAxis._offset + axisPixels(y, yAxis)];
}

function edgeArrow(exit, spec) {
  const [x, y] = [spec.layout[exit.follow.x_axis], spec.layout[exit.follow.y_axis]];
  const at = (value, axis, end) => {
    const [low, high] = axisEnds(axis);
    return Math.abs(axisPosition(value, axis) - axis.range[end]) < 1e-6 * (high - low);
  };
  if (at(exit.mark[1], y, 1)) return "↑";
  if (at(exit.mark[1], y, 0)) return "↓";
  return at(exit.mark[0], x, 0) ? "←" : "→";
}

class Overlay {
  #layer;
  #spec;
  #plot;
  #handles = new Map(); // control name -> element

  constructor(stage, spec, plot) {
    this.#layer = element("div", null, { class: "livejax-overlay", "aria-hidden": "true" });
    this.#spec = spec;
    this.#plot = plot;
    stage.append(this.#layer);
  }

  addHandle(name, control, change) {
    const handle = element("div", null, { class: "livejax-handle", "data-handle": name });
    this.#handles.set(name, handle);
    this.#layer.append(handle);
    const toValue = (event) => {
      const box = this.#layer.getBoundingClientRect();
      const place = [event.clientX - box.left, event.clientY - box.top];
      return place.map((pixel, i) => {
        const axis = this.#plot.axis(axisKey(control.axes[i]));
        const share = (pixel - axis._offset) / axis._length;
        const [start, stop] = axis.range;
        const position = start + (i === 0 ? share : 1 - share) * (stop - start);
        const value = Number(fromPosition(position, axis).toPrecision(4));
        return clamp(value, ...control.bounds[i]);
      });
    };
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    handle.addEventListener("pointermove", (event) => {
      if (handle.hasPointerCapture(event.pointerId)) change(toValue(event));
    });
  }

  draw(state, exits, theme) {
    for (const [name, handle] of this.#handles) {
      const axes = this.#spec.controls[name].axes.map(axisKey);
      const [left, top] = overlayPosition(this.#plot, ...axes, state[name]);
      handle.style.transform = `translate(${left}px, ${top}px)`;
    }
    this.#layer.querySelectorAll(".livejax-exit").forEach((old) => old.remove());
    const taken = [];
    for (const exit of exits) if (exit.mark) this.#label(exit, theme, taken);
  }

  #label(exit, theme, taken) {
    const { follow, trace } = exit;
    const [x, y] = overlayPosition(this.#plot, follow.x_axis, follow.y_axis, exit.mark);
    const several = this.#spec.follow.length > 1;
    const text = `${edgeArrow(exit, this.#spec)} ${several ? `${exit.name}: ` : ""}${exit.tag}`;
    const chip = element("span", text, { class: "livejax-exit" });
    const color = trace.line?.color ?? trace.marker?.color;
    chip.style.borderColor = recolor(String(color), theme.dark ? this.#spec.palette : {});
    this.#layer.append(chip);
    const axis = this.#plot.axis(follow.x_axis);
    const frame = this.#plot.axis(follow.y_axis);
    const [width, height] = [chip.offsetWidth, chip.offsetHeight];
    // Beside the curve rather than on it, on the side where there is room.
    const beside = x + 10 + width > axis._offset + axis._length ? x - 10 - width : x + 10;
    const left = clamp(beside, axis._offset, axis._offset + axis._length - width);
    let top = clamp(y - height / 2, frame._offset + 3, frame._offset + frame._length - height - 3);
    const hit = () => taken.find((box) => Math.abs(box.top - top) < height + 2
      && left < box.left + box.width + 4 && box.left < left + width + 4);
    const down = y < frame._offset + frame._length / 2;
    for (let other = hit(), tries = 0; other && tries < 12; other = hit(), tries += 1) {
      top = down ? other.top + height + 3 : other.top - height - 3;
    }
    taken.push({ left, top, width });
    chip.style.transform = `translate(${left}px, ${top}px)`;
  }
}
