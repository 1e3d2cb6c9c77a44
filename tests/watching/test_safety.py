"""Whatever else is done with a watched model, the training and the recording take no harm."""

from __future__ import annotations

import copy
import gc
import io
import os
import pickle
import subprocess
import sys
import textwrap
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import neuronwise
from neuronwise.errors import NotFoundError, UsageError
from neuronwise.recording.segments import SegmentWriter
from neuronwise.watching import TorchWatcher
from neuronwise.watching.torch_frames import FrameWriter
from neuronwise.watching.torch_gradients import Gradients
from neuronwise.watching.torch_nonfinite import NonfiniteFinder
from neuronwise.watching.torch_passes import ForwardPasses
from neuronwise.watching.torch_statistics import TorchStatistics

from .helpers import Loop, events, hooks_on, mlp, rows


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(7, 5), nn.Linear(5, 3)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.act(self.first(x)))


def made() -> Loop:
    torch.manual_seed(5)
    return Loop(mlp(), rows)


def watched(folder: Path, loop: Loop | None = None, **options: Any) -> tuple[Loop, TorchWatcher]:
    loop = made() if loop is None else loop
    return loop, TorchWatcher(loop.model, loop.optimizers, folder=folder / "recording", **({"strict": True} | options))


def train(loop: Loop, steps: int = 3) -> Loop:
    for step in range(steps):
        loop.step(step)
    return loop


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def weights_of(loop: Loop) -> list[torch.Tensor]:
    return [one.detach().clone() for one in loop.model.parameters()]


def assert_sound(watcher: TorchWatcher, steps: int, status: str = "finished") -> None:
    recording = watcher.recording
    assert recording.status == status
    assert recording.frames.tolist() == list(range(steps + 1))
    assert not recording.stored.check()
    assert not watcher.problems


# ---------------------------------------------------------------------- copies of the model


def test_a_saved_model_loads_where_neuronwise_is_not_installed(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path)
    train(loop)
    assert hooks_on(loop.model)
    torch.save(loop.model, tmp_path / "model.pt")
    torch.save({"optimizer": loop.optimizers[0], "states": loop.optimizers[0].state_dict()}, tmp_path / "optimizer.pt")
    watcher.close()
    script = """
        import sys
        sys.modules["neuronwise"] = None
        import torch
        model = torch.load("model.pt", weights_only=False)
        optimizer = torch.load("optimizer.pt", weights_only=False)["optimizer"]
        out = model.eval()(torch.ones(2, 7))
        out.sum().backward()
        optimizer.step()
        torch.save(out.detach(), "out.pt")
        assert not any(name.startswith("neuronwise") for name in sys.modules if sys.modules[name] is not None)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=True)
    assert torch.equal(torch.load(tmp_path / "out.pt"), loop.model.eval()(torch.ones(2, 7)))
    state = io.BytesIO()
    torch.save(loop.model.state_dict(), state)  # with weights only, as most do
    state.seek(0)
    torch.load(state, weights_only=True)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_is_trained_without_being_recorded(copied: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path)
    train(loop, 2)
    assert hooks_on(loop.model)
    before = watcher.recording.neurons("0", "mean", [2]).values
    twin = Loop(copied(loop.model), rows)
    bare = made()
    bare.model.load_state_dict(loop.model.state_dict())
    bare.optimizers = bare.make()
    torch.manual_seed(1)
    train(twin, 2)
    torch.manual_seed(1)
    train(bare, 2)
    assert all(torch.equal(*pair) for pair in zip(weights_of(twin), weights_of(bare), strict=True))
    assert watcher.step == 2
    assert watcher._frames._statistics.order == []
    watcher.close()
    assert_sound(watcher, 2)
    assert np.array_equal(watcher.recording.neurons("0", "mean", [2]).values, before, equal_nan=True)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_watcher_is_not_copied(copied: Callable[[Any], Any], tmp_path: Path) -> None:
    _, watcher = watched(tmp_path)
    with pytest.raises(TypeError, match="belongs to the process"):
        copied(watcher)
    watcher.close()


# ---------------------------------------------------------------------- other processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_trains_on_and_leaves_the_recording_alone(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path)
    loss = watcher.observe(nn.functional.mse_loss)

    def step(number: int) -> None:
        loss(loop.model(rows(number)), torch.zeros(6, 3))
        loop.step(number)

    for number in range(3):
        step(number)
    assert len(watcher.recording.frames) == 4  # what waited in memory is written now
    loss(loop.model(rows(0)), torch.zeros(6, 3))
    before = content_of(watcher.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking where there are threads
        child = os.fork()
    if not child:
        code = 1
        try:
            torch.set_num_threads(1)
            watcher.log(accuracy=0.5)
            step(3)
            assert len(watcher.recording.frames) == 4
            watcher.close("failed")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert content_of(watcher.folder) == before
    for number in range(3, 5):
        step(number)
    watcher.close()
    assert_sound(watcher, 5)
    assert watcher.recording.history("loss").steps.tolist() == [1, 2, 3, 4, 5]
    assert not events(watcher.folder, "metrics")


@pytest.mark.full
def test_workers_that_are_spawned_while_hooks_are_on(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path)
    data = torch.utils.data.TensorDataset(torch.randn(24, 7))
    for (x,) in torch.utils.data.DataLoader(data, 6, num_workers=1, multiprocessing_context="spawn"):
        loop.batch_of = lambda step, x=x: x
        loop.step(0)
    watcher.close()
    assert_sound(watcher, 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_workers_that_are_forked_while_hooks_are_on(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path)
    data = torch.utils.data.TensorDataset(torch.randn(24, 7))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for (x,) in torch.utils.data.DataLoader(data, 6, num_workers=1, multiprocessing_context="fork"):
            loop.batch_of = lambda step, x=x: x
            loop.step(0)
    watcher.close()
    assert_sound(watcher, 4)


def test_a_script_that_does_not_close_leaves_a_whole_recording(tmp_path: Path) -> None:
    script = """
        import torch
        from neuronwise.watching import TorchWatcher
        model = torch.nn.Linear(3, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        watcher = TorchWatcher(model, optimizer, folder="recording")
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).sum().backward()
            optimizer.step()
    """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(script)], cwd=tmp_path, check=True)
    from neuronwise.recording import Recording, read_recording

    recording = Recording(read_recording(tmp_path / "recording"))
    assert recording.status == "finished"
    assert recording.frames.tolist() == [0, 1, 2, 3]
    assert not recording.stored.check()


# ---------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("error", "status"), [(None, "finished"), (ValueError, "failed"), (KeyboardInterrupt, "interrupted")]
)
def test_an_exception_in_the_loop_ends_the_recording(
    error: type[BaseException] | None, status: str, tmp_path: Path
) -> None:
    loop, watcher = watched(tmp_path)

    def run() -> None:
        with watcher as same:
            assert same is watcher
            train(loop)
            if error is not None:
                raise error("of the user")

    if error is None:
        run()
    else:
        with pytest.raises(error, match="of the user"):
            run()
    assert_sound(watcher, 3, status)
    assert not hooks_on(loop.model, *loop.optimizers)
    train(loop)
    watcher.close()
    assert_sound(watcher, 3, status)


PARTS = [
    (FrameWriter, "before_step"), (FrameWriter, "after_step"), (NonfiniteFinder, "look_at"),
    (ForwardPasses, "saw_output"), (ForwardPasses, "saw_result"), (TorchStatistics, "see"),
    (Gradients, "came"), (Gradients, "backward_ended"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "part"), PARTS, ids=[part for _, part in PARTS])
@pytest.mark.parametrize("first", [True, False], ids=["alone", "with another's hooks behind it"])
def test_a_measurement_that_fails_does_not_end_the_training(
    kind: Any, part: str, first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = made()
    torch.manual_seed(1)
    train(bare, 6)
    loop, watcher = watched(tmp_path, strict=False)
    calls = []
    if not first:
        loop.optimizers[0].register_step_pre_hook(lambda *_: calls.append("before"))
        loop.optimizers[0].register_step_post_hook(lambda *_: calls.append("after"))
        for module in loop.model:
            module.register_forward_hook(lambda *_: None)
        for parameter in loop.model.parameters():
            parameter.register_post_accumulate_grad_hook(lambda _: calls.append("gradient"))
    torch.manual_seed(1)
    real = getattr(kind, part)

    def fail(self: Any, *arguments: Any, **named: Any) -> Any:
        if watcher.step == 3:
            raise RuntimeError("a fault of ours")
        return real(self, *arguments, **named)

    monkeypatch.setattr(kind, part, fail)
    with pytest.warns(RuntimeWarning, match="The training goes on") as told:
        train(loop, 6)
    monkeypatch.undo()
    assert len(told) == 1
    assert all(torch.equal(*pair) for pair in zip(weights_of(loop), weights_of(bare), strict=True))
    if not first:
        assert calls.count("before") == calls.count("after") == 6
        assert calls.count("gradient") == 36
    assert len(watcher.problems) == 1
    assert "a fault of ours" in watcher.problems[0]
    watcher.close()
    assert watcher.recording.status == "failed"
    assert hooks_on(loop.model, *loop.optimizers) == (0 if first else 2 + 6 + 6)


@pytest.mark.parametrize(("kind", "part"), PARTS, ids=[part for _, part in PARTS])
def test_a_measurement_that_fails_is_raised_where_strict(
    kind: Any, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a fault of ours")

    loop, watcher = watched(tmp_path)
    monkeypatch.setattr(kind, part, fail)
    with pytest.raises(ZeroDivisionError):
        train(loop)
    monkeypatch.undo()
    watcher.close()


def test_a_disk_that_is_full_does_not_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = made()
    torch.manual_seed(1)
    train(bare)
    loop, watcher = watched(tmp_path, strict=False)

    def full(self: SegmentWriter, *_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SegmentWriter, "append", full)
    torch.manual_seed(1)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        train(loop)
    watcher.close()
    assert all(torch.equal(*pair) for pair in zip(weights_of(loop), weights_of(bare), strict=True))
    assert not hooks_on(loop.model, *loop.optimizers)
    monkeypatch.undo()
    (missing,) = neuronwise.open(watcher.folder).problems
    assert missing.startswith("from step ")
    assert "No space left on device" in missing


def test_a_folder_that_took_the_place_of_the_recording_stays_as_it_is(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path, strict=False)
    train(loop, 3)
    folder = tmp_path / "recording"
    assert watcher.recording.frames.tolist() == [0, 1, 2, 3]  # they are on the disk
    folder.rename(tmp_path / "moved")
    folder.mkdir()
    with pytest.warns(RuntimeWarning, match="is not the folder it was"):
        train(loop, 30)
    watcher.close()
    assert not list(folder.iterdir())
    assert neuronwise.open(tmp_path / "moved").frames.tolist()[:4] == [0, 1, 2, 3]


def test_before_the_first_step_there_is_no_recording(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path)
    with pytest.raises(NotFoundError, match="no step of the optimizer"):
        watcher.recording  # noqa: B018
    loop.model(rows(0))
    watcher.close()
    assert not (tmp_path / "recording").exists()
    assert watcher.problems == ["nothing was recorded: no step of the optimizer was taken"]


def test_nothing_of_a_step_is_kept_alive(tmp_path: Path) -> None:
    """Graphs, and with them all that a forward pass computed, are let go when the loop lets them go."""
    loop, watcher = watched(tmp_path, statistics_every=3)
    loss = watcher.observe(nn.functional.cross_entropy)
    for _ in range(8):  # some with statistics, a state, both or none
        out = loop.model(rows(0))
        value = loss(out, torch.zeros(6, dtype=torch.long))
        value.backward()
        kept = [weakref.ref(one) for one in (out, value)]
        loop.optimizers[0].step()
        del out, value
        gc.collect()
        assert [one() for one in kept] == [None, None]
    watcher.close()


# ---------------------------------------------------------------------- which steps, which parts


def test_watched_twice_both_are_right(tmp_path: Path) -> None:
    loop, first = watched(tmp_path / "a")
    _, second = watched(tmp_path / "b", loop)
    train(loop, 3)
    first.close()
    for step in range(3, 5):
        loop.step(step)
    second.close()
    assert_sound(first, 3)
    assert_sound(second, 5)
    for name in ("mean", "grad_norm", "update_norm", "weight_norm"):
        one, other = (watcher.recording.neurons("3", name, range(4)).values for watcher in (first, second))
        assert np.array_equal(one, other, equal_nan=True)
    assert not hooks_on(loop.model, *loop.optimizers)


def test_two_do_not_write_into_one_folder(tmp_path: Path) -> None:
    loop, first = watched(tmp_path)
    train(loop)
    with pytest.raises(UsageError, match="already holds a recording"):
        watched(tmp_path, loop)
    first.close()
    assert_sound(first, 3)
    assert not hooks_on(loop.model, *loop.optimizers)


def test_a_part_of_a_model(tmp_path: Path) -> None:
    loop = made()
    part = loop.model[3]
    watcher = TorchWatcher(part, loop.optimizers, folder=tmp_path / "recording", strict=True)
    whole = TorchWatcher(loop.model, loop.optimizers, folder=tmp_path / "whole", strict=True)
    train(loop)
    watcher.close()
    whole.close()
    assert_sound(watcher, 3)
    assert watcher.recording.stored.layer_names == ["Linear"]
    assert np.array_equal(
        watcher.recording.neurons("Linear", "grad_norm").values,
        whole.recording.neurons("3", "grad_norm").values,
        equal_nan=True,
    )


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({"layers": ["0", "5"]}, ["0", "5"]),
        ({"exclude": ["3"]}, ["0", "5"]),
        ({"layers": ["[35]"], "exclude": ["5"]}, ["3"]),
    ],
)
def test_chosen_layers(options: dict[str, Any], layers: list[str], tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path, **options)
    train(loop)
    watcher.close()
    assert watcher.recording.stored.layer_names == layers
    assert_sound(watcher, 3)


def test_steps_of_each_of_two_optimizers_count(tmp_path: Path) -> None:
    loop = made()
    loop.optimizers = [
        torch.optim.SGD(loop.model[0].parameters(), lr=0.1),
        torch.optim.Adam(loop.model[3].parameters(), lr=0.1),
    ]
    _, watcher = watched(tmp_path, loop)
    for step in range(3):
        loop.optimizers[0].zero_grad()
        loop.optimizers[1].zero_grad()
        loop.model(rows(step)).sum().backward()
        loop.optimizers[0].step()
        loop.optimizers[1].step()
    watcher.close()
    assert_sound(watcher, 6)
    moved = watcher.recording.neurons("0", "update_norm").values[1:].max(axis=1) > 0
    assert moved.tolist() == [True, False] * 3
    moved = watcher.recording.neurons("3", "update_norm").values[1:].max(axis=1) > 0
    assert moved.tolist() == [False, True] * 3
    # The gradients of a layer that another optimizer changes are those of that one's steps.
    for layer, own in (("0", [1, 3, 5]), ("3", [2, 4, 6])):
        gradients = watcher.recording.neurons(layer, "grad_norm").values
        assert np.isfinite(gradients[own]).all()
        assert np.isnan(np.delete(gradients, own, axis=0)).all()


def test_without_an_optimizer_any_counts_that_changes_the_model(tmp_path: Path) -> None:
    loop, other = made(), made()
    watcher = TorchWatcher(loop.model, folder=tmp_path / "recording", strict=True)
    for step in range(3):
        other.step(step)
        loop.step(step)
        other.step(step)
    assert watcher.step == 3
    watcher.close()
    assert_sound(watcher, 3)
    assert not hooks_on(loop.model, *loop.optimizers)


def test_of_a_given_optimizer_no_other_counts(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path)
    train(loop, 2)
    torch.optim.SGD(loop.model.parameters(), lr=0.0).step()
    watcher.close()
    assert_sound(watcher, 2)


@pytest.mark.parametrize("told", [True, False], ids=["told of the scaler", "not told"])
@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_a_scaler_skips_is_none(fused: bool, told: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    watcher = TorchWatcher(
        model, optimizer, folder=tmp_path / "recording", scaler=scaler if told else None, strict=True
    )
    loss_function = watcher.observe(torch.sum)
    states, means, losses = [model.weight.detach().norm(dim=1).tolist()], [], []
    for step in range(6):
        optimizer.zero_grad()
        output = model(torch.full((2, 4), float(step)))
        unscaled = loss_function(output.square())
        loss = scaler.scale(unscaled)
        (loss * torch.inf if step in (0, 2, 3) else loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if step not in (0, 2, 3):
            states.append(model.weight.detach().norm(dim=1).tolist())
            means.append(output.detach().mean(0).tolist())
            losses.append(float(unscaled.detach()))
    watcher.close()
    assert watcher.step == 3
    assert_sound(watcher, 3)
    np.testing.assert_allclose(watcher.recording.neurons("Linear", "weight_norm").values, states, rtol=1e-5)
    # What the skipped steps computed is not mixed with what the next did.
    np.testing.assert_allclose(watcher.recording.neurons("Linear", "mean").values[1:], means, rtol=1e-4)
    np.testing.assert_allclose(watcher.recording.history("loss").values, losses, rtol=1e-5)
    assert not events(watcher.folder, "nonfinite")
    skipped = events(watcher.folder, "skipped")
    assert sum(one["count"] for one in skipped) == 3
    assert events(watcher.folder, "end")[0]["skipped_steps"] == 3
    assert all(one.get("inferred", False) == (not told and not fused) for one in skipped)


def test_a_scaler_that_is_switched_off(tmp_path: Path) -> None:
    loop = made()
    loop.scaler = torch.amp.GradScaler("cpu", enabled=False)  # type: ignore[assignment]
    _, watcher = watched(tmp_path, loop, scaler=loop.scaler)
    train(loop)
    watcher.close()
    assert_sound(watcher, 3)
    assert not events(watcher.folder, "skipped")


# ---------------------------------------------------------------------- models that change


def test_what_is_frozen_and_freed_meanwhile(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path)
    train(loop, 2)
    loop.model[0].requires_grad_(False)
    train(loop, 2)
    loop.model[0].requires_grad_(True)
    train(loop, 2)
    watcher.close()
    assert_sound(watcher, 6)
    norms = watcher.recording.neurons("0", "grad_norm").values
    assert np.isnan(norms).all(axis=1).tolist() == [True, False, False, True, True, False, False]
    assert watcher.recording.neurons("0", "update_norm").values[3:5].max() == 0
    assert not hooks_on(loop.model, *loop.optimizers)


def test_layers_that_were_added_are_told_of(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path)
    train(loop, 3)
    loop.model.append(nn.BatchNorm1d(3, affine=False))
    loop.model.append(nn.Linear(3, 3))
    loop.optimizers[0].add_param_group({"params": list(loop.model[-1].parameters())})
    train(loop, 7)
    watcher.close()
    assert_sound(watcher, 10)
    (told,) = events(watcher.folder, "layers_added")
    assert told["layers"] == ["7"]
    assert watcher.recording.stored.layer_names == ["0", "3", "5"]


def test_a_layer_that_was_replaced_by_one_of_another_shape_harms_nothing(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path, strict=False)
    train(loop, 3)
    loop.model[5] = nn.Linear(5, 4)
    loop.optimizers[0].add_param_group({"params": list(loop.model[5].parameters())})
    with pytest.warns(RuntimeWarning, match="after step 3: .*5 has other shapes than it had"):
        train(loop, 7)
    watcher.close()
    assert watcher.recording.frames.tolist() == [0, 1, 2, 3]
    (missing,) = watcher.recording.stored.check()
    assert missing.startswith("from step 4 on nothing was recorded: ")
    assert not hooks_on(loop.model, *loop.optimizers)


def test_a_layer_that_was_removed_is_told_of(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path, strict=False)
    train(loop, 3)
    del loop.model[5]
    with pytest.warns(RuntimeWarning, match="after step 3: .*5 is no longer in the model"):
        train(loop, 2)
    watcher.close()
    (missing,) = watcher.recording.stored.check()
    assert missing.startswith("from step 4 on nothing was recorded: ")
    assert not hooks_on(loop.model, *loop.optimizers)


@pytest.mark.parametrize("given", [True, False], ids=["optimizer given", "any optimizer"])
@pytest.mark.parametrize("what", ["layer", "part", "both layers"])
@pytest.mark.parametrize("every", [1, 4])
def test_a_layer_that_was_replaced_by_one_like_it_is_followed(
    every: int, what: str, given: bool, tmp_path: Path
) -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Own()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)

    torch.manual_seed(3)
    loop = Loop(Nested(), rows)
    old = dict(loop.model.named_modules())
    watcher = TorchWatcher(
        loop.model, loop.optimizers if given else None, folder=tmp_path / "recording", strict=True,
        statistics_every=every,
    )  # fmt: skip
    train(loop, 6)
    if what == "layer":
        loop.model.body.second = nn.Linear(5, 3)
    elif what == "part":
        loop.model.body = Own()
    else:
        loop.model.body.first, loop.model.body.second = nn.Linear(7, 5), nn.Linear(5, 3)
    new = loop.model.body.second
    if given:
        loop.optimizers[0].add_param_group({"params": list(new.parameters())})
    else:
        loop.optimizers = [torch.optim.SGD(new.parameters(), lr=0.05)]
    kept: dict[int, Any] = {}
    for step in range(7, 13):
        outputs: list[torch.Tensor] = []
        handle = new.register_forward_hook(lambda module, given, output, to=outputs: to.append(output.detach().clone()))
        before = new.weight.detach().clone()
        loop.step(step)
        handle.remove()
        kept[step] = {
            "mean": outputs[0].mean(0), "grad_norm": new.weight.grad.norm(dim=1), "weight_norm": new.weight.norm(dim=1),
            "update_norm": (before - new.weight).norm(dim=1), "bias": new.bias.clone(),
        }  # fmt: skip
    watcher.close()
    assert watcher.step == 12
    recording = watcher.recording
    steps = [step for step in recording.frames.tolist() if step > 6]
    assert steps == ([7, 8, 9, 10, 11, 12] if every == 1 else [8, 12])
    for step in steps:
        for quantity, values in kept[step].items():
            found = recording.neurons("body.second", quantity, [step]).values[0]
            np.testing.assert_allclose(
                found, values.detach().numpy(), rtol=2e-4, atol=1e-6, err_msg=f"{step} {quantity}"
            )
    state = recording.stored.layer(12, "body.second")
    assert np.array_equal(state["weight"], new.weight.detach().numpy())
    (told,) = events(watcher.folder, "layers_replaced")
    assert told["step"] == steps[0]
    assert told["layers"] == (["body.second"] if what == "layer" else ["body.first", "body.second"])
    assert not hooks_on(loop.model, *loop.optimizers)
    assert not any(hooks_on(module) for module in old.values())
    assert not recording.stored.check()


@pytest.mark.parametrize("how", ["pruned", "parametrized"])
def test_a_layer_that_is_pruned_is_followed(how: str, tmp_path: Path) -> None:
    """What is recorded are the numbers that are learned, before the mask."""
    loop, watcher = watched(tmp_path)
    train(loop, 3)
    layer = loop.model[0]
    learned = layer.weight
    if how == "pruned":
        prune.l1_unstructured(layer, "weight", amount=0.3)  # which puts another parameter there
    else:
        nn.utils.parametrizations.spectral_norm(layer)
        learned = layer.parametrizations.weight.original
    truth = {}
    for step in range(4, 8):
        before = learned.detach().clone()
        loop.step(step)
        gradient, update = learned.grad.norm(dim=1), (before - learned).norm(dim=1)
        truth[step] = {"weight_norm": learned.norm(dim=1), "grad_norm": gradient, "update_norm": update}
        truth[step] = {name: values.detach().numpy().copy() for name, values in truth[step].items()}
    if how == "pruned":
        prune.remove(layer, "weight")
    train(loop, 2)
    watcher.close()
    recording = watcher.recording
    assert recording.frames.tolist() == list(range(10))
    for step, values in truth.items():
        for quantity, value in values.items():
            np.testing.assert_allclose(recording.neurons("0", quantity, [step]).values[0], value, rtol=1e-4)
    (told,) = events(watcher.folder, "layers_masked")
    assert (told["step"], told["layers"]) == (4, ["0"])
    assert not recording.stored.check()


def test_a_layer_whose_weights_were_taken_apart_is_told_of(tmp_path: Path) -> None:
    loop, watcher = watched(tmp_path, strict=False)
    train(loop, 3)
    nn.utils.parametrizations.weight_norm(loop.model[0])
    with pytest.warns(RuntimeWarning, match="0 has no parameter 'weight' any more"):
        train(loop, 2)
    watcher.close()
    assert watcher.recording.frames.tolist() == [0, 1, 2, 3]
    (missing,) = watcher.recording.stored.check()
    assert missing.startswith("from step 4 on nothing was recorded: ")


class Adapter(nn.Module):
    """Puts a few learned numbers beside a layer that is kept as it was."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(base.in_features, 2, bias=False), nn.Linear(2, base.out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))


@pytest.mark.parametrize("every", [1, 2])
def test_a_layer_that_was_put_into_another_module_is_followed(every: int, tmp_path: Path) -> None:
    torch.manual_seed(3)
    loop = Loop(mlp(), rows)
    watcher = TorchWatcher(
        loop.model, loop.optimizers, folder=tmp_path / "recording", strict=True, statistics_every=every
    )
    train(loop, 4)
    base = loop.model[0]
    loop.model[0] = Adapter(base)
    loop.optimizers[0].add_param_group({"params": [*loop.model[0].down.parameters(), *loop.model[0].up.parameters()]})
    train(loop, 8)
    watcher.close()
    recording = watcher.recording
    assert recording.frames[2:].tolist() == list(range(2, 13, every))
    np.testing.assert_allclose(
        recording.neurons("0", "weight_norm", [12]).values[0], base.weight.norm(dim=1), rtol=1e-5
    )
    assert np.isfinite(recording.neurons("0", "mean", [4]).values).all()
    assert np.isnan(recording.neurons("0", "mean", [6]).values).all()  # what follows it there is not known
    assert np.isfinite(recording.neurons("3", "mean", [6]).values).all()
    (told,) = events(watcher.folder, "layers_moved")
    assert (told["step"], told["layers"]) == ({1: 5, 2: 6}[every], ["0 to 0.base"])
    assert any("0.down" in one["layers"] for one in events(watcher.folder, "layers_added"))
    assert not recording.stored.check()
    assert not hooks_on(loop.model, *loop.optimizers)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.Linear])
@pytest.mark.parametrize("called", [True, False])
def test_where_no_forward_pass_is_seen_the_notes_say_so(kind: Any, called: bool, tmp_path: Path) -> None:
    model = kind(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True)
    if called:
        model(torch.ones(5, 4))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    watcher.close()
    assert any("no forward pass" in note for note in watcher.recording.notes) != called


def test_lazy_modules(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.LazyConv1d(4, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True)
    for step in range(4):
        optimizer.zero_grad()
        model(torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(step))).sum().backward()
        optimizer.step()
    watcher.close()
    assert_sound(watcher, 4)
    recording = watcher.recording
    assert [layer.kind for layer in recording.stored.layout.layers.values()] == ["Conv1d", "Linear"]
    assert recording.stored.layout.layers["0"].activation == "relu"
    assert np.isfinite(recording.neurons("3", "grad_norm").values[1:]).all()
    assert np.isfinite(recording.neurons("0", "inactive").values[2:]).all()  # in the first there were no layers yet
    assert not hooks_on(model, optimizer)


# ---------------------------------------------------------------------- torch.compile and the like


def test_what_else_calls_the_model_while_hooks_are_on(tmp_path: Path) -> None:
    loop = Loop(Own(), rows)
    _, watcher = watched(tmp_path, loop)
    train(loop, 2)
    x = rows(3)
    out = loop.model(x)
    watcher._frames._statistics.begin()  # that was ours
    with warnings.catch_warnings(action="ignore"):
        assert torch.equal(torch.jit.trace(loop.model, (x,))(x), out)
    assert torch.equal(torch.export.export(loop.model, (x,)).module()(x), out)
    parameters = {name: one.detach() for name, one in loop.model.named_parameters()}
    of_each = torch.func.vmap(
        torch.func.grad(lambda weights, row: torch.func.functional_call(loop.model, weights, (row[None],)).sum()),
        (None, 0),
    )(parameters, x)
    assert of_each["first.weight"].shape == (6, 5, 7)
    assert watcher._frames._statistics.order == []
    train(loop, 2)
    watcher.close()
    assert_sound(watcher, 4)


@pytest.mark.parametrize("first", ["compiled first", "watched first"])
@pytest.mark.parametrize("how", ["function", "method"])
@pytest.mark.parametrize("probe", [True, False])
def test_a_compiled_model(how: str, probe: bool, first: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    bare = Loop(Own(), rows)
    loop = Loop(copy.deepcopy(bare.model), rows)
    inside = loop.model
    breaks: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        breaks.append(graph)
        return graph.forward

    torch._dynamo.reset()
    x = rows(77)
    options: dict[str, Any] = {"probe": x} if probe else {}
    options |= {"folder": tmp_path / "recording", "strict": True}
    watcher = TorchWatcher(inside, loop.optimizers, **options) if first == "watched first" else None
    if how == "function":
        loop.model = torch.compile(inside, backend=backend)
    else:
        inside.compile(backend=backend)
    watcher = TorchWatcher(loop.model, loop.optimizers, **options) if watcher is None else watcher
    with torch.no_grad():
        before = torch.relu(inside.first(x)).mean(0).tolist()
    train(bare, 4)
    train(loop, 4)
    watcher.close()
    assert len(breaks) == 1
    for one, other in zip(bare.model.parameters(), inside.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert_sound(watcher, 4)
    recording = watcher.recording
    assert recording.stored.layer_names == ["first", "second"]
    assert np.isfinite(recording.neurons("first", "grad_norm").values[1:]).all()
    assert recording.neurons("first", "update_norm").values[1:].max() > 0
    means = recording.neurons("first", "mean").values[1:]
    assert np.isfinite(means).all() == probe
    if probe:
        np.testing.assert_allclose(means[0], before, rtol=1e-5)
    assert any("compiled" in note for note in recording.notes)
