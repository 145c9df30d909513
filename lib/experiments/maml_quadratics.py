"""Where each method of meta-learning comes to rest, found by running it.

Two quadratic tasks on the line, where `metagrad.quadratic_fields` has closed forms, and families
of logistic tasks, where there is none. Inner problems are solved to rounding, so that what
separates a method from MAML's stationary point is its own bias; the K-step methods take their K
steps. For the logistic tasks Newton's method is started by gradient descent: on its own it cycles
on some of them, and all methods then agree on a point that solves nothing.

On the logistic families every method descends from 0 and is then carried to the zero of its field
by Newton's method: "residual" is the norm of the bilevel meta-gradient there, and "slope" how fast
it shrinks with the perturbation ν, between the two smallest.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.intervals import rounded
from metagrad import quadratic_families, quadratic_fields
from metagrad.difference_rules import FORWARD, SYMMETRIC
from metagrad.inner import SolveFunction, descend, newton_solve
from metagrad.logistic_families import logistic_constants, logistic_tasks
from metagrad.task_gradients import (
    fo_b_maml,
    fo_maml,
    hf_maml,
    imaml,
    maml,
    mean_gradient,
    proximal_reptile,
    reptile,
)
from metagrad.tasks import Family

SETTINGS: dict[str, Any] = {
    "quadratics": {
        "examples": {
            "one loss": {"curvature": [1.0, 9.0], "center": [0.0, 1.0]},
            "own query loss": {
                "curvature": [1.0, 9.0],
                "center": [0.0, 1.0],
                "query_curvature": [1.0, 1.0],
                "query_center": [0.5, 0.2],
            },
        },
        "regularizer": 1.0,
        "inner_step_size": 0.1,
        "inner_steps": [1, 3],
        "perturbations": [0.1, 0.01, 0.001],
        "outer_step_size": 0.2,
        "outer_steps": 3000,
    },
    "logistic": {
        "keys": [0, 5],  # first, how many families
        "tasks": 40,
        "dimension": 5,
        "support_samples": 10,
        "query_samples": 20,
        "scale_spread": 0.5,
        "regularizer": 0.5,
        "perturbations": [0.1, 0.03, 0.01, 0.003, 0.001],
        "descent_steps": 60,
        "newton_steps": 8,
        "outer_step_size": 2.0,
        "outer_steps": 400,
        "polishing_steps": 6,
    },
}
RULES = {"forward": FORWARD, "symmetric": SYMMETRIC}
Gradient = Callable[[Family, Any], Any]


def of_method(method: Any) -> Gradient:
    """Return the function from a family and θ to the method's mean gradient."""
    return lambda family, theta: mean_gradient(family, theta, method).gradient


def joint(family: Family, theta: Any) -> Any:
    """Return the mean gradient of the query losses, without adapting."""
    return jnp.mean(jax.vmap(jax.grad(family.query), in_axes=(None, 0))(theta, family.data), axis=0)


def started_newton(steps: int, step_size: float) -> SolveFunction:
    """Return a solve function: gradient descent with so many steps, then Newton's method."""

    def solve(objective, start, inner_steps, inner_step_size, strong_convexity=None):
        near = descend(objective, start, steps, step_size)
        return newton_solve(objective, near, inner_steps, inner_step_size, strong_convexity)

    return solve


def exact_methods(
    regularizer: float, solve: SolveFunction, steps: int, size: int
) -> dict[str, Callable[[Any], Gradient]]:
    """Return the methods of the regularized inner problem, for θ of the given size.

    Each is a function of the perturbation, which only FO-B-MAML looks at.
    """
    exact: dict[str, Any] = {"inner_steps": steps, "inner_step_size": 1.0, "solve": solve}
    plain = {
        "MAML": of_method(imaml(regularizer, cg_steps=2 * size, **exact)),
        "FO-MAML": of_method(fo_maml(regularizer=regularizer, **exact)),
        "proximal Reptile": of_method(proximal_reptile(regularizer, **exact)),
        "joint training": joint,
    }

    def unperturbed(gradient: Gradient) -> Callable[[Any], Gradient]:
        return lambda nu: gradient

    def perturbed(rule: Any) -> Callable[[Any], Gradient]:
        return lambda nu: of_method(fo_b_maml(regularizer, nu, rule=rule, **exact))

    return {
        **{name: unperturbed(gradient) for name, gradient in plain.items()},
        **{f"FO-B-MAML, {name}": perturbed(rule) for name, rule in RULES.items()},
    }


def rows(name: str, perturbations: list[float]) -> list[tuple[str, float]]:
    """Return the rows of a method in a table: one for each perturbation that it looks at."""
    if name.startswith("FO-B-MAML"):
        return [(f"{name}, {nu}", nu) for nu in perturbations]
    return [(name, 0.0)]


def descended(
    gradient: Gradient, family: Family, start: Any, step_size: float, steps: int
) -> jax.Array:
    """Return where plain steps along a method's gradient lead."""

    def step(theta, _):
        return theta - step_size * gradient(family, theta), None

    return jax.lax.scan(step, start, None, length=steps)[0]


class Rival(NamedTuple):
    """A method, and what is known of it on quadratics.

    Attributes:
        method: maps the perturbation to the method's gradient.
        closed_form: maps a family and the perturbation to the field of that gradient.
        own: maps a family to the meta-gradient of the method's own problem.
    """

    method: Callable[[Any], Gradient]
    closed_form: Callable[[Family, float], quadratic_fields.Field]
    own: Callable[[Family], quadratic_fields.Field]


def bilevel_rivals(regularizer: float) -> dict[str, Rival]:
    """Return the methods of the regularized inner problem."""
    inner = quadratic_families.proximal(regularizer)

    def of_inner(field: Any) -> Any:
        return lambda family, nu: field(family, inner)

    def perturbed(difference: str) -> Any:
        return lambda family, nu: quadratic_fields.fo_b_maml(family, regularizer, nu, difference)

    forms = {
        "MAML": of_inner(quadratic_fields.maml),
        "FO-MAML": of_inner(quadratic_fields.fo_maml),
        "proximal Reptile": of_inner(quadratic_fields.reptile),
        "joint training": lambda family, nu: quadratic_fields.joint_training(family),
        **{f"FO-B-MAML, {difference}": perturbed(difference) for difference in RULES},
    }
    methods = exact_methods(regularizer, newton_solve, 1, 1)
    return {
        name: Rival(method, forms[name], lambda family: quadratic_fields.maml(family, inner))
        for name, method in methods.items()
    }


def stepping_rivals(inner_step_size: float, inner_steps: int) -> dict[str, Rival]:
    """Return the methods of K inner steps; HF-MAML, too, if there is one."""
    inner = quadratic_families.descent(inner_step_size, inner_steps)
    named: dict[str, tuple[Any, Any]] = {
        "MAML": (maml(inner_steps, inner_step_size), quadratic_fields.maml),
        "FO-MAML": (fo_maml(inner_steps, inner_step_size), quadratic_fields.fo_maml),
        "Reptile": (reptile(inner_steps, inner_step_size), quadratic_fields.reptile),
    }
    if inner_steps == 1:  # its difference of gradients is exact on quadratics
        named["HF-MAML"] = (hf_maml(inner_step_size, 0.1), quadratic_fields.maml)

    def rival(method: Any, field: Any) -> Rival:
        return Rival(
            lambda nu: of_method(method),
            lambda family, nu: field(family, inner),
            lambda family: quadratic_fields.maml(family, inner),
        )

    return {f"{name}, K = {inner_steps}": rival(*pair) for name, pair in named.items()}


def two_quadratics(
    examples: dict[str, dict[str, list[float]]],
    *,
    regularizer: float,
    inner_step_size: float,
    inner_steps: list[int],
    perturbations: list[float],
    outer_step_size: float,
    outer_steps: int,
) -> dict[str, Any]:
    """Run every method on each example; return where it ended, and where it should."""
    families = {
        name: quadratic_families.quadratics(**{k: jnp.array(v) for k, v in example.items()})
        for name, example in examples.items()
    }
    shared = next(iter(families.values()))  # the losses are the same, the data are an argument
    rivals = bilevel_rivals(regularizer)
    for steps in inner_steps:
        rivals |= stepping_rivals(inner_step_size, steps)

    def runner(method: Callable[[Any], Gradient]) -> Callable[[Any, Any], Any]:
        def end(data, nu):
            family = shared._replace(data=data)
            return descended(method(nu), family, jnp.array(0.0), outer_step_size, outer_steps)

        return jax.jit(end)

    table: dict[str, Any] = {name: {} for name in families}
    for name, rival in rivals.items():
        end_of = runner(rival.method)
        for example, family in families.items():
            for row, nu in rows(name, perturbations):
                end = end_of(family.data, nu)
                rest = quadratic_fields.rest_point(rival.closed_form(family, nu))
                table[example][row] = {
                    "end": rounded([float(end)], 9)[0],
                    "closed_form": rounded([float(rest)], 9)[0],
                    "meta_gradient": rounded(
                        [float(quadratic_fields.value(rival.own(family), end))], 4
                    )[0],
                }
    return table


def logistic_limits(
    seeds: range,
    *,
    regularizer: float,
    perturbations: list[float],
    descent_steps: int,
    newton_steps: int,
    outer_step_size: float,
    outer_steps: int,
    polishing_steps: int,
    dimension: int,
    **sizes: Any,
) -> dict[str, Any]:
    """Run every method on each family; return the meta-gradient's norm where it ended."""
    families = [logistic_tasks(jax.random.key(k), dimension=dimension, **sizes) for k in seeds]
    shared = families[0]  # the losses are the same, the data are an argument
    support, query = (
        [float(jnp.max(logistic_constants(features).curvature)) for features in both]
        for both in zip(*((f.data.features, f.data.query_features) for f in families), strict=True)
    )
    steepest = regularizer + max(support) + max(perturbations) * max(query)
    solve = started_newton(descent_steps, 1 / steepest)
    methods = exact_methods(regularizer, solve, newton_steps, dimension)
    exact = methods["MAML"](0.0)
    unsolved = jax.jit(
        lambda data, theta: jnp.max(
            mean_gradient(
                shared._replace(data=data),
                theta,
                fo_b_maml(regularizer, max(perturbations), newton_steps, 1.0, solve=solve),
            ).tasks.residual_norm
        )
    )

    def limit(method: Callable[[Any], Gradient]) -> Callable[[Any, Any], Any]:
        def found(data, nu):
            gradient, family = method(nu), shared._replace(data=data)
            theta = descended(gradient, family, jnp.zeros(dimension), outer_step_size, outer_steps)

            def polish(theta, _):
                slopes = jax.jacfwd(lambda at: gradient(family, at))(theta)
                return theta - jnp.linalg.solve(slopes, gradient(family, theta)), None

            end = jax.lax.scan(polish, theta, None, length=polishing_steps)[0]
            norms = [gradient(family, theta), gradient(family, end), exact(family, end)]
            numbers = [jnp.linalg.norm(v) for v in norms] + [jnp.linalg.norm(end - theta)]
            return jnp.stack(numbers), end

        return jax.jit(found)

    table: dict[str, Any] = {}
    for name, method in methods.items():
        run = limit(method)
        for row, nu in rows(name, perturbations):
            numbers, ends = zip(*(run(family.data, nu) for family in families), strict=True)
            descent, rest, residual, polished = np.array(numbers).T
            inner = max(float(unsolved(f.data, end)) for f, end in zip(families, ends, strict=True))
            table[row] = {
                "inner_residual": rounded([inner], 3)[0],
                "own_after_descent": rounded(descent.tolist(), 3),
                "own": rounded(rest.tolist(), 3),
                "polished": rounded(polished.tolist(), 3),
                "residual": rounded(residual.tolist(), 4),
            }
    slopes = {}
    high, low = sorted(perturbations)[1], sorted(perturbations)[0]
    for name in RULES:
        top, bottom = (
            np.array(table[f"FO-B-MAML, {name}, {nu}"]["residual"]) for nu in (high, low)
        )
        slopes[name] = rounded((np.log(top / bottom) / np.log(high / low)).tolist(), 4)
    return {
        "methods": table,
        "slopes": slopes,
        # μ / (2 L_f): the support losses are convex, and so μ = λ.
        "safe_perturbation": rounded([regularizer / (2 * x) for x in query], 4),
    }


def run(*, quadratics: dict[str, Any], logistic: dict[str, Any]) -> dict[str, Any]:
    """Run everything.

    Returns:
        `quadratics`: for each example and method where it ended, the closed form, and the
        derivative of its own meta-loss there: bilevel, or with K steps. `logistic`: for each
        method the largest residual of an inner problem where it ended, and family by family the
        norm of its own gradient after descent and at the end, how far the polishing moved it, and
        the residual; slopes; and the safe perturbations.
    """
    quadratics, logistic = dict(quadratics), dict(logistic)
    examples = quadratics.pop("examples")
    first, count = logistic.pop("keys")
    return {
        "quadratics": two_quadratics(examples, **quadratics),
        "logistic": logistic_limits(range(first, first + count), **logistic),
    }
