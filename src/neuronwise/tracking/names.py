"""Names as MLflow accepts them, on every platform and in every store."""

from __future__ import annotations

import re

MAX_KEY = 250
MAX_PARAM_VALUE = 6000
MAX_TAG_VALUE = 8000
MAX_EXPERIMENT = 500

# MLflow also takes colons, but not on Windows.
_REFUSED = re.compile(r"[^\w.\- /]")
_REFUSED_IN_IMAGES = re.compile(r"[^a-zA-Z0-9_.\- /]")
_ARTIFACT = re.compile(r"[a-z0-9._/-]{1,120}")


def safe_key(name: str) -> str:
    """Return `name` as a key of a metric, parameter or tag: other characters become ``_``.

    The slash stays: ``hidden1/weight_norm`` makes a section ``hidden1`` in MLflow's page.
    """
    parts = [part.strip() for part in _REFUSED.sub("_", name).split("/")]
    # "", "." and ".." would make it another path than itself.
    parts = [part if part.strip(".") else "_" * len(part) for part in parts if part]
    return "/".join(parts)[:MAX_KEY].rstrip("/ ") or "_"


def safe_image_key(name: str) -> str:
    """Return `name` as a key of an image: as `safe_key`, letters of the English alphabet only."""
    return _REFUSED_IN_IMAGES.sub("_", safe_key(name))


def is_artifact_path(path: str) -> bool:
    """Return whether `path` is one of ours: lower case, digits and ``._/-``, relative, at most 120 characters."""
    return bool(_ARTIFACT.fullmatch(path)) and all(part.strip(".") for part in path.split("/"))


def shorten(text: str, limit: int) -> str:
    """Return `text` cut to `limit` characters, with an ellipsis where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


class KeyMap:
    """Gives each name a safe key of its own, even if two become the same by cleaning.

    Args:
        limit: Keys given out at most.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._keys: dict[str, str] = {}
        self._taken: set[str] = set()

    def __getitem__(self, name: str) -> str | None:
        """Return the key of `name`, None if the limit is reached."""
        if (key := self._keys.get(name)) is not None:
            return key
        if len(self._keys) >= self.limit:
            return None
        key = base = safe_key(name)
        number = 2
        while key in self._taken:
            key = f"{base[: MAX_KEY - 5]}_{number}"
            number += 1
        self._keys[name] = key
        self._taken.add(key)
        return key
