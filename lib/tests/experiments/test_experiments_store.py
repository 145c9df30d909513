"""Stored results: none is stale, and a stale one is refused."""

import json
import subprocess
import sys

import pytest

import experiments
from experiments import store


@pytest.mark.parametrize("name", experiments.names())
def test_no_stored_result_is_stale(name):
    assert not store.is_stale(name), f"run: python -m experiments run {name}"


def test_every_stored_result_has_its_experiment():
    assert {path.stem for path in store.RESULTS.iterdir()} == set(experiments.names())


@pytest.mark.parametrize("name", experiments.names())
def test_results_stay_small(name):
    # The largest holds the curves of every meta-seed, which are published, failures included.
    assert (store.RESULTS / f"{name}.json").stat().st_size < 200_000


@pytest.fixture
def altered(tmp_path, monkeypatch):
    """The stored results, with another fingerprint in each."""
    for path in store.RESULTS.iterdir():
        document = json.loads(path.read_text()) | {"fingerprint": "0" * 64}
        (tmp_path / path.name).write_text(json.dumps(document))
    monkeypatch.setattr(store, "RESULTS", tmp_path)


def test_a_stale_result_is_refused(altered):
    with pytest.raises(experiments.StaleResult, match="run heavy_ball_basins"):
        experiments.load("heavy_ball_basins")


def test_a_changed_setting_makes_a_result_stale(monkeypatch):
    from experiments import heavy_ball_basins

    assert not store.is_stale("heavy_ball_basins")
    monkeypatch.setitem(heavy_ball_basins.SETTINGS, "inner_steps", 10)
    assert store.is_stale("heavy_ball_basins")


def test_running_stores_what_load_returns(tmp_path, monkeypatch):
    from experiments import heavy_ball_basins

    monkeypatch.setattr(store, "RESULTS", tmp_path)
    monkeypatch.setattr(heavy_ball_basins, "run", lambda **settings: {"rows": [[1.5, 2], [3, 4]]})
    path = store.run("heavy_ball_basins")
    assert experiments.load("heavy_ball_basins") == {"rows": [[1.5, 2], [3, 4]]}
    assert json.loads(path.read_text())["settings"] == heavy_ball_basins.SETTINGS


def test_a_result_with_nan_is_refused(tmp_path, monkeypatch):
    from experiments import heavy_ball_basins

    monkeypatch.setattr(store, "RESULTS", tmp_path)
    monkeypatch.setattr(heavy_ball_basins, "run", lambda **settings: {"loss": float("nan")})
    with pytest.raises(ValueError):
        store.run("heavy_ball_basins")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"must be one of .*heavy_ball_basins.*; got 'basins'"):
        experiments.load("basins")


def test_the_command_line_checks_and_lists():
    def call(*arguments):
        command = [sys.executable, "-m", "experiments", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    assert call("list").stdout.split() == experiments.names()
    assert call("check").returncode == 0
    assert call("run", "basins").returncode != 0
