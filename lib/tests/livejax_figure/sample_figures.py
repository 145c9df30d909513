"""Small live figures with every kind of control and trace, for the tests."""

import jax
import jax.numpy as jnp
import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

import livejax

STEPS = 40
TEXTS = {"title": "Two runs", "caption": "Loss against step.", "takeaway": "Momentum helps."}


def descent(step_size, momentum, steps_shown, method, noisy):
    """Two runs on a bowl; diverges for a large step size, and overflows to infinity and NaN."""
    curvature = jnp.where(method == 0, jnp.array([1.0, 0.1]), jnp.array([1.0, 0.5]))

    def run(mu):
        def step(carry, _):
            point, velocity = carry
            velocity = mu * velocity - step_size * curvature * point * (1 + jnp.sum(point**2))
            return (point + velocity, velocity), 0.5 * jnp.sum(curvature * point**2)

        start = jnp.where(noisy, jnp.array([1.1, 0.9]), jnp.ones(2))
        return jax.lax.scan(step, (start, jnp.zeros(2)), None, length=STEPS)[1]

    plain, heavy = run(0.0), run(momentum)
    return {
        "step": jnp.arange(STEPS) * 1.0, "plain": plain, "heavy": heavy, "final": heavy[-1],
        "shown": steps_shown, "failed": ~(heavy[-1] < 1e3),
    }  # fmt: skip


DESCENT_CONTROLS = {
    "step_size": livejax.Slider(1e-3, 10.0, 0.1, log=True, label="step size β"),
    "momentum": livejax.Slider(0.0, 1.0, 0.5, label="momentum μ", format=".2f"),
    "steps_shown": livejax.Integer(1, STEPS, STEPS, label="steps", unit="steps"),
    "method": livejax.Choice({"round": "round bowl", "long": "long bowl"}, "round", label="loss"),
    "noisy": livejax.Switch(False, label="another start"),
}


def lines(id="fig-lines", **changes):
    """Two curves on a log axis; `changes` replace arguments of LiveFigure."""
    template = go.Figure(
        [go.Scatter(name="plain"), go.Scatter(name="heavy ball", mode="lines+markers")]
    )
    template.update_layout(
        xaxis={"title": "step", "range": [0, STEPS]},
        yaxis={"title": "loss", "type": "log", "range": [-6, 2]},
    )
    arguments = {
        "fn": descent, "controls": DESCENT_CONTROLS, "template": template,
        "fills": {
            "plain": {"x": "step", "y": "plain", "count": "shown"},
            "heavy ball": {"x": "step", "y": "heavy", "count": "shown"},
        },
        "summary": [
            ("failed", "With step size {step_size} heavy ball diverges; it ends at {final:.2e}."),
            (None, "With momentum {momentum:.2f} on the {method}, heavy ball ends at {final:.2e}."),
        ],
        "readouts": (livejax.Readout("final", "last loss", ".2e"),),
    } | TEXTS | changes  # fmt: skip
    return livejax.LiveFigure(id=id, **arguments)


def landscape(start, sharpness, power):
    """A path from `start`, a map over the plane, bars, and one number that can be NaN."""
    grid = jnp.linspace(-1.0, 1.0, 30)
    heights = sharpness / (grid[:, None] ** 2 + grid[None, :] ** 2 - 0.1)
    heights = heights * 2.0**power

    def step(point, _):
        return point * (1.0 - sharpness * jnp.array([0.1, 0.5])), point

    path = jax.lax.scan(step, start, None, length=12)[1]
    return {
        "heights": jnp.where(heights > 50, jnp.inf, heights), "path_x": path[:, 0],
        "path_y": path[:, 1], "parts": path[:5, 0], "root": jnp.sqrt(start[0]),
    }  # fmt: skip


def plane(id="fig-plane"):
    """A heat map with a draggable point and its path, and bars beside it."""
    template = make_subplots(1, 2)
    axis = np.linspace(-1, 1, 30)
    template.add_trace(go.Heatmap(name="height", x=axis, y=axis, zmin=-20, zmax=20), 1, 1)
    template.add_trace(go.Scatter(name="path", mode="lines+markers"), 1, 1)
    template.add_trace(go.Bar(name="parts", x=["a", "b", "c", "d", "e"]), 1, 2)
    template.update_layout(
        xaxis={"title": "x₁"}, yaxis={"title": "x₂"}, xaxis2={"title": "part"},
        yaxis2={"title": "size", "range": [-1, 1]},
        shapes=[{"type": "line", "x0": -1, "x1": 1, "y0": 0, "y1": 0}],
    )  # fmt: skip
    return livejax.LiveFigure(
        landscape,
        {
            "start": livejax.Point((0.5, 0.5), x=(-1, 1), y=(-1, 1), label="start"),
            "sharpness": livejax.Slider(0.1, 6.0, 1.0, label="sharpness"),
            "power": livejax.Choice(
                {f"p{k}": f"2 to the {k}" for k in range(5)}, "p0", label="power"
            ),
        },
        template,
        fills={
            "height": {"z": "heights"},
            "path": {"x": "path_x", "y": "path_y"},
            "parts": {"y": "parts"},
        },
        shapes={0: {"y0": "root", "y1": "root"}},
        id=id,
        summary="From ({start.x:.2f}, {start.y:.2f}) the root is {root:.3f}.",
        readouts=(livejax.Readout("root", "root", unit="m"),),
        **TEXTS,
    )


def ramps(climbing):
    """A rising and a falling line, and which of them is to be seen."""
    rise = jnp.arange(2.0)
    return {"rise": rise, "fall": 1 - rise, "up": climbing, "down": ~climbing}


def halves(id="fig-halves"):
    """Two curves, of which a switch shows one."""
    names = ("rising", "falling")
    template = go.Figure([go.Scatter(name=name, mode="lines", x=[0, 1]) for name in names])
    template.update_xaxes(title="x")
    template.update_yaxes(title="y", range=[-1, 2])
    return livejax.LiveFigure(
        ramps,
        {"climbing": livejax.Switch(True, label="climbing")},
        template,
        fills={
            "rising": {"y": "rise", "visible": "up"},
            "falling": {"y": "fall", "visible": "down"},
        },
        id=id,
        summary="One curve is shown.",
        **TEXTS,
    )
