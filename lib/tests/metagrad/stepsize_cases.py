"""What the step size's meta-gradient is, in sixty digits, and problems to try it on."""

from typing import NamedTuple

import mpmath
import numpy as np

# The quadratic of the notes: twenty curvatures from 1 to 10, and a unit start.
SPECTRUM = np.linspace(10.0, 1.0, 20)
_start = np.random.default_rng(0).normal(size=20)
START = _start / np.linalg.norm(_start)
KINK = 2 / 11  # where 1 - βα = βL - 1

DIGITS = 60


class Exact(NamedTuple):
    gradient: mpmath.mpf
    magnitude: mpmath.mpf  # the sum of the sizes of its terms
    objective: mpmath.mpf
    curvature: mpmath.mpf
    naive: mpmath.mpf


def exact(step_size, eigenvalues, coefficients, steps):
    """The formulas as they stand, for exactly the floats given."""
    with mpmath.workdps(DIGITS):
        beta, t = mpmath.mpf(float(step_size)), int(steps)
        lams = [mpmath.mpf(float(lam)) for lam in eigenvalues]
        weights = [
            mpmath.mpf(float(c)) ** 2 * lam for c, lam in zip(coefficients, lams, strict=True)
        ]
        a = [1 - beta * lam for lam in lams]
        losses = [w * ai ** (2 * t) for w, ai in zip(weights, a, strict=True)]
        firsts = [w * lam * ai ** (2 * t - 1) for w, lam, ai in zip(weights, lams, a, strict=True)]
        seconds = [
            w * lam**2 * ai ** (2 * t - 2) for w, lam, ai in zip(weights, lams, a, strict=True)
        ]
        total, first, second = (mpmath.fsum(terms) for terms in (losses, firsts, seconds))
        return Exact(
            gradient=-2 * first / total,
            magnitude=2 * mpmath.fsum([abs(term) for term in firsts]) / total,
            objective=mpmath.log(total / 2) / t,
            # The derivative of the quotient: (2t - 1) Σ c²λ³ a^{2t-2} and 2t (Σ c²λ² a^{2t-1})².
            curvature=2 * (2 * t - 1) * second / total - 4 * t * (first / total) ** 2,
            naive=-t * first,
        )


def error(found, expected, magnitude):
    """The difference as a share of the magnitude, computed without rounding."""
    with mpmath.workdps(DIGITS):
        return float(abs(mpmath.mpf(float(found)) - expected) / magnitude)


def random_problems(count, seed):
    """(step size, eigenvalues, coefficients, steps): spread and clustered spectra, hard places."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        size = int(rng.choice([2, 3, 6]))
        lams = np.exp(rng.normal(size=size) * rng.choice([1e-3, 1.0, 5.0]))
        starts = rng.normal(size=size) * np.exp(
            -rng.exponential(size=size) * rng.choice([0, 1, 50])
        )
        t = [1, 10**6, int(10 ** rng.uniform(0, 6))][index % 3]
        kink = 2 / (lams.max() + lams.min())
        beta = [
            rng.uniform(0, 3) / lams.max(),
            kink,
            1 / lams[0],
            kink * max(0.0, 1 + rng.normal() / t),
            np.exp(10 * rng.normal()) / lams.max(),
            (1 + 1e-9 * rng.normal()) / lams.min(),
            0.0,
        ][index % 7]
        yield beta, lams, starts, t
