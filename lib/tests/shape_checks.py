"""The type checker that jaxtyping's import hook puts on every function of metagrad in tests.

It checks shapes and dtypes. What is annotated without a shape (a number of steps, a key) passes
unchecked: refusing that is the business of `metagrad.checks`, whose messages the tests read.
"""

import jax
from beartype import BeartypeConf, FrozenDict, beartype

_UNCHECKED = FrozenDict({kind: object for kind in (int, float, jax.Array)})
check = beartype(conf=BeartypeConf(hint_overrides=_UNCHECKED))
