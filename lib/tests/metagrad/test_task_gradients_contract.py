"""One table over all methods: what a caller may count on from each of them."""

import re
import typing
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimator_cases import assert_tree_same
from jaxtyping import jaxtyped
from task_gradient_cases import METHODS, two_quadratics

import livejax
from metagrad.difference_rules import FORWARD, of_order
from metagrad.perturbed import contrastive_gradient, perturbed_value, surrogate
from metagrad.task_gradients import (
    contrastive,
    fo_b_maml,
    fo_maml,
    fo_muml,
    gradient_counts,
    hf_maml,
    imaml,
    maml,
    mean_gradient,
    proximal_reptile,
    reptile,
    task_gradient,
)
from metagrad.tasks import Family, Task, with_data

every_method = pytest.mark.parametrize("name", METHODS)


def family(dtype=jnp.float64):
    """Three tasks on a pytree; f̂ and f differ, are curved, and each couples the two leaves."""

    def support(p, d):
        return jnp.sum(jnp.log(jnp.cosh(p["x"] - d["shift"]))) + 0.5 * (p["y"] - p["x"][0]) ** 2

    def query(p, d):
        return jnp.sum(jnp.sin(p["x"]) * d["shift"]) + d["scale"] * p["y"] ** 2

    data = {
        "shift": jnp.array([[0.5, -1.0], [1.5, 0.2], [-0.3, 0.8]], dtype),
        "scale": jnp.array([0.5, 1.0, 2.0], dtype),
    }
    theta = {"x": jnp.array([0.3, -0.7], dtype), "y": jnp.array(1.25, dtype)}
    return Family(support, query, data), theta


FAMILY, THETA = family()


def one_task(tasks, index):
    return with_data(tasks, jax.tree.map(lambda leaf: leaf[index], tasks.data))


def assert_shapes_as_annotated(record):
    """Every field of a NamedTuple is what its annotation says, with one meaning per axis name."""
    with jaxtyped("context"):
        for field, hint in typing.get_type_hints(type(record)).items():
            if hint is not typing.Any and not hasattr(hint, "_fields"):
                assert isinstance(getattr(record, field), hint), f"{type(record).__name__}.{field}"
    for value in record:
        if hasattr(value, "_fields"):
            assert_shapes_as_annotated(value)


# A step overshoots, and five of them overflow.
STEEP = Task(lambda x: 1e80 * x**4, lambda x: x**3)


@cache
def results(name):
    """What the tests look at, from one program: compiling is what they spend their time on."""
    tasks, theta = family(jnp.float32)
    task = one_task(tasks, 1)

    def tree(flat):
        return {"x": flat[:2], "y": flat[2]}

    flat_task = Task(lambda v: task.support(tree(v)), lambda v: task.query(tree(v)))

    def run(theta, flat, large):
        return {
            "family": mean_gradient(FAMILY, theta, METHODS[name]),
            "single": task_gradient(flat_task, flat, METHODS[name]),
            "diverged": task_gradient(STEEP, large, METHODS[name]),
        }

    return jax.jit(run)(THETA, jnp.append(theta["x"], theta["y"]), jnp.array(1e60))


def assert_well_formed(found, theta):
    """Structure and shapes are those of theta, all numbers of its dtype, those in info included."""
    for tree in (found.gradient, found.adapted):
        assert jax.tree.structure(tree) == jax.tree.structure(theta)
        assert jax.tree.map(jnp.shape, tree) == jax.tree.map(jnp.shape, theta)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(found) if leaf.dtype.kind == "f"}
    assert dtypes == {jax.tree.leaves(theta)[0].dtype}
    assert_shapes_as_annotated(found)
    assert found.finite and found.residual_norm >= 0 and found.certificate >= 0


@every_method
def test_structure_shapes_and_dtypes_are_kept(name):
    mean, single = results(name)["family"], results(name)["single"]
    assert_well_formed(single, jnp.zeros(3, jnp.float32))
    second = jax.tree.map(lambda leaf: leaf[1], mean.tasks)
    assert_well_formed(second, THETA)
    certified = name in ("imaml, damped", "fo_b_maml, bound")
    assert np.isfinite(second.certificate) == np.isfinite(single.certificate) == certified
    # One vector or a pytree, alone or in a family: the same, but for float32 errors over 0.05.
    for field in ("gradient", "adapted", "value"):
        tree = getattr(second, field)
        flat = tree if field == "value" else np.append(tree["x"], tree["y"])
        assert_tree_same(getattr(single, field), flat, 1e-4)


@every_method
def test_a_family_has_the_mean_of_its_tasks(name):
    mean = results(name)["family"]
    assert_shapes_as_annotated(mean._replace(tasks=None))
    average = jax.tree.map(lambda leaf: np.mean(leaf, axis=0), mean.tasks.gradient)
    assert_tree_same(mean.gradient, average, 1e-14)
    assert np.allclose(mean.value, np.mean(mean.tasks.value), rtol=1e-14) and mean.finite


@every_method
def test_a_diverged_solve_is_flagged(name):
    assert results(name)["diverged"].gradient.shape == ()
    assert not results(name)["diverged"].finite


@every_method
def test_livejax_compiles_it(name):
    def figure(theta):
        found = mean_gradient(FAMILY, theta, METHODS[name])
        return found.value, found.gradient

    assert livejax.compile(figure, THETA).source


# -- counts --------------------------------------------------------------------------------------


def counted_task():
    """A task whose losses count how often their gradients are evaluated."""
    counts = {"support": 0, "query": 0}

    def counting(name, loss):
        @jax.custom_vjp
        def counted(x):
            return loss(x)

        def backward(x, cotangent):
            counts[name] += 1
            return (cotangent * jax.grad(loss)(x),)

        counted.defvjp(lambda x: (loss(x), x), backward)
        return counted

    task = Task(
        counting("support", lambda x: jnp.sum(jnp.log(jnp.cosh(x)))),
        counting("query", lambda x: jnp.sum(jnp.sin(x))),
    )
    return task, counts


@pytest.mark.parametrize(
    ("name", "make", "rule"),
    [
        ("fo_maml", lambda k: fo_maml(k, 0.1), FORWARD),
        ("reptile", lambda k: reptile(k, 0.1), FORWARD),
        ("proximal_reptile", lambda k: proximal_reptile(1.0, k, 0.1), FORWARD),
        ("hf_maml", lambda k: hf_maml(0.1, 0.1), FORWARD),
        ("fo_muml", lambda k: fo_muml(1.0, 0.1, 1e-15, k), FORWARD),
        ("fo_b_maml", lambda k: fo_b_maml(1.0, 0.1, k, 0.1, rule=FORWARD), FORWARD),
        ("fo_b_maml", lambda k: fo_b_maml(1.0, 0.1, k, 0.1, rule=of_order(3)), of_order(3)),
        ("contrastive", lambda k: contrastive(1.0, 0.1, k, 0.1, rule=FORWARD), FORWARD),
    ],
)
def test_the_counts_grow_with_the_steps_as_stated(name, make, rule):
    """Residuals and values cost the same for every K: they drop out of the difference."""
    seen = []
    for steps in (1, 3):
        task, counts = counted_task()
        with jax.disable_jit():
            make(steps)(task, jnp.array([0.5]))
        seen.append(counts)
    stated = [gradient_counts(steps, rule=rule)[name] for steps in (1, 3)]
    for loss in ("support", "query"):
        grown = getattr(stated[1], loss) - getattr(stated[0], loss)
        assert seen[1][loss] - seen[0][loss] == grown
        assert seen[0][loss] >= getattr(stated[0], loss)


def test_the_free_solve_of_a_symmetric_difference_is_left_out_where_nothing_uses_it():
    def loops(field):
        method = fo_b_maml(1.0, 0.1, 5, 0.1)
        program = jax.jit(lambda theta: getattr(method(TASK, theta), field)).lower(jnp.ones(2))
        return program.compile().as_text().count(" while(")

    # The solves at the two nodes, one loop in another; for the value the free one alone.
    assert (loops("gradient"), loops("value"), loops("residual_norm")) == (2, 1, 3)


def test_the_counts_of_second_order_methods():
    kept, again = gradient_counts(7, checkpointed=False)["maml"], gradient_counts(7)["maml"]
    assert kept == (7, 1, 7) and again == (14, 1, 7)
    assert gradient_counts(7, cg_steps=3)["imaml"] == (7, 1, 3)
    assert set(gradient_counts(1)) == {name.split(",")[0] for name in METHODS}


# -- bad input -----------------------------------------------------------------------------------

TASK = Task(lambda x: jnp.sum(x**2), lambda x: jnp.sum(x))


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda **k: maml(**({"inner_steps": 3, "inner_step_size": 0.1} | k)), ""),
        (lambda **k: fo_maml(**({"inner_steps": 3, "inner_step_size": 0.1} | k)), ""),
        (lambda **k: reptile(**({"inner_steps": 3, "inner_step_size": 0.1} | k)), "no λ"),
        (lambda **k: imaml(**({"regularizer": 1, "cg_steps": 2} | _steps(k))), "λ > 0"),
        (lambda **k: proximal_reptile(**({"regularizer": 1} | _steps(k))), "λ > 0"),
        (lambda **k: fo_b_maml(**({"regularizer": 1, "perturbation": 0.1} | _steps(k))), "λ > 0"),
        (
            lambda **k: contrastive(**({"regularizer": 1, "perturbation": 0.1} | _steps(k)))(
                TASK, jnp.ones(2)
            ),
            "λ > 0",
        ),
    ],
)
def test_steps_and_regularizers_are_checked_by_every_maker(make, argument):
    for steps, error in ((0, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match=f"inner_steps must be .* at least 1, got {steps}"):
            make(inner_steps=steps)
    for size, problem in ((0.0, "positive"), (-0.1, "positive"), (np.nan, "finite")):
        with pytest.raises(ValueError, match=f"inner_step_size must be {problem}, got {size}"):
            make(inner_step_size=size)
    if argument != "no λ":
        problem = "positive" if argument else "at least 0"
        with pytest.raises(ValueError, match=f"regularizer must be {problem}, got -1"):
            make(regularizer=-1)


def _steps(changes):
    return {"inner_steps": 3, "inner_step_size": 0.1} | changes


def _perturbed(**changes):
    arguments = {"regularizer": 1.0, "perturbation": 0.1} | _steps({}) | changes
    return fo_b_maml(**arguments)


BOUND = {"strong_convexity": 1.0, "query_smoothness": 10.0}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: _perturbed(perturbation=0.0), ValueError, "perturbation must be positive, got 0"),
        (lambda: _perturbed(perturbation=-0.1), ValueError, "perturbation must be positive"),
        (lambda: _perturbed(start="cold"), ValueError, "start must be 'common' or 'warm', got 'co"),
        (
            lambda: _perturbed(**BOUND),
            ValueError,
            r"perturbation must be at most 0\.05, strong_convexity / \(2 query_smoothness\) over "
            r"the rule's largest node 1, got 0\.1",
        ),
        (
            lambda: _perturbed(**BOUND, perturbation=0.05, rule=of_order(4)),
            ValueError,
            r"perturbation must be at most 0\.025, .* largest node 2, got 0\.05",
        ),
        (
            lambda: _perturbed(strong_convexity=1.0),
            ValueError,
            "strong_convexity and query_smoothness must be given together: .* 1.0 and None",
        ),
        (
            lambda: _perturbed(**BOUND | {"strong_convexity": 0.0}),
            ValueError,
            "strong_convexity must be positive, got 0",
        ),
        (
            lambda: _perturbed(perturbation=lambda norm: norm, **BOUND)(TASK, jnp.ones(2)),
            ValueError,
            r"perturbation must be at most 0\.05, .* got Array\(1\.41",
        ),
        (
            lambda: contrastive(1.0, 0.1, 3, 0.1, **BOUND)(TASK, jnp.ones(2)),
            ValueError,
            r"perturbation must be at most 0\.05",
        ),
        (lambda: imaml(1.0, 3, 0.1, 0), ValueError, "steps must be an integer of at least 1"),
        (lambda: imaml(1.0, 3, 0.1, 2, damping=-1.0), ValueError, "damping must be at least 0"),
        (lambda: hf_maml(0.0, 0.1), ValueError, "inner_step_size must be positive, got 0"),
        (lambda: hf_maml(0.1, 0.0), ValueError, "spacing must be positive, got 0"),
        (lambda: fo_muml(0.0, 0.1, 0.1, 3), ValueError, "regularizer must be positive, got 0"),
        (lambda: fo_muml(1.0, 0.0, 0.1, 3), ValueError, "inner_step_size must be positive"),
        (lambda: fo_muml(1.0, 0.1, 0.0, 3), ValueError, "accuracy must be positive, got 0"),
        (lambda: fo_muml(1.0, 0.1, 1.0, 3), ValueError, "accuracy must be below 1, .* got 1.0"),
        (lambda: fo_muml(1.0, 0.1, 0.1, 0), ValueError, "max_steps must be .* got 0"),
        (lambda: gradient_counts(0), ValueError, "inner_steps must be .* got 0"),
        (lambda: gradient_counts(3, cg_steps=0), ValueError, "cg_steps must be .* got 0"),
        (
            lambda: perturbed_value(TASK, 1.0, 0.0, 0.1, 3, 0.1),
            ValueError,
            "regularizer must be positive",
        ),
        (
            lambda: perturbed_value(TASK, 1.0, 1.0, 0.1, 3, 0.0),
            ValueError,
            "inner_step_size must be positive",
        ),
        (
            lambda: surrogate(TASK, 1.0, 1.0, -0.1, 3, 0.1),
            ValueError,
            "perturbation must be positive",
        ),
        (
            lambda: contrastive_gradient(lambda x, w: x, lambda x, w: x, np.nan, 1.0, 0.1, 3, 0.1),
            ValueError,
            "meta_parameters must be finite, got nan",
        ),
        (
            lambda: contrastive_gradient(lambda x, w: x, lambda x, w: x, 1.0, np.inf, 0.1, 3, 0.1),
            ValueError,
            "start must be finite, got inf",
        ),
    ],
)
def test_bad_settings(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("maker", [fo_b_maml, contrastive])
def test_beyond_the_bound_there_is_no_gradient_where_it_is_not_known_in_advance(maker):
    @jax.jit
    def run(nu):
        return maker(1.0, nu, 3, 0.1, **BOUND)(TASK, jnp.ones(2))

    allowed, beyond = run(0.05), run(0.0501)
    assert allowed.finite and allowed.info.safe and np.isfinite(allowed.certificate)
    assert not beyond.finite and not beyond.info.safe and np.all(np.isnan(beyond.gradient))
    assert np.all(np.isfinite(beyond.adapted))


def test_the_bound_itself_is_allowed_in_float32():
    theta = jnp.ones(2, jnp.float32)
    bound = {"strong_convexity": np.float64(0.3), "query_smoothness": np.float64(2.1)}
    method = fo_b_maml(1.0, np.float64(0.3) / (2 * 2.1), 3, 0.1, **bound)
    found = jax.jit(lambda theta: method(TASK, theta))(theta)
    assert found.finite and found.gradient.dtype == jnp.float32


@pytest.mark.parametrize(
    ("task", "theta", "error", "message"),
    [
        (TASK, np.nan, ValueError, "theta must be finite, got nan"),
        (TASK, "far", TypeError, "theta must hold real numbers"),
        (TASK, (), ValueError, r"theta must hold at least one array, got \(\)"),
        (
            TASK,
            {"a": jnp.ones(2), "b": jnp.ones(2, jnp.float32)},
            TypeError,
            "theta must hold arrays of one dtype here, got float32 and float64",
        ),
        (
            Task(lambda x: jnp.sum(x - jnp.ones(3)), jnp.sum),
            jnp.ones(2),
            ValueError,
            r"theta must be parameters that task\.support can take, got arrays of the shapes "
            r"\[\(2,\)\], of which it said: .*shapes",
        ),
        (
            Task(jnp.sum, lambda x: x["a"]),
            jnp.ones(2),
            ValueError,
            r"theta must be parameters that task\.query can take",
        ),
        (
            Task(lambda x: x, jnp.sum),
            jnp.ones(2),
            TypeError,
            r"task\.support must return one number \(shape \(\)\), got .*\(2,\)",
        ),
        (
            Task(jnp.sum, lambda x: jnp.int32(3)),
            jnp.ones(2),
            TypeError,
            r"task\.query must return a floating-point number, got one of int32",
        ),
    ],
)
def test_tasks_that_do_not_fit_theta(task, theta, error, message):
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        task_gradient(task, theta, fo_maml(1, 0.1))


def test_families_that_do_not_fit_theta():
    with pytest.raises(ValueError, match=r"family\.data must hold arrays with one first axis"):
        mean_gradient(Family(TASK.support, TASK.query, {}), 1.0, fo_maml(1, 0.1))
    family = Family(lambda x, b: jnp.sum(x @ b), lambda x, b: jnp.sum(x), jnp.ones((4, 3)))
    with pytest.raises(ValueError, match=r"task\.support can take, .* \[\(2,\)\]"):
        mean_gradient(family, jnp.ones(2), fo_maml(1, 0.1))


def test_one_task_without_a_gradient_is_seen_in_the_mean():
    """λ = 2 is enough for the curvature -1 and not for -3."""
    family = Family(lambda x, a: 0.5 * a * x**2, lambda x, a: x, jnp.array([-1.0, -3.0]))
    found = jax.jit(lambda theta: mean_gradient(family, theta, imaml(2.0, 2, 0.1, 1)))(1.0)
    assert found.tasks.finite.tolist() == [True, False] and not found.finite
    assert np.isnan(found.gradient)


def test_losses_that_take_the_step_come_from_families_too():
    from metagrad.inner import sampled_solve

    def loss(x, b, k=None):
        return 0.5 * (x - b) ** 2 + (0.0 if k is None else k.astype(float) * x)

    family = Family(loss, loss, jnp.array([1.0, 2.0]))
    found = mean_gradient(family, 0.0, reptile(2, 0.5, solve=sampled_solve))
    # x - 0.5 (x - b + k) for k = 1, 2: b/2 - 1/2, then 3b/4 - 5/4.
    assert np.allclose(found.tasks.adapted, [-0.5, 0.25], rtol=1e-14)
    plain = mean_gradient(family, 0.0, maml(2, 0.5, sampled=True))
    assert np.allclose(plain.tasks.adapted, found.tasks.adapted, rtol=1e-14)
    assert np.allclose(plain.tasks.gradient, 0.25 * (found.tasks.adapted - family.data))


def test_joint_training_is_what_no_inner_step_leaves():
    """The gradient of the query losses at θ itself rests at 0.9 on the two quadratics."""
    family = two_quadratics()
    tiny = mean_gradient(family, 0.9, fo_maml(1, 1e-12))
    assert float(tiny.gradient) == pytest.approx(0.0, abs=1e-10)
