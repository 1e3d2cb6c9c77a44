"""Many words without a Python object for each: a sequence over a pyarrow array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

_AT_ONCE = 10_000


class Words(Sequence[str]):
    """The texts of a pyarrow array of strings, as a sequence of str.

    Attributes:
        array: The pyarrow array; it has no nulls.
    """

    def __init__(self, array: Any) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self.array.take(list(range(*index.indices(len(self))))).to_pylist())
        word: str = self.array[index].as_py()
        return word

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self.array.slice(start, _AT_ONCE).to_pylist()

    def contain(self, text: str) -> bool:
        """Return whether some word contains `text`."""
        import pyarrow.compute as pc

        return bool(pc.any(pc.match_substring(self.array, text)).as_py())


def contain(words: Sequence[str], text: str) -> bool:
    """Return whether some of the words contains `text`."""
    return words.contain(text) if isinstance(words, Words) else any(text in word for word in words)
