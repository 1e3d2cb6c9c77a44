"""Stateless randomness: a generator derives from a seed and what it is for, never from what came before.

So any step of a training can be repeated without the steps before it, and drawing more numbers in one place
never changes those drawn in another.
"""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Return the generator for one purpose, such as ``generator(0, "shuffle", epoch)``.

    Args:
        seed: The seed of the network or training, not negative.
        purpose: What the numbers are for; two purposes have unrelated streams.
        counters: Epoch, step or layer index: whatever tells one draw from the next.
    """
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(purpose.encode()), *counters]))
