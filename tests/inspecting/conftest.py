"""A trained network of pictures, and one of a table, that the tests of the inspector look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import neuronwise
from neuronwise.data import write_houses
from neuronwise.running import Run

HOSTILE = ("</script><img src=x onerror=alert(1)>", "__proto__", "a\u202eb", "x" * 10_000, "\x1b[31mred", "<!--")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """Train digits and houses, short, without MLflow."""
    home = tmp_path_factory.mktemp("inspector")
    before = os.environ.get("NEURONWISE_HOME")
    os.environ["NEURONWISE_HOME"] = str(home)
    try:
        csv = home / "houses.csv"
        write_houses(csv, rows=400, seed=1)
        options = {"track": False, "explain": False}
        yield {
            "digits": neuronwise.train("digits", layers=[16, 12], epochs=8, name="digits", **options),
            "houses": neuronwise.train(str(csv), target="price", layers=[8], epochs=8, name="houses", **options),
        }
    finally:
        if before is None:
            del os.environ["NEURONWISE_HOME"]
        else:
            os.environ["NEURONWISE_HOME"] = before


@pytest.fixture(scope="module")
def home_of_runs(runs: dict[str, Run]) -> Path:
    """Return the home in which they lie."""
    return runs["digits"].folder.parents[1]
