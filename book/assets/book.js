// The few things of the page frame that need a script: the theme button, the list of contents on
// small screens, keyboard access to boxes that scroll sideways, and printing.
"use strict";
(() => {
  const root = document.documentElement;

  // Theme. <html data-theme> is always "light" or "dark"; a choice is remembered, else the system's holds.
  const themeButton = document.querySelector(".theme-button");
  const system = matchMedia("(prefers-color-scheme: dark)");
  function stored() {
    try { return localStorage.getItem("theme"); } catch { return null; }
  }
  function show(theme) {
    root.dataset.theme = theme;
    themeButton.setAttribute("aria-pressed", String(theme === "dark"));
  }
  themeButton.addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", theme); } catch { /* a private window: this page only */ }
    show(theme);
  });
  system.addEventListener("change", () => { if (!stored()) show(system.matches ? "dark" : "light"); });
  show(root.dataset.theme);

  // Contents on small screens.
  const contentsButton = document.querySelector(".contents-button");
  function open(yes) {
    contentsButton.setAttribute("aria-expanded", String(yes));
    root.classList.toggle("contents-open", yes);
  }
  contentsButton.addEventListener("click", () => open(!root.classList.contains("contents-open")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !root.classList.contains("contents-open")) return;
    open(false);
    contentsButton.focus();
  });
  document.querySelector("#contents").addEventListener("click", (event) => {
    if (event.target.closest("a")) open(false);
  });

  // A box that scrolls sideways can be reached by the keyboard, and only while it does scroll.
  const names = { "math-display": "Formula", highlight: "Code" };
  function reachable(box) {
    const scrolls = box.scrollWidth > box.clientWidth + 1;
    if (!scrolls) {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
      return;
    }
    const kind = Object.keys(names).find((name) => box.closest(`.${name}`));
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", `${names[kind] ?? "Table"}, scrolls sideways`);
  }
  const watcher = new ResizeObserver((entries) => entries.forEach((entry) => reachable(entry.target)));
  const boxes = document.querySelectorAll(".scroll-x, .highlight pre");
  boxes.forEach((box) => watcher.observe(box));
  // A font that arrives late widens what is in a box, not the box.
  document.fonts.addEventListener("loadingdone", () => boxes.forEach(reachable));

  // On paper, hints and solutions are open and colors are light.
  let closed = [];
  let theme;
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const fold of closed) fold.open = true;
    theme = root.dataset.theme;
    show("light");
  });
  addEventListener("afterprint", () => {
    for (const fold of closed) fold.open = false;
    show(theme);
  });

  // A link to something inside a closed fold opens the fold.
  function reveal() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let fold = target && target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  }
  addEventListener("hashchange", reveal);
  reveal();
})();
