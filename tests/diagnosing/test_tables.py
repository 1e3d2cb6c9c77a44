"""What `diagnose` says of trainings of our own engine on tables with something odd in a column, and on good ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import neuronwise
from neuronwise.cli.main import build_cli
from neuronwise.diagnosing import Diagnosis, measure

Frame = pd.DataFrame


def _houses(rows: int = 400) -> Frame:
    g = np.random.default_rng(0)
    area, age = g.uniform(50, 300, rows).round(2), g.uniform(0, 90, rows).round(2)
    zipcode = 98101 + g.integers(0, 40, rows)
    price = 1000 * area * (1 - 0.004 * age) + g.normal(0, 9000, rows)
    return Frame({"area": area, "age": age, "zipcode": zipcode, "price": price.round(0)})


def _diagnosed(frame: Frame, **named: Any) -> tuple[Diagnosis, Any]:
    named = {"target": "price", "layers": [16], "epochs": 60, "seed": 0, "track": False, "explain": False} | named
    run = neuronwise.train(frame, **named)
    recording = neuronwise.open(run, data=frame)
    return neuronwise.diagnose(recording), recording


def _with_twice(frame: Frame) -> Frame:
    return pd.concat([frame, frame], ignore_index=True)


ODD: dict[str, tuple[str, tuple[str, ...], Callable[[Frame], Frame], dict[str, Any]]] = {
    "leak": ("leaking_target", ("euros",), lambda f: f.assign(euros=0.92 * f.price + 3), {}),
    "leak of names": (
        "leaking_target",
        ("band",),
        lambda f: f.assign(band="b" + (f.price // 30_000).astype(int).astype(str), dear=f.price > 150_000).drop(
            columns="price"
        ),
        {"target": "dear", "category": ["band"]},
    ),
    "few codes": (
        "code_as_number",
        ("zipcode",),
        lambda f: f.assign(zipcode=98101 + f.zipcode % 9),
        {"numeric": ["zipcode"]},
    ),
    "zip code": ("code_as_number", ("zipcode",), lambda f: f, {"numeric": ["zipcode"]}),
    "twice": ("duplicate_rows", (), _with_twice, {}),
}


@pytest.mark.parametrize(("cause", "layers", "change", "named"), ODD.values(), ids=list(ODD))
def test_what_is_wrong_with_a_column_is_named(
    cause: str, layers: tuple[str, ...], change: Callable[[Frame], Frame], named: dict[str, Any]
) -> None:
    found, recording = _diagnosed(change(_houses()), **named)
    assert [one.cause for one in found.findings] == [cause], str(found)
    assert found.findings[0].layers == layers
    for one in found.findings[0].evidence:
        assert measure(recording, one.quantity) == one.value
    assert all(name in found.findings[0].treatment.line for name in layers)


def test_a_good_table_has_nothing_wrong() -> None:
    found, _ = _diagnosed(_houses())
    assert found.findings == (), str(found)
    assert found.skill is not None
    assert found.skill > 0.6


def test_columns_that_say_nothing_are_remarked_on() -> None:
    found, _ = _diagnosed(_houses().assign(feet=lambda f: 10.764 * f.area))
    assert found.findings == (), str(found)
    remarks = {one.name: one for one in found.remarks}
    assert remarks["duplicate_feature"].layers == ("area and feet",)


@pytest.mark.parametrize(("rate", "code"), [(0.01, 0), (1e-7, 3)])
def test_the_command_ends_with_3_where_a_critical_finding_stands(rate: float, code: int, tmp_path: Path) -> None:
    run = neuronwise.train(
        _houses(), target="price", layers=[16], epochs=60, seed=0, learning_rate=rate, track=False, explain=False
    )
    page = tmp_path / "found.html"
    done = CliRunner().invoke(build_cli(), ["diagnose", str(run.folder), "--html", str(page)], standalone_mode=False)
    assert done.exception is None
    assert done.return_value == code, done.output
    assert page.read_text().startswith("<!doctype html>")
    if code:
        assert "lr_too_low" in done.output
        assert "neuronwise train DATA --target price --layers 16 --learning-rate" in done.output


def test_without_the_data_there_is_still_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "houses.csv"
    _houses().to_csv(path, index=False)
    run = neuronwise.train(path, target="price", layers=[8], epochs=5, seed=0, track=False, explain=False)
    path.unlink()
    found = neuronwise.diagnose(neuronwise.open(run.folder))
    assert any("data" in one for one in found.missing)
    assert found.skill is not None  # as the training told it
    assert found.checked
