"""neuronwise ui: what cannot be shown is told before anything is served."""

from __future__ import annotations

import pytest

from .conftest import Command


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["nonsense"], "there is no run 'nonsense'"),
        (["--port", "70000"], "--port: a port is a number from 0 to 65535, got 70000"),
        (["--port", "many"], "'many' is not a valid integer"),
    ],
)
def test_what_cannot_be_shown_is_told(nw: Command, arguments: list[str], part: str) -> None:
    outcome = nw("ui", *arguments)
    assert outcome.code == 2
    assert part in outcome.err
