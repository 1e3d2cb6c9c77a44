"""Arrays and JSON as a page can carry them: base64 of little-endian numbers, and text that ends no script element."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# What JavaScript has a typed array for, or decodes itself (float16).
_DTYPES = ("float16", "float32", "float64", "uint8", "int32")


def blob(values: ArrayLike, dtype: str) -> dict[str, Any]:
    """Return an array as ``{"dtype", "shape", "data"}``, data being base64 of its little-endian bytes, row by row.

    NaN and infinities travel as they are. float16 of values beyond its range is infinite.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"a page cannot carry {dtype}; it can {', '.join(_DTYPES)}")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
    return {"dtype": dtype, "shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode("ascii")}


def blob_bytes(count: int, dtype: str) -> int:
    """Return how many bytes of a page so many numbers take."""
    return -(-count * np.dtype(dtype).itemsize // 3) * 4


def inert_json(content: Any) -> str:
    r"""Return JSON that can stand inside ``<script type="application/json">`` whatever the texts in it are.

    A ``<`` is written ``\u003c``, so no text can close the element or open a comment in it.

    Raises:
        ValueError: A number is not finite; such numbers travel in a `blob`.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Lone surrogates cannot be written as UTF-8.
    text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
