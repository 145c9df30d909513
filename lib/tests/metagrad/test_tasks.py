"""Tasks and families: who holds which data, and what is refused."""

import jax.numpy as jnp
import pytest

from metagrad import tasks


def family(data):
    return tasks.Family(
        lambda x, one: jnp.sum((x - one["center"]) ** 2),
        lambda x, one: one["weight"] * jnp.sum(x),
        data,
    )


def two():
    centers, weights = jnp.array([[1.0, 2.0], [3.0, 5.0]]), jnp.array([2.0, 7.0])
    return family({"center": centers, "weight": weights})


def test_a_task_sees_its_own_data_only():
    assert tasks.number_of_tasks(two()) == 2
    second = tasks.task(two(), 1)
    assert float(second.support(jnp.zeros(2))) == 9.0 + 25.0
    assert float(second.query(jnp.ones(2))) == 14.0


@pytest.mark.parametrize("index", [-1, 2])
def test_there_is_no_task_outside_the_family(index):
    with pytest.raises(ValueError, match=f"index must lie between 0 and 1, got {index}"):
        tasks.task(two(), index)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"center": jnp.zeros((2, 2)), "weight": jnp.zeros(3)},
        {"center": jnp.zeros((0, 2)), "weight": jnp.zeros(0)},
        {"center": jnp.zeros((2, 2)), "weight": jnp.array(1.0)},
    ],
)
def test_the_arrays_of_a_family_share_their_first_axis(data):
    with pytest.raises(ValueError, match=r"family\.data must hold arrays with one first axis"):
        tasks.number_of_tasks(family(data))
