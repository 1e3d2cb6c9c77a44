"""What `diagnose` says of small trainings with one thing made wrong, of healthy ones, and of odd recordings."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import neuronwise
from neuronwise.diagnosing import CAUSES, SYMPTOMS, Diagnosis, diagnose, measure
from neuronwise.diagnosing.facts import QUANTITIES
from neuronwise.errors import NotFoundError
from neuronwise.recording import Recording

from .nets import blobs, curve, network, recorded

ADAM = torch.optim.Adam
Made = Callable[[Path], Recording]


def _classes(folder: Path, model: nn.Module | None = None, **named: Any) -> Recording:
    loss = named.pop("loss", None) or nn.CrossEntropyLoss()
    named.setdefault("held", blobs(seed=1))
    return recorded(folder, model or network(), loss, named.pop("data", blobs()), **named)


def _numbers(folder: Path, model: nn.Module | None = None, **named: Any) -> Recording:
    loss = named.pop("loss", None) or nn.MSELoss()
    named.setdefault("held", curve(seed=1))
    return recorded(folder, model or network(1, 1), loss, named.pop("data", curve()), **named)


def _same_weights() -> nn.Sequential:
    model = network()
    for part in model:
        if isinstance(part, nn.Linear):
            nn.init.constant_(part.weight, 0.1)
            nn.init.zeros_(part.bias)
    return model


def _times(factor: float) -> nn.Sequential:
    model = network()
    with torch.no_grad():
        for part in model:
            if isinstance(part, nn.Linear):
                part.weight.mul_(factor)
    return model


def _frozen(folder: Path) -> Recording:
    model = network(width=4)
    for part in list(model)[:-1]:
        for one in part.parameters():
            one.requires_grad_(False)
    nn.init.constant_(model[0].bias, -1.0)
    for part in list(model)[:-1]:
        part.requires_grad_(False)
    return _classes(folder, model, optimizer=ADAM([one for one in model.parameters() if one.requires_grad], lr=1e-3))


def _linear(folder: Path) -> Recording:
    torch.manual_seed(0)
    return _numbers(folder, nn.Sequential(nn.Linear(1, 16), nn.Linear(16, 16), nn.Linear(16, 1)),
                    data=(curve()[0], curve()[0] ** 2), held=(curve(seed=1)[0], curve(seed=1)[0] ** 2))  # fmt: skip


def _ordered() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = blobs()
    order = torch.argsort(y)
    return x[order], y[order]


FAULTY: dict[str, tuple[str, Made]] = {
    "lr_too_high": (
        "lr_too_high",
        lambda f: _classes(f, m := network(), optimizer=torch.optim.SGD(m.parameters(), lr=50.0)),
    ),
    "lr_too_low": ("lr_too_low", lambda f: _classes(f, m := network(), optimizer=ADAM(m.parameters(), lr=1e-6))),
    "mean_squared": (
        "label_shape_mismatch",
        lambda f: _numbers(f, data=(curve()[0], curve()[1][:, 0]), held=(curve(seed=1)[0], curve(seed=1)[1][:, 0])),
    ),
    "same_weights": ("bad_init_symmetric", lambda f: _classes(f, _same_weights())),
    "huge_weights": (
        "bad_init_scale",
        lambda f: _classes(f, m := _times(60.0), epochs=3, optimizer=ADAM(m.parameters(), lr=1e-3)),
    ),
    "linear": ("missing_hidden_activation", _linear),
    "frozen": ("frozen_layer", _frozen),
    "ordered": (
        "data_not_shuffled",
        lambda f: _classes(
            f,
            m := network(),
            data=_ordered(),
            shuffle=False,
            epochs=1,
            optimizer=torch.optim.SGD(m.parameters(), lr=1.0),
        ),
    ),
    "not_cleared": (
        "missing_zero_grad",
        lambda f: _classes(f, m := network(), clears=False, optimizer=torch.optim.SGD(m.parameters(), lr=0.3)),
    ),
    "sigmoid_behind": (
        "wrong_output_activation",
        lambda f: _numbers(
            f,
            network(1, 1, last=nn.Sigmoid()),
            data=(curve()[0], 3 * curve()[1]),
            held=(curve(seed=1)[0], 3 * curve(seed=1)[1]),
        ),
    ),
    "other_scale": (
        "preprocessing_mismatch",
        lambda f: _classes(f, held=(50 * blobs(seed=1)[0] + 90, blobs(seed=1)[1])),
    ),
    "in_train_mode": (
        "wrong_train_eval_mode",
        lambda f: _classes(f, network(last=nn.Dropout(0.4)), evaluates="train"),
    ),
    "shifted": ("wrong_labels", lambda f: _classes(f, held=(blobs(seed=1)[0], (blobs(seed=1)[1] + 1) % 3))),
}


@pytest.mark.parametrize(("cause", "made"), FAULTY.values(), ids=list(FAULTY))
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_the_cause_is_named_first(cause: str, made: Made, tmp_path: Path) -> None:
    recording = made(tmp_path / "run")
    found = diagnose(recording)
    assert [one.cause for one in found.findings][:1] == [cause], str(found)
    assert len(found.findings) <= 2
    _check(found, recording)


HEALTHY: dict[str, Made] = {
    "classes": _classes,
    "numbers": lambda f: _numbers(f, epochs=40),
    "classes by SGD at 0.1": lambda f: _classes(f, m := network(), optimizer=torch.optim.SGD(m.parameters(), lr=0.1)),
    "evaluated as it should be": lambda f: _classes(f, network(last=nn.Dropout(0.0)), evaluates="eval"),
}


@pytest.mark.parametrize("made", HEALTHY.values(), ids=list(HEALTHY))
def test_of_a_training_that_goes_well_nothing_is_found(made: Made, tmp_path: Path) -> None:
    recording = made(tmp_path / "run")
    found = diagnose(recording)
    assert found.findings == (), str(found)
    assert found.skill is not None
    assert found.skill > 0.8
    assert not found.is_critical
    assert len(found.checked) >= 5
    assert "Nothing wrong was found" in str(found)
    _check(found, recording)


def _nan_from_the_first_step(folder: Path) -> Recording:
    x, y = blobs()
    x[:, 0] = math.nan
    return _classes(folder, data=(x, y))


ODD: dict[str, Made] = {
    "five steps": lambda f: _classes(f, data=blobs(80), epochs=1),
    "one step": lambda f: _classes(f, data=blobs(16), epochs=1),
    "one class": lambda f: _classes(f, data=(blobs()[0], torch.zeros(240, dtype=torch.int64))),
    "NaN from the first step": _nan_from_the_first_step,
    "no loss, no rows held out": lambda f: _classes(f, tells_loss=False),
    "targets that are all the same": lambda f: _numbers(f, data=(curve()[0], torch.ones(240, 1))),
    "one row held out": lambda f: _classes(f, held=(blobs(1)[0], blobs(1)[1])),
    "whole numbers in": lambda f: recorded(
        f,
        nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 3)),
        nn.CrossEntropyLoss(),
        (torch.randint(0, 5, (60, 3)), torch.randint(0, 3, (60,))),
    ),
}


@pytest.mark.parametrize("made", ODD.values(), ids=list(ODD))
def test_an_odd_recording_gets_an_answer_that_says_what_it_rests_on(made: Made, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        recording = made(tmp_path / "run")
    found = diagnose(recording)
    assert found.checked
    assert str(found)
    _check(found, recording)


def test_what_was_not_handed_in_is_told(tmp_path: Path) -> None:
    found = diagnose(_classes(tmp_path / "run", tells_loss=False))
    assert any("loss=" in one for one in found.missing)
    assert any("validation=" in one for one in found.missing)


def test_without_events_of_the_data_there_is_still_an_answer(tmp_path: Path) -> None:
    recording = _classes(tmp_path / "run")
    events = recording.stored.folder / "events.jsonl"
    kept = [
        line
        for line in events.read_text().splitlines(keepends=True)
        if '"batches"' not in line and '"data"' not in line
    ]
    events.write_text("".join(kept)[:-30])  # its end is torn off besides
    found = diagnose(recording.refresh())
    assert any("events.jsonl" in one for one in found.missing)
    assert "inputs and targets" in found.missing


def _check(found: Diagnosis, recording: Recording) -> None:
    """Every number can be computed again, crosses its limit, and the words are those of the vocabulary."""
    symptoms = [*found.symptoms, *found.remarks]
    for one in found.findings:
        assert one.cause in CAUSES
        assert set(one.symptoms) <= SYMPTOMS.keys()
        assert 0 < one.confidence <= 1
        assert "{" not in one.treatment.line
        assert one.treatment.sentence
    for evidence in [each for one in (*found.findings, *symptoms) for each in one.evidence]:
        assert measure(recording, evidence.quantity) == evidence.value
        assert (evidence.value > evidence.threshold) == evidence.is_above
        assert evidence.source
    assert json.loads(json.dumps(found.to_dict()))["steps"] == found.steps
    assert "<script" not in found._repr_html_()


def test_every_quantity_has_its_definition_and_answers_or_says_that_it_cannot(tmp_path: Path) -> None:
    recording = _classes(tmp_path / "run")
    for name, function in QUANTITIES.items():
        assert function.__doc__
        value = measure(recording, name)
        assert value is None or not math.isnan(value)
    with pytest.raises(NotFoundError, match="moved"):
        measure(recording, "movd")


def test_it_is_a_picture_a_page_and_json(tmp_path: Path) -> None:
    found = diagnose(_classes(tmp_path / "run", _same_weights()))
    for ending in ("png", "html", "json", "txt"):
        assert found.save(tmp_path / f"found.{ending}").stat().st_size > 300
    first = json.loads((tmp_path / "found.json").read_text())["findings"][0]
    assert first["cause"] == "bad_init_symmetric"
    assert first["critical"] is True
    assert first["page"] == "docs/causes/bad_init_symmetric.md"


def test_every_field_of_the_json_is_documented(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "diagnosis.md").read_text()
    content = diagnose(_classes(tmp_path / "run", _same_weights())).to_dict()
    finding = content["findings"][0]
    parts = [content, finding, finding["evidence"][0], finding["treatment"], content["series"]["loss"]]
    for name in {name for part in parts for name in part}:
        assert f"`{name}`" in page, name


def test_a_training_is_diagnosed_while_it_runs(tmp_path: Path) -> None:
    (x, y), model, loss = blobs(), network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=50.0)
    watcher = neuronwise.watch(
        model, optimizer, loss=loss, validation=blobs(seed=1), folder=tmp_path / "run", tracking=False
    )
    with watcher:
        for which in torch.arange(240).split(8):
            optimizer.zero_grad()
            loss(model(x[which]), y[which]).backward()
            optimizer.step()
        assert [one.cause for one in watcher.diagnose().findings] == ["lr_too_high"]


def test_an_observation_that_fails_ends_neither_the_training_nor_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr("neuronwise.watching.torch_training.targets_of", fail)
    recording = _classes(tmp_path / "run")
    assert recording.status == "finished"
    assert len(recording.frames) > 50
    found = diagnose(recording)
    assert any("a fault of ours" in one for one in found.missing)


def test_of_checkpoints_alone_nothing_is_made_up(tmp_path: Path) -> None:
    model = network()
    for step in range(3):
        torch.save(model.state_dict(), tmp_path / f"after-{step}.pt")
        with torch.no_grad():
            model[0].weight.add_(0.1)
    found = diagnose(neuronwise.from_checkpoints(str(tmp_path / "after-*.pt"), model))
    assert found.findings == (), str(found)
    assert found.remarks == ()
    assert len(found.missing) >= 3


@pytest.mark.parametrize(
    ("skill", "said"),
    [
        (None, ""),
        (0.864, "The network gets 86% of the way from a constant guess to all right."),
        (0.01, "The network's answers are no better than a constant guess."),
        (-0.4, "The network's answers are no better than a constant guess."),
        (-50.0, "The network's answers are far worse than a constant guess."),
        (math.nan, "The network's answers are far worse than a constant guess."),
    ],
)
def test_how_much_was_learned_is_a_sentence(skill: float | None, said: str) -> None:
    found = Diagnosis((), (), (), (), (), skill, 10, {})
    assert found.learned == said
    assert str(found).splitlines()[0] == f"Nothing wrong was found in 10 steps. {said}".rstrip()
