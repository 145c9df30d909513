"""Which start adapts best to a new sinusoid, by the method that it was meta-learned with?

The tasks of Finn, Abbeel and Levine (2017), `metagrad.sinusoids`, with ten support and ten query
points and a smaller network. Every method gets the same number of outer steps of Adam, on the same
tasks, its mean gradient cut at the same norm, and the same candidates for its outer step size: the
one whose start has the least query error after `judged_steps` steps on the tuning tasks is used
for the fresh seeds. A seed draws the first weights and the tasks. All starts are tested on the
same fresh tasks, by plain gradient descent on the support loss, however they were learned.

"joint" minimizes the query loss without adapting; "none" is the start as it was drawn. The
methods with a pull take `pulled_steps` inner steps, and so cost more, see
`metagrad.task_gradients.gradient_counts`. An estimate that is not finite, as where implicit MAML
meets a curvature that is not positive, is left out of the mean over the tasks.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common.intervals import mean_interval, rounded
from metagrad.outer_steps import at_most
from metagrad.sinusoids import draw_sinusoids, sinusoid_family
from metagrad.small_networks import mlp
from metagrad.task_gradients import fo_b_maml, fo_maml, imaml, maml, mean_gradient, reptile

SETTINGS: dict[str, Any] = {
    "hidden": [24, 24],
    "support_samples": 10,
    "query_samples": 10,
    "tasks": 10,  # in each outer step
    "outer_steps": 1000,
    "outer_step_sizes": [0.01, 0.02, 0.04],
    "longest": 1.0,  # the norm at which a mean gradient is cut
    "inner_step_size": 0.02,
    "inner_steps": 5,
    "regularizer": 1.0,
    "pulled_steps": 20,
    "cg_steps": 5,
    "perturbation": 0.05,
    "tuning": [1000, 200],  # its seed, and how many tasks
    "test": [2000, 300],
    "seeds": [0, 4],  # first, how many
    "test_steps": 20,
    "judged_steps": 5,
    "shown": ["none", "joint", "Reptile", "FO-MAML", "MAML", "FO-B-MAML"],
}


def methods(settings: dict[str, Any]) -> dict[str, Any]:
    """The methods by name; None stands for joint training."""
    steps, size, pulled = (
        settings[name] for name in ("inner_steps", "inner_step_size", "pulled_steps")
    )
    pull = settings["regularizer"]
    return {
        "joint": None,
        "Reptile": reptile(steps, size),
        "FO-MAML": fo_maml(steps, size),
        "MAML": maml(steps, size, checkpointed=False),
        "FO-MAML, pulled": fo_maml(pulled, size, regularizer=pull),
        "MAML, pulled": maml(pulled, size, regularizer=pull, checkpointed=False),
        "iMAML": imaml(pull, pulled, size, settings["cg_steps"]),
        "FO-B-MAML": fo_b_maml(pull, settings["perturbation"], pulled, size),
    }


def flat(start: Any) -> list[float]:
    """All weights of a start, layer by layer, to four digits."""
    numbers = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(start)])
    return rounded([float(number) for number in numbers], 4)


def run(**settings: Any) -> dict[str, Any]:
    """Meta-learn a start with each method and each seed, and adapt all of them to fresh tasks.

    Returns:
        `curves`: for each method the query error after 0, 1, ... steps, [mean, low, high] over
        the seeds; `by_seed` the errors after `judged_steps` and `last_by_seed` those at the end,
        for paired differences; `outer_step_size` the chosen one, `left_out` the share of
        estimates that were not finite;
        `starts`: the weights of the first seed for the methods to be shown.
    """
    network = mlp(1, settings["hidden"], 1, "tanh", dtype=jnp.float32)
    size = settings["inner_step_size"]
    samples = (settings["support_samples"], settings["query_samples"])

    def family(key, tasks):
        return sinusoid_family(network.apply, draw_sinusoids(key, tasks, *samples, jnp.float32))

    def slope(method, start, drawn):
        """The mean of the tasks' finite estimates, and the share that is left out."""
        if method is not None:
            tasks = mean_gradient(drawn, start, method).tasks
            estimates, finite = tasks.gradient, tasks.finite
        else:
            estimates = jax.vmap(lambda data: jax.grad(drawn.query)(start, data))(drawn.data)
            finite = jnp.ones(settings["tasks"], bool)

        def average(leaf):
            kept = finite.reshape((-1,) + (1,) * (leaf.ndim - 1))
            total = jnp.sum(jnp.where(kept, leaf, 0.0), axis=0)
            return total / jnp.maximum(jnp.sum(finite), 1).astype(leaf.dtype)

        return jax.tree.map(average, estimates), jnp.mean(~finite)

    def learn(method, seed, outer_step_size):
        optimizer = optax.chain(at_most(settings["longest"]), optax.adam(outer_step_size))
        init_key, task_key = jax.random.split(jax.random.key(seed))
        start = network.init(init_key)

        def step(carry, k):
            start, state = carry
            drawn = family(jax.random.fold_in(task_key, k), settings["tasks"])
            gradient, left_out = slope(method, start, drawn)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(start, updates), state), left_out

        count = jnp.arange(settings["outer_steps"])
        (start, _), left_out = jax.lax.scan(step, (start, optimizer.init(start)), count)
        return start, jnp.mean(left_out)

    def errors(start, seed, tasks):
        drawn = family(jax.random.key(seed), tasks)

        def adapt(data):
            def step(start, _):
                error = drawn.query(start, data)
                slopes = jax.grad(drawn.support)(start, data)
                return jax.tree.map(lambda x, g: x - size * g, start, slopes), error

            return jax.lax.scan(step, start, None, length=settings["test_steps"] + 1)[1]

        return jnp.mean(jax.vmap(adapt)(drawn.data), axis=0)

    tuned, tested = (
        jax.jit(jax.vmap(lambda start, of=settings[name]: errors(start, *of)))
        for name in ("tuning", "test")
    )
    first, count = settings["seeds"]
    seeds, sizes = jnp.arange(first, first + count), jnp.array(settings["outer_step_sizes"])
    judged = settings["judged_steps"]
    result: dict[str, Any] = {
        "curves": {},
        "by_seed": {},
        "last_by_seed": {},
        "outer_step_size": {},
        "left_out": {},
        "starts": {},
    }
    starts = {
        "none": jax.vmap(lambda s: network.init(jax.random.split(jax.random.key(s))[0]))(seeds)
    }
    for name, method in methods(settings).items():
        many = jax.jit(jax.vmap(lambda seed, pace, method=method: learn(method, seed, pace)))
        candidates, _ = many(jnp.full(len(sizes), settings["tuning"][0]), sizes)
        scores = np.nan_to_num(np.asarray(tuned(candidates)[:, judged]), nan=np.inf)
        best = float(sizes[int(np.argmin(scores))])
        result["outer_step_size"][name] = best
        starts[name], left_out = many(seeds, jnp.full(count, best))
        result["left_out"][name] = rounded([float(jnp.mean(left_out))], 3)[0]
    for name, found in starts.items():
        curves = np.asarray(tested(found), float)  # shape (seeds, steps + 1)
        result["curves"][name] = [rounded(mean_interval(column), 4) for column in curves.T]
        result["by_seed"][name] = rounded([float(x) for x in curves[:, judged]], 4)
        result["last_by_seed"][name] = rounded([float(x) for x in curves[:, -1]], 4)
        if name in settings["shown"]:
            result["starts"][name] = flat(jax.tree.map(lambda leaf: leaf[0], found))
    return result
