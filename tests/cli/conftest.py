"""A command line for the tests, and one tracked run that several of them look at."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neuronwise.cli import main

from .helpers import Outcome, table

Command = Callable[..., Outcome]


@pytest.fixture
def nw(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run `neuronwise` with arguments, through its real entry point."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["neuronwise", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Return a small table that can be learned from."""
    path = tmp_path / "good.csv"
    path.write_text(table())
    return path


@pytest.fixture
def quick(nw: Command, good: Path) -> Command:
    """Train for an epoch or two without MLflow; more options may follow."""

    def train(*options: object, data: object = good, target: str | None = "price") -> Outcome:
        named = ["--target", target] if target else []
        return nw(
            "train", data, *named, "--no-track", "--no-explain", "--quiet", "--epochs", 2, "--layers", 4, *options
        )

    return train
