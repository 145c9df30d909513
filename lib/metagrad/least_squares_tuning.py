"""The step sizes that train-by-train and train-by-validation choose, from the spectrum alone."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks
from metagrad.spectra import Spectrum, descent_shares, ridge_shares, risk, train_loss
from metagrad.stepsize_descent import HALVINGS, best_step_size


class Tuned(NamedTuple):
    """A tuned step size and what comes of it.

    Attributes:
        step_size: β, shape ().
        risk: the mean of ||w_t - w*||², given the spectrum.
        train_loss: the mean loss on the training samples.
    """

    step_size: Float[Array, ""]
    risk: Float[Array, ""]
    train_loss: Float[Array, ""]


def _outcome(step_size: Any, spectrum: Spectrum, noise: Any, steps: Any) -> Tuned:
    shares = descent_shares(step_size, steps, spectrum.eigenvalues)
    return Tuned(step_size, risk(shares, spectrum, noise), train_loss(shares, spectrum, noise))


def tuned_by_training(spectrum: Spectrum, noise: Any, steps: Any) -> Tuned:
    """The step size with the smallest mean training loss: train-by-train with many tasks.

    Up to a constant this loss is Σ c² λ (1 - βλ)^{2t} / 2, so `best_step_size` finds the
    minimizer, for any t: also where the loss itself is below the smallest float. As t grows it
    tends to 1 / (1 + γ) in the limit of Marchenko and Pastur.

    Args:
        spectrum: from `marchenko_pastur` or `spectrum_of`.
        noise: σ, at least 0.
        steps: t, at least 1; it may be traced.

    >>> from metagrad.spectra import marchenko_pastur
    >>> made = tuned_by_training(marchenko_pastur(2.0), 1.0, 40)
    >>> round(made.step_size.item(), 4), round(made.risk.item(), 3)
    (0.3309, 1.481)
    """
    checks.require_nonnegative("noise", noise)
    of_dimension = jnp.minimum(1.0, 1.0 / spectrum.ratio)
    of_samples = jnp.minimum(1.0, spectrum.ratio)
    each = of_dimension + of_samples * noise**2 / spectrum.eigenvalues
    step_size = best_step_size(spectrum.eigenvalues, jnp.sqrt(spectrum.weights * each), steps)
    return _outcome(step_size, spectrum, noise, steps)


def tuned_by_validation(
    spectrum: Spectrum, noise: Any, steps: Any, *, deployed: Spectrum | None = None
) -> Tuned:
    """The step size with the smallest mean risk: train-by-validation with many tasks.

    The risk may have several local minima in β. The best of 512 step sizes from 10⁻⁸/(t λ_max)
    to 2/λ_max, evenly spread in their logarithm, is refined by bisection of the derivative.

    Args:
        spectrum: that of the training part of the samples.
        noise: σ, at least 0.
        steps: t, at least 1; it may be traced.
        deployed: the spectrum with which the outcome is computed, where a tuned step size is used
            with more samples than it was tuned for; None for the same.

    >>> from metagrad.spectra import marchenko_pastur
    >>> made = tuned_by_validation(marchenko_pastur(2.0), 1.0, 40)
    >>> round(made.step_size.item(), 5), round(made.risk.item(), 3)
    (0.00862, 0.784)
    """
    checks.require_nonnegative("noise", noise)

    def objective(log_step_size):
        shares = descent_shares(jnp.exp(log_step_size), steps, spectrum.eigenvalues)
        return risk(shares, spectrum, noise)

    top = jnp.log(2.0 / jnp.max(spectrum.eigenvalues))
    bottom = top - jnp.log(2e8 * jnp.asarray(steps).astype(top.dtype))
    places = jnp.linspace(0.0, 1.0, 512, dtype=top.dtype)
    grid = bottom + (top - bottom) * places
    best = jnp.argmin(jax.vmap(objective)(grid))
    ends = grid[jnp.maximum(best - 1, 0)], grid[jnp.minimum(best + 1, grid.size - 1)]

    def halve(ends, _):
        low, high = ends
        middle = 0.5 * (low + high)
        rising = jax.grad(objective)(middle) > 0
        return (jnp.where(rising, low, middle), jnp.where(rising, middle, high)), None

    low, high = jax.lax.scan(halve, ends, None, length=HALVINGS // 2)[0]
    step_size = jnp.exp(0.5 * (low + high))
    return _outcome(step_size, spectrum if deployed is None else deployed, noise, steps)


def bayes_risk(spectrum: Spectrum, noise: Any) -> Float[Array, ""]:
    """The smallest mean risk of any estimator that is a function of X and y, in high dimension.

    That of ridge regression with the penalty σ² γ, the posterior mean for w* ~ N(0, I/d), which
    the uniform distribution on the sphere resembles.

    >>> from metagrad.spectra import marchenko_pastur
    >>> bayes_risk(marchenko_pastur(2.0), 1.0).round(4).item()
    0.7808
    """
    checks.require_nonnegative("noise", noise)
    shares = ridge_shares(noise**2 * spectrum.ratio, spectrum.eigenvalues)
    return risk(shares, spectrum, noise)
