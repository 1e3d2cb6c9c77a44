"""Over many recordings: every number in a finding can be computed again, and drawn series and key numbers by hand."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import neuronwise
from neuronwise.diagnosing import CAUSES, SYMPTOMS, Diagnosis, diagnose, measure
from neuronwise.diagnosing.diagnose import facts_of
from neuronwise.diagnosing.markdown import markdown
from neuronwise.diagnosing.series import MOST_POINTS, SERIES, SERIES_OF, drawn
from neuronwise.errors import NeuronwiseError
from neuronwise.recording import Recording
from neuronwise.recording.events import read_events
from neuronwise.running.fitted import FittedNetwork

from .nets import recorded

FEW = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def _trainings(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "task": draw(st.sampled_from(["classes", "binary", "number"])),
        "rate": draw(st.sampled_from([1e-6, 1e-3, 0.05, 3.0, 1e12])),
        "optimizer": draw(st.sampled_from(["adam", "sgd"])),
        "activation": draw(st.sampled_from([nn.ReLU, nn.Tanh, nn.Sigmoid])),
        "rows": draw(st.integers(4, 90)),
        "epochs": draw(st.integers(1, 4)),
        "tells_loss": draw(st.booleans()),
        "scale": draw(st.sampled_from([1.0, 1000.0])),
        "spoiled": draw(st.sampled_from(["", "", "nan", "one class", "constant"])),
    }


def _trained(case: dict[str, Any], folder: Path) -> Recording:
    g = torch.Generator().manual_seed(0)
    x = case["scale"] * torch.randn(case["rows"], 3, generator=g)
    y: torch.Tensor = x.sum(1, keepdim=True) / case["scale"]
    outputs, loss = 1, nn.MSELoss()
    if case["task"] == "classes":
        y, outputs, loss = (y[:, 0] > 0).long() + (y[:, 0] > 1).long(), 3, nn.CrossEntropyLoss()  # type: ignore[assignment]
    elif case["task"] == "binary":
        y, loss = (y > 0).float(), nn.BCEWithLogitsLoss()  # type: ignore[assignment]
    if case["spoiled"] == "nan":
        x[0, 0] = math.nan
    elif case["spoiled"] == "one class":
        y = torch.zeros_like(y)
    elif case["spoiled"] == "constant":
        x[:, 1] = 2.0
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 6), case["activation"](), nn.Linear(6, outputs))
    make = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[case["optimizer"]]
    optimizer = make(model.parameters(), lr=case["rate"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return recorded(folder, model, loss, (x, y), held=(x, y), optimizer=optimizer, epochs=case["epochs"], batch=8,
                        tells_loss=case["tells_loss"])  # fmt: skip


def check(found: Diagnosis, recording: Recording) -> None:
    """Check that all that is said can be computed again from the recording alone, opened anew."""
    anew = recording.refresh()
    for one in (*found.findings, *found.symptoms, *found.remarks):
        for each in one.evidence:
            assert measure(anew, each.quantity) == each.value
            assert (each.value > each.threshold) == each.is_above
            assert each.series == SERIES_OF.get(each.quantity, "")
            assert each.series == "" or each.series in found.series or drawn(facts_of(anew), each.series) is None
    for finding in found.findings:
        assert finding.cause in CAUSES
        assert set(finding.symptoms) <= SYMPTOMS.keys()
        assert list(finding.steps) == sorted(set(finding.steps))
        assert set(finding.steps) <= set(recording.frames.tolist())
        assert finding.first_step is None or not finding.steps or finding.steps[0] >= finding.first_step
        assert "{" not in finding.treatment.line.replace("{}", "")
    for series in found.series.values():
        assert len(series.steps) == len(series.values) <= MOST_POINTS + 1
        assert list(series.steps) == sorted(series.steps)
        assert series.words
    content = json.loads(json.dumps(found.to_dict()))
    assert content["format"] == "neuronwise-diagnosis"
    assert markdown(found, "run").startswith("# run\n")
    assert found.checked or found.missing


@FEW
@given(_trainings())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_number_can_be_computed_again(tmp_path_factory: pytest.TempPathFactory, case: dict[str, Any]) -> None:
    recording = _trained(case, tmp_path_factory.mktemp("made") / "run")
    check(diagnose(recording), recording)


@FEW
@given(_trainings())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_and_series_are_what_they_are_called(
    tmp_path_factory: pytest.TempPathFactory, case: dict[str, Any]
) -> None:
    """The slow, obvious way: neuron by neuron and step by step through what `neuronwise.open` shows."""
    recording = _trained(case, tmp_path_factory.mktemp("made") / "run")
    facts = facts_of(recording)
    layers, frames = ["0", "2"], [step for step in recording.frames.tolist() if step > 0]

    def norm(layer: str, what: str, place: int) -> float:
        values = recording.neurons(layer, what).values[recording.neurons(layer, what).steps > 0][place]
        return math.sqrt(sum(float(one) ** 2 for one in values))

    ratios = []
    for layer in layers:
        each = [norm(layer, "update_norm", i) / norm(layer, "weight_norm", i) for i in range(len(frames))]
        ratios.append(np.median([one for one in each if math.isfinite(one)] or [math.nan]))
    expected = float(np.median([one for one in ratios if math.isfinite(one)])) if np.isfinite(ratios).any() else None
    found = measure(recording, "update_ratio")
    assert found == expected if expected is None else found == pytest.approx(expected, rel=1e-6)

    events = list(read_events(recording.stored.folder, []))
    if case["tells_loss"]:
        losses = [float(one) for one in recording.stored.scalars["loss"]]
        assert drawn(facts, "loss").values == pytest.approx(losses, nan_ok=True)  # type: ignore[union-attr]
        assert measure(recording, "loss_first") == pytest.approx(sum(losses[:3]) / len(losses[:3]), nan_ok=True) or any(
            map(math.isnan, losses[:3])
        )
        held = [one for one in events if one.get("kind") == "validated" and isinstance(one.get("loss"), float)]
        series = drawn(facts, "val_loss")
        if held:
            assert series is not None
            assert list(series.values) == [one["loss"] for one in held]
            assert list(series.steps) == [one["step"] for one in held]
            least = min(one["loss"] for one in held)
            if least > 0:
                assert measure(recording, "validation_loss_rise") == pytest.approx(held[-1]["loss"] / least)
    if case["activation"] is nn.ReLU:
        values = recording.neurons("0", "inactive").values[recording.neurons("0", "inactive").steps > 0]
        shares = [sum(float(one) > 0.999 for one in row) / 6 for row in values if np.isfinite(row).any()]
        assert drawn(facts, "dead_share").values == pytest.approx(shares)  # type: ignore[union-attr]
    size = drawn(facts, "gradient_norm")
    norms = [[norm(layer, "grad_norm", i) for layer in layers] for i in range(len(frames))]
    kept = [each for each in norms if not all(map(math.isnan, each))]
    if size is not None and np.isfinite(kept).all():
        assert list(size.values) == pytest.approx([math.hypot(*each) for each in kept], rel=1e-6)


def test_every_series_has_its_definition() -> None:
    assert set(SERIES_OF.values()) == set(SERIES)
    assert all(one.__doc__ for one in SERIES.values())


# ---------------------------------------------------------------------- our own engine


def _frame(rows: int, seed: int = 0) -> pd.DataFrame:
    g = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": g.normal(size=rows), "b": g.normal(size=rows)})
    return frame.assign(y=2 * frame["a"] - frame["b"], kind=np.where(frame["a"] > 0, "up", "down"))


@settings(FEW, max_examples=8)
@given(
    target=st.sampled_from(["y", "kind"]),
    rows=st.integers(12, 120),
    rate=st.sampled_from([1e-7, 0.01, 5.0, 1e20]),
    optimizer=st.sampled_from(["adam", "sgd"]),
    epochs=st.integers(1, 6),
    at_hand=st.booleans(),
)
def test_the_same_of_our_own_engine(
    tmp_path_factory: pytest.TempPathFactory, target: str, rows: int, rate: float, optimizer: str, epochs: int,
    at_hand: bool,
) -> None:  # fmt: skip
    frame = _frame(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(tmp_path_factory.mktemp("home")))
        try:
            run = neuronwise.train(frame, target, drop=["kind" if target == "y" else "y"], layers=[5], epochs=epochs,
                                   learning_rate=rate, optimizer=optimizer, track=False)  # fmt: skip
        except neuronwise.errors.TrainingDiverged as error:
            run = error.run  # type: ignore[assignment]
    assert isinstance(run.model, FittedNetwork)
    recording = neuronwise.open(run.folder, frame if at_hand else None)
    found = diagnose(recording)
    check(found, recording)
    if at_hand:
        assert run.diagnosis is not None
        assert [one.cause for one in run.diagnosis.findings] == [one.cause for one in found.findings]


ODD = {
    "five steps": lambda: (_frame(40), "y", {"epochs": 1, "batch_size": 6}),
    "one step": lambda: (_frame(20), "y", {"epochs": 1, "batch_size": 200}),
    "one class in training": lambda: ((np.random.default_rng(0).normal(size=(60, 3)), np.zeros(60)), None, {}),
    "two rows of a class": lambda: (
        _frame(60).assign(kind=["x"] * 58 + ["z"] * 2), "kind", {"epochs": 3, "drop": ["y"]}
    ),
    "a diverging rate": lambda: (_frame(60), "y", {"learning_rate": 1e30, "optimizer": "sgd", "drop": ["kind"]}),
}  # fmt: skip


@pytest.mark.parametrize("made", ODD.values(), ids=list(ODD))
def test_an_odd_training_of_ours_gets_an_answer(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    data, target, named = made()
    try:
        run = neuronwise.train(data, target, **{"layers": [4], "epochs": 2, "track": False} | named)
    except neuronwise.errors.TrainingDiverged as error:
        run = error.run  # type: ignore[assignment]
    except NeuronwiseError:  # refused in a sentence, and nothing was written
        return
    assert run.diagnosis is not None
    assert run.diagnosis.checked
    check(run.diagnosis, neuronwise.open(run.folder, data))


def test_a_recording_with_gaps_is_diagnosed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    frame = _frame(80)
    run = neuronwise.train(frame, "y", drop=["kind"], layers=[4], epochs=8, track=False, keyframe_every=5)
    folder = run.folder / "recording"
    for path in sorted(folder.glob("neurons-*")) or sorted(folder.glob("keyframes-*")):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
    recording = neuronwise.open(run.folder, frame)
    found = diagnose(recording)
    assert found.checked
    assert any("neurons" in one or "keyframes" in one for one in found.missing), found.missing
    check(found, recording)


def test_a_watched_recording_whose_files_end_early_is_diagnosed(tmp_path: Path) -> None:
    case = {"task": "classes", "rate": 0.05, "optimizer": "adam", "activation": nn.ReLU, "rows": 60, "epochs": 6,
            "tells_loss": True, "scale": 1.0, "spoiled": ""}  # fmt: skip
    recording = _trained(case, tmp_path / "run")
    for name in ("neurons", "scalars", "keyframes"):
        for path in recording.stored.folder.glob(f"{name}-*"):
            content = path.read_bytes()
            path.write_bytes(content[: 4096 + (len(content) - 4096) // 2])
    found = diagnose(recording.refresh())
    assert found.checked
    assert found.missing
    check(found, recording)
