"""What tests of watching leave open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from neuronwise.watching import sink


@pytest.fixture(autouse=True)
def _no_files_left_open() -> Iterator[None]:
    """Close the files of watchers that a test did not close, as where an error was expected."""
    yield
    while sink._open:
        sink._open.pop().close()
