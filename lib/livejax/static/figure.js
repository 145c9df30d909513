// A live figure: state -> compiled JAX function -> plot, readouts, summary and table.

const SETTLED = 300; // ms without a move after which screen readers and the address hear of it

class LiveFigure {
  outputs = {};
  #model;
  #page;
  #figure;
  #spec;
  #main;
  #state;
  #frame;
  #plot = null;
  #overlay = null;
  #theme;
  #shows = {};
  #stop = new AbortController();
  #request = null; // promise of the draw that is under way
  #timer = 0;
  #status;

  constructor(model, figure, page) {
    this.#model = model;
    this.#page = page;
    this.#figure = figure;
    this.#spec = model.get("_spec");
    this.#main = new Function(`return ${model.get("_source")}`)();
    this.#state = Object.fromEntries(Object.keys(this.#spec.controls).map((name) => [name, model.get(name)]));
    this.#status = figure.querySelector(".livejax-status");
    this.#fromAddress();
    this.#connectControls();
    this.#connectTools();
    this.#compute();
    this.#showNumbers();
    this.#settle();
    this.ready = this.#start();
  }

  get state() {
    return structuredClone(this.#state);
  }

  // Moves one control; the promise resolves after the draw.
  set(name, value) {
    const control = this.#spec.controls[name];
    if (!control) throw new Error(`unknown control ${name}`);
    const nearest = nearestValue(control, value);
    if (nearest === undefined) throw new Error(`control ${name} cannot be ${JSON.stringify(value)}`);
    return this.#change({ [name]: nearest });
  }

  reset() {
    return this.#change(this.#defaults());
  }

  destroy() {
    this.#stop.abort();
    clearTimeout(this.#timer);
    this.#plot?.destroy();
  }

  async #start() {
    const plotly = await loadPlotly(this.#model, this.#page);
    if (this.#stop.signal.aborted) return;
    const node = this.#figure.querySelector(".livejax-plot");
    const stage = this.#figure.querySelector(".livejax-stage");
    this.#plot = new Plot(plotly, node, this.#spec);
    this.#overlay = new Overlay(stage, this.#spec, this.#plot);
    for (const [name, control] of Object.entries(this.#spec.controls)) {
      if (control.kind !== "point") continue;
      this.#overlay.addHandle(name, control, (value) => this.#change({ [name]: value }));
    }
    await this.#drawAll();
    let width = node.clientWidth;
    const resized = new ResizeObserver(() => {
      if (node.clientWidth === width || node.clientWidth === 0) return;
      width = node.clientWidth;
      this.#drawAll();
    });
    resized.observe(node);
    this.#stop.signal.addEventListener("abort", () => resized.disconnect());
    watchTheme(() => this.#drawAll(), this.#stop.signal);
    this.#warm();
  }

  async #drawAll() {
    this.#theme = readTheme(this.#figure);
    await this.#plot.drawAll(this.#frame, this.outputs, this.#theme);
    this.#overlay.draw(this.#state, this.#frame.exits, this.#theme);
  }

  #compute() {
    const flat = this.#main(...functionArguments(this.#spec.controls, this.#state));
    Object.keys(this.#spec.outputs).forEach((key, i) => { this.outputs[key] = flat[i]; });
    this.#frame = computeFrame(this.#spec, this.outputs);
  }

  // The browser's compiler needs a few calls before it is fast; the first move should not wait for it.
  #warm() {
    const idle = globalThis.requestIdleCallback ?? ((run) => setTimeout(() => run({ timeRemaining: () => 20 }), 200));
    let calls = 0;
    const work = (deadline) => {
      if (this.#stop.signal.aborted) return;
      do {
        this.#main(...functionArguments(this.#spec.controls, this.#state));
        calls += 1;
      } while (calls < 30 && deadline.timeRemaining() > 10);
      if (calls < 30) idle(work);
    };
    idle(work);
  }

  #defaults() {
    return Object.fromEntries(Object.entries(this.#spec.controls).map(([name, c]) => [name, c.value]));
  }

  // Takes over new values now, computes and draws them with the next frame.
  #change(values) {
    Object.assign(this.#state, structuredClone(values));
    for (const name of Object.keys(values)) {
      this.#shows[name](this.#state[name]);
      this.#model.set(name, this.#state[name]);
    }
    this.#model.save_changes();
    this.#request ??= new Promise((resolve, reject) => {
      requestAnimationFrame(() => {
        this.#request = null;
        try {
          this.#compute();
          this.#showNumbers();
          this.#plot?.draw(this.#frame, this.outputs);
          this.#overlay?.draw(this.#state, this.#frame.exits, this.#theme);
          clearTimeout(this.#timer);
          this.#timer = setTimeout(() => this.#settle(true), SETTLED);
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
    return this.#request;
  }

  #connectControls() {
    for (const [name, control] of Object.entries(this.#spec.controls)) {
      const root = this.#figure.querySelector(`[data-control="${name}"]`);
      this.#shows[name] = bindControl(root, control, (value) => this.#change({ [name]: value }));
      this.#shows[name](this.#state[name]);
      const moved = () => {
        const value = this.#model.get(name);
        if (!sameValue(value, this.#state[name])) this.#change({ [name]: value });
      };
      this.#model.on(`change:${name}`, moved);
      this.#stop.signal.addEventListener("abort", () => this.#model.off(`change:${name}`, moved));
    }
  }

  #connectTools() {
    const find = (name) => this.#figure.querySelector(name);
    const reset = find(".livejax-reset");
    reset.disabled = false;
    reset.addEventListener("click", () => this.reset());
    find(".livejax-data").addEventListener("toggle", () => this.#showTables());
    const copy = find(".livejax-copy");
    copy.hidden = !this.#page; // a notebook has no address to share
    copy.disabled = false;
    copy.addEventListener("click", () => this.#copyLink());
    if (!this.#page) return;
    window.addEventListener("hashchange", () => {
      const state = fragmentToState(location.hash, this.#spec.id, this.#spec.controls);
      if (state && !sameValue(state, this.#state)) this.#change(state);
    }, { signal: this.#stop.signal });
  }

  #fromAddress() {
    const state = this.#page && fragmentToState(location.hash, this.#spec.id, this.#spec.controls);
    if (state) this.#state = state;
  }

  #toAddress() {
    const fragment = stateToFragment(this.#spec.id, this.#spec.controls, this.#state);
    const ours = location.hash.startsWith(`#${this.#spec.id}?`);
    if (fragment === location.hash || (!fragment && !ours)) return;
    history.replaceState(history.state, "", fragment || location.pathname + location.search);
  }

  async #copyLink() {
    const fragment = stateToFragment(this.#spec.id, this.#spec.controls, this.#state) || `#${this.#spec.id}`;
    const link = location.href.replace(/#.*$/, "") + fragment;
    try {
      await navigator.clipboard.writeText(link);
      this.#status.textContent = "Link copied";
    } catch {
      // Without leave to use the clipboard the link is shown, to be copied by hand.
      this.#status.replaceChildren(element("a", link, { href: fragment }));
    }
  }

  #showNumbers() {
    for (const readout of this.#spec.readouts) {
      const output = this.#figure.querySelector(`[data-readout="${CSS.escape(readout.key)}"]`);
      output.textContent = readoutText(readout, this.outputs);
    }
  }

  // What should not change with every frame of a drag.
  #settle(moved = false) {
    const text = summaryText(this.#spec, this.#state, this.outputs, this.#frame.exits);
    const summary = this.#figure.querySelector(".livejax-summary");
    if (summary.textContent !== text) summary.textContent = text;
    this.#figure.querySelector(".livejax-plot").setAttribute("aria-label", `${this.#spec.title}. ${text}`);
    this.#showTables();
    if (!moved) return;
    this.#status.textContent = "";
    if (this.#page) this.#toAddress();
  }

  #showTables() {
    if (!this.#figure.querySelector(".livejax-data").open) return;
    const tables = this.#spec.tables.map((t) => tableElement(buildTable(t, this.outputs, this.#spec.outputs)));
    this.#figure.querySelector(".livejax-scroll").replaceChildren(...tables);
  }
}

function render({ model, el, page }) {
  if (!el.querySelector(".livejax")) el.innerHTML = model.get("_html");
  const figure = el.querySelector(".livejax");
  figure.livejax = new LiveFigure(model, figure, page);
  return () => figure.livejax.destroy();
}

export default { render };
