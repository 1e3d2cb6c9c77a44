"""Modules with several weights: every one is measured; and large tables of embeddings, of which some rows are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.recording import NEURON_FIELDS
from neuronwise.watching import TorchWatcher, torch_frames
from neuronwise.watching.device_statistics import DeviceStatistics
from neuronwise.watching.torch_parts import MAX_EMBEDDINGS

from .helpers import events, metric, statistics
from .slow import NAN, Kept, assert_equal, expected, measured, of_activations
from .test_statistics import Around, train, unevenly

RECURRENT: dict[str, Callable[[], nn.Module]] = {
    "rnn": lambda: nn.RNN(6, 4),
    "rnn, relu": lambda: nn.RNN(6, 4, nonlinearity="relu"),
    "rnn, no bias": lambda: nn.RNN(6, 4, bias=False),
    "lstm": lambda: nn.LSTM(6, 3),
    "lstm, batch first, two layers": lambda: nn.LSTM(6, 3, 2, batch_first=True),
    "lstm, both directions": lambda: nn.LSTM(6, 3, 2, bidirectional=True),
    "lstm, projected": lambda: nn.LSTM(6, 5, proj_size=2, bidirectional=True),
    "gru": lambda: nn.GRU(6, 3, 2, bidirectional=True),
}
CELLS: dict[str, Callable[[], nn.Module]] = {
    "rnn cell": lambda: nn.RNNCell(6, 4),
    "lstm cell": lambda: nn.LSTMCell(6, 4),
    "gru cell": lambda: nn.GRUCell(6, 4),
}


def sentences(step: int) -> torch.Tensor:
    return torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(step))


def vectors(step: int) -> torch.Tensor:
    return sentences(step)[0]


def check_weights(watcher: TorchWatcher, kept: Kept, step: int, key: str, bias: str | None) -> None:
    found = measured(watcher, f"layer.{key}", step)
    assert_equal(found, expected(kept, f"layer.{key}", bias and f"layer.{bias}", "", None, None), what=(step, key))
    assert all(np.isfinite([one["weight_norm"], one["grad_norm"], one["update_norm"]]).all() for one in found)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("on_host", [True, False], ids=["by NumPy", "by torch"])
@pytest.mark.parametrize("name", [*RECURRENT, *CELLS])
def test_every_weight_of_a_recurrent_module_and_what_it_returns(
    name: str, on_host: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not on_host:
        monkeypatch.setattr(torch_frames, "statistics_of", DeviceStatistics)
    torch.manual_seed(1)
    layer = (RECURRENT | CELLS)[name]()
    watcher, kept_of = train(Around(layer, None), vectors if name in CELLS else sentences, tmp_path)
    watcher.close()
    weights = [key for key, _ in layer.named_parameters() if "weight" in key]
    assert len(weights) > 1
    layers = watcher.recording.stored.layout.layers
    assert set(layers) == {"layer"} | {f"layer.{key}" for key in weights}
    function = {"rnn": "tanh", "rnn, no bias": "tanh", "rnn cell": "tanh", "rnn, relu": "relu"}.get(name)
    assert layers["layer"].activation == function
    assert not any("layer.weight" in note for note in watcher.recording.notes)
    for step, kept in kept_of.items():
        for key in weights:
            bias = key.replace("weight", "bias")
            check_weights(watcher, kept, step, key, bias if hasattr(layer, bias) else None)
        (h,) = kept.outputs["layer"]
        slow = [dict.fromkeys(NEURON_FIELDS, NAN) | of_activations(h[..., j].flatten(), function)
                for j in range(h.shape[-1])]  # fmt: skip
        assert_equal(measured(watcher, "layer", step), slow, what=step)


def test_of_packed_sequences_what_comes_out_is_seen(tmp_path: Path) -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(6, 3, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(x, [4, 3, 3, 2, 1], batch_first=True)
            return self.layer(packed)[0].data

    torch.manual_seed(1)
    model = Packed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        out = model(sentences(0))
        unevenly(out).backward()
        optimizer.step()
    assert len(out) == 13
    found = watcher.recording.neurons("layer", "mean").values[1]
    np.testing.assert_allclose(found, out.detach().mean(0).numpy(), rtol=1e-5)


def test_a_recurrent_module_that_is_the_model(tmp_path: Path) -> None:
    model = nn.LSTM(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        unevenly(model(sentences(0))[0]).backward()
        optimizer.step()
    names = watcher.recording.stored.layer_names
    assert names == ["LSTM", "LSTM.weight_ih_l0", "LSTM.weight_hh_l0"]
    state = watcher.recording.stored.layer(1, "LSTM.weight_hh_l0")
    assert np.array_equal(state["weight_hh_l0"], model.weight_hh_l0.detach().numpy())
    assert np.array_equal(state["bias_hh_l0"], model.bias_hh_l0.detach().numpy())


def test_what_is_not_finite_in_a_weight_between_steps_of_time_is_located(tmp_path: Path) -> None:
    model = Around(nn.LSTM(6, 3), None)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording")
    for step in range(4):
        optimizer.zero_grad()
        unevenly(model(sentences(step))).backward()
        if step == 2:
            model.layer.weight_hh_l0.grad[7] = torch.inf
        optimizer.step()
    watcher.close()
    (found,) = events(watcher.folder, "nonfinite")
    assert (found["step"], found["layer"], found["neuron"], found["quantity"]) == (
        3, "layer.weight_hh_l0", 7, "gradient"
    )  # fmt: skip


# ---------------------------------------------------------------------- attention


class Widths(nn.Module):
    """Attention to keys and values of other widths, or with what else it may have."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(6, 2, batch_first=True, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        key, value = x[..., : self.layer.kdim], x[..., : self.layer.vdim]
        return self.layer(x, key, value, need_weights=False)[0]


@pytest.mark.parametrize("on_host", [True, False], ids=["by NumPy", "by torch"])
@pytest.mark.parametrize("bias", [True, False])
def test_each_projection_of_an_attention_to_other_widths(
    bias: bool, on_host: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not on_host:
        monkeypatch.setattr(torch_frames, "statistics_of", DeviceStatistics)
    torch.manual_seed(1)
    model = Widths(kdim=4, vdim=3, bias=bias)
    watcher, kept_of = train(model, sentences, tmp_path)
    watcher.close()
    own = ["layer.q_proj_weight", "layer.k_proj_weight", "layer.v_proj_weight"]
    assert watcher.recording.stored.layer_names == [*own, "layer.out_proj"]
    for step, kept in kept_of.items():
        for place, letter in enumerate("qkv"):
            name, part = f"layer.{letter}_proj_weight", slice(6 * place, 6 * place + 6)
            if bias:  # the three lie one behind the other
                for values in (kept.before, kept.after, kept.gradients):
                    values["own"] = values["layer.in_proj_bias"][part]
            assert_equal(
                measured(watcher, name, step), expected(kept, name, "own" if bias else None, "", None, None), what=name
            )
    state = watcher.recording.stored.layer(3, "layer.v_proj_weight")
    assert np.array_equal(state["v_proj_weight"], model.layer.v_proj_weight.detach().numpy())
    if bias:
        assert np.array_equal(state["v_proj_bias"], model.layer.in_proj_bias[12:].detach().numpy())


@pytest.mark.parametrize("options", [{}, {"kdim": 4, "vdim": 3}])
def test_the_keys_and_values_that_an_attention_learns_are_measured(options: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = Widths(add_bias_kv=True, **options)
    watcher, kept_of = train(model, sentences, tmp_path, steps=2)
    watcher.close()
    for key in ("bias_k", "bias_v"):
        assert_equal(
            measured(watcher, f"layer.{key}", 2), expected(kept_of[2], f"layer.{key}", None, "", None, None), what=key
        )


# ---------------------------------------------------------------------- large tables of embeddings

ROWS = 10_050
EVERY = 11  # the least distance at which at most a thousand are measured


@pytest.mark.parametrize("on_host", [True, False], ids=["by NumPy", "by torch"])
@pytest.mark.parametrize("sparse", [False, True])
def test_of_many_embeddings_some_are_measured_by_their_own_number(
    sparse: bool, on_host: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not on_host:
        monkeypatch.setattr(torch_frames, "statistics_of", DeviceStatistics)
    assert ROWS > MAX_EMBEDDINGS
    torch.manual_seed(1)
    model = Around(nn.Embedding(ROWS, 3, sparse=sparse), None)

    def words(step: int) -> torch.Tensor:
        return torch.tensor([[0, 22, 23], [EVERY * 913, 10_049, step]])

    watcher, kept_of = train(model, words, tmp_path)
    watcher.close()
    recording = watcher.recording
    layer = recording.stored.layout.layers["layer"]
    assert list(layer.rows) == list(range(0, ROWS, EVERY))
    assert (layer.neurons, layer.rows[-1]) == (914, 10_043)
    for step, kept in kept_of.items():
        for values in (kept.before, kept.after, kept.gradients):
            values["own"] = values["layer.weight"][::EVERY]
        assert_equal(measured(watcher, "layer", step), expected(kept, "own", None, "", None, None), what=step)
    assert recording.history("layer[22].update_norm").values.min() > 0
    assert recording.history("layer[33].update_norm").values.max() == 0
    # Weights are stored of all, at every state.
    for row in (0, 22, 23, 10_049):
        course = recording.history(f"layer[{row}].weights")
        assert np.array_equal(course.values[-1], model.layer.weight[row].detach().numpy())
    with pytest.raises(NotFoundError, match=r"(?s)layer\[23\] is not measured.*one row of 11 is.*layer\[22\]"):
        recording.history("layer[23].update_norm")
    with pytest.raises(NotFoundError, match="neurons 0 to 10049"):
        recording.history("layer[10050].weights")
    (note,) = (note for note in recording.notes if "embeddings" in note)
    assert "10,050" in note
    assert "[0], [11], [22]" in note
    assert recording.to_pandas("neurons")["neuron"].max() == 10_043
    assert recording.to_pandas("weights")["neuron"].max() == 10_049


def test_of_a_large_embedding_that_is_not_finite_the_row_is_told(tmp_path: Path) -> None:
    model = Around(nn.Embedding(ROWS, 3), None)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording")
    for step in range(3):
        optimizer.zero_grad()
        unevenly(model(torch.tensor([[1, 22, 5]]))).backward()
        if step == 1:
            model.layer.weight.grad[22, 1] = torch.nan
        optimizer.step()
    watcher.close()
    (found,) = events(watcher.folder, "nonfinite")
    assert (found["layer"], found["neuron"]) == ("layer", 22)


def test_embeddings_up_to_the_limit_are_all_measured(tmp_path: Path) -> None:
    model = Around(nn.Embedding(MAX_EMBEDDINGS, 2), None)
    watcher, _ = train(model, lambda step: torch.tensor([step]), tmp_path, steps=1)
    watcher.close()
    assert watcher.recording.stored.layout.layers["layer"].neurons == MAX_EMBEDDINGS
    assert not any("embeddings" in note for note in watcher.recording.notes)


# ---------------------------------------------------------------------- complex numbers


class Spectral(nn.Module):
    """As neural operators are: weights of frequencies, between others."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Linear(3, 4)
        self.modes = nn.Parameter(torch.randn(4, 4, 2, dtype=torch.cfloat) / 4)
        self.mix = nn.Linear(4, 4, dtype=torch.cfloat)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frequencies = torch.fft.rfft(torch.relu(self.lift(x)), dim=1)
        kept = torch.einsum("bmi,iom->bmo", frequencies[:, :2], self.modes)
        return self.head(torch.fft.irfft(self.mix(kept), n=x.shape[1], dim=1))


def test_of_complex_numbers_all_else_is_recorded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Spectral()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    truth = []
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        for step in range(5):
            optimizer.zero_grad()
            model(torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(step))).square().mean().backward()
            norm = float(nn.utils.clip_grad_norm_(model.parameters(), 1e-3))
            truth.append((norm, model.head.weight.grad.norm(dim=1).numpy()))  # type: ignore[union-attr]
            optimizer.step()
    assert list(watcher.recording.stored.layout.layers) == ["lift", "head"]
    assert "modes, mix.weight, mix.bias: complex numbers are not recorded" in watcher.recording.notes
    for step, (norm, rows) in enumerate(truth, start=1):
        np.testing.assert_allclose(statistics(watcher, "head", "grad_norm", step), rows, rtol=1e-5)
        assert metric(watcher, "grad_norm_before_clipping")[step] == pytest.approx(norm, rel=1e-5)


def test_a_model_of_complex_numbers_only_is_refused(tmp_path: Path) -> None:
    model = nn.Linear(3, 2, dtype=torch.cfloat)
    with pytest.raises(UsageError, match="weight, bias: complex numbers are not recorded"):
        TorchWatcher(model, torch.optim.SGD(model.parameters(), lr=0.1), folder=tmp_path / "recording")


# ---------------------------------------------------------------------- what has no values, or others than it had


def test_of_parameters_without_values_all_else_is_recorded(tmp_path: Path) -> None:
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "later": nn.Linear(3, 2, device="meta")})
    optimizer = torch.optim.SGD(model["used"].parameters(), lr=0.1)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        for _ in range(3):
            model["used"](torch.ones(4, 3)).sum().backward()
            optimizer.step()
    assert list(watcher.recording.stored.layout.layers) == ["used"]
    assert "later.weight, later.bias: on the meta device there are no values to record" in watcher.recording.notes


def test_a_model_without_values_is_refused(tmp_path: Path) -> None:
    model = nn.Linear(3, 2, device="meta")
    with pytest.raises(UsageError, match="weight, bias: on the meta device there are no values to record"):
        TorchWatcher(model, torch.optim.SGD(model.parameters(), lr=0.1), folder=tmp_path / "recording")


class Ranged(nn.Module):
    """Keeps the range of each number that passes, as those that prepare quantization do: first it knows of none."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("highest", torch.zeros(()))
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.highest = torch.maximum(self.highest, x.detach().amax(0))
        return self.layer(x)


def test_a_buffer_that_gets_another_shape_ends_nothing(tmp_path: Path) -> None:
    model = Ranged()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording")
    model(torch.ones(4, 3)).sum().backward()
    with pytest.warns(RuntimeWarning, match="some buffers are not recorded: .*Ranged.highest: of another shape"):
        optimizer.step()
    for _ in range(3):
        model(torch.ones(4, 3)).sum().backward()
        optimizer.step()
    watcher.close()
    recording = watcher.recording
    assert recording.frames.tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(recording.stored.layer(4, "layer")["weight"], model.layer.weight.detach().numpy())
    assert np.isnan(recording.stored.layer(4, "Ranged")["highest"])
    assert not recording.stored.check()
