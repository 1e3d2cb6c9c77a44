"""Reading of JSON that a stranger may have written: every value is checked for type and size before it is used."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from neuronwise.errors import FormatError

T = TypeVar("T", bound=str)
MAX_TEXT = 200_000


class Checked:
    """A dict out of a file; each method returns one entry of a stated type or raises a FormatError naming it."""

    def __init__(self, data: object, where: str) -> None:
        self.where = where
        if not isinstance(data, dict):
            raise FormatError(f"expected an object, found {type(data).__name__}", where=where)
        self.data: dict[Any, Any] = data

    def error(self, message: str) -> FormatError:
        """Return (not raise) an error at this place."""
        return FormatError(message, where=self.where)

    def any(self, key: str) -> Any:
        """Return the entry, whatever it is."""
        if key not in self.data:
            raise self.error(f"the entry {key!r} is missing")
        return self.data[key]

    def text(self, key: str) -> str:
        """Return a text of at most `MAX_TEXT` characters."""
        return self._text(self.any(key), key)

    def text_or_none(self, key: str) -> str | None:
        """Return a text or None."""
        return None if self.any(key) is None else self.text(key)

    def _text(self, value: object, key: str) -> str:
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise self.error(f"{key!r} must be a text of at most {MAX_TEXT:,} characters")
        return value

    def choice(self, key: str, allowed: tuple[T, ...]) -> T:
        """Return one of the allowed texts."""
        value = self.any(key)
        for option in allowed:
            if isinstance(value, str) and value == option:
                return option
        raise self.error(f"{key!r} must be one of {', '.join(map(repr, allowed))}, not {_brief(value)}")

    def truth(self, key: str) -> bool:
        """Return true or false."""
        value = self.any(key)
        if not isinstance(value, bool):
            raise self.error(f"{key!r} must be true or false, not {_brief(value)}")
        return value

    def number(self, key: str, *, above: float = -math.inf) -> float:
        """Return a finite number greater than `above`."""
        value = self.any(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e308 or not value > above:
            bound = "" if above == -math.inf else f" above {above:g}"
            raise self.error(f"{key!r} must be a finite number{bound}, not {_brief(value)}")
        return float(value)

    def whole(self, key: str) -> int:
        """Return a whole number from 0 to 2^53."""
        return self._whole(self.any(key), key)

    def _whole(self, value: object, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 2**53:
            raise self.error(f"{key!r} must be a whole number, not {_brief(value)}")
        return value

    def items(self, key: str, most: int) -> list[Any]:
        """Return a list of at most `most` entries."""
        value = self.any(key)
        if not isinstance(value, list) or len(value) > most:
            raise self.error(f"{key!r} must be a list of at most {most:,} entries")
        return value

    def texts(self, key: str, most: int, *, distinct: bool = False) -> tuple[str, ...]:
        """Return a list of texts."""
        values = tuple(self._text(value, key) for value in self.items(key, most))
        if distinct and len(set(values)) != len(values):
            raise self.error(f"{key!r} holds the same text twice")
        return values

    def wholes(self, key: str, most: int) -> tuple[int, ...]:
        """Return a list of whole numbers."""
        return tuple(self._whole(value, key) for value in self.items(key, most))


def _brief(value: object) -> str:
    # Never the whole of a hostile value: it may be gigabytes, or a number too long to be written out.
    return (
        repr(value[:60] if isinstance(value, str) else value)
        if isinstance(value, (str, float, bool, type(None)))
        else f"a value of type {type(value).__name__}"
    )
