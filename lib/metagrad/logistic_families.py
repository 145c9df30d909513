"""Families of logistic tasks: convex, not quadratic, and every constant of the theory is known.

A task is a linear classifier. Support and query loss are, on samples of their own,

    f(x) = (1/m) Σ_j log(1 + exp(-y_j a_jᵀx)) + (l2/2) ||x||².

The j-th term depends on x through z = a_jᵀx alone, and with s(z) = 1 / (1 + e⁻ᶻ) the derivatives
of the logistic function obey |s'| <= 1/4, |s''| <= 1/(6√3) and |s'''| <= 1/8. A derivative of f of
order k is a symmetric form, whose norm is the largest (1/m) Σ_j |s⁽ᵏ⁻¹⁾(z_j)| |a_jᵀu|ᵏ over unit
vectors u at most. With Λ the largest eigenvalue of (1/m) Σ_j a_j a_jᵀ and r = max_j ||a_j||,

    ||∇²f|| <= Λ/4 + l2,    ||∇³f|| <= r Λ / (6√3),    ||∇⁴f|| <= r² Λ / 8,

everywhere. (Our derivation; the first is well known.)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.problems import logistic
from metagrad.tasks import Family


class Samples(NamedTuple):
    """The data of n tasks.

    Attributes:
        features: the rows a_j of the support samples, shape (n, m, d).
        labels: y_j, each -1 or +1, shape (n, m).
        query_features: those of the query samples, shape (n, q, d).
        query_labels: likewise, shape (n, q).
    """

    features: Float[Array, "tasks support d"]
    labels: Float[Array, "tasks support"]
    query_features: Float[Array, "tasks query d"]
    query_labels: Float[Array, "tasks query"]


class Constants(NamedTuple):
    """Bounds on the derivatives of a loss that hold everywhere; a number for each task.

    Attributes:
        curvature: L, of ∇²f: the gradient is L-Lipschitz.
        hessian_lipschitz: ρ, of ∇³f: the Hessian is ρ-Lipschitz.
        third_lipschitz: M, of ∇⁴f: the third derivative is M-Lipschitz.
    """

    curvature: Float[Array, "*tasks"]
    hessian_lipschitz: Float[Array, "*tasks"]
    third_lipschitz: Float[Array, "*tasks"]


def logistic_family(samples: Samples, l2: Any = 0.0) -> Family:
    """The family of given samples.

    Args:
        samples: see `Samples`.
        l2: the ridge coefficient of both losses, at least 0.

    Raises:
        ValueError: if shapes do not fit one another, or a label is neither -1 nor +1.
    """
    checks.require_nonnegative("l2", l2)
    samples = Samples(*(checks.as_float(*pair) for pair in samples._asdict().items()))
    for prefix, rows, signs in (
        ("", samples.features, samples.labels),
        ("query_", samples.query_features, samples.query_labels),
    ):
        if rows.ndim != 3 or 0 in rows.shape:
            raise ValueError(f"{prefix}features must have shape (n, m, d), got {rows.shape}")
        checks.require_shape(f"{prefix}labels", signs, rows.shape[:2])
        if checks.is_known(signs) and not np.all(np.abs(np.asarray(signs)) == 1):
            raise ValueError(f"{prefix}labels must each be -1 or +1, got {signs!r}")
    n, _, d = samples.features.shape
    query = samples.query_features.shape
    if (query[0], query[2]) != (n, d):
        raise ValueError(f"query_features must have shape ({n}, q, {d}), got {query}")
    return Family(
        lambda x, data: logistic(data[0], data[1], l2)(x),
        lambda x, data: logistic(data[2], data[3], l2)(x),
        samples,
    )


def logistic_tasks(
    key: jax.Array,
    tasks: int = 40,
    dimension: int = 5,
    support_samples: int = 10,
    query_samples: int = 20,
    scale_spread: Any = 0.5,
    l2: Any = 0.0,
    dtype: Any = None,
) -> Family:
    """Draw tasks that differ in their classifier and in the scale of their features.

    Task i has a direction w_i = u + v_i and a scale e^{σ ζ_i}, with u, v_i and ζ_i standard
    normal. Its features are standard normal times the scale, and a label is +1 with probability
    1 / (1 + exp(-aᵀw_i)). It is the scale that makes curvatures differ between tasks.

    Args:
        key: one random key; the same key, the same tasks.
        tasks: n, at least 1.
        dimension: d, at least 1.
        support_samples: m, at least 1.
        query_samples: q, at least 1.
        scale_spread: σ, at least 0.
        l2: the ridge coefficient of both losses, at least 0.
        dtype: of the samples, floating-point; None for JAX's default.

    >>> family = logistic_tasks(jax.random.key(0), tasks=3)
    >>> [leaf.shape for leaf in family.data]
    [(3, 10, 5), (3, 10), (3, 20, 5), (3, 20)]
    """
    checks.require_key(key, "the tasks")
    for name, number in (
        ("tasks", tasks),
        ("dimension", dimension),
        ("support_samples", support_samples),
        ("query_samples", query_samples),
    ):
        checks.require_steps(name, number)
    checks.require_nonnegative("scale_spread", scale_spread)
    dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"dtype must be floating-point, got {dtype}")
    common_key, own_key, scale_key, feature_key, label_key = jax.random.split(key, 5)
    common = jax.random.normal(common_key, (1, dimension), dtype)
    directions = common + jax.random.normal(own_key, (tasks, dimension), dtype)
    scales = jnp.exp(scale_spread * jax.random.normal(scale_key, (tasks, 1, 1), dtype))
    both = support_samples + query_samples
    features = scales * jax.random.normal(feature_key, (tasks, both, dimension), dtype)
    chances = jax.nn.sigmoid(jnp.einsum("nmd,nd->nm", features, directions))
    uniform = jax.random.uniform(label_key, (tasks, both), dtype)
    labels = jnp.where(uniform < chances, jnp.ones((), dtype), -jnp.ones((), dtype))
    m = support_samples
    return logistic_family(
        Samples(features[:, :m], labels[:, :m], features[:, m:], labels[:, m:]), l2
    )


def logistic_constants(features: Any, l2: Any = 0.0) -> Constants:
    """L, ρ and M of the logistic loss on samples, from their features: the module's bounds.

    For the query loss give `query_features`. The loss is l2-strongly convex besides.

    Args:
        features: the rows a_j, shape (m, d), or (n, m, d) for n tasks.
        l2: the ridge coefficient, at least 0.

    >>> logistic_constants(jnp.array([[4.0, 0.0], [0.0, 0.0]]), 0.5).curvature.item()  # 16 / 8 + l2
    2.5
    """
    features = checks.as_float("features", features)
    checks.require_nonnegative("l2", l2)
    if features.ndim not in (2, 3) or 0 in features.shape:
        raise ValueError(f"features must have shape (m, d) or (n, m, d), got {features.shape}")
    second_moments = jnp.swapaxes(features, -1, -2) @ features / features.shape[-2]
    largest = jnp.linalg.eigvalsh(second_moments)[..., -1]
    longest = jnp.sqrt(jnp.max(jnp.sum(features**2, axis=-1), axis=-1))
    return Constants(
        curvature=largest / 4 + l2,
        hessian_lipschitz=longest * largest / (6 * 3**0.5),
        third_lipschitz=longest**2 * largest / 8,
    )
