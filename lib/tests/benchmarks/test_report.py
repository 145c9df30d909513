"""The tables and verdicts are made from a result written by hand; nothing is timed here."""

import copy
import doctest
import math
import re

import pytest

from benchmarks import report, targets


def cell(seconds, held=1_000_000, error=1e-15):
    return {"seconds": seconds, "bytes": held, "error": error, "share": 1.0, "turns": 2}


def row(*times, **more):
    return [cell(seconds, **more) for seconds in times]


RESULT = {
    "about": {
        "cpu": "Some CPU", "device": "no accelerator", "date": "2026-11-21", "load": [0.5, 1, 1],
        "wall_per_counted": 1.01,
    },
    "step_sizes": {
        "axis": "T", "unit": "the loss alone", "columns": [10, 100],
        "left_out": {"jaxopt": "no <b>"},
        "rows": {
            "the loss alone": row(0.001, 0.01, error=None),
            "forward()": row(0.002, 0.022),
            "torch.func, vmap of jvp": row(0.009, 0.5),
            "torch.func, vmap of grad": row(0.5, 0.088),
            "TorchOpt, FuncOptimizer": [cell(1.0), {"failed": "MemoryError: no room"}],
            "higher, innerloop_ctx": [None, cell(0.3)],
        },
    },
    "maml": {
        "axis": "K", "unit": "Reptile", "columns": [20, 100], "left_out": {},
        "rows": {
            "Reptile": row(0.001, 0.005, error=0.2),
            "reverse()": row(0.004, 0.060, held=60_000_000),
            "checkpointed()": row(0.006, 0.026, held=9_000_000),
            "checkpointed(segment=1)": row(0.005, 0.025, held=20_000_000),
            "torch.func, vmap over tasks": row(0.016, 0.2),
            "TorchOpt, MetaSGD": row(0.2, 0.52),
        },
    },
    "growth": {},
}  # fmt: skip


def plain(text):
    """The text with breakable spaces."""
    return re.sub("[\u00a0\u202f]", " ", text)


def one(result, *words):
    """The one target whose text holds all the words."""
    found = [t for t in targets.targets(result) if all(word in t.text for word in words)]
    assert len(found) == 1, [t.text for t in found]
    return found[0]._replace(measured=plain(found[0].measured))


def test_times_are_multiples_of_the_unit_in_the_same_column():
    table = report.all_tables(RESULT)["time_a"]
    assert table.head == ("", "T = 10", "T = 100")
    rows = {name: [plain(entry) for entry in entries] for name, *entries in table.rows}
    assert rows["forward()"] == ["2× (2 ms)", "2.2× (22 ms)"]
    assert rows["higher, innerloop_ctx"] == ["–", "30× (300 ms)"]
    assert rows["TorchOpt, FuncOptimizer"] == ["1000× (1 s)", "–"]


def test_the_unit_has_no_error_and_an_approximation_has():
    tables = report.all_tables(RESULT)
    assert "the loss alone" not in {name for name, *_ in tables["error_a"].rows}
    assert ("Reptile", "2 × 10⁻¹", "2 × 10⁻¹") in [
        tuple(map(plain, row)) for row in tables["error_b"].rows
    ]


def test_a_limit_is_reached_when_it_is_met_exactly_and_missed_just_above():
    assert one(RESULT, "forward(): at most").reached is True
    assert one(RESULT, "checkpointed(segment=1)", "Reptile").reached is True
    assert one(RESULT, "checkpointed(segment=1)", "third").reached is True
    worse = copy.deepcopy(RESULT)
    worse["step_sizes"]["rows"]["forward()"][1]["seconds"] = 0.02201
    worse["maml"]["rows"]["checkpointed(segment=1)"][1] |= {"seconds": 0.0251, "bytes": 20_000_001}
    assert one(worse, "forward(): at most").reached is False
    assert one(worse, "checkpointed(segment=1)", "Reptile").reached is False
    assert one(worse, "checkpointed(segment=1)", "third").reached is False


def test_memory_that_grows_with_the_run_is_a_miss():
    assert one(RESULT, "whatever T").reached is True
    worse = copy.deepcopy(RESULT)
    worse["step_sizes"]["rows"]["forward()"][1]["bytes"] += 1000
    assert one(worse, "whatever T").reached is False


def test_the_fastest_way_to_use_a_package_counts():
    # 4.5 times at T = 10 by jvp, 4.0 at T = 100 by grad: the other two are far slower.
    found = one(RESULT, "(a) torch.func")
    assert (found.measured, found.reached) == ("4.0 at T = 100", True)


def test_the_default_is_reverse_below_100_steps_and_checkpointed_from_there_on():
    rows = targets.default_method(RESULT["maml"])["rows"]
    assert [entry["seconds"] for entry in rows["default"]] == [0.004, 0.026]
    assert one(RESULT, "(b) torch.func").measured == "4.0 at K = 20"
    assert one(RESULT, "(b) TorchOpt").measured == "20.0 at K = 100"
    assert one(RESULT, "(b) TorchOpt").reached is False


def test_what_was_not_measured_has_no_verdict():
    found = one(RESULT, "(b) higher")
    assert (found.measured, found.reached) == ("", None)
    table = report.all_tables(RESULT)["targets"]
    assert (found.text, "–", "not measured") in table.rows


def test_a_failure_is_told_in_its_own_words_and_escaped():
    table = report.all_tables(RESULT)["left_out"]
    assert table.rows == (
        ("(a) jaxopt", "no <b>"),
        ("(a) TorchOpt, FuncOptimizer, T = 100", "MemoryError: no room"),
    )
    page = report.as_html(table)
    assert "no &lt;b&gt;" in page and "<b>" not in page


def test_html_names_every_row_and_column():
    table = report.all_tables(RESULT)["time_b"]
    page = report.as_html(table)
    assert page.count('scope="col"') == 2
    assert page.count('scope="row"') == len(table.rows)
    assert f"<caption>{table.caption}</caption>" in page


def test_text_has_aligned_columns():
    lines = report.as_text(report.Table("Title", ("", "x"), (("long name", "1"), ("b", "2"))))
    assert lines == "Title\n           x\nlong name  1\nb          2"
    assert "Some CPU" in report.text(RESULT)


def test_doctests():
    found = doctest.testmod(report)
    assert found.attempted >= 4 and found.failed == 0


@pytest.mark.parametrize("name", ["meta_gradients", "meta_gradients_gpu"])
def test_what_is_stored_is_right_and_not_only_fast(name):
    result = report.load(name)
    if result is None:
        assert name != "meta_gradients"
        return
    approximations = {"Reptile", "FO-MAML", "finite_differences()"}
    for work, limit in (("step_sizes", 1e-10), ("maml", 1e-5)):
        sheet = result[work]
        assert len(sheet["rows"]) > 6
        for label, entries in sheet["rows"].items():
            assert len(entries) == len(sheet["columns"])
            for entry in filter(None, entries):
                if "failed" in entry or label in approximations | {sheet["unit"]}:
                    continue
                assert 0 <= entry["error"] < limit, (label, entry)
                assert math.isfinite(entry["seconds"]) and entry["seconds"] > 0
