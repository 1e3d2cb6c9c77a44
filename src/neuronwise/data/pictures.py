"""Folders of pictures (PNG, JPEG, GIF, BMP, WebP) become one array of images, one class per sub-folder."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.picture_files import PICTURE_SUFFIXES, read_header, read_pixels
from neuronwise.data.pixels import ImageData, shape_words
from neuronwise.errors import DataError
from neuronwise.files import format_bytes

MAX_SIDE = 128
"""Longest side, in pixels, of images whose size was not asked for: larger pictures are scaled down to it."""
MAX_IMAGES_BYTES = 4 * 2**30
"""The most memory that the images read from a folder may take: 4 GiB."""

_TRAINING = ("train", "training")
_TESTING = ("test", "testing")
_VALIDATION = ("val", "valid", "validation")
# Wanted to be read by eye: at most so many file names in one message.
_NAMED = 3


@dataclass
class _Listing:
    """Pictures found, with the class of each, and how many other things were passed over."""

    paths: list[Path] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    hidden: int = 0
    others: int = 0
    loose: int = 0
    empty: list[str] = field(default_factory=list)


def read_picture(path: Path, *, image_size: tuple[int, int] | None = None, channels: int | None = None) -> ImageData:
    """Return one picture as images of shape (1, h, w) or (1, h, w, 3), without a label.

    Raises:
        DataError: No such file, or not a readable picture.
    """
    notes: list[str] = []
    images = _read_all([path], image_size, channels, notes, path.parent)
    return ImageData(images=images, name=path.stem, source=f"picture {path}", notes=notes, image_names=[path.name])


def read_picture_folder(
    folder: Path,
    *,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    labelled: bool = True,
) -> ImageData:
    """Return all pictures below `folder`: as `images.read_images`, which calls this, says.

    Raises:
        DataError: No picture, no sub-folders, fewer than two classes, or an unreadable picture.
    """
    notes: list[str] = []
    if not labelled:
        listing = _Listing()
        _collect(folder, folder.name, listing)
        _refuse_empty(folder, listing)
        _note_passed_over(listing, notes)
        images = _read_all(listing.paths, image_size, channels, notes, folder)
        return ImageData(
            images=images,
            name=folder.name,
            source=f"folder {folder}",
            notes=notes,
            image_names=[_relative(path, folder) for path in listing.paths],
        )

    train, test = _list_classes(folder, notes)
    _note_passed_over(train, notes)
    class_names = sorted(set(train.classes), key=_natural)
    if len(class_names) < 2:
        raise DataError(
            f"only one class: all {len(train.paths):,} pictures are in the sub-folder {class_names[0]!r}",
            where=str(folder),
            hint="Give every class a sub-folder of its own; telling classes apart needs at least two.",
        )
    if unknown := sorted(set(test.classes) - set(class_names), key=_natural):
        raise DataError(
            f"the test pictures have a class without training pictures: {', '.join(unknown[:_NAMED])}",
            where=str(folder),
        )
    images = _read_all(train.paths + test.paths, image_size, channels, notes, folder)
    ids = {name: index for index, name in enumerate(class_names)}
    n = len(train.paths)
    return ImageData(
        images=images[:n],
        labels=np.array([ids[name] for name in train.classes], dtype=np.int64),
        class_names=class_names,
        test_images=images[n:] if test.paths else None,
        test_labels=np.array([ids[name] for name in test.classes], dtype=np.int64) if test.paths else None,
        name=folder.name,
        source=f"folder {folder}",
        notes=notes,
        image_names=[_relative(path, folder) for path in train.paths],
    )


def _list_classes(folder: Path, notes: list[str]) -> tuple[_Listing, _Listing]:
    """Return the labelled pictures for training and, where the folder has its own split, for the test."""
    parts = {path.name.lower(): path for path in _sub_folders(folder)}
    training = [parts[name] for name in _TRAINING if name in parts]
    testing = [parts[name] for name in _TESTING if name in parts]
    validation = [parts[name] for name in _VALIDATION if name in parts]
    split = {path for path in training + testing + validation if any(_sub_folders(path))}
    # Only a folder that holds nothing else: "train" may also be a class, beside "car" and "ship".
    if not (training and split and split == set(parts.values())):
        return _classes_of([folder], folder), _Listing()
    if testing:
        if validation:
            notes.append(f"The pictures of {validation[0].name}/ were added to the training rows.")
        sources, held_out = training + validation, testing
    else:
        sources, held_out = training, validation
    test = _classes_of(held_out, folder) if held_out else _Listing()
    if held_out:
        notes.append(f"{held_out[0].name}/ is the test split ({_count(len(test.paths), 'picture')}).")
    return _classes_of(sources, folder), test


def _classes_of(parents: list[Path], folder: Path) -> _Listing:
    listing = _Listing()
    for parent in parents:
        for path in sorted(_entries(parent), key=lambda path: _natural(path.name)):
            if path.name.startswith("."):
                listing.hidden += 1
            elif path.is_dir():
                before = len(listing.paths)
                _collect(path, path.name, listing)
                if len(listing.paths) == before:
                    listing.empty.append(path.name)
            elif path.suffix.lower() in PICTURE_SUFFIXES:
                listing.loose += 1
            else:
                listing.others += 1
    if not listing.paths and listing.loose:
        raise DataError(
            f"{listing.loose:,} pictures, but no sub-folders: their classes are not known",
            where=str(folder),
            hint="Sort them into one sub-folder per class, named after it: "
            f"{folder.name}/cat/1.png, {folder.name}/dog/1.png.",
        )
    _refuse_empty(folder, listing)
    return listing


def _collect(folder: Path, class_name: str, listing: _Listing) -> None:
    """Add the pictures in and below `folder`; links to folders are not followed."""
    for parent, folders, names in os.walk(folder, onerror=_raise):
        listing.hidden += sum(name.startswith(".") for name in folders)
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_natural)
        for name in sorted(names, key=_natural):
            path = Path(parent, name)
            if name.startswith("."):
                listing.hidden += 1
            elif path.suffix.lower() in PICTURE_SUFFIXES and (path.is_file() or path.is_symlink()):
                listing.paths.append(path)
                listing.classes.append(class_name)
            else:
                listing.others += 1


def _raise(error: OSError) -> None:
    raise DataError(f"the folder cannot be read: {error.strerror}", where=str(error.filename or "folder")) from None


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DataError(f"the folder cannot be read: {error.strerror}", where=str(folder)) from None


def _sub_folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir() and not path.name.startswith(".")]


def _refuse_empty(folder: Path, listing: _Listing) -> None:
    if listing.paths:
        return
    found = f" ({listing.others:,} other files)" if listing.others else ""
    raise DataError(
        f"no pictures in this folder{found}",
        where=str(folder),
        hint="Expected: one sub-folder per class with PNG, JPEG, GIF, BMP or WebP files, or IDX files.",
    )


def _note_passed_over(listing: _Listing, notes: list[str]) -> None:
    if listing.hidden:
        notes.append(f"{_count(listing.hidden, 'hidden file')} ignored.")
    if listing.others:
        notes.append(f"{_count(listing.others, 'file')} that no picture reader knows ignored.")
    if listing.loose:
        notes.append(f"{_count(listing.loose, 'picture')} outside the sub-folders ignored: no class is known.")
    if listing.empty:
        named = ", ".join(listing.empty[:_NAMED]) + (", …" if len(listing.empty) > _NAMED else "")
        notes.append(f"Sub-folders without a picture are no classes: {named}.")


def _read_all(
    paths: list[Path],
    image_size: tuple[int, int] | None,
    channels: int | None,
    notes: list[str],
    folder: Path,
) -> NDArray[np.uint8]:
    """Return all pictures as one array. Two passes: memory is taken once, for a size that is known."""
    headers = [read_header(path) for path in paths]
    sizes = Counter(size for size, _, _ in headers)
    colour = sum(is_colour for _, is_colour, _ in headers)
    if channels is None:
        channels = 3 if colour else 1
        if colour and colour < len(paths):
            notes.append(f"{_count(len(paths) - colour, 'grey picture')} read as colour, like the other {colour:,}.")
    elif channels == 1 and colour:
        notes.append(f"{_count(colour, 'colour picture')} turned to grey.")
    if animated := sum(is_animated for _, _, is_animated in headers):
        notes.append(f"{_count(animated, 'animated picture')}: only the first frame was read.")
    height, width = image_size or _choose_size(sizes, notes)
    changed = len(paths) - sizes[height, width]
    if changed:
        notes.append(
            f"{changed:,} of {len(paths):,} pictures were resized to {shape_words((height, width))} "
            "(nothing is cut off; proportions may change)."
        )
    size_bytes = len(paths) * height * width * channels
    if size_bytes > MAX_IMAGES_BYTES:
        raise DataError(
            f"{len(paths):,} images of {shape_words((height, width))} would take {format_bytes(size_bytes)}, "
            f"more than the limit of {format_bytes(MAX_IMAGES_BYTES)}",
            where=str(folder),
            hint="Ask for a smaller size: image_size=(64, 64).",
        )
    shape = (len(paths), height, width) if channels == 1 else (len(paths), height, width, channels)
    images = np.empty(shape, dtype=np.uint8)
    transparent = 0
    for index, path in enumerate(paths):
        images[index], was_transparent = read_pixels(path, (height, width), channels)
        transparent += was_transparent
    if transparent:
        notes.append(f"{_count(transparent, 'partly transparent picture')} laid on white.")
    return images


def _choose_size(sizes: Counter[tuple[int, int]], notes: list[str]) -> tuple[int, int]:
    # Of equally frequent sizes the smallest, so that the choice never depends on the order of files.
    height, width = min(sizes, key=lambda size: (-sizes[size], size[0] * size[1], size))
    if len(sizes) > 1:
        notes.append(
            f"The pictures have {len(sizes):,} different sizes; the most frequent is "
            f"{shape_words((height, width))}. Another can be asked for with image_size=(h, w)."
        )
    if max(height, width) > MAX_SIDE:
        scale = MAX_SIDE / max(height, width)
        smaller = max(1, round(height * scale)), max(1, round(width * scale))
        notes.append(
            f"{shape_words((height, width))} are many inputs for a first try: the longer side was "
            f"limited to {MAX_SIDE} pixels. Another size can be asked for with image_size=(h, w)."
        )
        return smaller
    return height, width


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a sort key that puts "2" before "10"; the name itself decides between "01" and "1"."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part], name


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
