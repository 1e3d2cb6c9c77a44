"""A text table read in chunks of whole records, in bounded memory, cell for cell as `read_delimited` reads it whole.

The two readers are those of `delimited`. A block of bytes is cut where a line ends outside of quotes, and read fast as
long as that is safe; from the first doubt on, the rest of the file is read by the slow reader, which knows lines.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.delimited import (
    MAX_CELL,
    Header,
    find_header,
    line_breaks,
    no_rows,
    read_fast,
    read_records,
    read_slow,
    text_lines,
)
from neuronwise.data.textfile import MAX_LINE_BYTES, TextChecks, TextFile, check_utf8, empty_file, refuse_foreign
from neuronwise.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_PIECE = 1 << 22
_BOM = b"\xef\xbb\xbf"


class TextChunk(NamedTuple):
    """Some rows of a text table: their cells, and the line of the file on which each begins."""

    cells: pa.Table
    lines: NDArray[np.int64]


class TextSource:
    """A text table on disk, plain or gzipped, that can be read in chunks any number of times.

    Attributes:
        path: The file.
        header: How its fields are separated, and their names.
        notes: What was found out so far, in sentences.
        size_bytes: Size of the file.

    Raises:
        DataError: As `read_table`; what stands further down in the file is found when that is read.
    """

    def __init__(self, path: Path, chunk_bytes: int) -> None:
        self.path, self.size_bytes, self._chunk_bytes = path, path.stat().st_size, max(chunk_bytes, 1)
        with _Bytes(path) as stream:
            # Enough for the first record, however long, and for the separator to be found as in a file read whole.
            head = stream.read_at_least(MAX_LINE_BYTES + _PIECE)
            whole = stream.ended
        if not head.strip():
            if not whole:
                raise DataError("the file begins with millions of blanks", where=path.name)
            raise empty_file(path.name)
        text = head if whole else head[: head.rfind(b"\n") + 1] or head[: head.rfind(b"\r") + 1]
        check_utf8(text, path.name)
        self.header: Header = find_header(TextFile(path.name, text, "", ()))
        self.notes = (*stream.notes, *self.header.notes)

    def chunks(
        self, columns: Sequence[str] | None = None, told: Callable[[int, str | None], None] | None = None
    ) -> Iterator[TextChunk]:
        """Yield the rows from the first to the last, at most about `chunk_bytes` of text at a time.

        Args:
            columns: Names of the columns wanted; None: all.
            told: Is called before each chunk with the bytes of the file passed so far, and after the last one with the
                sha256 of the file.

        Raises:
            DataError: As `read_table`, with file and line.
        """
        wanted = None if columns is None else [self.header.names.index(name) for name in columns]
        rows = 0
        with _Bytes(self.path) as stream:
            for chunk in self._read(_Blocks(stream, self._chunk_bytes, self.header.dialect.delimiter), wanted):
                if told is not None:
                    told(stream.passed, None)
                if chunk.cells.num_rows:
                    rows += chunk.cells.num_rows
                    yield chunk
            if not rows:
                raise no_rows(self.path.name)
            if told is not None:
                told(self.size_bytes, stream.fingerprint())

    def _read(self, blocks: _Blocks, wanted: list[int] | None) -> Iterator[TextChunk]:
        head = self.header
        names = head.names if wanted is None else [head.names[i] for i in wanted]
        first: list[str] | None = head.fields  # the header stands in the first block
        while block := blocks.next():
            check_utf8(block, self.path.name, blocks.line)
            table = read_fast(block, head.dialect, head.fields, first, wanted)
            if table is None:
                blocks.put_back(block)
                break
            yield TextChunk(table.rename_columns(names), self._lines(block, blocks.line, table.num_rows, first))
            blocks.line += line_breaks(block)
            first = None
        else:
            if not blocks.left:
                return
        yield from self._read_slowly(blocks, first is not None, wanted)

    def _read_slowly(self, blocks: _Blocks, with_header: bool, wanted: list[int] | None) -> Iterator[TextChunk]:
        name, head = self.path.name, self.header
        records = read_records(blocks.lines(name), name, head.dialect, blocks.line)
        if with_header:
            next(records)
        for batch, lines in read_slow(records, name, head.names):
            yield TextChunk(_table(batch if wanted is None else batch.select(wanted)), lines)

    def _lines(self, block: bytes, line: int, n_rows: int, first: list[str] | None) -> NDArray[np.int64]:
        header = int(first is not None)
        if line_breaks(block) + (not block.endswith((b"\n", b"\r"))) == n_rows + header:
            return np.arange(line + header, line + header + n_rows)
        records = read_records(text_lines(block), self.path.name, self.header.dialect, line)
        return np.fromiter((at for at, _ in records), np.int64)[header:]


def _table(batch: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches([batch])


class _Blocks:
    """Blocks of bytes that end where a record ends, as far as that can be told from the quotes."""

    def __init__(self, stream: _Bytes, size: int, delimiter: str) -> None:
        self.left, self.line = b"", 1
        self._stream, self._size, self._delimiter = stream, size, delimiter

    def next(self) -> bytes:
        """Return the next block; b"" at the end, or where `lines` must go on."""
        size = self._size
        while True:
            parts = [self.left]
            missing = size - len(self.left)
            while missing > 0 and (piece := self._stream.read(min(missing, _PIECE))):
                parts.append(piece)
                missing -= len(piece)
            self.left = b"".join(parts)
            if not self.left:
                return b""
            if self._stream.ended and len(self.left) <= size:
                block, self.left = self.left, b""
                return block
            cut = _cut(self.left[:size])
            if cut:
                block, self.left = self.left[:cut], self.left[cut:]
                return block
            if b'"' in self.left and size > max(self._size, 4 * MAX_CELL):
                return b""  # no record is so long: a stray quote
            size = max(2 * size, 64)

    def put_back(self, block: bytes) -> None:
        """Take a block back that could not be read."""
        self.left = block + self.left

    def lines(self, name: str) -> Iterator[str]:
        """Yield all lines that are left."""
        line = self.line
        while True:
            piece = self._stream.read(_PIECE)
            text = self.left + piece
            # At a line's end: else a letter of several bytes, or \r\n, would be torn.
            cut = len(text) if not piece else text.rfind(b"\n") + 1 or text[:-1].rfind(b"\r") + 1
            data, self.left = text[:cut], text[cut:]
            check_utf8(data, name, line)
            line += line_breaks(data)
            yield from io.StringIO(data.decode("utf-8"), newline="")
            if not piece:
                return


def _cut(data: bytes) -> int:
    """Return where the last line ends that ends outside of quotes; 0 if there is none."""
    mark = b"\n" if b"\n" in data else b"\r"
    end = len(data) if mark == b"\n" else len(data) - 1  # a last \r may be half of \r\n
    open_at: NDArray[np.int64] | None = None
    if b'"' in data:
        open_at = np.flatnonzero(np.frombuffer(data, np.uint8) == ord('"'))
    while (at := data.rfind(mark, 0, end)) >= 0:
        if open_at is None:
            return at + 1
        before = int(np.searchsorted(open_at, at))
        if before % 2 == 0:
            return at + 1
        end = int(open_at[before - 1])  # inside of quotes: on before the quote that opens
    return 0


class _Bytes:
    """The bytes of a file, unpacked if gzipped, without a byte order mark, checked and hashed as they pass."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._raw = _Hashed(path.open("rb"))
        self._checks = TextChecks(path.name)
        self.ended = False
        self.notes: list[str] = []
        start = self._raw.file.read(64)
        self._raw.file.seek(0)
        refuse_foreign(start, path.name)
        self._packed = start[:2] == b"\x1f\x8b"
        self._file: Any = self._raw
        if self._packed:
            self._file = gzip.GzipFile(fileobj=self._raw)  # type: ignore[call-overload]
            self.notes.append("unpacked by gzip")
        self._begun = False

    def __enter__(self) -> _Bytes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.file.close()

    @property
    def passed(self) -> int:
        """Bytes of the file (packed, if it is) that were read."""
        return self._raw.passed

    def read(self, size: int) -> bytes:
        """Return at most `size` further bytes, b"" at the end."""
        data = self._take(size)
        if not self._begun:
            self._begun = True
            # A mark, and what tells the format, may be longer than the first few bytes.
            while len(data) < 4096 and (more := self._take(4096)):
                data += more
            if self._packed:
                refuse_foreign(data[:64], self._name)
            if data:
                self._checks.feed(data)
            if data.startswith(_BOM):
                data = data[len(_BOM) :]
                self.notes.append("a byte order mark at the start was skipped")
                return data or self.read(size)
        elif data:
            self._checks.feed(data)
        self.ended = not data
        return data

    def _take(self, size: int) -> bytes:
        try:
            data: bytes = self._file.read(size)
        except (EOFError, OSError, zlib.error) as error:
            if not self._packed:
                raise
            raise DataError(f"the gzip stream is damaged or cut off: {error}", where=self._name) from None
        return data

    def read_at_least(self, size: int) -> bytes:
        """Return at least `size` bytes, or all there are."""
        parts: list[bytes] = []
        have = 0
        while have < size and (piece := self.read(_PIECE)):
            parts.append(piece)
            have += len(piece)
        return b"".join(parts)

    def fingerprint(self) -> str:
        """Return the sha256 of the whole file, as it is on disk."""
        while self._raw.read(_PIECE):
            pass
        return self._raw.digest.hexdigest()


class _Hashed:
    """A file that hashes what is read of it, from the beginning on."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest, self.passed = file, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.digest.update(data)
        self.passed += len(data)
        return data
