"""Images from wherever a user has them: by name, from IDX files, or from a folder of pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.idx import read_idx
from neuronwise.data.picture_files import PICTURE_SUFFIXES
from neuronwise.data.pictures import read_picture, read_picture_folder
from neuronwise.data.pixels import ImageData, PixelEncoder, check_finite_images, shape_words
from neuronwise.errors import DataError, UsageError, did_you_mean

__all__ = ["ImageData", "PixelEncoder", "is_image_source", "is_picture_source", "read_images"]

NAMED_IMAGES = ("digits", "mnist")
"""Image data that can be asked for by name."""

_IDX_NAME = re.compile(r"[-._]idx\d+[-._][a-z0-9]+(\.gz)?$", re.IGNORECASE)
_IDX_IMAGES = re.compile(r"images([-._])idx[34]([-._][a-z0-9]+)(\.gz)?$", re.IGNORECASE)


def is_image_source(source: object) -> bool:
    """Return whether `source` names images, not a table.

    Images are ``"digits"``, ``"mnist"``, an existing folder, a name such as ``train-images-idx3-ubyte.gz``,
    and a name that ends as pictures do (.png, .jpg, .jpeg, .gif, .bmp, .webp). Only the name is looked at; frames
    and arrays are never images here.
    """
    if isinstance(source, ImageData):
        return True
    if not isinstance(source, str | Path):
        return False
    if isinstance(source, str) and source in NAMED_IMAGES:
        return True
    path = Path(source).expanduser()
    return bool(_IDX_NAME.search(path.name)) or path.suffix.lower() in PICTURE_SUFFIXES or path.is_dir()


def is_picture_source(source: object) -> bool:
    """Return whether `source` is a picture or a folder of pictures, which `read_images` can resize.

    Named images, IDX files, folders that hold such, and `ImageData` have the size they have.
    """
    if not isinstance(source, str | Path) or source in NAMED_IMAGES:
        return False
    path = Path(source).expanduser()
    return not _idx_images_in(path) if path.is_dir() else path.suffix.lower() in PICTURE_SUFFIXES


def read_images(
    source: str | Path | ImageData,
    *,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    labelled: bool = True,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> ImageData:
    """Return the images of `source`, with labels and an official test split where there are any.

    Args:
        source: One of

            - ``"digits"``: scikit-learn's 1,797 digits, 8 × 8 pixels with values 0 to 16;
            - ``"mnist"``: see `mnist`;
            - an IDX file of images: labels are read from the file beside it that is named alike
              (``…-images-idx3-ubyte`` and ``…-labels-idx1-ubyte``, either may end in ``.gz``), and beside a
              ``train`` pair the ``t10k`` or ``test`` pair is the test split;
            - a folder with such files;
            - a folder with one sub-folder of pictures per class (or with ``train`` and ``test``, each holding
              one sub-folder per class). If any picture has colour, all are read as RGB;
            - one picture: no labels, for prediction.
        image_size: (h, w) to which pictures are resized. Default: the most frequent size, the longer side
            limited to 128 pixels; which, and how many pictures it changes, is said in `notes`.
        channels: 1 turns pictures to grey, 3 to RGB; default by what the pictures are.
        labelled: False reads a folder of pictures for prediction: without labels, sub-folders or not.
        progress: Called while MNIST is downloaded, see `mnist`.

    Raises:
        DataError: The source does not exist, is damaged, holds no images, or only one class.
        UsageError: `image_size` or `channels` is no size, or does not fit IDX files.
    """
    if image_size is not None and (len(image_size) != 2 or min(image_size) < 1 or max(image_size) > 2**14):
        raise UsageError(f"image_size is (h, w), each from 1 to {2**14}, not {image_size}", where="argument image_size")
    if channels not in (None, 1, 3):
        raise UsageError(f"channels is 1 (grey) or 3 (RGB), not {channels}", where="argument channels")
    if isinstance(source, ImageData):
        return _unresized(source, image_size, channels)
    if isinstance(source, str) and source in NAMED_IMAGES:
        if source == "digits":
            return _unresized(_digits(), image_size, channels)
        from neuronwise.data.mnist import mnist

        return _unresized(mnist(progress=progress), image_size, channels)
    path = Path(source).expanduser()
    if path.is_dir():
        files = _idx_images_in(path)
        if not files:
            return read_picture_folder(path, image_size=image_size, channels=channels, labelled=labelled)
        return _unresized(_read_idx_images(_choose_idx(path, files), path.name), image_size, channels)
    if not path.exists():
        raise DataError("no such file or folder", where=str(source), hint=_advice(path))
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return read_picture(path, image_size=image_size, channels=channels)
    return _unresized(_read_idx_images(path, path.name.split(".")[0]), image_size, channels)


def _digits() -> ImageData:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return ImageData(
        # Whole numbers from 0 to 16, which scikit-learn hands out as float64.
        images=bunch.images.astype(np.uint8),
        labels=bunch.target.astype(np.int64),
        class_names=[str(name) for name in bunch.target_names],
        name="digits",
        source="scikit-learn's load_digits (test part of the UCI hand-written digits, 1998)",
        maximum=16.0,
    )


def _unresized(data: ImageData, image_size: tuple[int, int] | None, channels: int | None) -> ImageData:
    found = (data.image_shape[:2], data.image_shape[2] if len(data.image_shape) == 3 else 1)
    if found != (image_size or found[0], channels or found[1]):
        raise UsageError(
            f"{data.name}: the images are {shape_words(data.image_shape)}; "
            "only pictures read from files (PNG, JPEG, …) can be given another size or mode",
            where="argument image_size" if image_size not in (None, found[0]) else "argument channels",
        )
    return data


def _read_idx_images(path: Path, name: str) -> ImageData:
    images = read_idx(path)
    labels_path = _labels_beside(path)
    test_path = _test_beside(path) if labels_path else None
    notes: list[str] = []
    labels = None if labels_path is None else _read_idx_labels(labels_path, _n_images(images, path))
    stacks, label_stacks = [images], [labels]
    if test_path is not None:
        test_images = read_idx(test_path)
        test_labels_path = _labels_beside(test_path)
        assert test_labels_path is not None  # _test_beside returns only pairs
        label_stacks.append(_read_idx_labels(test_labels_path, _n_images(test_images, test_path)))
        stacks.append(test_images)
        notes.append(f"{test_path.name} is the test split ({len(test_images):,} images).")
    if labels_path is None and _IDX_IMAGES.search(path.name):
        notes.append(f"No labels: there is no {_labels_names(path)[0]} beside the images.")
    stacks, maximum = _pixel_range(stacks, path, notes)
    class_names: list[str] = []
    known = [part for part in label_stacks if part is not None]
    if known:
        values = np.unique(np.concatenate(known))
        class_names = [str(value) for value in values]
        known = [np.searchsorted(values, part).astype(np.int64) for part in known]
    return ImageData(
        images=stacks[0],
        labels=known[0] if known else None,
        class_names=class_names,
        test_images=stacks[1] if len(stacks) > 1 else None,
        test_labels=known[1] if len(known) > 1 else None,
        name=name,
        source=f"IDX file {path}",
        maximum=maximum,
        notes=notes,
    )


def _n_images(images: NDArray[Any], path: Path) -> int:
    if images.ndim == 1:
        raise DataError(
            f"these are {len(images):,} single values, not images: a file of labels?",
            where=str(path),
            hint="Give the file of images (…-images-idx3-ubyte); its labels are found beside it.",
        )
    channels = images.shape[3] if images.ndim == 4 else 1
    if images.ndim not in (3, 4) or not 1 <= channels <= 4:
        raise DataError(
            f"images have the shape (n, h, w) or (n, h, w, channels), this array has {images.shape}",
            where=str(path),
        )
    if not images.size:
        raise DataError(f"no images: the array has shape {images.shape}", where=str(path))
    return len(images)


def _read_idx_labels(path: Path, n: int) -> NDArray[np.int64]:
    labels = read_idx(path)
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise DataError(
            f"labels are whole numbers of shape (n,), this array is {labels.dtype} of shape {labels.shape}",
            where=str(path),
        )
    if len(labels) != n:
        raise DataError(f"{len(labels):,} labels for {n:,} images", where=str(path))
    return labels.astype(np.int64)


def _pixel_range(stacks: list[NDArray[Any]], path: Path, notes: list[str]) -> tuple[list[NDArray[Any]], float]:
    """Return the images as uint8 or float32, and the value of a fully bright pixel."""
    for stack in stacks:
        _n_images(stack, path)
    stacks = [stack[..., 0] if stack.ndim == 4 and stack.shape[3] == 1 else stack for stack in stacks]
    if all(stack.dtype == np.uint8 for stack in stacks):
        return stacks, 255.0
    for stack in stacks:
        check_finite_images(stack, str(path))
    low, high = min(float(stack.min()) for stack in stacks), max(float(stack.max()) for stack in stacks)
    if low < 0:
        raise DataError(f"pixel values below 0 (the lowest is {low:g}): brightness starts at 0", where=str(path))
    if all(stack.dtype.kind in "ui" for stack in stacks) and high <= 255:
        return [stack.astype(np.uint8) for stack in stacks], 255.0
    maximum = 1.0 if high <= 1 else 255.0 if high <= 255 else high
    notes.append(f"Pixel values run from {low:g} to {high:g}; {maximum:g} is taken as fully bright.")
    return [stack.astype(np.float32) for stack in stacks], maximum


def _idx_images_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if _IDX_IMAGES.search(path.name) and not path.name.startswith(".") and path.is_file()
    )


def _choose_idx(folder: Path, files: list[Path]) -> Path:
    """Return the images to learn from, the plain file where a compressed twin lies beside it."""
    names = {path.name for path in files}
    files = [path for path in files if not (path.name.endswith(".gz") and path.name[:-3] in names)]
    training = [path for path in files if "train" in path.name.lower()]
    choice = training or files
    if len(choice) > 1:
        raise DataError(
            f"several sets of images: {', '.join(path.name for path in choice[:4])}",
            where=str(folder),
            hint=f"Name the one that is meant: {choice[0]}",
        )
    return choice[0]


def _labels_names(path: Path) -> list[str]:
    stem = _IDX_IMAGES.sub(r"labels\1idx1\2", path.name)
    ending = ".gz" if path.name.endswith(".gz") else ""
    return [stem + ending, stem + (".gz" if not ending else "")]


def _labels_beside(path: Path) -> Path | None:
    if not _IDX_IMAGES.search(path.name):
        return None
    return next((path.with_name(name) for name in _labels_names(path) if path.with_name(name).is_file()), None)


def _test_beside(path: Path) -> Path | None:
    if "train" not in path.name:
        return None
    plain = path.name.removesuffix(".gz").replace("train", "{}", 1)
    endings = (".gz", "") if path.name.endswith(".gz") else ("", ".gz")
    for word in ("t10k", "test"):
        for ending in endings:
            candidate = path.with_name(plain.replace("{}", word) + ending)
            if candidate.is_file() and _labels_beside(candidate):
                return candidate
    return None


def _advice(path: Path) -> str:
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = did_you_mean(path.name, [*siblings, *NAMED_IMAGES]).strip()
    return close or 'Images are read from "digits", "mnist", an IDX file, a folder or a picture.'
