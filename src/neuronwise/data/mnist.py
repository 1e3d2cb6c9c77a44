"""MNIST: 70,000 handwritten digits of 28 × 28 pixels, from a local copy or, when none is there, downloaded.

Only `mnist` reaches for the network, only for these four files, and only what matches the checksums of the
published data is kept.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from neuronwise.data.idx import idx_sha256, read_idx, read_idx_stream
from neuronwise.data.pixels import ImageData
from neuronwise.errors import DataError
from neuronwise.files import user_cache_folder, write_atomically

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
"""Addresses that hold the four files under their customary names; tried in this order."""


@dataclass(frozen=True)
class _File:
    """One of the four files: its name and the sha256 and size of its uncompressed content.

    The content is checked, not the compressed file: copies packed anew, or not packed at all, are as good.
    """

    name: str
    sha256: str
    size_bytes: int


FILES = (
    _File("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47_040_016),
    _File("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_008),
    _File("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7_840_016),
    _File("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_008),
)


def mnist(
    folder: str | Path | None = None,
    *,
    download: bool = True,
    progress: Callable[[str, int, int | None], None] | None = None,
    mirrors: Sequence[str] = MIRRORS,
    timeout_s: float = 30.0,
) -> ImageData:
    """Return MNIST: 60,000 training and 10,000 test images, uint8 (n, 28, 28), with labels 0 to 9.

    The four IDX files (each plain or ``.gz``) are looked for in `folder` if given; else in the folder that the
    environment variable ``NEURONWISE_DATA`` names or its sub-folder ``mnist``; else in the cache folder; else
    they are downloaded into the cache folder (about 12 MB). Every file is checked by its sha256.

    Args:
        folder: Folder with the files, or with a sub-folder ``mnist`` that holds them; nothing else is tried.
        download: False never reaches for the network.
        progress: Called as ``progress(file_name, bytes_so_far, bytes_in_all or None)`` during a download.
        mirrors: Base addresses to download from, tried in order.
        timeout_s: Seconds without an answer after which the next address is tried.

    Raises:
        DataError: No copy can be found or downloaded (the message says how to provide one), or a local file
            is damaged or is not the published MNIST.
    """
    if folder is not None:
        return _load(_local_paths(Path(folder).expanduser(), must=True), str(folder))
    if named := os.environ.get("NEURONWISE_DATA"):
        paths = _local_paths(Path(named).expanduser(), must=False)
        if paths:
            return _load(paths, f"{paths[0].parent} (NEURONWISE_DATA)")
    cache = user_cache_folder() / "mnist"
    arrays = []
    for file in FILES:
        array = _from_cache(cache, file)
        if array is None:
            if not download:
                raise DataError("MNIST is not on this machine", hint=_advice(cache))
            array = _download(file, cache, mirrors, timeout_s, progress)
        arrays.append(array)
    return _image_data(arrays, str(cache))


def _local_paths(folder: Path, *, must: bool) -> list[Path]:
    """Return the four files in `folder` or `folder`/mnist; [] if there is none and none `must` be."""
    for place in (folder, folder / "mnist"):
        found = [_find(place, file) for file in FILES]
        paths = [path for path in found if path is not None]
        if len(paths) == len(FILES):
            return paths
        if paths:
            missing = [f"{file.name}.gz" for file, path in zip(FILES, found, strict=True) if path is None]
            raise DataError(f"MNIST is incomplete: {', '.join(missing)} missing", where=str(place))
    if must:
        state = "MNIST is not in this folder" if folder.is_dir() else "no such folder"
        names = ", ".join(f"{file.name}.gz" for file in FILES)
        raise DataError(state, where=str(folder), hint=f"Expected, there or in its sub-folder mnist: {names}")
    return []


def _find(folder: Path, file: _File) -> Path | None:
    candidates = [folder / file.name, folder / f"{file.name}.gz"]
    return next((path for path in candidates if path.is_file()), None)


def _load(paths: list[Path], source: str) -> ImageData:
    arrays = []
    for file, path in zip(FILES, paths, strict=True):
        array = read_idx(path, max_bytes=2 * file.size_bytes)
        if (found := idx_sha256(array)) != file.sha256:
            raise DataError(
                f"this is not the published MNIST: sha256 of the uncompressed content is {found}, "
                f"expected {file.sha256}",
                where=str(path),
                hint=f"To use it all the same, name the file or folder instead of mnist: {path.parent}",
            )
        arrays.append(array)
    return _image_data(arrays, source)


def _from_cache(cache: Path, file: _File) -> NDArray[Any] | None:
    """Return a file's array, or None where it is absent or damaged (then it is fetched again)."""
    path = _find(cache, file)
    if path is None:
        return None
    try:
        array = read_idx(path, max_bytes=2 * file.size_bytes)
    except DataError:
        return None
    return array if idx_sha256(array) == file.sha256 else None


def _download(
    file: _File,
    cache: Path,
    mirrors: Sequence[str],
    timeout_s: float,
    progress: Callable[[str, int, int | None], None] | None,
) -> NDArray[Any]:
    import http.client
    import urllib.error

    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{file.name}.gz"
        try:
            content = _fetch(url, file, timeout_s, progress)
            array = read_idx_stream(io.BytesIO(content), len(content), where=url, max_bytes=2 * file.size_bytes)
            if (found := idx_sha256(array)) != file.sha256:
                raise DataError(f"wrong checksum: sha256 {found} of the content, {file.sha256} expected")
        except DataError as error:
            failures.append(f"  {url}: {error.message}")
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            code = f"HTTP {error.code} " if isinstance(error, urllib.error.HTTPError) else ""
            failures.append(f"  {url}: {code}{reason or type(error).__name__}")
        else:
            _keep(cache / f"{file.name}.gz", content)
            return array
    raise DataError(
        "MNIST is not on this machine and could not be downloaded:\n" + "\n".join(failures), hint=_advice(cache)
    )


def _fetch(url: str, file: _File, timeout_s: float, progress: Callable[[str, int, int | None], None] | None) -> bytes:
    import urllib.request

    if not url.startswith(("https://", "http://")):
        raise DataError("an address starts with https://")
    request = urllib.request.Request(url, headers={"User-Agent": "neuronwise"})  # noqa: S310 - checked above
    # A compressed file is never this large; what is larger is something else.
    limit = file.size_bytes + 65_536
    content = bytearray()
    with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310
        declared = response.headers.get("Content-Length", "")
        total = int(declared) if declared.isdecimal() else None
        while chunk := response.read(65_536):
            content += chunk
            if len(content) > limit:
                raise DataError(f"the answer is longer than {limit:,} bytes")
            if progress is not None:
                progress(f"{file.name}.gz", len(content), total)
    if total is not None and len(content) != total:
        raise DataError(f"truncated: {total:,} bytes announced, {len(content):,} received")
    return bytes(content)


def _keep(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise DataError(
            f"the downloaded file cannot be kept: {error.strerror or error}",
            where=str(path),
            hint="Set NEURONWISE_HOME to a folder that can be written.",
        ) from None


def _image_data(arrays: list[NDArray[Any]], source: str) -> ImageData:
    images, labels, test_images, test_labels = arrays
    return ImageData(
        images=images,
        labels=labels.astype("int64"),
        class_names=[str(digit) for digit in range(10)],
        test_images=test_images,
        test_labels=test_labels.astype("int64"),
        name="mnist",
        source=f"MNIST (LeCun, Cortes, Burges 1998), {source}",
    )


def _advice(cache: Path) -> str:
    names = "\n".join(f"  {file.name}.gz" for file in FILES)
    return (
        f"Put these four files (plain or .gz) into {cache}, or into any folder and name it: "
        f"export NEURONWISE_DATA=/that/folder\n{names}\n"
        "To try images without a download: digits, which comes with scikit-learn."
    )
