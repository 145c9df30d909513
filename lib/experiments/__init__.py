"""Runs that take longer than a minute, and their stored results.

An experiment is a module of this package with

- `SETTINGS`, a dict of JSON values, and
- `run(**SETTINGS)`, which returns a dict of JSON values: a few kilobytes of what a page shows.

`python -m experiments run` runs them all and writes `results/<name>.json`, each with a
fingerprint of the settings and the code behind it. A chapter reads a result by
`experiments.load(name)`. When code or settings have changed since, the result is stale: `load`
refuses it, and so do the tests. See `sources` for what counts as a change.
"""

from experiments.store import StaleResult, load, names

__all__ = ["StaleResult", "load", "names"]
