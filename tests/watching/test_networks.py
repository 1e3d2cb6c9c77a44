"""A watched Sequential of known layers is a Network at every stored state; of any other model it is said why not."""

from __future__ import annotations

import copy
import json
import random
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.recording import Recording, read_recording
from neuronwise.watching import TorchWatcher, torch_network

from .helpers import CLASSES, Conv, Loop, hooks_on, loss_of, mlp, pictures, rows, seeded


def convolutions() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    )


def bare() -> nn.Sequential:
    """Return one whose layers lack what a network of ours has, between what it has none for."""
    return nn.Sequential(
        nn.Linear(7, 6, bias=False), nn.BatchNorm1d(6, affine=False), nn.Identity(), nn.Tanh(), nn.Linear(6, CLASSES)
    )


def named() -> nn.Sequential:
    inner = nn.Sequential(OrderedDict(first=nn.Linear(7, 5), act=nn.GELU()))
    return nn.Sequential(OrderedDict(body=inner, head=nn.Linear(5, CLASSES)))


SEQUENCES: dict[str, tuple[Callable[[], nn.Sequential], Callable[[int], torch.Tensor]]] = {
    "mlp": (mlp, rows),
    "convolutions": (convolutions, pictures),
    "without biases": (bare, rows),
    "named": (named, rows),
    "double": (lambda: mlp().double(), lambda step: rows(step).double()),
}


def watch(loop: Loop, folder: Path, **options: Any) -> TorchWatcher:
    return TorchWatcher(loop.model, loop.optimizers, folder=folder / "recording", **({"strict": True} | options))


@pytest.mark.parametrize("name", SEQUENCES)
def test_at_every_state_the_network_is_the_model(name: str, tmp_path: Path) -> None:
    make, batch_of = SEQUENCES[name]
    loop = Loop(seeded(make), batch_of)
    watcher = watch(loop, tmp_path)
    # The recording begins with the first step, after its forward pass has moved the averages of a normalisation.
    first = copy.deepcopy(loop.model)
    first(batch_of(0))
    answers = [first.eval()(batch_of(99)).detach().numpy()]
    for step in range(6):
        loop.step(step)
        answers.append(loop.model.eval()(batch_of(99)).detach().numpy())
        loop.model.train()
    weights = [one.detach().numpy().copy() for one in loop.model.parameters()]
    watcher.close()
    recording = Recording(read_recording(watcher.folder))
    tolerance = 1e-12 if answers[0].dtype == np.float64 else 1e-6
    assert len(recording.keyframes) > 4
    for step in recording.keyframes.tolist():
        network = recording.at(step)
        y_hat = network.trace(batch_of(99).numpy()).y_hat
        assert y_hat.dtype == answers[0].dtype
        np.testing.assert_allclose(y_hat, answers[step], rtol=tolerance, atol=tolerance)
    ours = [own for layer in recording.network.layers for own in layer.parameters.values()]
    assert all(any(np.array_equal(one, own) for own in ours) for one in weights)
    assert not any("network" in note for note in recording.notes)
    assert not recording.problems


def test_names_in_the_network_and_in_the_recording(tmp_path: Path) -> None:
    loop = Loop(seeded(mlp), rows)
    with watch(loop, tmp_path) as watcher:
        loop.step(0)
    found = watcher.recording.stored.module_network
    assert found is not None
    assert found.arrays == {
        "hidden1": {"W": ("0", "weight"), "b": ("0", "bias")},
        "hidden2": {"W": ("3", "weight"), "b": ("3", "bias")},
        "output": {"W": ("5", "weight"), "b": ("5", "bias")},
    }


def test_the_probe_is_answered_at_any_state(tmp_path: Path) -> None:
    loop = Loop(seeded(mlp), rows)
    with watch(loop, tmp_path, probe=rows(5)) as watcher:
        loop.step(0)
    y_hat = loop.model.eval()(rows(5)).detach().numpy()
    np.testing.assert_allclose(watcher.recording.probe(1).y_hat, y_hat, rtol=1e-6, atol=1e-6)


def test_of_a_compiled_sequence_the_probe_tells_the_shape(tmp_path: Path) -> None:
    loop = Loop(seeded(convolutions), pictures)
    inside = loop.model
    torch._dynamo.reset()
    loop.model = torch.compile(inside, backend="eager")  # type: ignore[assignment]
    with watch(loop, tmp_path, probe=pictures(5)) as watcher:
        loop.step(0)
    assert watcher.recording.at(1).input_shape == (2, 6, 6)


# ---------------------------------------------------------------------- none, and why


def test_of_another_module_it_is_said_why_there_is_none(tmp_path: Path) -> None:
    loop = Loop(seeded(Conv), pictures)
    with watch(loop, tmp_path) as watcher:
        loop.step(0)
    recording = watcher.recording
    with pytest.raises(NotFoundError, match=r"an nn\.Sequential is needed, got Conv"):
        recording.at(1)
    with pytest.raises(NotFoundError, match=r"an nn\.Sequential is needed, got Conv"):
        recording.network  # noqa: B018
    assert not any("network" in note for note in recording.notes)  # of most models; where it is asked for, it is said


@pytest.mark.parametrize(
    ("make", "options", "why"),
    [
        (lambda: nn.Sequential(nn.Linear(7, 6), nn.LayerNorm(6), nn.Linear(6, 3)), {}, "module 1: .*LayerNorm"),
        (lambda: nn.Sequential(nn.Linear(7, 6), nn.Linear(6, 3)).bfloat16(), {}, "module 0: its weight is bfloat16"),
        (mlp, {"exclude": ["3"]}, "3.weight is not recorded"),
    ],
)
def test_a_sequence_that_has_none_says_why(make: Any, options: Any, why: str, tmp_path: Path) -> None:
    model = seeded(make)
    loop = Loop(model, lambda step: rows(step).to(next(model.parameters()).dtype))
    with watch(loop, tmp_path, **options) as watcher:
        loop.step(0)
    recording = watcher.recording
    (note,) = (one for one in recording.notes if "no Network" in one)
    with pytest.raises(NotFoundError, match=why):
        recording.at(1)
    assert why.split(":")[0] in note


def test_of_inputs_with_more_axes_it_is_no_network_of_vectors(tmp_path: Path) -> None:
    """Each row of a sentence would be taken for an input of its own."""
    loop = Loop(seeded(mlp), lambda step: rows(step)[:, None].expand(-1, 4, -1))
    loop.step = lambda step: (  # type: ignore[method-assign]
        loop.model(loop.batch_of(step)).sum().backward(), loop.optimizers[0].step()
    )  # fmt: skip
    with watch(loop, tmp_path) as watcher:
        loop.step(0)
    with pytest.raises(NotFoundError, match=r"shape \(4, 7\)"):
        watcher.recording.at(1)


def test_a_failure_is_one_note_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(torch_network, "from_torch_with_names", fail)
    loop, plain = (Loop(seeded(mlp), rows) for _ in range(2))
    torch.manual_seed(1)
    for step in range(3):
        plain.step(step)
    torch.manual_seed(1)
    with watch(loop, tmp_path) as watcher:
        for step in range(3):
            loop.step(step)
    recording = watcher.recording
    assert sum("ZeroDivisionError" in note for note in recording.notes) == 1
    assert recording.frames.tolist() == [0, 1, 2, 3]
    assert not watcher.problems
    assert all(torch.equal(*pair) for pair in zip(loop.model.parameters(), plain.model.parameters(), strict=True))


def test_no_random_state_is_moved_and_no_mode_changed(tmp_path: Path) -> None:
    loop = Loop(seeded(convolutions), pictures)
    loop.model[1].eval()
    watcher = watch(loop, tmp_path)
    loss_of(loop.model, pictures(0), 0).backward()
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    modes = [module.training for module in loop.model.modules()]
    values = {name: one.clone() for name, one in loop.model.state_dict().items()}
    watcher._frames._begin()
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
    assert before[2] == random.getstate()
    assert modes == [module.training for module in loop.model.modules()]
    assert all(torch.equal(one, values[name]) for name, one in loop.model.state_dict().items())
    watcher.close()
    assert watcher.recording.stored.module_network is not None
    assert not hooks_on(loop.model, *loop.optimizers)


# ---------------------------------------------------------------------- models that change


@pytest.mark.parametrize("change", ["appended", "exchanged"])
def test_after_its_modules_have_changed_it_is_no_longer_that_network(change: str, tmp_path: Path) -> None:
    loop = Loop(seeded(mlp), rows)
    watcher = watch(loop, tmp_path)
    for step in range(3):
        loop.step(step)
    if change == "appended":
        loop.model.append(nn.Tanh())
    else:
        loop.model[4] = nn.Sigmoid()
    for step in range(3, 9):
        loop.step(step)
    watcher.close()
    recording = watcher.recording
    assert recording.at(3).input_shape == (7,)
    with pytest.raises(NotFoundError, match="modules of the model were changed"):
        recording.at(9)
    with pytest.raises(NotFoundError, match="modules of the model were changed"):
        recording.network  # noqa: B018


# ---------------------------------------------------------------------- recordings of strangers


def edited(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Recording:
    """Return the recording with another description, whose checksum is right."""
    path = folder / "recording.json"
    content = json.loads(path.read_text())["recording"]
    change(content)
    text = json.dumps(content)
    path.write_text(f'{{"crc": "{zlib.crc32(text.encode()):08x}", "recording": {text}}}')
    return Recording(read_recording(folder))


def _arrays(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["watched"]["network"]["arrays"]
    return found


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another shape": lambda content: _arrays(content)["hidden1"].update(W=["3", "weight"]),
    "no such layer": lambda content: _arrays(content)["hidden1"].update(W=["9", "weight"]),
    "weights that are nowhere": lambda content: _arrays(content)["hidden1"].pop("W"),
    "one array twice": lambda content: _arrays(content)["hidden1"].update(b=["0", "bias"], W=["0", "bias"]),
    "three words": lambda content: _arrays(content)["hidden1"].update(b=["0", "bias", "x"]),
    "no arrays": lambda content: content["watched"]["network"].pop("arrays"),
    "a number": lambda content: content["watched"].update(network=7),
    "another precision": lambda content: content["watched"]["network"]["description"].update(dtype="float64"),
    "no description": lambda content: content["watched"]["network"].update(description=None),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_description_that_does_not_fit_is_refused(how: str, tmp_path: Path) -> None:
    loop = Loop(seeded(mlp), rows)
    with watch(loop, tmp_path) as watcher:
        loop.step(0)
    assert edited(watcher.folder, lambda content: None).at(1).parameter_count == 101
    with pytest.raises(FormatError):
        edited(watcher.folder, HOSTILE[how]).at(1)
