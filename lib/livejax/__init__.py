"""JAX functions as live figures: compiled to JavaScript when the book is built.

Importing this package switches JAX to 64-bit mode: the book computes gradients in float64.
"""

import jax

from . import palette
from .compiler import ArraySpec, Compiled, UnsupportedPrimitive, compile
from .controls import Choice, Integer, Point, Slider, Switch
from .figure import LiveFigure, Readout

jax.config.update("jax_enable_x64", True)

__all__ = [
    "ArraySpec",
    "Choice",
    "Compiled",
    "Integer",
    "LiveFigure",
    "Point",
    "Readout",
    "Slider",
    "Switch",
    "UnsupportedPrimitive",
    "compile",
    "palette",
]
