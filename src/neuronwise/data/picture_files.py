"""One picture file (PNG, JPEG, GIF, BMP, WebP), decoded with care: nothing large, strange or torn gets through."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp"})
MAX_PICTURE_PIXELS = 100_000_000
"""Pictures that declare more pixels than this are refused before they are unpacked."""

# Only these decoders are ever tried, whatever the bytes of a file claim to be.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture lazily; every way in which it can be unreadable becomes a DataError that names it."""
    from PIL import Image, UnidentifiedImageError

    try:
        # Pillow warns of a bomb before it refuses it; our own limit is below and always refuses.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as picture:
                if math.prod(picture.size) > MAX_PICTURE_PIXELS:
                    raise Image.DecompressionBombError
                yield picture
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(
            f"the picture declares more than {MAX_PICTURE_PIXELS:,} pixels: not unpacked",
            where=str(path),
        ) from None
    except FileNotFoundError:
        raise DataError("no such file", where=str(path)) from None
    except MemoryError:
        raise DataError("the picture does not fit into memory", where=str(path)) from None
    except UnidentifiedImageError:
        raise _unreadable(path, "it is not one of " + ", ".join(_FORMATS)) from None
    except Exception as error:  # noqa: BLE001 - decoders of foreign bytes raise whatever they meet
        raise _unreadable(path, error) from None


def _unreadable(path: Path, reason: object) -> DataError:
    return DataError(
        f"the picture cannot be read: {reason}",
        where=str(path),
        hint="Repair or remove the file. A truncated copy is the most frequent cause.",
    )


def read_header(path: Path) -> tuple[tuple[int, int], bool, bool]:
    """Return (h, w) as shown, whether the picture has colour, and whether it is animated."""
    with _opened(path) as picture:
        width, height = picture.size
        # Cameras store the picture lying and a tag that turns it; 5 to 8 swap the axes.
        if picture.format in ("JPEG", "WEBP") and picture.getexif().get(0x0112) in (5, 6, 7, 8):
            width, height = height, width
        is_colour = not (picture.mode in ("1", "L", "LA", "La", "I", "F") or picture.mode.startswith("I;16"))
        if picture.mode == "P" and picture.palette is not None:
            colours = np.frombuffer(bytes(picture.palette.tobytes()), dtype=np.uint8)
            width_of_entry = len(picture.palette.mode)
            usable = colours[: len(colours) // width_of_entry * width_of_entry].reshape(-1, width_of_entry)
            is_colour = bool((usable[:, :1] != usable[:, 1:3]).any())
        return (height, width), is_colour, getattr(picture, "n_frames", 1) > 1


def read_pixels(path: Path, size: tuple[int, int], channels: int) -> tuple[NDArray[np.uint8], bool]:
    """Return one picture as uint8 (h, w) or (h, w, 3), and whether it was partly transparent."""
    from PIL import Image, ImageOps

    with _opened(path) as stored:
        picture: Any = ImageOps.exif_transpose(stored)
        if picture.mode.startswith("I;16") or picture.mode == "I":
            # Pillow would clip 16-bit grey at 255 instead of scaling it.
            grey = np.clip(np.asarray(picture, dtype=np.int64), 0, 65535) // 257
            picture = Image.fromarray(grey.astype(np.uint8))
        transparent = False
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            transparent = picture.getchannel("A").getextrema()[0] < 255
            ground = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(ground, picture)
        picture = picture.convert("L" if channels == 1 else "RGB")
        height, width = size
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(picture, dtype=np.uint8), transparent
