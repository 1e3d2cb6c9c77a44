"""The page of the inspector made of its data, with what it says of rows of the data in it."""

from __future__ import annotations

from typing import Any

from neuronwise.files import format_bytes
from neuronwise.inspecting.page import page

PAGE_BYTES = 400_000
"""Bytes of a page beside its data, at most: script and style."""


def as_page(payload: dict[str, Any], said: list[str]) -> str:
    """Return the page of a run's data; to what is said of it, a sentence on the rows in it is added."""
    payload["notes"] = list(dict.fromkeys(said))
    shown = payload["examples"]
    if shown is not None:
        said.append(
            f"{len(shown['rows']):,} rows of the data ({shown['part']}, {format_bytes(shown['bytes'])}) are in the "
            "page; redacting leaves them out."
        )
    return page(payload, title=f"{payload['run']['name']}: inspector")
