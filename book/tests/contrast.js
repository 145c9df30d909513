// Contrast of text with the pixels behind it. Used by axe.py, which takes the pictures.

window.contrast = (() => {
  let waiting = [];
  let current = [];
  let done = 0;
  let style = null;

  // The texts to measure: every visible one in SVG, and of those that axe could not decide the first
  // three of each combination of own color and nearest background (a formula has hundreds alike).
  function collect(selectors) {
    const undecided = selectors.map((selector) => document.querySelector(selector));
    const texts = [...new Set([...document.querySelectorAll("svg text"), ...undecided])]
      .filter((element) => element && visible(element))
      // Colors are read before the text is made transparent.
      .map((element) => ({ element, ...appearance(element) }));
    const alike = new Map();
    waiting = texts.filter(({ element, color, alpha, needed }) => {
      if (element instanceof SVGElement) return true;
      const key = [color, alpha, needed, background(element)].join();
      alike.set(key, (alike.get(key) ?? 0) + 1);
      return alike.get(key) <= 3;
    });
    style = document.createElement("style");
    style.textContent = `* { color: transparent !important; text-shadow: none !important;
      -webkit-text-fill-color: transparent !important; transition: none !important;
      scroll-behavior: auto !important; }
      svg text, svg tspan { fill: transparent !important; stroke: transparent !important; }`;
    document.head.append(style);
    done = 0;
    return waiting.length;
  }

  function background(element) {
    for (let node = element; node; node = node.parentElement) {
      const { backgroundColor, backgroundImage } = getComputedStyle(node);
      if (backgroundImage !== "none") return `${node.className} ${backgroundImage}`;
      if (numbers(backgroundColor)[3] > 0) return backgroundColor;
    }
    return "";
  }

  function visible(element) {
    const box = element.getBoundingClientRect();
    return element.textContent.trim() !== "" && box.width > 1 && box.height > 1 &&
      element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  }

  function appearance(element) {
    const own = getComputedStyle(element);
    const svg = element instanceof SVGElement;
    let opacity = svg ? Number(own.fillOpacity) : 1;
    for (let node = element; node instanceof Element; node = node.parentElement) {
      opacity *= Number(getComputedStyle(node).opacity);
    }
    const size = parseFloat(own.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(own.fontWeight) >= 700);
    const [r, g, b, a = 1] = numbers(svg ? own.fill : own.color);
    return { color: [r, g, b], alpha: a * opacity, needed: large ? 3 : 4.5 };
  }

  function numbers(color) {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  }

  // Bring the next text into view and note which others stand there too; false when none is left.
  function prepare() {
    if (!waiting.length) return false;
    waiting[0].element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
    current = [];
    const rest = [];
    for (const [k, text] of waiting.entries()) {
      const box = text.element.getBoundingClientRect();
      const inside = box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
      if (k === 0 || inside) current.push({ ...text, box });
      else rest.push(text);
    }
    waiting = rest;
    return true;
  }

  async function measure(picture) {
    const image = new Image();
    image.src = `data:image/png;base64,${picture}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    const zoom = image.width / innerWidth;
    const low = [];
    for (const { element, color, alpha, needed, box } of current) {
      const left = Math.max(0, Math.floor(box.left * zoom));
      const top = Math.max(0, Math.floor(box.top * zoom));
      const width = Math.min(Math.ceil(box.width * zoom), image.width - left);
      const height = Math.min(Math.ceil(box.height * zoom), image.height - top);
      if (width < 1 || height < 1) continue; // reported by the count
      done += 1;
      const { data } = canvas.getImageData(left, top, width, height);
      const counts = new Map();
      for (let k = 0; k < data.length; k += 4) {
        const key = (data[k] << 16) | (data[k + 1] << 8) | data[k + 2];
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      let worst = Infinity;
      for (const [key, count] of counts) {
        if (count < 0.01 * width * height) continue;
        const behind = [key >> 16, (key >> 8) & 255, key & 255];
        const shown = color.map((value, k) => alpha * value + (1 - alpha) * behind[k]);
        worst = Math.min(worst, ratio(shown, behind));
      }
      if (worst < needed) {
        const where = element.closest("[id]")?.id ?? "";
        low.push(`contrast ${worst.toFixed(2)} < ${needed}: “${element.textContent.trim().slice(0, 40)}” in #${where}`);
      }
    }
    return low;
  }

  function ratio(a, b) {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  }

  function luminance(color) {
    const [r, g, b] = color.map((value) => {
      const c = value / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function finish() {
    style.remove();
    return done;
  }

  return { collect, prepare, measure, finish };
})();
