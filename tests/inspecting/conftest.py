"""A trained network of pictures, and one of a table, that the tests of the inspector look at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import neuronwise
from neuronwise.data import write_houses
from neuronwise.running import Run
from neuronwise.running.inspector import write_inspector

from .browser import chromium

HOSTILE = (
    "</script><img src=x onerror=alert(1)>", "__proto__", "constructor", "a\u202eb", "x" * 10_000, "\x1b[31mred",
    "<!--",
)  # fmt: skip


@contextmanager
def environment(names: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@pytest.fixture(scope="session")
def home_of_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home in which `runs` lie."""
    return tmp_path_factory.mktemp("inspector")


@pytest.fixture(scope="session")
def runs(home_of_runs: Path) -> dict[str, Run]:
    """Train digits and houses, short, without MLflow."""
    csv = home_of_runs / "houses.csv"
    write_houses(csv, rows=400, seed=1)
    options = {"track": False, "explain": False}
    with environment({"NEURONWISE_HOME": str(home_of_runs)}):
        return {
            "digits": neuronwise.train("digits", layers=[16, 12], epochs=8, name="digits", **options),
            "houses": neuronwise.train(str(csv), target="price", layers=[8], epochs=8, name="houses", **options),
        }


@pytest.fixture(scope="session")
def pages(runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write the inspector of each of `runs` to a file, and return their addresses."""
    folder = tmp_path_factory.mktemp("pages")
    for name, run in runs.items():
        write_inspector(run, folder / f"{name}.html")
    return {name: (folder / f"{name}.html").as_uri() for name in runs}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Open a browser for the tests of a module; skip them where there is none."""
    with chromium() as found:
        yield found
