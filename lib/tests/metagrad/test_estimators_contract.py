"""One table over all estimators and optimizers: what a caller may count on from each of them."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import shape_checks
from estimator_cases import Case, assert_tree_same
from jaxtyping import Array, Float, TypeCheckError, jaxtyped
from metagrad_cases import LOSSES

import livejax
import metagrad
from metagrad import (
    checkpointed,
    clipped,
    estimators,
    evolution_strategies,
    finite_differences,
    forward,
    implicit,
    make_run,
    meta_gradient,
    persistent_evolution_strategies,
    reverse,
    runs,
    truncated,
)
from metagrad.estimators import conjugate_gradient, neumann

KEY = jax.random.key(4)

ESTIMATORS = {
    "default": None,
    "reverse": reverse(),
    "checkpointed": checkpointed(),
    "checkpointed(2)": checkpointed(2),
    "forward": forward(),
    "truncated": truncated(2),
    "clipped": clipped(0.5),
    "clipped, evolution": clipped(0.5, evolution_strategies(0.1, 6)),
    "implicit": implicit(),
    "implicit, cg": implicit(conjugate_gradient(3)),
    "implicit, neumann": implicit(neumann(4)),
    "evolution": evolution_strategies(0.1, 6),
    "evolution, truncated": evolution_strategies(0.1, 6, truncation=2),
    "persistent": persistent_evolution_strategies(0.1, 6, 2),
    "differences": finite_differences(),
}
BY_CHANCE = ("evolution", "evolution, truncated", "persistent", "clipped, evolution")
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)


def case_for(dtype=jnp.float64):
    """A state and meta-parameters of two leaves; the step contracts, with a symmetric Jacobian."""

    def step(state, w, t):
        return {
            "x": 0.5 * state["x"] + jnp.tanh(w["target"]),
            "y": state["y"] - w["rate"] * (state["y"] - w["target"][0]),
        }

    def loss(state, w):
        return jnp.sum(state["x"] ** 2) + state["y"] ** 2 + 0.1 * w["rate"]

    w = {"target": jnp.array([0.3, -0.7], dtype), "rate": jnp.array(0.25, dtype)}
    start = {"x": jnp.array([1.0, 2.0], dtype), "y": jnp.array(-1.0, dtype)}
    return Case(loss, step, w, start, 5)


def compiled(name, case):
    method = ESTIMATORS[name]
    return jax.jit(lambda w, key: case._replace(w=w).estimate(method, key))


def float_dtypes(tree):
    return {
        leaf.dtype for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)
    }


@every_estimator
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_structure_shapes_and_dtypes_are_kept(name, dtype):
    case = case_for(dtype)
    found = compiled(name, case)(case.w, KEY)
    assert jax.tree.structure(found.gradient) == jax.tree.structure(case.w)
    assert [g.shape for g in jax.tree.leaves(found.gradient)] == [(), (2,)]
    assert found.value.shape == () and found.finite.shape == ()
    assert found.finite.dtype == bool and bool(found.finite)
    assert float_dtypes(found) == {np.dtype(dtype)}  # what info holds included
    exact = case.estimate(reverse())
    if name in ("default", "reverse", "checkpointed", "checkpointed(2)", "forward"):
        assert_tree_same(found.gradient, exact.gradient, 1e-5 if dtype == jnp.float32 else 1e-12)
    assert_shapes_as_annotated(found)


def assert_shapes_as_annotated(record):
    """Every field of a NamedTuple is what its annotation says, with one meaning per axis name."""
    with jaxtyped("context"):
        for field, hint in typing.get_type_hints(type(record)).items():
            value = getattr(record, field)
            if hint is not typing.Any and not hasattr(hint, "_fields"):
                assert isinstance(value, hint), f"{type(record).__name__}.{field}"
    for value in record:
        if hasattr(value, "_fields"):
            assert_shapes_as_annotated(value)


@every_estimator
def test_compiles_once(name):
    case, traces, method = case_for(), [], ESTIMATORS[name]

    @jax.jit
    def run(w, key):
        traces.append(name)
        return case._replace(w=w).estimate(method, key)

    run(case.w, KEY)
    again = run(jax.tree.map(lambda leaf: 0.9 * leaf, case.w), jax.random.key(5))
    assert len(traces) == 1
    assert again.finite


@every_estimator
def test_vmap_equals_a_loop(name):
    case = case_for()
    scales = [0.8, 1.0, 1.1]
    ws = [jax.tree.map(lambda leaf, s=s: s * leaf, case.w) for s in scales]
    run = compiled(name, case)
    looped = [run(w, KEY) for w in ws]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *ws)
    mapped = jax.jit(jax.vmap(run, (0, None)))(stacked, KEY)
    for index, one in enumerate(looped):
        assert_tree_same(jax.tree.map(lambda leaf, i=index: leaf[i], mapped)[:2], one[:2], 1e-12)


@every_estimator
def test_jit_equals_eager_and_the_key_decides(name):
    case = case_for()
    eager = case.estimate(ESTIMATORS[name], KEY)
    run = compiled(name, case)
    # Differences amplify rounding by the inverse of their spacing.
    tolerance = 1e-9 if name == "differences" else 1e-12
    assert_tree_same(run(case.w, KEY)[:2], eager[:2], tolerance)
    assert_tree_same(run(case.w, KEY)[:2], run(case.w, KEY)[:2], 0.0)
    other = run(case.w, jax.random.key(6)).gradient["rate"]
    assert (other != run(case.w, KEY).gradient["rate"]) == (name in BY_CHANCE)


@every_estimator
def test_a_diverged_run_is_flagged(name):
    """x_5 overflows: neither an exception, nor a number that could be taken for a result."""
    case = Case(lambda x, w: x**2, lambda x, w, t: w * x**3, jnp.array(1e9), jnp.array(1e40), 5)
    for found in (case.estimate(ESTIMATORS[name], KEY), compiled(name, case)(case.w, KEY)):
        assert found.finite.shape == () and not found.finite
        assert not (np.isfinite(found.value) and np.isfinite(found.gradient))


@every_estimator
def test_numbers_will_do(name):
    # Python numbers, as meta-parameters and as a start, mean float64.
    for start in (2.0, lambda w: jnp.array(2.0)):
        found = meta_gradient(
            lambda x, w: x**2, lambda x, w, t: 0.5 * w * x, 0.5, start, 3,
            method=ESTIMATORS[name], key=KEY,
        )  # fmt: skip
        assert found.gradient.dtype == jnp.float64 and found.gradient.shape == ()
        assert found.finite


@every_estimator
def test_livejax_compiles_it(name):
    case, method = case_for(), ESTIMATORS[name]

    def figure(w):
        found = case._replace(w=w).estimate(method, KEY)
        return found.value, found.gradient

    assert livejax.compile(figure, case.w).source


# -- the shapes that signatures state ------------------------------------------------------------


def test_the_shape_check_bites():
    """The hook of lib/tests/conftest.py checks the annotations of every function in metagrad."""
    run = case_for().run()
    with pytest.raises(TypeCheckError, match=r"return value of metagrad\.runs\.outcome"):
        wide, one = run._replace(loss=lambda x, w: jnp.ones(1)), jnp.ones(())
        runs.outcome(wide, (one, one), one)
    with pytest.raises(TypeCheckError, match=r"return value of .*\.wrong"):

        @jaxtyped(typechecker=shape_checks.check)
        def wrong() -> Float[Array, ""]:  # noqa: F722
            return jnp.ones(1)

        wrong()
    with pytest.raises(AssertionError, match=r"Estimate\.value"):
        found = case_for().estimate()
        assert_shapes_as_annotated(found._replace(value=jnp.ones(1)))


# -- bad input -----------------------------------------------------------------------------------


def _estimate(method=None, key=KEY, every_step=False, **changes):
    return case_for()._replace(**changes).estimate(method, key, every_step)


def _with(**leaves):
    return case_for().w | leaves


@pytest.mark.parametrize(
    "entry", [_estimate, lambda **changes: case_for()._replace(**changes).run()]
)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"inner_steps": 0}, ValueError, "inner_steps must be an integer of at least 1, got 0"),
        ({"inner_steps": -3}, ValueError, "inner_steps must be an integer of at least 1, got -3"),
        ({"inner_steps": 2.5}, TypeError, "inner_steps must be an integer .* got 2.5"),
        ({"inner_steps": True}, TypeError, "inner_steps must be an integer .* got True"),
        ({"w": {}}, ValueError, r"meta_parameters must hold at least one array, got \{\}"),
        ({"w": _with(rate=np.nan)}, ValueError, "meta_parameters must be finite, got nan"),
        ({"w": _with(rate=1j)}, TypeError, "meta_parameters must hold real numbers, got 1j"),
        ({"start": ()}, ValueError, r"start must hold at least one array, got \(\)"),
        ({"start": {"x": np.inf}}, ValueError, "start must be finite, got inf"),
        (
            {"start": lambda w: jnp.arange(3)},
            TypeError,
            "start must hold floating-point arrays, got one of int64",
        ),
        (
            {"step": lambda state, w, t: state["x"]},
            TypeError,
            r"step must return a pytree like its first argument: PyTreeDef\(\{'x': \*, 'y': \*\}\)"
            r", got PyTreeDef\(\*\)",
        ),
        (
            {"step": lambda state, w, t: state | {"x": state["x"][:1]}},
            TypeError,
            r"step must return a pytree like its first argument: float64\[2\], got float64\[1\]",
        ),
        (
            {"step": lambda state, w, t: state | {"y": jnp.float32(0.0)}},
            TypeError,
            r"step must return a pytree like its first argument: float64\[\], got float32\[\]",
        ),
        (
            {"loss": lambda state, w: state["x"]},
            TypeError,
            r"loss must return one number \(shape \(\)\), got .*\(2,\)",
        ),
        (
            {"loss": lambda state, w: (state["y"], state["y"])},
            TypeError,
            r"loss must return one number \(shape \(\)\), got",
        ),
        (
            {"loss": lambda state, w: jnp.int32(3)},
            TypeError,
            r"loss must return a floating-point number, got one of int32",
        ),
    ],
)
def test_bad_runs_are_refused(entry, changes, error, message):
    with pytest.raises(error, match=message):
        entry(**changes)


def test_integer_meta_parameters():
    """A whole number is a number: it is made a float, rather than differentiated as an integer."""
    found = meta_gradient(lambda x, w: w * x, lambda x, w, t: w * x, 2, 3, 2)
    assert found.gradient.dtype == jnp.float64 and float(found.gradient) == 36.0
    run = make_run(lambda x, w: w * x, lambda x, w, t: w * x, 2, 3, np.int64(2))
    assert run.inner_steps == 2 and isinstance(run.inner_steps, int)


def test_traced_steps_are_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"inner_steps must be a Python integer.*static_argnames"):
        jax.jit(lambda n: _estimate(inner_steps=n).value)(3)


ES, PES = evolution_strategies, persistent_evolution_strategies


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: checkpointed(0), ValueError, "segment must be .* at least 1, got 0"),
        (lambda: checkpointed(1.5), TypeError, "segment must be an integer .* got 1.5"),
        (lambda: truncated(0), ValueError, "length must be .* at least 1, got 0"),
        (lambda: truncated(2.0), TypeError, "length must be an integer .* got 2.0"),
        (lambda: clipped(0.0), ValueError, "limit must be positive, got 0.0"),
        (lambda: clipped(np.inf), ValueError, "limit must be finite, got inf"),
        (lambda: clipped(jnp.ones(2)), ValueError, r"limit must have shape \(\)"),
        (lambda: ES(0.1, 4, 0), ValueError, "truncation must be .* at least 1, got 0"),
        (lambda: ES(0.1, 4, 1.5), TypeError, "truncation must be an integer .* got 1.5"),
        (lambda: PES(0.1, 4, -2), ValueError, "truncation must be .* at least 1, got -2"),
        (lambda: ES(0.0, 4), ValueError, "sigma must be positive, got 0.0"),
        (lambda: ES(np.nan, 4), ValueError, "sigma must be finite, got nan"),
        (lambda: PES(-1.0, 4, 2), ValueError, "sigma must be positive, got -1.0"),
        (lambda: ES(0.1, 0), ValueError, "pairs must be .* at least 1, got 0"),
        (lambda: PES(0.1, 0, 2), ValueError, "pairs must be .* at least 1, got 0"),
        (lambda: ES(0.1, 2.5), TypeError, "pairs must be an integer .* got 2.5"),
        (lambda: finite_differences(0.0), ValueError, "spacing must be positive, got 0.0"),
        (lambda: finite_differences(-1e-3), ValueError, "spacing must be positive, got -0.001"),
        # Longer than the run of 5 steps.
        (
            lambda: _estimate(checkpointed(6)),
            ValueError,
            "segment must be at most inner_steps = 5, got 6",
        ),
        (
            lambda: _estimate(truncated(6)),
            ValueError,
            "length must be at most inner_steps = 5, got 6",
        ),
        (
            lambda: _estimate(ES(0.1, 4, 6)),
            ValueError,
            "truncation must be at most inner_steps = 5, got 6",
        ),
        (
            lambda: _estimate(PES(0.1, 4, 6)),
            ValueError,
            "truncation must be at most inner_steps = 5, got 6",
        ),
        # Keys.
        (
            lambda: _estimate(ES(0.1, 4), None),
            TypeError,
            r"key must be one random key, such as jax.random.key\(0\), for evolution_strategies\(\)"
            ", got None",
        ),
        (
            lambda: _estimate(PES(0.1, 4, 2), None),
            TypeError,
            r"key must be one random key, .*, for persistent_evolution_strategies\(\), got None",
        ),
        (lambda: _estimate(ES(0.1, 4), 7), TypeError, "key must be one random key, .* got 7"),
        (
            lambda: _estimate(ES(0.1, 4), jax.random.split(KEY, 3)),
            TypeError,
            "key must be one random key",
        ),
        (
            lambda: _estimate(ES(0.1, 4), jnp.zeros((3, 2), jnp.uint32)),
            TypeError,
            "key must be one random key",
        ),
        (
            lambda: _estimate(ES(0.1, 4), jnp.zeros(2, jnp.int32)),
            TypeError,
            "key must be one random key",
        ),
        (
            lambda: meta_gradient(
                lambda x, w: x,
                lambda x, w, t: x,
                {"a": jnp.float32(1.0), "b": jnp.float64(1.0)},
                1.0,
                1,
                method=finite_differences(),
            ),
            TypeError,
            "meta_parameters must hold arrays of one dtype here, got float32 and float64",
        ),
    ],
)
def test_bad_arguments_of_methods_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_clipping_keeps_the_direction_and_what_is_short_enough():
    exact = _estimate().gradient
    size = np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(exact)))
    found = _estimate(clipped(0.25 * size))
    assert_tree_same(found.gradient, jax.tree.map(lambda leaf: 0.25 * leaf, exact))
    np.testing.assert_allclose(found.info.norm, size, rtol=1e-12)
    assert_tree_same(found.info.inner, _estimate(reverse()).info)
    assert_tree_same(_estimate(clipped(1.001 * size)).gradient, exact, 0.0)
    still = meta_gradient(lambda x, w: x, lambda x, w, t: x, 1.0, 1.0, 2, method=clipped(1.0))
    assert still.gradient == 0.0 and still.finite  # a gradient of 0 is not divided by


@pytest.mark.parametrize(
    ("scale", "finite"),
    [(1e300, True), (1.1e308, False), (np.inf, False)],  # the second: its norm is infinite
)
def test_clipping_passes_no_infinite_gradient_off_as_a_direction(scale, finite):
    loss = lambda x, w: x[0] - x[1] + x[2]  # noqa: E731
    found = meta_gradient(
        loss, lambda x, w, t: scale * w, jnp.ones(3), jnp.ones(3), 1, method=clipped(1.0)
    )
    assert bool(found.finite) == finite
    expected = np.array([1.0, -1.0, 1.0]) / np.sqrt(3.0) if finite else np.full(3, np.nan)
    np.testing.assert_allclose(found.gradient, expected, rtol=1e-12)


def test_clipping_wants_one_dtype():
    mixed = {"a": jnp.float32(1.0), "b": jnp.float64(1.0)}
    with pytest.raises(TypeError, match="meta_parameters must hold arrays of one dtype"):
        meta_gradient(lambda x, w: x, lambda x, w, t: x, mixed, 1.0, 1, method=clipped(1.0))


def test_as_long_as_the_run_is_long_enough():
    whole = _estimate(truncated(5)), _estimate(checkpointed(5))
    for found in whole:
        assert_tree_same(found.gradient, _estimate().gradient)
    every = _estimate(ES(0.1, 4, 5)), _estimate(ES(0.1, 4))
    assert_tree_same(every[0].gradient, every[1].gradient)
    assert _estimate(PES(0.1, 4, 5)).finite


def test_options_are_named():
    """Every argument has a name that a caller may use; the options have nothing else."""
    case = case_for()
    named = dict(
        zip(("loss", "step", "meta_parameters", "start", "inner_steps"), case, strict=True)
    )
    for function in (meta_gradient, make_run):
        function(**named, every_step=True)
        with pytest.raises(TypeError, match="positional argument"):
            function(*case, True)
    assert make_run(*case).every_step is False
    rule = {"loss": LOSSES["quadratic"], "x0": START, "step_size": 0.1, "meta_step_size": 0.0}
    metagrad.hypergradient_descent(**rule, inner_steps=2, direction=None)
    with pytest.raises(TypeError, match="positional argument"):
        metagrad.hypergradient_descent(*rule.values(), 2, None)


def test_public_names():
    for module in (metagrad, estimators):
        for name in module.__all__:
            assert hasattr(module, name), name


# -- optimizers ----------------------------------------------------------------------------------


def _online(loss, x0, rate, steps):
    return metagrad.online_meta_learning(
        loss, metagrad.online.translation, x0, jnp.zeros_like(x0), rate, steps, decay=1.0
    )


def _averaged(loss, x0, rate, steps):
    weights = jnp.linspace(1.0, 2.0, steps, dtype=x0.dtype)
    return metagrad.averaged_meta_learning(loss, x0, weights, rate, weights)


def _adam(loss, x0, rate, steps):
    # Optax counts its steps in int32 and relies on their promotion.
    with jax.numpy_dtype_promotion("standard"):
        direction = optax.scale_by_adam()
        return metagrad.hypergradient_descent(loss, x0, rate, 1e-3, steps, direction=direction)


OPTIMIZERS = {
    "gradient_descent": metagrad.gradient_descent,
    "heavy_ball": lambda loss, x0, rate, steps: metagrad.heavy_ball(loss, x0, rate, 0.5, steps),
    "nesterov": metagrad.nesterov,
    "nesterov, constant": lambda *a: metagrad.nesterov(*a, momentum=0.5),
    "online_meta_learning": _online,
    "averaged_meta_learning": _averaged,
    "hypergradient_descent": lambda loss, x0, rate, steps: metagrad.hypergradient_descent(
        loss, x0, rate, 1e-3, steps
    ),
    "hypergradient_descent, adam": _adam,
}
ON_ARRAYS = ("online_meta_learning", "averaged_meta_learning")
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
START = jnp.array([-1.2, 1.0])


def _points(made):
    """The points of a run, whatever else it returns."""
    for field in ("points", "averages"):
        if hasattr(made, field):
            return getattr(made, field)
    return made


@every_optimizer
@pytest.mark.parametrize("python_rate", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_optimizers_keep_the_dtype(name, dtype, python_rate):
    loss = lambda x: jnp.sum(x**2 + x**4)  # noqa: E731
    rate = 0.05 if python_rate else jnp.array(0.05, dtype)
    made = OPTIMIZERS[name](loss, START.astype(dtype), rate, 4)
    assert float_dtypes(made) == {np.dtype(dtype)}
    assert _points(made).shape == (4 if name == "averaged_meta_learning" else 5, 2)
    if hasattr(made, "_fields"):
        assert_shapes_as_annotated(made)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ON_ARRAYS])
def test_optimizers_keep_the_structure(name):
    def loss(x):
        return LOSSES["rosenbrock"](jnp.stack([x["a"], x["b"][0][0]]))

    tree = {"a": START[0], "b": (START[1:],)}
    made = _points(OPTIMIZERS[name](loss, tree, 0.01, 4))
    flat = _points(OPTIMIZERS[name](LOSSES["rosenbrock"], START, 0.01, 4))
    assert_tree_same(made, {"a": flat[:, 0], "b": (flat[:, 1:],)})


@every_optimizer
def test_optimizers_compile_once_map_and_repeat(name):
    traces = []

    @jax.jit
    def run(x0, rate):
        traces.append(rate)
        return OPTIMIZERS[name](LOSSES["logistic"], x0, rate, 6)

    rates = jnp.array([0.05, 0.1, 0.2])
    looped = [run(START, rate) for rate in rates]
    assert len(traces) == 1
    mapped = jax.vmap(run, (None, 0))(START, rates)
    for index, one in enumerate(looped):
        assert_tree_same(jax.tree.map(lambda leaf, i=index: leaf[i], mapped), one)
    assert_tree_same(OPTIMIZERS[name](LOSSES["logistic"], START, 0.05, 6), looped[0])
    assert_tree_same(run(START, rates[0]), looped[0], 0.0)


@every_optimizer
def test_optimizers_refuse_bad_input(name):
    def call(loss=LOSSES["quadratic"], x0=START, rate=0.1, steps=3):
        return OPTIMIZERS[name](loss, x0, rate, steps)

    with pytest.raises(ValueError, match=r"step_size must be (positive|at least 0), got -0.1"):
        call(rate=-0.1)
    with pytest.raises(ValueError, match="step_size must be finite, got nan"):
        call(rate=np.nan)
    with pytest.raises(ValueError, match="x0 must be finite"):
        call(x0=jnp.array([np.nan, 1.0]))
    with pytest.raises(TypeError, match=r"loss must return one number \(shape \(\)\), got"):
        call(loss=lambda x: x)
    if name != "averaged_meta_learning":  # its weights say how many steps
        for steps, error in ((0, ValueError), (-2, ValueError), (2.5, TypeError)):
            with pytest.raises(error, match=f"inner_steps must be .* at least 1, got {steps}"):
                call(steps=steps)
