"""format.py and format.js print the same numbers."""

import math
import random
import struct

import pytest
from figure_node import in_node

from livejax.format import check_spec, format_number

SPECS = [
    ".3g", ".1g", ".0g", "g", ".12g", ".17g", ".2f", ".0f", ".6f", "d", ",d", "+.2f", "+.3g",
    ",.1f",    ",.3g", ".1e", ".0e", ".5e", "+,.2f", "+.2e",
]  # fmt: skip


def values():
    rng = random.Random(2)
    result = [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308]
    result += [0.5, 1.5, 2.5, 0.125, 0.375, 2.675, 1e21, 1e22, 123456789.0, 999.5, 9995.0, 0.00095]
    result += [
        9.9995e-5,
        1e-4,
        1e-5,
        99999.5,
        0.1 + 0.2,
        1 / 3,
        1e15,
        1e16,
        1.0,
        10.0,
        100.0,
        1000.0,
    ]
    result += [k / 8 for k in range(-40, 41)]  # many exact ties
    result += [(2 * k + 1) / 2 * 10.0**e for k in range(8) for e in (1, 2, 3, 6)]
    result += [rng.uniform(-1, 1) * 10.0 ** rng.randint(-20, 20) for _ in range(1500)]
    bits = [struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))[0] for _ in range(800)]
    return result + bits


def test_both_languages_print_the_same(tmp_path):
    cases = [[value, spec] for spec in SPECS for value in values()]
    found = in_node(["format.js"], "formatNumber(...one)", cases, tmp_path)
    wrong = [
        (value, spec, text, format_number(value, spec))
        for (value, spec), text in zip(cases, found, strict=True)
        if text != format_number(value, spec)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (math.nan, ".3g", "undefined"),
        (-math.inf, ".2e", "beyond range"),
        (-0.0, ".2f", "0.00"),
        (-0.001, ".2f", "0.00"),
        (-0.001, "+.2f", "+0.00"),
        (-2.5, "d", "−2"),
        (1234567.0, ",d", "1,234,567"),
        (3.14e-5, ".3g", "3.14\u202f×\u202f10⁻⁵"),
        (1e300, ".1e", "1.0\u202f×\u202f10³⁰⁰"),
    ],
)
def test_printed_numbers(value, spec, text):
    assert format_number(value, spec) == text


@pytest.mark.parametrize("spec", ["", "3g", ".3", ">10", ".3G", "x", ".1%", ".2d", ".100f"])
def test_unknown_formats_are_refused(spec):
    with pytest.raises(ValueError, match="format"):
        check_spec(spec)
