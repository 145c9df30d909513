"""A learned optimizer: one small network proposes the step of every parameter.

The network sees one parameter at a time, and is the same for all of them:

    x_t = x_{t-1} - 10⁻³ d exp(10⁻³ μ),   (d, μ) = network(what is known about the parameter).

Known are, for five decay rates β with m ← β m + (1 - β) g and v ← β v + (1 - β) g²: the gradient
g, the five m / √(v + 10⁻⁶), the parameter x, the five m, v and 1 / √(v + 10⁻⁶). These 22 rows are
each divided by √(10⁻⁵ + their mean square over the parameters of the same array). Nine more say
how late it is: tanh(t / T - 1). One hidden layer of ReLU follows.

The network's weights are the meta-parameters w. A state counts its own steps, so that a run of
`metagrad.estimators.meta_gradient` may go on where another ended, with other weights: one update
of w for each such window is the paper's training by truncated unrolls.

Source: the third experiment of Wang, Yuan, Wu and Ge, 2021, whose optimizer follows Metz et al.,
2019. Inputs, outputs and constants are those of the authors' public code: the appendix of the
paper we have not seen. The draw of the first weights is our choice, see `init`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from metagrad import checks

DECAYS = (0.5, 0.9, 0.99, 0.999, 0.9999)
TIMES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0, 300000.0)
ROWS = 2 + 4 * len(DECAYS)
STEP_SCALE = 1e-3  # of d, and of μ in the exponent
SQUARE_FLOOR = 1e-6  # added to v
MEAN_SQUARE_FLOOR = 1e-5  # added to the mean square that a row is divided by


class Weights(NamedTuple):
    """The meta-parameters, all of one floating-point dtype.

    `known` and `time` lead from the 22 rows and from the nine numbers on the time to the hidden
    units, `output` from these to (d, μ).
    """

    known: Float[Array, "22 units"]
    time: Float[Array, "9 units"]
    hidden_biases: Float[Array, " units"]
    output: Float[Array, "units 2"]
    output_biases: Float[Array, "2"]


class State(NamedTuple):
    """Where a run is: x, any pytree of arrays, and m and v for each decay rate, on a new axis 0.

    `steps` counts the steps taken, in the dtype of x: in float32 exactly to 2²⁴.
    """

    point: PyTree[Float[Array, "..."]]
    momenta: PyTree[Float[Array, "5 ..."]]
    squares: PyTree[Float[Array, "5 ..."]]
    steps: Float[Array, ""]


def init(key: jax.Array, units: int = 32, dtype: Any = None) -> Weights:
    """Draw the first weights: small outputs, so that the first steps are short.

    Normal, with standard deviation 1 / √31 into the hidden units and 0.1 out of them; the biases
    are 0.1 and 0. (Our choice: the authors' code draws all of them with standard deviation 1.)

    Args:
        key: a `jax.random.key`.
        units: hidden units, at least 1.
        dtype: of the weights, floating-point; None for JAX's default.

    >>> [leaf.shape for leaf in init(jax.random.key(0))]
    [(22, 32), (9, 32), (32,), (32, 2), (2,)]
    """
    checks.require_key(key, "the weights")
    checks.require_steps("units", units)
    dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"dtype must be floating-point, got {dtype}")
    inputs = ROWS + len(TIMES)
    first, second = jax.random.split(key)
    hidden = jax.random.normal(first, (inputs, units), dtype) / inputs**0.5
    output = 0.1 * jax.random.normal(second, (units, 2), dtype)
    biases = jnp.full(units, 0.1, dtype)
    return Weights(hidden[:ROWS], hidden[ROWS:], biases, output, jnp.zeros(2, dtype))


def begin(point: Any) -> State:
    """The state of a run that has taken no step.

    Args:
        point: x_0, any pytree of arrays of one floating-point dtype.

    >>> state = begin(jnp.ones(3))
    >>> state.momenta.shape, float(state.steps)
    ((5, 3), 0.0)
    """
    point = checks.float_tree("point", point)
    checks.require_leaves("point", point)
    checks.require_one_dtype("point", point)
    leaves = jax.tree.leaves(point)
    nothing = jax.tree.map(lambda x: jnp.zeros((len(DECAYS), *x.shape), x.dtype), point)
    return State(point, nothing, nothing, jnp.zeros((), leaves[0].dtype))


def known_rows(x: Any, gradient: Any, momenta: Any, squares: Any) -> Float[Array, "22 ..."]:
    """What the network sees of one array of parameters, a row for each kind.

    Args:
        x: the parameters, an array of any shape.
        gradient: g, like x.
        momenta: m, with this gradient in it; shape (5, *x.shape).
        squares: v, likewise.

    >>> zero = jnp.zeros((5, 2))
    >>> known_rows(jnp.array([3.0, -3.0]), zero[0], zero, zero)[6].round(3).tolist()
    [1.0, -1.0]
    """
    inverse_roots = jax.lax.rsqrt(squares + SQUARE_FLOOR)
    parts = [gradient[None], momenta * inverse_roots, x[None], momenta, squares, inverse_roots]
    rows = jnp.concatenate(parts)
    mean_squares = jnp.mean(rows**2, axis=tuple(range(1, rows.ndim)), keepdims=True)
    return rows * jax.lax.rsqrt(mean_squares + MEAN_SQUARE_FLOOR)


def learned_step(
    loss: Callable[..., Any],
    sample: Callable[[jax.Array], Any] | None = None,
    first_order: bool = True,
) -> Callable[[State, Weights, Any], State]:
    """The step of the learned optimizer on a loss, for `metagrad.estimators.meta_gradient`.

    Args:
        loss: maps x, or x and a mini-batch if there is `sample`, to one number.
        sample: maps the number of the step, 1, 2, ..., an int32, to a mini-batch. It is counted
            by the state: a window that goes on with a state gets the mini-batches that follow.
        first_order: whether inner gradients are taken as given, the authors' choice: it saves the
            second derivatives of the loss and makes every meta-gradient biased.

    Returns:
        step(state, w, t): the next state; t is not used. TypeError if dtypes differ.

    >>> def bowl(x):
    ...     return 0.5 * jnp.sum(x**2)
    >>> step = learned_step(bowl)
    >>> w = init(jax.random.key(0))
    >>> silent = w._replace(output=jnp.zeros((32, 2)), output_biases=jnp.array([1.0, 0.0]))
    >>> step(begin(jnp.array([4.0, -4.0])), silent, 1).point.tolist()
    [3.999, -4.001]
    """

    def step(state, w, t):
        del t
        checks.require_one_dtype("state and w", (state, w))
        steps = state.steps + 1
        batch = () if sample is None else (sample(steps.astype(jnp.int32)),)
        gradient = jax.grad(loss)(state.point, *batch)
        if first_order:
            gradient = jax.lax.stop_gradient(gradient)
        decays = jnp.array(DECAYS, steps.dtype)
        late = jnp.tanh(steps / jnp.array(TIMES, steps.dtype) - 1)
        context = late @ w.time + w.hidden_biases  # one for all parameters

        def averaged(average, new):
            beta = decays.reshape(-1, *[1] * new.ndim)
            return beta * average + (1 - beta) * new[None]

        def moved(x, g, m, v):
            rows = known_rows(x, g, m, v).reshape(ROWS, -1)
            hidden = jax.nn.relu(w.known.T @ rows + context[:, None])
            d, mu = w.output.T @ hidden + w.output_biases[:, None]
            return x - (STEP_SCALE * d * jnp.exp(STEP_SCALE * mu)).reshape(x.shape)

        momenta = jax.tree.map(averaged, state.momenta, gradient)
        squares = jax.tree.map(lambda v, g: averaged(v, g**2), state.squares, gradient)
        point = jax.tree.map(moved, state.point, gradient, momenta, squares)
        return State(point, momenta, squares, steps)

    return step


class Split(NamedTuple):
    """The samples of a task: what the run trains on, and fresh ones that it never sees."""

    training: Any
    validation: Any


def train_by_train(loss: Callable[..., Any], split: Split) -> Callable[[State, Any], Any]:
    """The meta-loss (state, w) -> loss(x, training samples): it judges what was fitted."""
    return lambda state, w: loss(state.point, split.training)


def train_by_validation(loss: Callable[..., Any], split: Split) -> Callable[[State, Any], Any]:
    """The meta-loss (state, w) -> loss(x, validation samples): it judges what was learned."""
    return lambda state, w: loss(state.point, split.validation)
