"""What the hardware allows: the least time in which one core could take a training step.

Two rates are measured, not assumed: the most floating-point operations per second that any float32 product reached
(square products of 256 to 2,048 rows and those of the benchmark's largest network, by NumPy's BLAS and, where
installed, PyTorch's), and the bytes per second of copying 64 MiB (read and written bytes both count).

    bound = flops / peak + bytes / bandwidth

flops: 2 · batch · n_in · n_out for each of the three products of a layer: forward, dW, and, but for the first layer,
dx. bytes: what must come from or go to memory beyond the core's own caches (its L2) in every step: the rows of the
mini-batch, read; and where parameters and optimizer state together are larger than that cache, all of them, read and
written.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SQUARES = (256, 512, 1024, 2048)
_SHAPES = ((128, 784, 512), (512, 784, 512), (512, 512, 512))


def measure(seconds: float = 0.3) -> dict[str, Any]:
    """Return peak (flop/s, by whom, at which product), bandwidth (bytes/s) and the size of the cache (bytes)."""
    import numpy as np

    def numpy_product(m: int, k: int, n: int) -> Callable[[], Any]:
        A, B, C = (np.ones(shape, np.float32) for shape in ((m, k), (k, n), (m, n)))
        return lambda: np.dot(A, B, C)

    makers = {"numpy": numpy_product}
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(1)

        def torch_product(m: int, k: int, n: int) -> Callable[[], Any]:
            A, B, C = (torch.ones(shape) for shape in ((m, k), (k, n), (m, n)))
            return lambda: torch.mm(A, B, out=C)

        makers["torch"] = torch_product
    peaks = [
        {"flops_per_s": 2 * m * k * n / shortest(make(m, k, n), seconds / 4), "by": name, "product": [m, k, n]}
        for name, make in makers.items()
        for m, k, n in [*((n, n, n) for n in _SQUARES), *_SHAPES]
    ]
    source = np.ones(16 * 2**20, np.float32)
    target = np.empty_like(source)
    return {
        "peak": max(peaks, key=lambda found: found["flops_per_s"]),
        "peak_numpy": max((p for p in peaks if p["by"] == "numpy"), key=lambda found: found["flops_per_s"]),
        "bandwidth_bytes_per_s": 2 * source.nbytes / shortest(lambda: np.copyto(target, source), seconds),
        "cache_bytes": cache_size(),
    }


def best(*measured: dict[str, Any]) -> dict[str, Any]:
    """Return the highest rates of several measurements."""
    found = dict(measured[0])
    for key in ("peak", "peak_numpy"):
        found[key] = max((one[key] for one in measured), key=lambda rate: rate["flops_per_s"])
    found["bandwidth_bytes_per_s"] = max(one["bandwidth_bytes_per_s"] for one in measured)
    return found


def shortest(action: Callable[[], Any], seconds: float) -> float:
    """Return the shortest time that the action took, tried again and again for so many seconds."""
    action()
    found, end = [], time.perf_counter() + seconds
    while not found or time.perf_counter() < end:
        began = time.perf_counter()
        action()
        found.append(time.perf_counter() - began)
    return min(found)


def cache_size() -> int:
    """Return the size of a core's L2 cache, 2 MiB where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        text = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().strip()
        return int(text.removesuffix("K")) * 1024
    return 2 * 2**20


def flops(sizes: list[int], batch: int) -> int:
    """Return the operations of the matrix products of a step."""
    products = [2 * batch * n * m for n, m in itertools.pairwise(sizes)]
    return 3 * sum(products) - products[0]


def moved(sizes: list[int], batch: int, optimizer: str, cache_bytes: int) -> int:
    """Return the bytes that a step must move beyond the cache."""
    parameters = 4 * sum(n * m + m for n, m in itertools.pairwise(sizes))
    states = 2 if optimizer == "adam" else 0
    beyond = (2 + states) * parameters > cache_bytes
    return 4 * batch * sizes[0] + (2 * (1 + states) * parameters if beyond else 0)


def bound_us(measured: dict[str, Any], sizes: list[int], batch: int, optimizer: str) -> float:
    """Return the bound of one step in microseconds."""
    products = flops(sizes, batch) / measured["peak"]["flops_per_s"]
    memory = moved(sizes, batch, optimizer, measured["cache_bytes"]) / measured["bandwidth_bytes_per_s"]
    return 1e6 * (products + memory)
