"""JSON with a checksum of its own text: ``{"crc": "1a2b3c4d", "event": {…}}``.

`crc` is CRC-32 of the UTF-8 text of the object behind the second key. Numbers that are not finite, which JSON lacks,
are the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode(key: str, content: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """Return an object behind its checksum, with a newline at the end."""
    text = json.dumps(_to_json(content), ensure_ascii=False, allow_nan=False, indent=indent).encode()
    return b'{"crc": "%08x", "%s": %s}\n' % (zlib.crc32(text), key.encode(), text)


def decode(key: str, raw: bytes) -> dict[str, Any] | None:
    """Return the object, None if it is torn or its checksum is wrong."""
    raw = raw.rstrip(b"\r\n")
    middle = b'", "%s": ' % key.encode()
    start = 17 + len(middle)
    if raw[:9] != b'{"crc": "' or raw[17:start] != middle or raw[-1:] != b"}":
        return None
    text = raw[start:-1]
    if raw[9:17] != b"%08x" % zlib.crc32(text):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def numbers(values: object) -> dict[str, float]:
    """Return a JSON object of numbers with NaN and inf put back; what is no number is left out."""
    found: dict[str, float] = {}
    if isinstance(values, dict):
        for key, value in values.items():
            if isinstance(value, str) and value in _NONFINITE:
                found[key] = _NONFINITE[value]
            elif isinstance(value, float) or (type(value) is int and abs(value) <= 2**53):
                found[key] = float(value)
    return found


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(one) for one in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
