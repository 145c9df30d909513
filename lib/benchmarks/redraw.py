"""How long a move of a control takes, in headless Chromium: compute plus draw, in milliseconds.

    python lib/benchmarks/redraw.py [--chromium PATH]

Each figure is moved 200 times, one move an animation frame. A move is timed from the input event
to the end of the frame's callback with the layout it caused, without painting. Beside the figures
stands a control figure whose function does nothing.

Targets of the book: median at most 8 ms, and at most
33 ms with the CPU throttled fourfold; page load to first working control at most 1000 ms from
localhost.
"""

import argparse
import functools
import http.server
import shutil
import tempfile
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import plotly.graph_objects as go
from playwright.sync_api import Page, sync_playwright

import livejax
from pagewidget import write_page

ROOT = Path(__file__).parents[2]
PLOTLY = ROOT / "node_modules" / "plotly.js-cartesian-dist-min" / "plotly-cartesian.min.js"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
MOVES = 200
STEPS = 200

# Runs in the page: moves the first range of a figure, one move a frame, and times each.
MEASURE = """
async ([id, moves]) => {
  const figure = document.getElementById(id);
  const input = figure.querySelector("input[type=range]");
  const [low, high] = [Number(input.min), Number(input.max)];
  const frame = window.requestAnimationFrame.bind(window);
  const times = [];
  for (let k = 0; k < moves; k += 1) {
    await new Promise((done) => frame(done));
    let callback;
    window.requestAnimationFrame = (run) => { callback = run; return 0; };
    const start = performance.now();
    input.value = low + (high - low) * (0.5 + 0.45 * Math.sin(k / 7));
    input.dispatchEvent(new Event("input", { bubbles: true }));
    callback(start);
    figure.getBoundingClientRect();
    times.push(performance.now() - start);
    window.requestAnimationFrame = frame;
  }
  return times;
}
"""
FIRST_CONTROL = """
() => new Promise((done) => {
  const look = () => {
    const input = document.querySelector(".livejax input");
    if (input && !input.disabled) done(performance.now());
    else requestAnimationFrame(look);
  };
  look();
})
"""


def heavy_ball(momentum, step_size, spectrum, steps):
    """Losses of heavy ball on a quadratic, from all ones; (steps,)."""

    def step(carry, _):
        point, velocity = carry
        velocity = momentum * velocity - step_size * spectrum * point
        point = point + velocity
        return (point, velocity), 0.5 * jnp.sum(spectrum * point**2)

    start = (jnp.ones_like(spectrum), jnp.zeros_like(spectrum))
    return jax.lax.scan(step, start, None, length=steps)[1]


def no_op(level):
    """The control figure: nothing is computed, nothing moves."""
    return {"same": jnp.ones(2), "level_shown": level}


def curves(momentum):
    """Three runs of 200 steps."""
    spectrum = jnp.array([1.0, 0.3, 0.02])
    return {
        f"loss_{i}": heavy_ball(momentum, b, spectrum, STEPS) for i, b in enumerate((0.1, 0.5, 1.0))
    }


def final_losses(condition):
    """A map of 64 x 64 final losses after 100 steps."""
    spectrum = jnp.stack([1.0, 1.0 / condition])

    def final(momentum, step_size):
        return jnp.log10(heavy_ball(momentum, step_size, spectrum, 100)[-1])

    over_steps = jax.vmap(final, in_axes=(None, 0))
    grid = jax.vmap(over_steps, in_axes=(0, None))
    return {"log_loss": grid(jnp.linspace(0.0, 1.0, 64), jnp.linspace(0.05, 4.0, 64))}


def figure(name, fn, controls, template, fills):
    """A live figure whose texts do not matter here."""
    return livejax.LiveFigure(
        fn, controls, template, fills=fills, id=f"fig-{name}", title=name, caption=name,
        takeaway=name, summary=name,
    )  # fmt: skip


def make_figures():
    """The figures measured, the control figure first."""
    lines = go.Figure([go.Scatter(name="line", x=[0, 1])])
    lines.update_layout(xaxis={"range": [0, 1]}, yaxis={"range": [0, 2]})
    runs = go.Figure([go.Scatter(name=f"run {i}", x=list(range(STEPS))) for i in range(3)])
    runs.update_layout(xaxis={"range": [0, STEPS]}, yaxis={"type": "log", "range": [-12, 4]})
    heat = go.Figure([go.Heatmap(name="map", zmin=-8, zmax=2)])
    momentum = {"momentum": livejax.Slider(0.0, 1.05, 0.5, label="momentum")}
    return [
        figure("no-op", no_op, {"level": livejax.Slider(0.0, 1.0, 0.5, label="level")}, lines,
               {"line": {"y": "same"}}),
        figure("three-curves", curves, momentum, runs,
               {f"run {i}": {"y": f"loss_{i}"} for i in range(3)}),
        figure("heat-map", final_losses,
               {"condition": livejax.Slider(1.0, 100.0, 10.0, log=True, label="condition")}, heat,
               {"map": {"z": "log_loss"}}),
    ]  # fmt: skip


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    """A quiet server on a free port of localhost."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def measure(page: Page, url: str, names: list[str]) -> None:
    """Print the table of one browser page."""
    for throttle in (1, 4):
        page.goto("about:blank")
        session = page.context.new_cdp_session(page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": throttle})
        page.goto(url)
        first = page.evaluate(FIRST_CONTROL)
        print(f"CPU throttle {throttle}x; page load to first working control {first:.0f} ms")
        page.evaluate("pagewidget.mountAll()")
        page.evaluate(
            "Promise.all([...document.querySelectorAll('.livejax')].map((f) => f.livejax.ready))"
        )
        page.wait_for_timeout(1500)  # idle: the compiled functions warm up
        for name in names:
            times = np.array(page.evaluate(MEASURE, [f"fig-{name}", MOVES]))
            p50, p95 = np.percentile(times, [50, 95])
            print(
                f"  {name:14s} first {times[0]:6.1f}   p50 {p50:6.1f}   p95 {p95:6.1f}   "
                f"max {times.max():6.1f}"
            )


def main() -> None:
    """Build the page, serve it, move the controls, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of the browser")
    browser_path = parser.parse_args().chromium
    if browser_path is None:
        parser.error("no chromium found; install it or give --chromium PATH")
    if not PLOTLY.exists():
        parser.error(f"{PLOTLY.relative_to(ROOT)} is missing; run `make book` once")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder, figures = Path(name), make_figures()
        write_page(folder, figures, "Redraw", {PLOTLY.name: PLOTLY.read_text(encoding="utf-8")})
        server = serve(folder)
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        names = [figure.id.removeprefix("fig-") for figure in figures]
        measure(page, f"http://127.0.0.1:{server.server_port}/index.html", names)
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
