"""The line colors: contrast to the page, and distance under simulated color blindness."""

import itertools
import re

import numpy as np
import pytest

from livejax.palette import DARK, LIGHT
from pagewidget.assets import static_text

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
THEMES = {
    "light": (LIGHT, ["#ffffff", "#f8f9fa"]),
    "dark": (DARK, ["#111111", "#14181e", "#222832"]),
}


def linear(color):
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(first, second):
    low, high = sorted(linear(color) @ [0.2126, 0.7152, 0.0722] for color in (first, second))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", THEMES)
def test_every_color_stands_out_from_the_page(theme):
    colors, pages = THEMES[theme]
    assert min(contrast(color, page) for color in colors.values() for page in pages) >= 3


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", THEMES)
def test_any_two_colors_stay_apart(theme, vision):
    """A CIE76 distance of 20 is far beyond just noticeable (2.3)."""
    seen = {name: lab(VISION[vision] @ linear(color)) for name, color in THEMES[theme][0].items()}
    distances = {
        (a, b): np.linalg.norm(seen[a] - seen[b]) for a, b in itertools.combinations(seen, 2)
    }
    assert min(distances.values()) >= 20, min(distances, key=distances.get)


def test_the_style_sheet_has_the_same_colors():
    found = re.findall(r"--livejax-(c\d): (#[0-9a-f]{6});", static_text("livejax", "figure.css"))
    assert found == [*LIGHT.items(), *DARK.items()]


@pytest.mark.parametrize("block", [0, 1], ids=["light", "dark"])
def test_words_can_be_read_where_no_theme_sets_the_colors(block):
    css = static_text("livejax", "figure.css")
    colors = [
        re.findall(rf"--livejax-{name}:[^;]*?(#[0-9a-f]{{3,6}})\)*;", css)[block]
        for name in ("text", "muted", "page", "soft")
    ]
    text, muted, page, soft = (
        c if len(c) == 7 else "#" + "".join(2 * d for d in c[1:]) for c in colors
    )
    assert min(contrast(text, page), contrast(text, soft), contrast(muted, page)) >= 4.5
