"""Small labeled data sets, made or read offline: scikit-learn's digits and MNIST-1D."""

import functools
import random
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class DataSet(NamedTuple):
    """Inputs of shape (examples, features), float32, and labels of shape (examples,), int32."""

    inputs: jax.Array
    labels: jax.Array


@functools.cache
def load(name: str) -> DataSet:
    """Return a data set with ten classes; the inputs as a whole have mean 0 and variance 1.

    "digits": 1797 handwritten digits as images of 8 x 8 pixels, which come with scikit-learn.
    "mnist1d": 5000 synthetic series of 40 numbers, from the generator in the package `mnist1d`
    with its own settings and seed (Greydanus, 2020). Nothing is downloaded.

    Raises:
        ValueError: if the name is neither.
    """
    makers = {"digits": _digits, "mnist1d": _mnist1d}
    if name not in makers:
        raise ValueError(f"name must be one of {', '.join(makers)}; got {name!r}")
    inputs, labels = makers[name]()
    inputs = (inputs - inputs.mean()) / inputs.std()
    return DataSet(jnp.asarray(inputs, jnp.float32), jnp.asarray(labels, jnp.int32))


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def _mnist1d() -> tuple[np.ndarray, np.ndarray]:
    from mnist1d.data import get_dataset_args, make_dataset

    # The generator seeds the global ones of NumPy and Python.
    states = np.random.get_state(), random.getstate()  # noqa: NPY002
    data = make_dataset(get_dataset_args())
    np.random.set_state(states[0])  # noqa: NPY002
    random.setstate(states[1])
    inputs = np.concatenate([data["x"], data["x_test"]])
    return inputs, np.concatenate([data["y"], data["y_test"]])
