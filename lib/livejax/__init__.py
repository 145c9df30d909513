"""JAX functions as live figures: compiled to JavaScript when the book is built.

Importing this package switches JAX to 64-bit mode: the book computes gradients in float64.
"""

import jax

from .compiler import ArraySpec, Compiled, UnsupportedPrimitive, compile

jax.config.update("jax_enable_x64", True)

__all__ = ["ArraySpec", "Compiled", "UnsupportedPrimitive", "compile"]
