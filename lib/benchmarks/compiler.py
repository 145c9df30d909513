"""How fast the compiled JavaScript is, beside JAX on the CPU, and how large.

Run `.venv/bin/python lib/benchmarks/compiler.py`. Node evaluates each module at arguments that
change from call to call, after a warm-up; JAX evaluates the same jitted function and waits for the
result. Times are in milliseconds. A target that is missed is marked; it is no error.
"""

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LIB = Path(__file__).parents[1]
sys.path.insert(0, str(LIB))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import lax  # noqa: E402

import livejax  # noqa: E402

WARM_SECONDS = 1.0
CALLS = 300
SPECTRUM = (1.0, 10.0)


def heavy_ball(step_size, momentum, start, steps):
    """Losses and points of heavy ball on a two-dimensional quadratic."""
    spectrum = jnp.array(SPECTRUM)

    def body(carry, _):
        x, m = carry
        m = momentum * m - step_size * spectrum * x
        return (x + m, m), (x, jnp.sum(spectrum * x * x) / 2)

    return lax.scan(body, (start, jnp.zeros(2)), None, length=steps)


def heavy_ball_200(step_size, momentum, start):
    """The path of one run."""
    (_, _), (points, losses) = heavy_ball(step_size, momentum, start, 200)
    return points, losses


def meta_gradients(step_sizes, momentum):
    """The final loss of a 200-step run and its derivative, for each of 200 step sizes."""

    def final(step_size):
        x = heavy_ball(step_size, momentum, jnp.ones(2), 200)[0][0]
        return jnp.sum(jnp.array(SPECTRUM) * x * x) / 2

    return jax.vmap(jax.value_and_grad(final))(step_sizes)


def rosenbrock(x):
    """A curved valley in four dimensions."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def scan_of_grad(step_size, start):
    """Gradient descent whose body calls `jax.grad`, 200 steps."""

    def body(x, _):
        value, gradient = jax.value_and_grad(rosenbrock)(x)
        return x - step_size * gradient, (x, value)

    return lax.scan(body, start, None, length=200)[1]


def loss(params, x, y):
    """Mean squared error of a 1-16-16-1 network."""
    hidden = x[:, None]
    for weights, bias in params[:-1]:
        hidden = jnp.tanh(hidden @ weights + bias)
    weights, bias = params[-1]
    return jnp.mean(((hidden @ weights + bias)[:, 0] - y) ** 2)


def maml(params, x, y, step_size):
    """Value and exact (second-order) meta-gradient of one inner step."""

    def adapted(p):
        gradient = jax.grad(loss)(p, x, y)
        return loss(jax.tree.map(lambda a, g: a - step_size * g, p, gradient), x, y)

    return jax.value_and_grad(adapted)(params)


def heat_map(start, top_step, top_momentum):
    """Final losses after 100 steps on a 64 x 64 grid of step size and momentum."""
    steps = jnp.linspace(0.001, top_step, 64)
    momenta = jnp.linspace(0.0, top_momentum, 64)

    def final(step_size, momentum):
        return heavy_ball(step_size, momentum, start, 100)[1][1][-1]

    return jax.vmap(lambda m: jax.vmap(lambda s: final(s, m))(steps))(momenta)


@dataclass(frozen=True)
class Benchmark:
    """A function, its arguments, and the p50 it should reach in node (None: no target)."""

    name: str
    fn: Callable
    args: tuple
    target: float | None = None


def network():
    """Random weights of a 1-16-16-1 network."""
    rng = np.random.default_rng(0)
    shapes = ((1, 16), (16, 16), (16, 1))
    return [(rng.normal(size=s) / np.sqrt(s[0]), np.zeros(s[1])) for s in shapes]


X = np.linspace(-2, 2, 10)
BENCHMARKS = [
    Benchmark("heavy ball, T=200", heavy_ball_200, (0.05, 0.8, np.ones(2))),
    Benchmark(
        "gradient through 200 steps x 200 step sizes",
        meta_gradients, (np.linspace(0.001, 0.2, 200), 0.5), 3.0,
    ),
    Benchmark("scan of jax.grad, T=200, d=4", scan_of_grad, (5e-4, np.array([-1.2, 1, 0.5, 0.3]))),
    Benchmark("second-order MAML, 1-16-16-1, 10 points", maml, (network(), X, np.sin(X), 0.05)),
    Benchmark("heat map 64 x 64, 100 steps", heat_map, (np.ones(2), 0.25, 0.95), 12.0),
]  # fmt: skip
LARGEST = 30_000  # bytes of a module

NODE = """
import main from "data:text/javascript;base64,%(module)s";
const args = %(args)s;
// Every call sees new numbers, so that nothing can be kept from the last one.
let call = 0;
const vary = (x) => typeof x === "number" ? x * (1 + 1e-9 * call) : x.map(vary);
const samples = [];
const measure = () => {
  call++;
  const now = args.map(vary);
  const start = performance.now();
  main(...now);
  return performance.now() - start;
};
const first = measure();
const end = performance.now() + 1000 * %(warm)s;
while (performance.now() < end) measure();
for (let i = 0; i < %(calls)s; i++) samples.push(measure());
samples.sort((a, b) => a - b);
const at = (p) => samples[Math.floor(p * (samples.length - 1))];
console.log(JSON.stringify({ first, p50: at(0.5), p95: at(0.95) }));
"""


def time_node(source: str, args: tuple) -> dict[str, float]:
    """First call, p50 and p95 of a module in a fresh node process, in milliseconds."""
    import base64

    leaves = [
        np.asarray(leaf).ravel().tolist() if np.ndim(leaf) else float(leaf)
        for leaf in jax.tree.leaves(args)
    ]
    text = NODE % {
        "module": base64.b64encode(source.encode()).decode(), "args": json.dumps(leaves),
        "warm": WARM_SECONDS, "calls": CALLS,
    }  # fmt: skip
    beside = Path(sys.executable).with_name("node")
    command = [str(beside) if beside.exists() else "node", "--input-type=module", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def time_jax(fn: Callable, args: tuple) -> float:
    """Median time of the jitted function in milliseconds."""
    jitted = jax.jit(fn)
    args = jax.tree.map(jnp.asarray, args)
    end = time.perf_counter() + WARM_SECONDS
    while time.perf_counter() < end:
        jax.block_until_ready(jitted(*args))
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        jax.block_until_ready(jitted(*args))
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def verdict(value: float, target: float | None) -> str:
    """The target, and whether it is met."""
    return "" if target is None else f"{'meets' if value <= target else 'MISSES'} {target:g}"


def main() -> None:
    """Print the table."""
    header = (
        "function",
        "JAX p50",
        "node p50",
        "node p95",
        "first",
        "ms target",
        "bytes",
        "gzipped",
    )
    layout = "{:<45}{:>9}{:>10}{:>10}{:>8}  {:<11}{:>7}{:>9}"
    print(f"jax {jax.__version__}, {CALLS} calls after {WARM_SECONDS:g} s of warm-up, times in ms")
    print(layout.format(*header))
    sizes = []
    for bench in BENCHMARKS:
        source = livejax.compile(bench.fn, *bench.args).source
        node = time_node(source, bench.args)
        sizes.append(len(source.encode()))
        print(
            layout.format(
                bench.name, f"{time_jax(bench.fn, bench.args):.3f}", f"{node['p50']:.3f}",
                f"{node['p95']:.3f}", f"{node['first']:.1f}", verdict(node["p50"], bench.target),
                sizes[-1], len(gzip.compress(source.encode())),
            ),
            flush=True,
        )  # fmt: skip
    print(f"largest module: {max(sizes)} bytes, {verdict(max(sizes), LARGEST)}")


if __name__ == "__main__":
    main()
