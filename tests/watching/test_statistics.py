"""Every statistic of every kind of layer against a second, slow computation straight from its definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from neuronwise.watching import TorchWatcher, torch_frames
from neuronwise.watching.device_statistics import DeviceStatistics
from neuronwise.watching.torch_statistics import TorchStatistics

from .helpers import events, metric
from .slow import Cut, Kept, along, assert_equal, expected, measured


class Own(nn.Module):
    """A user's module with a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6))
        self.bias = nn.Parameter(torch.zeros(4))
        self.scale = nn.Parameter(torch.ones(3, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T + self.bias + self.scale.sum()


class Around(nn.Module):
    """One layer, what follows it, and a loss that depends on all of it unevenly."""

    def __init__(self, layer: nn.Module, function: Callable[[torch.Tensor], torch.Tensor] | None) -> None:
        super().__init__()
        self.layer = layer
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.layer(x)
        out = out[0] if isinstance(out, tuple) else out
        return out if self.function is None else self.function(out)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, x, x)[0]


@dataclass
class Case:
    """A layer, what goes into it, and where its neurons are."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    cut: Cut | None
    weight: str = "layer.weight"
    bias: str | None = "layer.bias"
    layer: str = "layer"
    at_input: bool = False
    whole: int = 0  # whole numbers below this go in

    def inputs(self, step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(step)
        if self.whole:
            return torch.randint(0, self.whole, self.shape, generator=generator)
        return torch.randn(self.shape, generator=generator)


FIRST, SECOND, LAST = along(0), along(1), along(-1)
CASES: dict[str, Case] = {
    "linear": Case(lambda: nn.Linear(6, 4), (5, 6), LAST),
    "linear, one batch": Case(lambda: nn.Linear(6, 4), (6,), LAST),
    "linear, more axes": Case(lambda: nn.Linear(6, 4), (2, 4, 4, 6), LAST),
    "linear, no bias": Case(lambda: nn.Linear(6, 4, bias=False), (5, 6), LAST, bias=None),
    "bilinear": Case(lambda: Twice(), (5, 6), LAST, weight="layer.both.weight", bias="layer.both.bias",
                     layer="layer.both"),
    "conv 1d": Case(lambda: nn.Conv1d(3, 4, 2), (5, 3, 5), SECOND),
    "conv 2d": Case(lambda: nn.Conv2d(3, 4, 2), (5, 3, 5, 5), SECOND),
    "conv 2d, groups": Case(lambda: nn.Conv2d(4, 4, 3, groups=4, padding=1), (2, 4, 4, 4), SECOND),
    "conv 2d, one picture": Case(lambda: nn.Conv2d(3, 4, 2), (3, 5, 5), FIRST),
    "conv 3d": Case(lambda: nn.Conv3d(2, 4, 2), (2, 2, 3, 3, 3), SECOND),
    "transposed 1d": Case(lambda: nn.ConvTranspose1d(3, 4, 2), (5, 3, 5), SECOND, bias=None, at_input=True),
    "transposed 2d": Case(lambda: nn.ConvTranspose2d(3, 3, 2), (5, 3, 3, 3), SECOND, bias=None, at_input=True),
    "transposed 3d": Case(lambda: nn.ConvTranspose3d(2, 4, 2), (2, 2, 3, 3, 3), SECOND, bias=None, at_input=True),
    "batch norm 1d": Case(lambda: nn.BatchNorm1d(4), (5, 4), SECOND),
    "batch norm 2d": Case(lambda: nn.BatchNorm2d(4), (5, 4, 3, 4), SECOND),
    "instance norm": Case(lambda: nn.InstanceNorm2d(4, affine=True), (5, 4, 3, 4), SECOND),
    "group norm": Case(lambda: nn.GroupNorm(2, 4), (5, 4, 3, 4), SECOND),
    "layer norm": Case(lambda: nn.LayerNorm(4), (5, 4, 4), LAST),
    "layer norm, two axes": Case(lambda: nn.LayerNorm((3, 4)), (5, 3, 4), along(-2), bias=None),
    "layer norm, square": Case(lambda: nn.LayerNorm((4, 4)), (5, 4, 4), along(-2), bias=None),
    "layer norm, three axes": Case(lambda: nn.LayerNorm((3, 4, 5)), (4, 3, 4, 5), along(-3), bias=None),
    "rms norm": Case(lambda: nn.RMSNorm(4), (5, 4, 4), LAST, bias=None),
    "embedding": Case(lambda: nn.Embedding(9, 4), (5, 3), None, bias=None, whole=9),
    "embedding, square": Case(lambda: nn.Embedding(4, 4), (5, 4), None, bias=None, whole=4),
    "embedding bag": Case(lambda: nn.EmbeddingBag(4, 4), (5, 4), None, bias=None, whole=4),
    "attention, in": Case(Attending, (18, 18, 6), None, "layer.in_proj_weight", "layer.in_proj_bias"),
    "attention, out": Case(
        Attending, (3, 5, 6), LAST, "layer.out_proj.weight", "layer.out_proj.bias", "layer.out_proj"
    ),
    "own": Case(Own, (5, 6), LAST),
}  # fmt: skip
FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor] | None] = {
    "none": None,
    "F.relu": F.relu,
    "ReLU": nn.ReLU(),
    "ReLU, inplace": nn.ReLU(inplace=True),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "gelu, tanh": lambda z: F.gelu(z, approximate="tanh"),
    "leaky relu": lambda z: F.leaky_relu(z, 0.2),
    "silu": F.silu,
    "softmax": lambda z: torch.softmax(z, -1),
}
NAMES = {
    "F.relu": "relu", "ReLU": "relu", "ReLU, inplace": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "gelu": "gelu",
    "gelu, tanh": "gelu", "leaky relu": "leaky_relu", "silu": "silu",
}  # fmt: skip


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Bilinear(6, 6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.both(x, x)


def unevenly(out: torch.Tensor) -> torch.Tensor:
    """Return a loss with another gradient at each output."""
    return (out * torch.linspace(-1, 2, out.numel()).reshape(out.shape).to(out.dtype)).sum() + out.square().mean()


def train(
    model: nn.Module,
    inputs: Callable[[int], Any],
    folder: Path,
    *,
    steps: int = 3,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    activation: Callable[[torch.Tensor], torch.Tensor] | None = None,
    look_at: str = "layer",
    at_input: bool = False,
    parts: int = 1,
    clip: float | None = None,
    **options: Any,
) -> tuple[TorchWatcher, dict[int, Kept]]:
    """Train, watched, and keep what every step truly had by hooks of our own."""
    chosen = optimizer([one for one in model.parameters() if one.requires_grad], lr=0.05)
    watcher = TorchWatcher(model, chosen, folder=folder / "recording", strict=True, **options)
    kept_of: dict[int, Kept] = {}
    for step in range(1, steps + 1):
        kept = kept_of[step] = Kept(model)
        around = dict(model.named_modules())

        def keep(module: nn.Module, given: Any, output: Any, kept: Kept = kept) -> None:
            values = given[0] if at_input else output[0] if isinstance(output, tuple) else output
            kept.keep_output(look_at, values if activation is None else activation(values.detach().clone()))

        own = look_at if not look_at.endswith("out_proj") else look_at.rpartition(".")[0]
        handle = around[own].register_forward_hook(keep)
        chosen.zero_grad()
        for part in range(parts):
            unevenly(model(inputs(10 * step + part))).backward()
        handle.remove()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        kept.keep_gradients()
        chosen.step()
        kept.after = kept.copy()
    return watcher, kept_of


def check(
    watcher: TorchWatcher, kept_of: dict[int, Kept], case: Case, activation: str | None = None, **tolerance: Any
) -> None:
    watcher.close()
    for step, kept in kept_of.items():
        slow = expected(kept, case.weight, case.bias, case.layer, activation, case.cut)
        assert_equal(measured(watcher, case.layer, step), slow, what=f"step {step}", **tolerance)


@pytest.mark.parametrize("on_host", [True, False], ids=["by NumPy", "by torch"])
@pytest.mark.parametrize("name", CASES)
def test_each_kind_of_layer(name: str, on_host: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not on_host:  # as a GPU would, by the same operations
        monkeypatch.setattr(torch_frames, "statistics_of", DeviceStatistics)
    case = CASES[name]
    torch.manual_seed(1)
    model = case.make() if isinstance(case.make(), Attending) else Around(case.make(), None)
    watcher, kept = train(model, case.inputs, tmp_path, look_at=case.layer, at_input=case.at_input)
    check(watcher, kept, case)


@pytest.mark.parametrize("name", ["linear", "conv 2d", "embedding", "own"])
@pytest.mark.parametrize("size", [1, 60])
def test_large_weights_are_worked_through_in_blocks(
    name: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuronwise.watching.host_statistics._BLOCK_BYTES", size)
    test_each_kind_of_layer(name, True, tmp_path, monkeypatch)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", ["linear", "linear, more axes", "conv 2d", "batch norm 2d", "layer norm", "own"])
def test_activations_after_the_function_that_follows(name: str, function: str, tmp_path: Path) -> None:
    case, known = CASES[name], NAMES.get(function)
    torch.manual_seed(1)
    apply = FUNCTIONS[function]
    watcher, kept = train(
        Around(case.make(), apply), case.inputs, tmp_path, activation=apply if known is not None else None
    )
    check(watcher, kept, case, known)
    assert watcher.recording.stored.layout.layers["layer"].activation == known
    assert any("no activation function was seen" in note for note in watcher.recording.notes) == (known is None)


def _twice_in_place(z: torch.Tensor) -> torch.Tensor:
    return torch.neg_(z).tanh_()


@pytest.mark.parametrize(
    ("function", "known"),
    [
        (torch.relu_, "relu"), (nn.ReLU(inplace=True), "relu"), (torch.sigmoid_, "sigmoid"), (torch.tanh_, "tanh"),
        (nn.SiLU(inplace=True), "silu"), (nn.LeakyReLU(0.2, inplace=True), "leaky_relu"), (torch.neg_, None),
        (_twice_in_place, None),
    ],
    ids=lambda one: getattr(one, "__name__", str(one)),  # the same in each process
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_functions_that_change_a_view_in_place(function: Any, known: str | None, dtype: Any, tmp_path: Path) -> None:
    """The output of a linear layer with more axes than two is one, which has another graph once it was changed."""
    case = CASES["linear, more axes"]
    torch.manual_seed(1)
    model = Around(case.make(), function).to(dtype)
    apply = None if known is None else function
    watcher, kept = train(model, lambda step: case.inputs(step).to(dtype), tmp_path, activation=apply)
    assert watcher.recording.stored.layout.layers["layer"].activation == known
    check(watcher, kept, case, known, loose={"mean": 1e-2, "std": 1e-2} if dtype == torch.bfloat16 else {})


def test_what_follows_in_a_sequence_that_is_not_learned_from(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(inplace=True), nn.Linear(4, 3), nn.Sigmoid())
    for one in model[0].parameters():
        one.requires_grad_(False)  # so that no graph goes through it
    watcher, kept = train(model, lambda step: CASES["linear"].inputs(step), tmp_path, look_at="0", activation=F.relu)
    check(watcher, kept, Case(nn.Module, (), LAST, "0.weight", "0.bias", "0"), "relu")


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x)[:3])


def test_a_module_that_is_called_twice_shows_both(tmp_path: Path) -> None:
    case = Case(nn.Module, (5, 4), LAST)
    watcher, kept = train(Shared(), case.inputs, tmp_path)
    assert [len(one) for one in kept[1].outputs["layer"]] == [5, 3]
    check(watcher, kept, case)


def test_a_module_of_two_names_is_one(tmp_path: Path) -> None:
    model = Around(nn.Linear(6, 4), None)
    model.again = model.layer
    watcher, kept = train(model, CASES["linear"].inputs, tmp_path)
    check(watcher, kept, CASES["linear"])
    assert watcher.recording.stored.layer_names == ["layer"]


def test_of_accumulated_gradients_their_sum_and_all_activations(tmp_path: Path) -> None:
    watcher, kept = train(Around(nn.Linear(6, 4), F.relu), CASES["linear"].inputs, tmp_path, parts=3, activation=F.relu)
    assert len(kept[1].outputs["layer"]) == 3
    check(watcher, kept, CASES["linear"], "relu")


@pytest.mark.parametrize("parts", [1, 3])
def test_gradients_are_those_after_clipping_and_both_norms_are_told(parts: int, tmp_path: Path) -> None:
    model = Around(nn.Linear(6, 4), None)
    norms: list[float] = []
    clip = nn.utils.clip_grad_norm_

    def noted(*arguments: Any) -> None:
        norms.append(float(clip(*arguments)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.utils, "clip_grad_norm_", noted)
        watcher, kept = train(model, CASES["linear"].inputs, tmp_path, clip=0.5, parts=parts)
    check(watcher, kept, CASES["linear"])
    np.testing.assert_allclose(list(metric(watcher, "grad_norm").values()), 0.5, rtol=1e-5)
    assert min(norms) > 1
    np.testing.assert_allclose(list(metric(watcher, "grad_norm_before_clipping").values()), norms, rtol=1e-5)


@pytest.mark.parametrize("parts", [1, 2])
def test_without_clipping_no_norms_differ(parts: int, tmp_path: Path) -> None:
    watcher, _ = train(Around(nn.Linear(6, 4), None), CASES["linear"].inputs, tmp_path, parts=parts)
    watcher.close()
    assert not any("grad_norm_before_clipping" in one["metrics"] for one in events(watcher.folder, "metrics"))


@pytest.mark.parametrize("name", ["linear", "conv 2d", "layer norm"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_other_precisions(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    case = CASES[name]
    torch.manual_seed(1)
    model = Around(case.make(), None).to(dtype)
    watcher, kept = train(model, lambda step: case.inputs(step).to(dtype), tmp_path)
    assert watcher.recording.stored.layout.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    check(watcher, kept, case, rtol=1e-9 if dtype == torch.float64 else 2e-5)


def test_autocast_shows_activations_as_they_are(tmp_path: Path) -> None:
    case = CASES["linear"]
    model = Around(nn.Linear(6, 4), F.relu)

    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return self.inner(x).float()

    watcher, kept = train(Cast(), case.inputs, tmp_path, look_at="inner.layer", activation=F.relu)
    check(watcher, kept, Case(nn.Module, (), LAST, "inner.layer.weight", "inner.layer.bias", "inner.layer"), "relu")


def test_channels_last(tmp_path: Path) -> None:
    case = CASES["conv 2d"]
    model = Around(case.make(), F.relu).to(memory_format=torch.channels_last)
    watcher, kept = train(
        model, lambda step: case.inputs(step).contiguous(memory_format=torch.channels_last), tmp_path, activation=F.relu
    )
    check(watcher, kept, case, "relu")


@pytest.mark.parametrize("on_host", [True, False], ids=["by NumPy", "by torch"])
@pytest.mark.parametrize("frozen", ["weight", "bias", "both"])
def test_what_is_frozen_has_no_gradient_and_no_update(
    frozen: str, on_host: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not on_host:
        monkeypatch.setattr(torch_frames, "statistics_of", DeviceStatistics)
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    for name in ("weight", "bias") if frozen == "both" else (frozen,):
        getattr(model[0], name).requires_grad_(False)
    watcher, kept = train(model, CASES["linear"].inputs, tmp_path, look_at="0")
    check(watcher, kept, Case(nn.Module, (), LAST, "0.weight", "0.bias", "0"))


def test_sparse_gradients(tmp_path: Path) -> None:
    case = CASES["embedding"]
    watcher, kept = train(Around(nn.Embedding(9, 4, sparse=True), None), case.inputs, tmp_path)
    check(watcher, kept, case)
    untouched = set(range(9)) - set(case.inputs(10).flatten().tolist())
    assert untouched
    assert all(measured(watcher, "layer", 1)[row]["update_norm"] == 0 for row in untouched)


def test_of_two_networks_with_optimizers_of_their_own_nothing_is_said_to_be_clipped(tmp_path: Path) -> None:
    """Each backward pass goes through some of the parameters, and of other ones each time."""
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {"maker": nn.Linear(3, 6), "judge": nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))}
    )
    optimizers = [torch.optim.SGD(model[name].parameters(), lr=0.01) for name in ("judge", "maker")]
    watcher = TorchWatcher(model, optimizers, folder=tmp_path / "recording", strict=True)
    for step in range(6):
        noise = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
        optimizers[0].zero_grad()
        unevenly(model["judge"](model["maker"](noise).detach())).backward()
        unevenly(model["judge"](CASES["linear"].inputs(step))).backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        unevenly(model["judge"](model["maker"](noise))).backward()
        optimizers[1].step()
    watcher.close()
    assert watcher.step == 12
    assert not events(watcher.folder, "metrics")


def test_after_more_was_unfrozen_nothing_is_said_to_be_clipped(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model[0].requires_grad_(False)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True)
    for step in range(6):
        if step == 3:
            model[0].requires_grad_(True)
        optimizer.zero_grad()
        unevenly(model(CASES["linear"].inputs(step))).backward()
        optimizer.step()
    watcher.close()
    assert not events(watcher.folder, "metrics")
    norms = watcher.recording.neurons("0", "grad_norm").values
    assert np.isnan(norms[:4]).all()
    assert (norms[4:] >= 0).all()
    assert norms[4:].any()


def test_norms_of_all_gradients_also_of_sparse_ones(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Linear(4, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True)
    norms = []
    for step in range(3):
        optimizer.zero_grad()
        unevenly(model(CASES["embedding"].inputs(step))).backward()
        gradients = [one.grad.to_dense() for one in model.parameters() if one.grad is not None]
        norms.append(float(torch.cat([one.flatten() for one in gradients]).norm()))
        for one in model.parameters():
            one.grad *= 0.3  # clips by hand: clip_grad_norm_ knows no sparse gradients
        optimizer.step()
    watcher.close()
    np.testing.assert_allclose(list(metric(watcher, "grad_norm_before_clipping").values()), norms, rtol=1e-6)
    np.testing.assert_allclose(list(metric(watcher, "grad_norm").values()), np.array(norms) * 0.3, rtol=1e-6)


def test_a_parameter_that_the_optimizer_was_not_given_has_gradients_and_no_update(tmp_path: Path) -> None:
    class Forgetful(torch.optim.SGD):
        def __init__(self, parameters: Any, lr: float) -> None:
            super().__init__(list(parameters)[2:], lr=lr)

    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    watcher, kept = train(model, CASES["linear"].inputs, tmp_path, optimizer=Forgetful, look_at="0")
    check(watcher, kept, Case(nn.Module, (), LAST, "0.weight", "0.bias", "0"))
    assert all(one["update_norm"] == 0 < one["grad_norm"] for one in measured(watcher, "0", 2))


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_updates_are_what_the_optimizer_made_of_the_gradients(optimizer: Any, tmp_path: Path) -> None:
    watcher, kept = train(Around(nn.Linear(6, 4), None), CASES["linear"].inputs, tmp_path, optimizer=optimizer)
    check(watcher, kept, CASES["linear"], loose={"update_norm": 1e-4, "update_ratio": 1e-4})


@pytest.mark.parametrize("factor", [1e-25, 1e15])
def test_of_tiny_and_of_huge_gradients(factor: float, tmp_path: Path) -> None:
    model = Around(nn.Linear(6, 4), lambda z: z * factor)
    watcher, kept = train(model, CASES["linear"].inputs, tmp_path, steps=1)
    check(watcher, kept, CASES["linear"])


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("unscale", [False, True])
def test_with_a_scaler_gradients_are_true_ones(fused: bool, unscale: bool, told: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Around(nn.Linear(6, 4), None)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    watcher = TorchWatcher(
        model, optimizer, folder=tmp_path / "recording", scaler=scaler if told else None, strict=True
    )
    slow, norms = [], []
    for step in range(1, 5):
        x = CASES["linear"].inputs(step)
        true = torch.autograd.grad(unevenly(model(x)), list(model.parameters()))
        optimizer.zero_grad()
        scaler.scale(unevenly(model(x))).backward()
        norm = float(torch.cat([one.flatten() for one in true]).norm())
        norms.append(norm)
        if unscale:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            true = tuple(one * (0.5 / norm) for one in true)
        slow.append([float(row.norm()) for row in true[0]])
        scaler.step(optimizer)
        scaler.update()
    watcher.close()
    np.testing.assert_allclose(watcher.recording.neurons("layer", "grad_norm").values[1:], slow, rtol=1e-5)
    if unscale and told:
        np.testing.assert_allclose(list(metric(watcher, "grad_norm").values()), 0.5, rtol=1e-5)
        np.testing.assert_allclose(list(metric(watcher, "grad_norm_before_clipping").values()), norms, rtol=1e-5)
    elif not unscale:
        assert not events(watcher.folder, "metrics")


def test_the_shares_of_a_step_are_those_of_the_weights_before_it(tmp_path: Path) -> None:
    """An evaluation between two steps, with and without gradients, is no part of them."""
    torch.manual_seed(0)
    model = Around(nn.Linear(6, 4), F.relu)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True)
    means = []
    for step in range(1, 5):
        x = CASES["linear"].inputs(step)
        means.append(F.relu(F.linear(x, model.layer.weight, model.layer.bias)).mean(0).tolist())
        with torch.no_grad():
            model(100 + x)
        model.eval()
        model(200 + x)
        model.train()
        optimizer.zero_grad()
        unevenly(model(x)).backward()
        optimizer.step()
    watcher.close()
    np.testing.assert_allclose(watcher.recording.neurons("layer", "mean").values[1:], means, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_is_computed_again_counts_once(reentrant: bool, tmp_path: Path) -> None:
    from torch.utils.checkpoint import checkpoint

    torch.manual_seed(0)
    # The last of several is not called again where that is not reentrant.
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True)
    calls = []
    see = TorchStatistics.see
    slow = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TorchStatistics, "see", lambda self, *given: (calls.append(1), see(self, *given))[1])
        for step in range(1, 4):
            x = CASES["linear"].inputs(step).requires_grad_()
            slow.append(F.linear(x, model[0].weight, model[0].bias).tanh().mean(0).tolist())
            optimizer.zero_grad()
            unevenly(model(x) if step == 2 else checkpoint(model, x, use_reentrant=reentrant)).backward()
            optimizer.step()
    watcher.close()
    np.testing.assert_allclose(watcher.recording.neurons("0", "mean").values[1:], slow, rtol=1e-5, atol=1e-7)
    assert len(calls) == 9


def test_step_0_has_weights_and_nothing_else(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Around(nn.Linear(6, 4), None)
    norms = model.layer.weight.detach().norm(dim=1).tolist()
    watcher, _ = train(model, CASES["linear"].inputs, tmp_path, steps=1)
    watcher.close()
    for neuron, one in enumerate(measured(watcher, "layer", 0)):
        known = {name: value for name, value in one.items() if not np.isnan(value)}
        assert set(known) == {"weight_norm", "bias", "nonfinite_weights"}
        assert known["weight_norm"] == pytest.approx(norms[neuron])
