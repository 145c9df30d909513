// Follows the theme of the page (the book's data-theme, JupyterLab's data-jp-theme-light). The colors
// themselves are in figure.css, as custom properties of the figure.

function readTheme(figure) {
  const style = getComputedStyle(figure);
  const color = (name) => style.getPropertyValue(`--livejax-${name}`).trim();
  return {
    dark: style.getPropertyValue("--livejax-dark").trim() === "1",
    text: color("text"),
    muted: color("muted"),
    grid: color("grid"),
    edge: color("edge"),
    font: style.fontFamily,
  };
}

function watchTheme(changed, signal) {
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributeFilter: ["data-theme", "data-mode"] });
  observer.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  signal.addEventListener("abort", () => observer.disconnect());
}

// The same template with the palette's light colors swapped for their dark twins.
function recolor(value, twins) {
  if (typeof value === "string") return twins[value.toLowerCase()] ?? value;
  if (Array.isArray(value)) return value.map((item) => recolor(item, twins));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, recolor(item, twins)]));
}
