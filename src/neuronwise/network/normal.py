"""The normal distribution function, which NumPy lacks and GELU needs."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def normal_distribution(z: Array, out: Array) -> None:
    """Write Phi(z) = erfc(-z/√2)/2 into `out`, to the precision of the dtype.

    erfc(u) = t exp(-u² + P(t)) with t = 2/(2 + u) for u >= 0 (Press et al., Numerical Recipes, 3rd edition,
    section 6.2.2); the Chebyshev series P is fitted here to `math.erfc`, so that no constants are copied.
    """
    u = np.abs(z)
    u *= 1.0 / math.sqrt(2.0)
    t = 2.0 / (2.0 + u)
    tail = np.polynomial.chebyshev.chebval(2.0 * t - 1.0, _tail_series(np.dtype(z.dtype).itemsize))
    u *= u
    tail -= u
    np.exp(tail, out=tail)
    tail *= t
    tail *= 0.5  # Phi(-|z|)
    np.copyto(out, tail)
    positive = z > 0
    np.subtract(1.0, tail, out=out, where=positive)
    # NaN stays NaN: abs, exp and the products keep it.


@functools.cache
def _tail_series(itemsize: int) -> Array:
    """Return Chebyshev coefficients of P(t) on t in (0, 1], mapped to (-1, 1]."""

    def exponent(s: NDArray[np.float64]) -> NDArray[np.float64]:
        t = (s + 1.0) / 2.0
        u = 2.0 / np.maximum(t, 0.075) - 2.0  # beyond u = 24.7 erfc underflows anyway
        return np.array([math.log(math.erfc(x) * (2.0 + x) / 2.0) + x * x for x in u])

    low = 0.075
    degree = 14 if itemsize <= 4 else 32
    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    nodes = (nodes + 1.0) * (1.0 - low) + 2.0 * low - 1.0
    series = np.polynomial.chebyshev.Chebyshev.fit(nodes, exponent(nodes), degree, domain=[-1.0, 1.0])
    # In float32 when z is: NumPy would else compute the whole series in float64, at twice the time.
    return np.asarray(series.coef, dtype=np.float32 if itemsize <= 4 else np.float64)
