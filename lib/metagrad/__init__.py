"""Meta-gradients as plain functions on JAX arrays, in reading order.

`problems` makes losses and `unroll` runs a step many times. `estimators` differentiates a whole
run, by any of the methods in the modules that it names; `runs` says what a run is, `tape` shows
what the derivative passes on, and `hypergradient` tunes a step size while the run goes on.
`momentum` holds the classical methods, `online` their meta-gradient form, `weights` and
`averaged` the form that averages, `ledger` its exact account, and `stability` says where heavy
ball converges on a quadratic. `checks` looks at what callers pass in.

`rules` holds update rules; `learner` and `ftrl` what learns their parameters, within a set from
`projections`; `optimistic` is the averaged form for any rule, with hints, and `guarantees` what is
proved about it. `bootstrapped` and `convex_bootstrap` learn from targets in place of gradients;
`games` and `omega` take optimism to games.

`stepsize` is the meta-gradient of a step size in closed form, for any number of steps, with
`quadratic_terms` and `twofold` behind it; `stepsize_bounds` is what is proved about it, and
`stepsize_descent` tunes by it. `renormalization` and `scaled_tangents` keep long runs in range.
`least_squares` asks what to tune it on; `spectra`, `spectral_tasks` and `least_squares_tuning`
answer by the spectrum of the inputs, `least_squares_limits` says what training ends in, and
`stochastic_risk` what single samples change. `learned_optimizer` is a network that makes the
steps.

`tasks` holds what a start is learned for, in MAML and its relatives, and `inner` adapts to one.
`task_gradients` is every way to get the meta-gradient of a task: `unrolled_maml`, `implicit_maml`,
`one_step_maml`, and `perturbed` with the `difference_rules`, which needs gradients only;
`task_estimates` says what each returns. `task_constants` is what the losses are known to obey, and
`perturbation_bounds`, `surrogate_bounds`, `inexact_bounds` and `scale_free_bounds` what follows for
the estimates. `growing_smoothness` bounds the objective's curvature; `cosine_valley` and
`divergence_window` are its counterexample. `outer_steps` and `outer_descent` descend it, with the
guarantees of `outer_bounds`. Tasks to try it on are in `quadratic_families` (with resting points
from `quadratic_fields`), `logistic_families`, `sinusoids` and `few_shot`, for `small_networks`.

Importing this package turns on JAX's 64-bit mode: the identities that it states hold to about
1e-15 in float64, and in float32 a reader could not tell them from coincidences.
"""

import jax

jax.config.update("jax_enable_x64", True)

from metagrad import (  # noqa: E402
    averaged,
    bootstrapped,
    convex_bootstrap,
    cosine_valley,
    difference_rules,
    divergence_window,
    estimators,
    few_shot,
    ftrl,
    games,
    growing_smoothness,
    guarantees,
    hypergradient,
    implicit_maml,
    inexact_bounds,
    inner,
    learned_optimizer,
    learner,
    least_squares,
    least_squares_limits,
    least_squares_tuning,
    ledger,
    logistic_families,
    momentum,
    omega,
    one_step_maml,
    online,
    optimistic,
    outer_bounds,
    outer_descent,
    outer_steps,
    perturbation_bounds,
    perturbed,
    problems,
    projections,
    quadratic_families,
    quadratic_fields,
    quadratic_terms,
    renormalization,
    rules,
    runs,
    scale_free_bounds,
    scaled_tangents,
    sharing,
    sinusoids,
    small_networks,
    spectra,
    spectral_tasks,
    stability,
    stepsize,
    stepsize_bounds,
    stepsize_descent,
    stochastic_risk,
    surrogate_bounds,
    tape,
    task_constants,
    task_estimates,
    task_gradients,
    tasks,
    twofold,
    unroll,
    unrolled_maml,
    weights,
)
from metagrad.bootstrapped import bootstrapped_meta_learning  # noqa: E402
from metagrad.convex_bootstrap import bootstrapped_averages  # noqa: E402
from metagrad.estimators import (  # noqa: E402
    checkpointed,
    clipped,
    evolution_strategies,
    finite_differences,
    forward,
    implicit,
    make_run,
    meta_gradient,
    persistent_evolution_strategies,
    reverse,
    shared,
    truncated,
)
from metagrad.hypergradient import hypergradient_descent  # noqa: E402
from metagrad.momentum import gradient_descent, heavy_ball, nesterov  # noqa: E402
from metagrad.online import averaged_meta_learning, online_meta_learning  # noqa: E402
from metagrad.optimistic import optimistic_meta_learning  # noqa: E402
from metagrad.renormalization import renormalized  # noqa: E402
from metagrad.scaled_tangents import scaled_tangent  # noqa: E402
from metagrad.stepsize import log_meta_gradient  # noqa: E402
from metagrad.stepsize_descent import best_step_size, tune_step_size  # noqa: E402
from metagrad.task_gradients import (  # noqa: E402
    fo_b_maml,
    fo_maml,
    fo_muml,
    hf_maml,
    imaml,
    maml,
    mean_gradient,
    proximal_reptile,
    reptile,
    task_gradient,
)
from metagrad.tasks import Family, Task  # noqa: E402

__all__ = [
    "Family",
    "Task",
    "averaged",
    "averaged_meta_learning",
    "best_step_size",
    "bootstrapped",
    "bootstrapped_averages",
    "bootstrapped_meta_learning",
    "checkpointed",
    "clipped",
    "convex_bootstrap",
    "cosine_valley",
    "difference_rules",
    "divergence_window",
    "estimators",
    "evolution_strategies",
    "few_shot",
    "finite_differences",
    "fo_b_maml",
    "fo_maml",
    "fo_muml",
    "forward",
    "ftrl",
    "games",
    "gradient_descent",
    "growing_smoothness",
    "guarantees",
    "heavy_ball",
    "hf_maml",
    "hypergradient",
    "hypergradient_descent",
    "imaml",
    "implicit",
    "implicit_maml",
    "inexact_bounds",
    "inner",
    "learned_optimizer",
    "learner",
    "least_squares",
    "least_squares_limits",
    "least_squares_tuning",
    "ledger",
    "log_meta_gradient",
    "logistic_families",
    "make_run",
    "maml",
    "mean_gradient",
    "meta_gradient",
    "momentum",
    "nesterov",
    "omega",
    "one_step_maml",
    "online",
    "online_meta_learning",
    "optimistic",
    "optimistic_meta_learning",
    "outer_bounds",
    "outer_descent",
    "outer_steps",
    "persistent_evolution_strategies",
    "perturbation_bounds",
    "perturbed",
    "problems",
    "projections",
    "proximal_reptile",
    "quadratic_families",
    "quadratic_fields",
    "quadratic_terms",
    "renormalization",
    "renormalized",
    "reptile",
    "reverse",
    "rules",
    "runs",
    "scale_free_bounds",
    "scaled_tangent",
    "scaled_tangents",
    "shared",
    "sharing",
    "sinusoids",
    "small_networks",
    "spectra",
    "spectral_tasks",
    "stability",
    "stepsize",
    "stepsize_bounds",
    "stepsize_descent",
    "stochastic_risk",
    "surrogate_bounds",
    "tape",
    "task_constants",
    "task_estimates",
    "task_gradient",
    "task_gradients",
    "tasks",
    "truncated",
    "tune_step_size",
    "twofold",
    "unroll",
    "unrolled_maml",
    "weights",
]
