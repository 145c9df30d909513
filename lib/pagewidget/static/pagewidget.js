// Brings the widgets of a page without a kernel to life.
//
// Each widget is a <div data-page-widget="name"> that holds its fallback HTML and a JSON island with
// its traits. When it nears the viewport, name.js is loaded from this script's own folder as a classic
// script (a page opened from file:// may not import modules) and its render() gets a model that looks
// like an anywidget model.
(() => {
  "use strict";

  const folder = new URL(".", document.currentScript.src);
  const scripts = new Map(); // file name -> promise
  const modules = new Map(); // page name -> { render }
  const mounts = new Map(); // element -> promise

  function script(name) {
    if (!scripts.has(name)) {
      scripts.set(name, new Promise((resolve, reject) => {
        const tag = document.createElement("script");
        tag.src = new URL(name, folder).href;
        tag.onload = () => resolve();
        tag.onerror = () => reject(new Error(`cannot load ${name}`));
        document.head.append(tag);
      }));
    }
    return scripts.get(name);
  }

  // The part of Backbone's model that anywidget documents. Nobody listens on the other side, so
  // save_changes() and send() have nothing to do.
  class PageModel {
    #traits;
    #listeners = new Map(); // event name -> list of callbacks

    constructor(traits) {
      this.#traits = traits;
    }

    get(name) {
      return this.#traits[name];
    }

    set(name, value) {
      if (JSON.stringify(this.#traits[name]) === JSON.stringify(value)) return;
      this.#traits[name] = value;
      this.#emit(`change:${name}`, this, value);
      this.#emit("change", this);
    }

    on(event, callback) {
      this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), callback]);
    }

    off(event, callback) {
      if (event == null) this.#listeners.clear();
      else if (callback == null) this.#listeners.delete(event);
      else this.#listeners.set(event, (this.#listeners.get(event) ?? []).filter((f) => f !== callback));
    }

    save_changes() {}

    send() {}

    #emit(event, ...details) {
      for (const callback of this.#listeners.get(event) ?? []) callback(...details);
    }
  }

  function mount(root) {
    if (!mounts.has(root)) mounts.set(root, start(root));
    return mounts.get(root);
  }

  async function start(root) {
    root.dataset.mounted = "loading";
    const name = root.dataset.pageWidget;
    const view = root.querySelector(":scope > .pagewidget-view");
    try {
      const island = root.querySelector(':scope > script[type="application/json"]');
      await script(`${name}.js`);
      const { render } = modules.get(name);
      await render({ model: new PageModel(JSON.parse(island.textContent)), el: view, page: { script } });
      root.dataset.mounted = "true";
    } catch (error) {
      root.dataset.mounted = "failed";
      const note = document.createElement("p");
      note.className = "pagewidget-error";
      note.textContent = `This interactive part could not start: ${error.message}.`;
      view.append(note);
      console.error(error);
    }
  }

  // A fragment may carry a widget's state after the id: #fig-id?name=value. The browser does not find
  // such an id by itself.
  function followFragment() {
    const [id, state] = location.hash.slice(1).split("?");
    if (state === undefined) return;
    document.getElementById(decodeURIComponent(id))?.scrollIntoView({ behavior: "instant" });
  }

  function watchPage() {
    const roots = [...document.querySelectorAll("[data-page-widget]")];
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        observer.unobserve(entry.target);
        mount(entry.target);
      }
    }, { rootMargin: "600px 0px" });
    roots.forEach((root) => observer.observe(root));
    window.addEventListener("beforeprint", () => roots.forEach(mount));
    window.addEventListener("hashchange", followFragment);
    followFragment();
  }

  window.pagewidget = {
    define: (name, module) => modules.set(name, module),
    mountAll: () => Promise.all([...document.querySelectorAll("[data-page-widget]")].map(mount)),
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", watchPage);
  else watchPage();
})();
