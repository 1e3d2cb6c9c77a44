"""The bytes of a text table: read once, in bounded memory, and refused clearly when they are no text.

Everything that can be known before parsing is found here: a folder, an archive, UTF-16, a NUL byte, a line of
a gigabyte, a gzip bomb. What passes is UTF-8 text of at most `MAX_BYTES`.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from neuronwise.errors import DataError
from neuronwise.files import format_bytes

MAX_BYTES = 1_000_000_000
"""Largest text table read, in bytes after decompression."""
MAX_LINE_BYTES = 10_000_000
"""Longest line of a text table, in bytes."""
_CHUNK = 1 << 22

_FOREIGN = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "Unpack it, or save the sheet as CSV, and give that file."),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "Save the sheet as CSV and give that file."),
    (b"SQLite format 3", "an SQLite database", "Export one table as CSV and give that file."),
    (b"ARROW1", "an Arrow/Feather file", "Write it as Parquet: pandas.read_feather(FILE).to_parquet('table.parquet')."),
    (b"\x89HDF", "an HDF5 file", "Export the table as CSV or Parquet."),
    (b"%PDF", "a PDF document", "Give a CSV or Parquet file."),
    (b"\x89PNG", "a PNG picture", "Pictures are given as a folder with one sub-folder per class."),
    (b"\xff\xd8\xff", "a JPEG picture", "Pictures are given as a folder with one sub-folder per class."),
    (b"\x7fELF", "a program", "Give a CSV or Parquet file."),
    (b"\x80\x04\x95", "a pickle, which is never opened because it can run code", "Save the table as Parquet."),
    (b"\x80\x05\x95", "a pickle, which is never opened because it can run code", "Save the table as Parquet."),
    (b"BZh", "compressed by bzip2", "Unpack it with bunzip2, or compress it with gzip."),
    (b"\xfd7zXZ", "compressed by xz", "Unpack it with unxz, or compress it with gzip."),
    (b"(\xb5/\xfd", "compressed by zstd", "Unpack it with unzstd, or compress it with gzip."),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Fetch the file: git lfs pull."),
    (b"<!doctype html", "a web page", "Download the file itself, not the page that shows it."),
    (b"<html", "a web page", "Download the file itself, not the page that shows it."),
)


@dataclass(frozen=True, eq=False)
class TextFile:
    """The text of a table: `data` is valid UTF-8 without BOM, `fingerprint` the sha256 of the file as it is."""

    name: str
    data: bytes
    fingerprint: str
    notes: tuple[str, ...]


def find_file(path: Path) -> Path:
    """Return `path` if it is a readable regular file.

    Raises:
        DataError: It does not exist (close names beside it are offered), is a folder, or is no regular file.
    """
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.suffix.lower() in (".csv", ".tsv", ".parquet", ".gz"))
        hint = f"Tables inside it: {', '.join(inside[:5])}." if inside else None
        raise DataError("this is a folder, and a table is one file", where=str(path), hint=hint)
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.5)
        if close:
            hint = f"Did you mean {str(path.parent / close[0])!r}?"
        elif not path.parent.is_dir():
            hint = f"The folder {str(path.parent)!r} does not exist either."
        else:
            hint = f"Looked in {str(path.parent.absolute())!r}."
        raise DataError("no such file", where=str(path), hint=hint)
    if not path.is_file():
        raise DataError("this is a device or a pipe, not a regular file", where=str(path))
    if not os.access(path, os.R_OK):
        raise DataError("this file may not be read (permission denied)", where=str(path))
    return path


def load_text(path: Path) -> TextFile:
    """Return the UTF-8 text of `path`, unpacked if gzipped.

    Raises:
        DataError: Not a text table: binary, UTF-16, NUL bytes, bytes that are not UTF-8, empty, a line over
            `MAX_LINE_BYTES`, more than `MAX_BYTES`, or a damaged gzip stream.
    """
    name = path.name
    with path.open("rb") as raw:
        start = raw.read(64)
        raw.seek(0)
        refuse_foreign(start, name)
        packed = start[:2] == b"\x1f\x8b"
        if packed:
            fingerprint = hashlib.file_digest(raw, "sha256").hexdigest()
            raw.seek(0)
            try:
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    data = _read_bounded(unpacked, name)
            except (EOFError, OSError, zlib.error) as error:
                raise DataError(f"the gzip stream is damaged or cut off: {error}", where=name) from None
            refuse_foreign(data[:64], name)
        else:
            data = _read_bounded(raw, name)
            fingerprint = hashlib.sha256(data).hexdigest()
    notes = ["unpacked by gzip"] if packed else []
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
        notes.append("a byte order mark at the start was skipped")
    if not data.strip():
        raise empty_file(name)
    check_utf8(data, name)
    return TextFile(name, data, fingerprint, tuple(notes))


def empty_file(name: str) -> DataError:
    """Return (not raise) the error of a file without text."""
    return DataError("the file is empty", where=name, hint="A table has a header line and at least one row.")


def refuse_foreign(start: bytes, name: str) -> None:
    """Raise a DataError if the first bytes of a file say that it is an archive, a picture or the like."""
    for magic, what, hint in _FOREIGN:
        if start.startswith(magic) or (magic[:1] == b"<" and start.lstrip().lower().startswith(magic)):
            raise DataError(f"this is no table: it is {what}", where=name, hint=hint)


class TextChecks:
    """What can be refused of a text table while its bytes pass by, in bounded memory.

    A line break must come at least every `MAX_LINE_BYTES`, so that a bomb of zeros or one endless line is refused after
    a few megabytes and not after all of them are in memory.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._size = self._lines = self._since_newline = 0

    @property
    def size_bytes(self) -> int:
        """Bytes that have passed."""
        return self._size

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes.

        Raises:
            DataError: UTF-16, a NUL byte, or a line over `MAX_LINE_BYTES`.
        """
        if not self._size:
            _refuse_utf16(chunk, self._name)
        if (at := chunk.find(b"\0")) >= 0:
            line = self._lines + chunk.count(b"\n", 0, at) + 1
            column = at - chunk.rfind(b"\n", 0, at) if b"\n" in chunk[:at] else self._since_newline + at + 1
            raise DataError(
                f"byte {column} of this line is NUL, so the file is damaged or not a text table",
                where=f"{self._name}:{line}",
                hint="Look at it with: file FILE",
            )
        newline = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        first = min((p for p in (chunk.find(b"\n"), chunk.find(b"\r")) if p >= 0), default=len(chunk))
        if self._since_newline + first > MAX_LINE_BYTES:
            raise DataError(
                f"this line is longer than {format_bytes(MAX_LINE_BYTES)}, the limit for one row",
                where=f"{self._name}:{self._lines + 1}",
                hint="Is it a table with one row per line?",
            )
        self._since_newline = self._since_newline + len(chunk) if newline < 0 else len(chunk) - newline - 1
        self._lines += chunk.count(b"\n") or chunk.count(b"\r")
        self._size += len(chunk)


def _read_bounded(file: IO[bytes] | gzip.GzipFile, name: str) -> bytes:
    parts: list[bytes] = []
    checks = TextChecks(name)
    while chunk := file.read(_CHUNK):
        checks.feed(chunk)
        if checks.size_bytes > MAX_BYTES:
            raise DataError(
                f"the table is larger than {format_bytes(MAX_BYTES)} of text, the limit",
                where=name,
                hint="Take a sample of its rows, or write it as Parquet.",
            )
        parts.append(chunk)
    return b"".join(parts)


def _refuse_utf16(chunk: bytes, name: str) -> None:
    sample = chunk[:4096]
    # Western text in UTF-16 has a zero in every second byte, and in those only.
    fewer, more = sorted((sample[0::2].count(0), sample[1::2].count(0)))
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff") or (more > 0.15 * len(sample) and fewer < 0.05 * len(sample)):
        raise DataError(
            "the file is UTF-16 text, and tables are read as UTF-8",
            where=name,
            hint=f"Convert it: iconv -f UTF-16 -t UTF-8 {name} > utf8-{name}",
        )


def check_utf8(data: bytes, name: str, first_line: int = 1) -> None:
    """Raise a DataError naming line and byte if `data`, which begins at a line's beginning, is not UTF-8."""
    if data.isascii():
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + first_line
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise DataError(
            f"byte {column} of this line (0x{data[error.start]:02x}) is not UTF-8; "
            f"in Windows-1252 it would be {data[error.start : error.start + 1].decode('cp1252', 'replace')!r}",
            where=f"{name}:{line}",
            hint=f"If that is the right letter, convert the file: iconv -f WINDOWS-1252 -t UTF-8 {name} > utf8-{name}",
        ) from None
