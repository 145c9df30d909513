"""Work (a) with other JAX packages: optax, jaxopt, optimistix. All are batched by `jax.vmap`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.step_sizes import Problem, pieces
from benchmarks.timing import Job, jax_job


def optax_run(data: Problem, inner_steps: int) -> Callable:
    """SGD with an injected step size in `lax.scan`, as in optax's meta-learning example."""
    import optax

    loss, _ = pieces(data)
    matrix, start = jnp.asarray(data.matrix), jnp.asarray(data.start)

    def final(step_size: Any) -> Any:
        optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=step_size)

        def body(carry: Any, _: Any) -> Any:
            x, state = carry
            updates, state = optimizer.update(matrix @ x, state)
            return (optax.apply_updates(x, updates), state), None

        (x, _), _ = jax.lax.scan(body, (start, optimizer.init(start)), length=inner_steps)
        return loss(x, step_size)

    return final


def jaxopt_run(data: Problem, inner_steps: int) -> Callable:
    """`GradientDescent`, unrolled. A traced step size is allowed only as a function."""
    import jaxopt

    loss, _ = pieces(data)

    def final(step_size: Any) -> Any:
        solver = jaxopt.GradientDescent(
            lambda x: loss(x, None),
            stepsize=lambda _: step_size,
            maxiter=inner_steps,
            tol=0.0,
            acceleration=False,
            implicit_diff=False,
            unroll=True,
        )
        return loss(solver.run(jnp.asarray(data.start)).params, step_size)

    return final


def optimistix_run(data: Problem, inner_steps: int) -> Callable:
    """`GradientDescent` with its own checkpointing; tolerance 0, so that no run stops early."""
    import optimistix

    loss, _ = pieces(data)

    def final(step_size: Any) -> Any:
        solver = optimistix.GradientDescent(learning_rate=step_size, rtol=0.0, atol=0.0)
        found = optimistix.minimise(
            lambda x, _: loss(x, None),
            solver,
            jnp.asarray(data.start),
            max_steps=inner_steps + 1,  # the first one only evaluates the start
            adjoint=optimistix.RecursiveCheckpointAdjoint(),
            throw=False,
        )
        return loss(found.value, step_size)

    return final


RUNS = {
    "optax": ("optax, sgd in a scan", optax_run),
    "jaxopt": ("jaxopt, GradientDescent", jaxopt_run),
    "optimistix": ("optimistix, GradientDescent", optimistix_run),
}


def job(package: str, data: Problem, inner_steps: int) -> Job:
    """The derivative by reverse mode through a package's run."""
    name, run = RUNS[package]
    derivative = jax.vmap(jax.grad(run(data, inner_steps)))
    return jax_job(name, derivative, data.step_sizes)
