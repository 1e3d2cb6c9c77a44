"""Checkpoints that a training left, as a recording: every weight of them, what is refused, and what is left behind."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

import neuronwise
from neuronwise.errors import FormatError, MissingExtraError, NeuronwiseError, NotFoundError, UsageError
from neuronwise.learning import fit
from neuronwise.network import BatchNorm, Conv2D, Dense, Flatten, Network
from neuronwise.recording import Recording, read_recording

State = dict[str, torch.Tensor]


class Mixed(nn.Module):
    """What from_torch cannot take: a recurrent module, a parameter of its own, tied weights, buffers of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4, 5))
        self.embed = nn.Embedding(6, 3)
        self.lstm = nn.LSTM(3, 4, num_layers=2)
        self.attention = nn.MultiheadAttention(4, 2)
        self.up = nn.ConvTranspose2d(3, 3, 2)
        self.head = nn.Linear(3, 6, bias=False)
        self.head.weight = self.embed.weight
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("mask", torch.ones(3, dtype=torch.bool))
        self.register_buffer("cache", torch.ones(3), persistent=False)


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8, bias=False), nn.Linear(8, 2))


def cnn() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


def mixed() -> Mixed:
    torch.manual_seed(0)
    return Mixed()


def states_of(model: nn.Module, count: int = 4) -> list[State]:
    """Take real steps, or move the weights where there is no simple loss; return the state after each."""
    states = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    shape = {"Linear": (16, 3), "Conv2d": (16, 1, 8, 8)}.get(type(next(model.children(), model)).__name__)
    for _ in range(count):
        states.append({name: tensor.detach().clone() for name, tensor in model.state_dict().items()})
        optimizer.zero_grad()
        loss = model(torch.randn(shape)) if shape else torch.cat([one.ravel() for one in model.parameters()])
        loss.square().mean().backward()
        optimizer.step()
    return states


def save_all(folder: Path, states: list[Any], name: str = "epoch_{}.pt") -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / name.format(place) for place in range(len(states))]
    for path, state in zip(paths, states, strict=True):
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(state, path)
        else:
            torch.save(state, path)
    return paths


def tensors_at(recording: Recording, step: int) -> dict[str, NDArray[Any]]:
    """Return all that is stored of a step, by layer and name."""
    return {
        f"{layer}.{key}": values
        for layer in recording.stored.layout.layers
        for key, values in recording.stored.layer(step, layer).items()
    }


OURS = {
    "mlp": {
        "0.weight": "hidden1.W", "0.bias": "hidden1.b", "1.weight": "norm1.gamma", "1.bias": "norm1.beta",
        "1.running_mean": "norm1.running_mean", "1.running_var": "norm1.running_var", "3.weight": "hidden2.W",
        "4.weight": "output.W", "4.bias": "output.b",
    },
    "cnn": {
        "0.weight": "conv1.W", "0.bias": "conv1.b", "1.weight": "norm1.gamma", "1.bias": "norm1.beta",
        "1.running_mean": "norm1.running_mean", "1.running_var": "norm1.running_var", "4.weight": "output.W",
        "4.bias": "output.b",
    },
}  # fmt: skip


def states_of_files(folder: Path) -> list[State]:
    """Read saved states, without what a wrapper put before their names."""
    every = [torch.load(path) for path in sorted(folder.iterdir())]
    return [{name.partition(".")[2]: value for name, value in state.items()} for state in every]


def assert_same(recording: Recording, states: list[State], names: dict[str, str], steps: Any = None) -> None:
    """Every floating tensor of every state is stored, to the last bit."""
    steps = range(len(states)) if steps is None else steps
    assert recording.keyframes.tolist() == recording.frames.tolist() == list(steps)
    assert recording.stored.check() == []
    for step, state in zip(steps, states, strict=True):
        found = tensors_at(recording, step)
        for name, ours in names.items():
            np.testing.assert_array_equal(found[ours], state[name].numpy(), strict=True)


@pytest.mark.parametrize("name", ["epoch_{}.pt", "model-{}.safetensors"])
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_every_weight_of_a_sequential_is_that_of_its_checkpoint(tmp_path: Path, kind: str, name: str) -> None:
    module = {"mlp": mlp, "cnn": cnn}[kind]()
    states = states_of(module)
    save_all(tmp_path / "c", states, name)
    shape = (1, 8, 8) if kind == "cnn" else None
    recording = neuronwise.from_checkpoints(tmp_path / "c", module, input_shape=shape)
    assert_same(recording, states, OURS[kind])
    module.load_state_dict(states[2])
    x = torch.randn(5, *(shape or (3,)))
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    np.testing.assert_allclose(recording.at(2).predict(x.numpy()), expected, atol=1e-6)
    assert isinstance(recording.network, Network)
    assert (recording.network.parameters == recording.stored.parameters(3)).all()
    assert recording.problems == []
    assert recording.status == "checkpoints"


@pytest.mark.parametrize("name", ["{}.pt", "{}.safetensors"])
def test_every_weight_of_any_other_module_is_stored_by_its_path(tmp_path: Path, name: str) -> None:
    model = mixed()
    states = states_of(model)
    saved = states
    if name.endswith("safetensors"):  # as save_model does, which leaves out what is shared
        saved = [{key: value for key, value in state.items() if key != "head.weight"} for state in states]
    save_all(tmp_path / "c", saved, name)
    recording = neuronwise.from_checkpoints(str(tmp_path / "c" / "*"), model)
    names = {key: key for key, value in states[0].items() if value.is_floating_point()}
    names |= {"scale": "Mixed.scale", "temperature": "Mixed.temperature"}
    assert len(names) == 20
    assert_same(recording, states, names)
    layers = recording.stored.layout.layers
    assert {name: (layer.kind, layer.weights, layer.biases, layer.neurons) for name, layer in layers.items()} == {
        "Mixed": ("Mixed", "scale", None, 4),
        "embed": ("Embedding", "weight", None, 6),
        "lstm": ("LSTM", "weight_ih_l0", "bias_ih_l0", 16),
        "attention": ("MultiheadAttention", "in_proj_weight", "in_proj_bias", 12),
        "attention.out_proj": ("NonDynamicallyQuantizableLinear", "weight", "bias", 4),
        "up": ("ConvTranspose2d", "weight", None, 3),
        "head": ("Linear", "weight", None, 6),
        "norm": ("BatchNorm1d", None, None, 0),
    }
    assert "num_batches_tracked" not in layers["norm"].buffers
    with pytest.raises(NotFoundError, match="another framework"):
        recording.at(1)
    with pytest.raises(NotFoundError, match="another framework"):
        recording.network  # noqa: B018
    assert any("no Network of Neuronwise" in note for note in recording.notes)


def test_statistics_are_those_of_the_weights_and_what_is_not_known_is_nan(tmp_path: Path) -> None:
    for number, model in enumerate([mlp(), mixed()]):
        states = states_of(model)
        folder = tmp_path / str(number)
        save_all(folder, states)
        recording = neuronwise.from_checkpoints(folder, model)
        layer, weights, bias = ("hidden1", "0.weight", "0.bias") if not number else ("lstm", "lstm.weight_ih_l0", None)
        bias = bias or "lstm.bias_ih_l0"
        for step, state in enumerate(states):
            course = recording.neurons(layer, "weight_norm", [step])
            np.testing.assert_allclose(course.values[0], state[weights].norm(dim=1).numpy(), rtol=1e-6)
            assert recording.histogram(layer, "W", step).counts.sum() == state[weights].numel()
            assert recording.histogram(layer, "dW", step).counts.sum() == 0
        course = recording.history(f"{layer}[3].weights[1]")
        assert course.values.tolist() == [float(state[weights][3, 1]) for state in states]
        assert recording.history(f"{layer}[3].bias").values.tolist() == [float(state[bias][3]) for state in states]
        for quantity in ("grad_norm", "update_norm", "update_ratio", "mean", "inactive", "nonfinite_gradients"):
            assert np.isnan(recording.neurons(layer, quantity).values).all()
        assert (recording.neurons(layer, "nonfinite_weights").values == 0).all()
        tables = {path.stem for path in recording.to_parquet(folder / "tables", weights=True)}
        assert tables == {"steps", "epochs", "neurons", "layers", "weights"}
        assert set(recording.to_pandas("weights")["step"]) == {0, 1, 2, 3}


def test_weights_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    state = model.state_dict()
    state["0.weight"][1, 0] = torch.inf
    torch.save(state, tmp_path / "1.pt")
    recording = neuronwise.from_checkpoints(tmp_path / "1.pt", model)
    assert recording.neurons("output", "nonfinite_weights").values.tolist() == [[0, 1]]
    assert recording.history("output[1].weights[0]").values.tolist() == [np.inf]


def test_updates_are_known_between_neighbouring_steps_only(tmp_path: Path) -> None:
    model, steps = mlp(), [3, 4, 5, 9]
    states = states_of(model)
    save_all(tmp_path / "c", [{"model": state, "step": step} for state, step in zip(states, steps, strict=True)])
    recording = neuronwise.from_checkpoints(tmp_path / "c", model)
    norms = recording.neurons("hidden1", "update_norm").values
    assert np.isnan(norms[[0, 3]]).all()
    for place in (1, 2):
        moved = states[place - 1]["0.weight"] - states[place]["0.weight"]
        np.testing.assert_allclose(norms[place], moved.norm(dim=1).numpy(), rtol=1e-5)
    save_all(tmp_path / "e", [{"model": state, "epoch": step} for state, step in zip(states, steps, strict=True)])
    of_epochs = neuronwise.from_checkpoints(tmp_path / "e", model)
    assert np.isnan(of_epochs.neurons("hidden1", "update_norm").values).all()


@pytest.mark.parametrize(
    ("place", "wrap"),
    [
        ("", lambda state: state),
        ("state_dict", lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: {"a": state}}}}),
        ("model_state_dict", lambda state: {"best": 1.5, "model_state_dict": state, "ema": state}),
        ("checkpoint.weights", lambda state: {"checkpoint": {"weights": state}}),
        ("", lambda state: {f"module.{name}": value for name, value in state.items()}),
        ("", lambda state: {f"_orig_mod.{name}": value for name, value in state.items()}),
        ("", lambda state: {f"module._orig_mod.net.{name}": value for name, value in state.items()}),
        ("", lambda state: {name.replace(".", "._orig_mod."): value for name, value in state.items()}),
        ("", lambda state: {f"_fsdp_wrapped_module.{name}": value for name, value in state.items()}),
        ("", lambda state: {name.replace(".", "._checkpoint_wrapped_module."): one for name, one in state.items()}),
        ("model", lambda state: {"model": {f"model.{name}": nn.Parameter(one, False) for name, one in state.items()}}),
    ],
)  # fmt: skip
def test_the_weights_are_found_wherever_they_stand(tmp_path: Path, place: str, wrap: Any) -> None:
    for number, model in enumerate([mlp(), mixed()]):
        states = states_of(model, 2)
        save_all(tmp_path / str(number), [wrap(state) for state in states], "{}.pth")
        recording = neuronwise.from_checkpoints(tmp_path / str(number), model)
        names = OURS["mlp"] if not number else {"lstm.weight_hh_l1": "lstm.weight_hh_l1"}
        assert_same(recording, states, names, recording.keyframes)
        assert any(repr(place) in note for note in recording.notes) == bool(place)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
@pytest.mark.parametrize("wrap", [nn.DataParallel, pytest.param(torch.compile, marks=pytest.mark.full)])
def test_a_compiled_or_parallel_model_is_the_one_inside(tmp_path: Path, wrap: Any) -> None:
    model = mlp()
    states = states_of(model)
    save_all(tmp_path / "c", states)
    assert_same(neuronwise.from_checkpoints(tmp_path / "c", wrap(model)), states, OURS["mlp"])
    save_all(tmp_path / "w", states_of(wrap(model)))
    assert_same(neuronwise.from_checkpoints(tmp_path / "w", wrap(model)), states_of_files(tmp_path / "w"), OURS["mlp"])


@pytest.mark.parametrize("name", ["{}.pt", "{}.safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32_exactly(tmp_path: Path, dtype: torch.dtype, name: str) -> None:
    model = mlp()
    states = [{key: value.to(dtype) for key, value in state.items()} for state in states_of(model)]
    save_all(tmp_path / "c", states, name)
    recording = neuronwise.from_checkpoints(tmp_path / "c", model)
    assert_same(recording, [{key: value.float() for key, value in state.items()} for state in states], OURS["mlp"])
    assert any(str(dtype).removeprefix("torch.") in note for note in recording.notes)


def test_one_float64_makes_the_recording_float64(tmp_path: Path) -> None:
    model = mlp()
    states = states_of(model, 2)
    states[1] = {key: value.double() / 3 for key, value in states[1].items()}
    save_all(tmp_path / "c", states)
    recording = neuronwise.from_checkpoints(tmp_path / "c", model)
    assert recording.at(0).dtype == np.float64
    assert_same(recording, [{key: value.double() for key, value in state.items()} for state in states], OURS["mlp"])


def test_tensors_that_do_not_lie_in_order_are_read_as_they_are(tmp_path: Path) -> None:
    model = nn.Linear(3, 4)
    state = {"weight": torch.arange(24.0).reshape(3, 8)[:, ::2].T, "bias": torch.tensor(1.0).expand(4)}
    torch.save(state, tmp_path / "7.pt")
    recording = neuronwise.from_checkpoints(tmp_path / "7.pt", model)
    np.testing.assert_array_equal(recording.stored.layer(7, "Linear")["weight"], state["weight"].numpy())
    np.testing.assert_array_equal(recording.stored.layer(7, "Linear")["bias"], [1, 1, 1, 1])


def test_a_file_of_before_2020_is_read(tmp_path: Path) -> None:
    model = mlp()
    states = states_of(model, 1)
    torch.save(states[0], tmp_path / "0.pt", _use_new_zipfile_serialization=False)
    assert_same(neuronwise.from_checkpoints(tmp_path / "0.pt", model), states, OURS["mlp"])


def test_a_model_without_values_will_do(tmp_path: Path) -> None:
    states = states_of(mlp())
    save_all(tmp_path / "c", states)
    with torch.device("meta"):
        model = mlp()
    recording = neuronwise.from_checkpoints(tmp_path / "c", model)
    assert_same(recording, states, {name: name for name in OURS["mlp"]})


def test_the_model_is_not_changed(tmp_path: Path) -> None:
    model = mlp()
    save_all(tmp_path / "c", states_of(model))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    neuronwise.from_checkpoints(tmp_path / "c", model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training


# Networks of ours.


def test_checkpoints_of_pytorch_with_a_network_of_ours(tmp_path: Path) -> None:
    module = cnn()
    network = neuronwise.from_torch(module, input_shape=(1, 8, 8))
    states = states_of(module)
    for name in ("{}.pt", "{}.safetensors"):
        folder = tmp_path / name[2:]
        save_all(folder, states, name)
        assert_same(neuronwise.from_checkpoints(folder, network), states, OURS["cnn"])


def test_eleven_numbered_modules_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    module = nn.Sequential(*[nn.Linear(3, 3) for _ in range(11)])  # safetensors has 10 before 2
    states = states_of(module, 2)
    save_all(tmp_path / "c", states, "{}.safetensors")
    names = {f"{place}.weight": f"hidden{place + 1}.W" for place in range(10)} | {"10.weight": "output.W"}
    for model in (module, neuronwise.from_torch(module)):
        assert_same(neuronwise.from_checkpoints(tmp_path / "c", model), states, names)


def test_modules_with_names_go_to_the_layers_of_these_names(tmp_path: Path) -> None:
    from collections import OrderedDict

    module = nn.Sequential(OrderedDict(z=nn.Linear(3, 3), a=nn.Linear(3, 3), m=nn.Linear(3, 3)))
    states = states_of(module, 2)
    save_all(tmp_path / "c", states, "{}.safetensors")
    names = {f"{one}.weight": f"{one}.W" for one in "zam"}
    network = neuronwise.from_torch(module)
    assert_same(neuronwise.from_checkpoints(tmp_path / "c", network), states, names)
    # Without these names nobody can tell which is which: they are not guessed.
    with pytest.raises(UsageError, match="no checkpoint of this model") as caught:
        neuronwise.from_checkpoints(tmp_path / "c", Network.dense([3, 3, 3, 3]))
    assert "as the nn.Module" in str(caught.value)


def test_the_names_of_a_module_are_its_own(tmp_path: Path) -> None:
    save_all(tmp_path / "c", [nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).state_dict()])
    other = nn.Sequential()
    other.add_module("one", nn.Linear(3, 3))
    other.add_module("two", nn.Linear(3, 3))
    with pytest.raises(UsageError, match=r"one\.weight.* missing"):
        neuronwise.from_checkpoints(tmp_path / "c", other)


def test_networks_that_were_saved(tmp_path: Path) -> None:
    layers = [Conv2D(2, 3, "relu"), BatchNorm(), Flatten(), Dense(2)]
    network = Network(layers, input_shape=(5, 5, 1), seed=3)
    kept = []
    for step in (2, 10):
        network.parameters[:] += step
        network.buffers[:] += step
        kept.append((network.parameters.copy(), network.buffers.copy()))
        network.save(tmp_path / "nets" / f"step_{step}")
    other = Network.from_dict(network.to_dict())
    nets = tmp_path / "nets"
    for pattern in (nets, str(nets / "*"), [nets / "step_2", nets / "step_10"]):
        recording = neuronwise.from_checkpoints(pattern, other)
        assert recording.keyframes.tolist() == [2, 10]
        for step, (parameters, buffers) in zip((2, 10), kept, strict=True):
            np.testing.assert_array_equal(recording.at(step).parameters, parameters)
            np.testing.assert_array_equal(recording.at(step).buffers, buffers)


def test_training_states_of_ours(tmp_path: Path) -> None:
    network = Network.dense([3, 4, 2])
    x, y = np.random.default_rng(0).normal(size=(32, 3)), np.zeros((32, 2))
    kept = {}
    for epochs in (1, 3):
        result = fit(network.copy(), x, y, epochs=epochs, batch_size=8)
        checkpoint = result.checkpoint
        checkpoint.save(tmp_path / f"state{epochs}.safetensors")
        kept[checkpoint.step] = checkpoint.parameters
    recording = neuronwise.from_checkpoints(tmp_path, network)
    assert recording.keyframes.tolist() == [4, 12]
    for step, parameters in kept.items():
        np.testing.assert_array_equal(recording.at(step).parameters, parameters)


# Steps.


def test_files_are_in_the_order_of_the_numbers_in_their_names(tmp_path: Path) -> None:
    model = mlp()
    states = states_of(model, 3)
    for number, state in zip((2, 10, 1200), states, strict=True):
        torch.save(state, tmp_path / f"net2_epoch{number}.pt")
    recording = neuronwise.from_checkpoints(str(tmp_path / "*.pt"), model)
    assert_same(recording, states, OURS["mlp"], [2, 10, 1200])
    assert "the number of epochs in its name, such as 2 of" in recording.notes[0]


@pytest.mark.parametrize(
    ("names", "steps", "told"),
    [
        (["epoch_3_loss_0.25", "epoch_12_loss_0.2"], [3, 12], "the number of epochs in its name"),
        (["epoch=1-step=70-val=0.5", "epoch=1-step=140-val=0.25"], [70, 140], "the number of steps in its name"),
        (["Iter0009000_v2", "Iter0010000_v2"], [9000, 10000], "the number of steps in its name"),
        (["resnet18-ckpt.9", "resnet18-ckpt.10"], [9, 10], "the last whole number in its name"),
        (["rep1-5", "rep2-5"], [0, 1], "counted from 0"),
        (["1.50", "0.75"], [1, 0], "counted from 0"),
    ],
)
def test_a_measure_in_a_name_is_no_step(tmp_path: Path, names: list[str], steps: list[int], told: str) -> None:
    model = mlp()
    states = states_of(model, 2)
    for name, state in zip(names, states, strict=True):
        torch.save(state, tmp_path / f"{name}.pt")
    recording = neuronwise.from_checkpoints([tmp_path / f"{name}.pt" for name in names], model)
    assert told in recording.notes[0]
    for step, state in zip(steps, states, strict=True):
        np.testing.assert_array_equal(recording.at(step)["hidden1"].W, state["0.weight"].numpy())


def test_else_those_in_the_names_of_their_folders_count(tmp_path: Path) -> None:
    model = mlp()
    states = states_of(model, 2)
    for number, state in zip((500, 1000), states, strict=True):
        save_all(tmp_path / f"checkpoint-{number}", [state], "model-00001-of-00001.safetensors")
    recording = neuronwise.from_checkpoints(str(tmp_path / "checkpoint-*" / "*"), model)
    assert_same(recording, states, OURS["mlp"], [500, 1000])
    assert "the name of its folder" in recording.notes[0]


def test_several_checkpoints_of_an_epoch_are_told_apart_by_their_names(tmp_path: Path) -> None:
    model = mlp()
    states = states_of(model, 2)
    save_all(tmp_path / "c", [{"epoch": 1, "state_dict": state} for state in states], "epoch=1-step={}00.ckpt")
    assert_same(neuronwise.from_checkpoints(tmp_path / "c", model), states, OURS["mlp"], [0, 100])


def test_files_without_numbers_are_counted(tmp_path: Path) -> None:
    model = mlp()
    states = states_of(model, 2)
    torch.save(states[0], tmp_path / "early.pt")
    torch.save(states[1], tmp_path / "late.pt")
    recording = neuronwise.from_checkpoints(tmp_path, model)
    assert_same(recording, states, OURS["mlp"], [0, 1])
    assert "counted from 0" in recording.notes[0]


@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_number_in_the_checkpoint_is_its_step(tmp_path: Path, as_tensor: bool) -> None:
    model = mlp()
    states = states_of(model, 3)
    for place, state in enumerate(states):
        step = 100 * (3 - place)
        content = {"epoch": 3 - place, "global_step": torch.tensor(step) if as_tensor else step, "state_dict": state}
        torch.save(content, tmp_path / f"{place}.ckpt")
    recording = neuronwise.from_checkpoints(tmp_path, model)
    assert_same(recording, states[::-1], OURS["mlp"], [100, 200, 300])
    assert "'global_step'" in recording.notes[0]


def test_steps_counted_anew_in_each_epoch_are_not_taken(tmp_path: Path) -> None:
    model = mlp()
    states = states_of(model, 2)
    save_all(tmp_path / "c", [{"step": 50, "epoch": 7 + n, "model": state} for n, state in enumerate(states)])
    recording = neuronwise.from_checkpoints(tmp_path / "c", model)
    assert recording.keyframes.tolist() == [7, 8]
    assert "epochs, not optimizer steps" in recording.notes[0]


def test_a_number_in_the_metadata_of_safetensors_is_its_step(tmp_path: Path) -> None:
    model = mlp()
    for name, step in (("a", 20), ("b", 7)):
        safetensors.torch.save_file(model.state_dict(), tmp_path / f"{name}.safetensors", metadata={"step": str(step)})
    assert neuronwise.from_checkpoints(tmp_path, model).keyframes.tolist() == [7, 20]


def test_steps_can_be_given(tmp_path: Path) -> None:
    model = mlp()
    states = states_of(model, 2)
    paths = save_all(tmp_path / "c", states)
    by_list = neuronwise.from_checkpoints(paths[::-1], model, steps=[np.int64(5), 3])
    assert_same(by_list, states, OURS["mlp"], [3, 5])
    by_name = neuronwise.from_checkpoints(paths, model, steps=lambda path: 10 * int(path.stem[-1]))
    assert by_name.keyframes.tolist() == [0, 10]
    for steps in ([1], [1, -2], [1, True], [1, 2.5], lambda path: path.name):
        with pytest.raises(UsageError, match="argument steps"):
            neuronwise.from_checkpoints(paths, model, steps=steps)  # type: ignore[arg-type]


def test_two_files_of_one_step_are_refused_by_name(tmp_path: Path) -> None:
    model = mlp()
    for name in ("best", "last"):
        torch.save({"step": 9, "model": model.state_dict()}, tmp_path / f"{name}.pt")
    for steps in (None, [4, 4]):
        with pytest.raises(UsageError, match=r"best\.pt.* and .*last\.pt.* are both of step") as caught:
            neuronwise.from_checkpoints(tmp_path, model, steps=steps)
        assert "steps=" in str(caught.value)
    torch.save(model.state_dict(), tmp_path / "only.pt")
    with pytest.raises(UsageError, match="named twice"):
        neuronwise.from_checkpoints([tmp_path / "only.pt", tmp_path / "only.pt"], model)


# What is refused.


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("how", ["torch", "legacy", "pickle", "inside", "safetensors"])
def test_a_hostile_file_does_not_run(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    model, marker = mlp(), tmp_path / "ran"
    path = tmp_path / ("0.safetensors" if how == "safetensors" else "0.pt")
    hostile = Runs(marker)
    if how in ("pickle", "safetensors"):
        path.write_bytes(pickle.dumps(hostile))
    else:
        content = {"state_dict": model.state_dict(), "args": hostile} if how == "inside" else hostile
        torch.save(content, path, _use_new_zipfile_serialization=how != "legacy")
    with pytest.raises(FormatError) as caught:
        neuronwise.from_checkpoints(path, model)
    assert str(path) in str(caught.value)
    if how != "safetensors":
        assert "torch.save(model.state_dict(), path)" in str(caught.value)
        assert "posix.system" in str(caught.value) or how == "pickle"
    assert not marker.exists()
    if how == "torch":  # it would have run
        torch.load(path, weights_only=False)
        assert marker.exists()


def test_a_pickled_model_is_refused_with_what_to_save_instead(tmp_path: Path) -> None:
    torch.save(mlp(), tmp_path / "0.pt")
    with pytest.raises(FormatError, match=r"Sequential, which would have to be unpickled") as caught:
        neuronwise.from_checkpoints(tmp_path / "0.pt", mlp())
    assert "torch.save(model.state_dict(), path)" in str(caught.value)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_program_of_torchscript_is_not_run(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    torch.jit.save(torch.jit.trace(model, torch.ones(1, 3)), str(tmp_path / "0.pt"))
    with pytest.raises(FormatError, match="a program of TorchScript, which would have to be run"):
        neuronwise.from_checkpoints(tmp_path / "0.pt", model)


def test_a_part_of_a_checkpoint_in_several_files_is_said_to_be_that(tmp_path: Path) -> None:
    state = mlp().state_dict()
    for place, names in enumerate((list(state)[:4], list(state)[4:]), 1):
        part = {name: state[name] for name in names}
        safetensors.torch.save_file(part, tmp_path / f"model-0000{place}-of-00002.safetensors")
    with pytest.raises(UsageError, match=r"a part of a checkpoint in several files, .* are missing"):
        neuronwise.from_checkpoints(tmp_path, mlp())


def test_a_folder_of_folders_says_where_the_checkpoints_are(tmp_path: Path) -> None:
    for step in (500, 1000):
        save_all(tmp_path / f"checkpoint-{step}", [mlp().state_dict()], "model.safetensors")
    for pattern in (tmp_path, tmp_path / "*"):
        with pytest.raises(NotFoundError) as caught:
            neuronwise.from_checkpoints(pattern, mlp())
        assert f'in which there are model.safetensors: "{tmp_path / "*" / "model.safetensors"}"' in str(caught.value)
    assert neuronwise.from_checkpoints(f"{tmp_path}/*/model.safetensors", mlp()).keyframes.tolist() == [500, 1000]


def test_a_name_of_two_suffixes_is_one_of_a_checkpoint(tmp_path: Path) -> None:
    states = states_of(mlp(), 2)
    save_all(tmp_path / "c", states, "net_{}.pth.tar")
    recording = neuronwise.from_checkpoints(tmp_path / "c", mlp())
    assert_same(recording, states, OURS["mlp"], [0, 1])


@pytest.mark.parametrize("content", [{"a": np.zeros(3)}, {"a": np.float64(1)}], ids=["array", "number"])
def test_the_refusal_does_not_pass_on_advice_to_unpickle(tmp_path: Path, content: Any) -> None:
    for protocol in (2, 4):
        (tmp_path / "0.pt").write_bytes(pickle.dumps(content, protocol=protocol))
        with pytest.raises(FormatError) as caught:
            neuronwise.from_checkpoints(tmp_path / "0.pt", mlp())
        assert "weights_only" not in str(caught.value)
        assert ("numpy" if protocol == 2 else "Unsupported operand") in str(caught.value)


def test_the_state_of_an_optimizer_alone_is_no_checkpoint(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "0.pt")
    with pytest.raises(FormatError, match="it holds the state of an optimizer, and no weights"):
        neuronwise.from_checkpoints(tmp_path / "0.pt", model)


@pytest.mark.parametrize("name", ["0.pt", "0.safetensors", "legacy.pt"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, name: str, share: float) -> None:
    model, path = mlp(), tmp_path / name
    if name == "legacy.pt":
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    else:
        save_all(tmp_path, [model.state_dict()], name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FormatError, match=name):
        neuronwise.from_checkpoints(path, model)


def test_no_damaged_byte_crashes(tmp_path: Path) -> None:
    model, path = nn.Linear(2, 2), tmp_path / "0.pt"
    torch.save(model.state_dict(), path)
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    for place in generator.integers(0, len(content), 60).tolist():
        damaged = bytearray(content)
        damaged[place] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        try:
            neuronwise.from_checkpoints(path, model)
        except NeuronwiseError as error:
            assert str(path) in str(error)  # noqa: PT017 - most bytes are padding


def test_a_packed_archive_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    path = tmp_path / "0.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1_000_000))
    with pytest.raises(FormatError, match="packed"):
        neuronwise.from_checkpoints(path, mlp())


def test_a_checkpoint_of_another_model_is_refused_with_what_differs(tmp_path: Path) -> None:
    model = mlp()
    states = states_of(model, 2)
    del states[1]["4.bias"]
    states[1]["fc.weight"] = torch.zeros(2)
    states[1]["0.weight"] = torch.zeros(8, 4)
    paths = save_all(tmp_path / "c", states)
    for one in (model, neuronwise.from_torch(model)):
        with pytest.raises(UsageError) as caught:
            neuronwise.from_checkpoints(tmp_path / "c", one)
        text = str(caught.value)
        assert str(paths[1]) in text
        assert "4.bias is missing" in text
        assert "fc.weight is unexpected" in text
        assert "0.weight should be (8, 3), is float32 (8, 4)" in text
    with pytest.raises(UsageError, match=r"is missing|are missing"):
        neuronwise.from_checkpoints(tmp_path / "c", mixed())
    assert list((tmp_path / "home" / "cache").rglob("recording.json")) == []


def test_a_huge_tensor_from_a_small_file_is_refused_by_its_shape(tmp_path: Path) -> None:
    state = mlp().state_dict() | {"0.weight": torch.zeros(1).expand(10**6, 10**7)}
    torch.save(state, tmp_path / "0.pt")
    with pytest.raises(UsageError, match=r"0.weight should be \(8, 3\), is float32 \(1000000, 10000000\)"):
        neuronwise.from_checkpoints(tmp_path / "0.pt", mlp())


@pytest.mark.parametrize(
    "content", [torch.zeros(3), [1, 2], {"a": 1}, {}, {1: torch.zeros(2)}, {"0.weight": torch.zeros(8, 3, dtype=int)}]
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "0.pt")
    with pytest.raises(UsageError, match=r"0\.pt"):
        neuronwise.from_checkpoints(tmp_path / "0.pt", mlp())


def test_sparse_values_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.eye(2).to_sparse(), "bias": torch.zeros(2)}, tmp_path / "0.pt")
    with pytest.raises(FormatError, match="'weight' cannot be read"):
        neuronwise.from_checkpoints(tmp_path / "0.pt", nn.Linear(2, 2))


def test_models_that_cannot_be_recorded(tmp_path: Path) -> None:
    torch.save(mlp().state_dict(), tmp_path / "0.pt")
    path = tmp_path / "0.pt"
    with pytest.raises(UsageError, match="got str"):
        neuronwise.from_checkpoints(path, "mlp")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no parameters"):
        neuronwise.from_checkpoints(path, nn.ReLU())
    with pytest.raises(UsageError, match="no weights"):
        neuronwise.from_checkpoints(path, Network([Flatten()], input_shape=(2, 2)))
    with pytest.raises(UsageError, match="not known yet"):
        neuronwise.from_checkpoints(path, nn.LazyLinear(3))
    with pytest.raises(UsageError, match="complex"):
        neuronwise.from_checkpoints(path, nn.Linear(2, 2, dtype=torch.complex64))
    with pytest.raises(UsageError, match=r"nn\.Sequential is needed"):
        neuronwise.from_checkpoints(path, mixed(), input_shape=3)
    with torch.device("meta"):
        large = nn.Linear(40_000, 40_000)
    torch.save(large.state_dict(), path)
    with pytest.raises(UsageError, match="too large"):
        neuronwise.from_checkpoints(path, large)


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "notes.txt").write_text("x")
    for pattern in (tmp_path / "c" / "*.pt", tmp_path / "c", [tmp_path / "c" / "a.pt"]):
        with pytest.raises(NotFoundError, match=r"holds notes\.txt"):
            neuronwise.from_checkpoints(pattern, mlp())
    with pytest.raises(UsageError, match="empty list"):
        neuronwise.from_checkpoints([], mlp())
    (tmp_path / "c" / "1.pt").symlink_to("gone.pt")
    for pattern in (tmp_path / "c", tmp_path / "c" / "*.pt"):
        with pytest.raises(NotFoundError, match=r"the link '.*1\.pt' leads nowhere"):
            neuronwise.from_checkpoints(pattern, mlp())


@pytest.mark.parametrize("pattern", [None, 5, ["a.pt", 3], b"a.pt"])
def test_what_is_no_pattern_is_refused(pattern: Any) -> None:
    with pytest.raises(UsageError, match=r"expected a pattern, a folder or a list of paths, got"):
        neuronwise.from_checkpoints(pattern, mlp())


@pytest.mark.parametrize("steps", [7, "12", 1.5])
def test_what_says_no_steps_is_refused(tmp_path: Path, steps: Any) -> None:
    save_all(tmp_path, states_of(mlp(), 2))
    with pytest.raises(UsageError, match="expected numbers in the order of the files, or what returns one for a path"):
        neuronwise.from_checkpoints(tmp_path, mlp(), steps=steps)


def test_a_list_may_name_folders_and_patterns_and_a_folder_that_is_no_checkpoint_is_none(tmp_path: Path) -> None:
    states = states_of(mlp(), 3)
    save_all(tmp_path / "first", states[:2])
    torch.save(states[2], tmp_path / "7.pt")
    (tmp_path / "first" / "9.pt").mkdir()
    recording = neuronwise.from_checkpoints([tmp_path / "first", str(tmp_path / "*.pt")], mlp())
    assert_same(recording, states, OURS["mlp"], [0, 1, 7])


def test_a_home_is_found_by_its_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    states = states_of(mlp(), 2)
    save_all(tmp_path / "c", states)
    assert_same(neuronwise.from_checkpoints("~/c/*.pt", mlp()), states, OURS["mlp"])


def test_without_torch_a_file_of_it_is_refused_and_ours_is_read(tmp_path: Path) -> None:
    torch.save(mlp().state_dict(), tmp_path / "0.pt")
    Network.dense([3, 2]).save(tmp_path / "net")
    script = """
import sys
sys.modules["torch"] = None
import neuronwise
from neuronwise.errors import MissingExtraError
network = neuronwise.Network.dense([3, 2])
assert neuronwise.from_checkpoints("net", network).keyframes.tolist() == [0]
for arguments in (("0.pt", network), ("net", object())):
    try:
        neuronwise.from_checkpoints(*arguments)
    except MissingExtraError as error:
        print(error)
"""
    process = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("neuronwise[torch]") == 2
    assert issubclass(MissingExtraError, NeuronwiseError)


# The folder.


def test_the_same_checkpoints_are_copied_once(tmp_path: Path) -> None:
    model = mlp()
    paths = save_all(tmp_path / "c", states_of(model))
    calls: list[tuple[int, int]] = []
    first = neuronwise.from_checkpoints(paths, model, progress=lambda *call: calls.append(call))
    assert calls == [(place, 8) for place in range(1, 9)]
    written = (first.stored.folder / "recording.json").stat().st_mtime_ns
    calls.clear()
    again = neuronwise.from_checkpoints(paths, model, progress=lambda *call: calls.append(call))
    assert calls == []
    assert again.stored.folder == first.stored.folder
    assert (again.stored.folder / "recording.json").stat().st_mtime_ns == written
    os.utime(paths[0], ns=(0, 0))
    assert neuronwise.from_checkpoints(paths, model).stored.folder != first.stored.folder
    assert neuronwise.from_checkpoints(paths, model, steps=[1, 2, 3, 4]).keyframes.tolist() == [1, 2, 3, 4]


def test_a_damaged_copy_is_made_again(tmp_path: Path) -> None:
    model = mlp()
    states = states_of(model)
    save_all(tmp_path / "c", states)
    folder = neuronwise.from_checkpoints(tmp_path / "c", model).stored.folder
    for damage in ("keyframes-000000.npy", "recording.json"):
        (folder / damage).unlink()
        assert_same(neuronwise.from_checkpoints(tmp_path / "c", model), states, OURS["mlp"])


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    model = mlp()
    states = states_of(model)
    save_all(tmp_path / "c", states)
    own = tmp_path / "deep" / "own"
    recording = neuronwise.from_checkpoints(tmp_path / "c", model, folder=own)
    assert recording.stored.folder == own
    assert sorted(path.name for path in own.parent.iterdir()) == ["own"]
    (tmp_path / "usual").mkdir()
    assert own.stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert_same(neuronwise.from_checkpoints(tmp_path / "c", model, folder=own), states, OURS["mlp"])
    opened = neuronwise.open(own)
    assert_same(opened, states, OURS["mlp"])
    assert opened.notes == recording.notes
    with pytest.raises(NeuronwiseError, match="made of checkpoints, which say nothing of the steps between"):
        opened.at(17)
    other = mixed()
    torch.save(other.state_dict(), tmp_path / "o.pt")
    with pytest.raises(UsageError, match="already holds something else"):
        neuronwise.from_checkpoints(tmp_path / "o.pt", other, folder=own)
    assert_same(Recording(read_recording(own)), states, OURS["mlp"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_call_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    model = mlp()
    save_all(tmp_path / "c", states_of(model))

    def interrupt(done: int, total: int) -> None:
        if done == total - 1:
            raise error

    with pytest.raises(error):
        neuronwise.from_checkpoints(tmp_path / "c", model, folder=tmp_path / "f" / "own", progress=interrupt)
    assert list((tmp_path / "f").iterdir()) == []


def test_memory_is_that_of_about_one_checkpoint(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(1000, 1000), nn.Linear(1000, 1000))
    states = [{name: value + place for name, value in model.state_dict().items()} for place in range(6)]
    save_all(tmp_path / "c", states)
    size = sum(value.numel() * 4 for value in states[0].values())
    del states
    with torch.device("meta"):
        shape_only = nn.Sequential(nn.Linear(1000, 1000), nn.Linear(1000, 1000))
    tracemalloc.start()
    recording = neuronwise.from_checkpoints(tmp_path / "c", shape_only)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(recording.keyframes) == 6
    assert peak < 2 * size


@pytest.mark.full
def test_memory_of_a_process_stays_at_about_one_checkpoint(tmp_path: Path) -> None:
    script = """
import resource, sys, torch, neuronwise
from torch import nn
with torch.device("meta"):
    model = nn.Sequential(*[nn.Linear(2500, 2500, bias=False) for _ in range(8)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
neuronwise.from_checkpoints("c/*.pt", model)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    model = nn.Sequential(*[nn.Linear(2500, 2500, bias=False) for _ in range(8)])
    size = sum(value.numel() * 4 for value in model.parameters())
    save_all(tmp_path / "c", [model.state_dict()] * 4)
    process = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) < 3 * size  # the row, and what is mapped of the file
