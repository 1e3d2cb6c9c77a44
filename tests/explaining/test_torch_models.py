"""Explanations of PyTorch models: the same numbers as ours, nothing left behind."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining.prediction import explain_prediction
from neuronwise.explaining.torch_models import explain_torch_prediction
from neuronwise.network import Network
from neuronwise.network.layers import Dense

from .networks import inputs, networks

torch: Any = pytest.importorskip("torch")
nn = torch.nn


@settings(max_examples=25)
@given(networks("float64"))
def test_a_converted_network_is_explained_as_ours_is(network: Network) -> None:
    x = inputs(network, 1)[0]
    ours = explain_prediction(network, x)
    theirs = explain_torch_prediction(network.to_torch(), x)
    assert theirs.is_exact
    size = np.abs(ours.input_contributions).sum() + sum(map(abs, ours.bias_terms.values())) + 1
    np.testing.assert_allclose(theirs.input_contributions, ours.input_contributions, atol=1e-12 * size)
    assert theirs.start == pytest.approx(ours.start, abs=1e-12 * size)
    assert sum(theirs.bias_terms.values()) == pytest.approx(sum(ours.bias_terms.values()), abs=1e-12 * size)
    for layer in theirs.layers:
        assert abs(layer.gap) <= 1e-9 * (np.abs(layer.contributions).sum() + abs(layer.start) + 1)


def test_layers_and_logits_are_ours_too() -> None:
    network = Network([Dense(6, "relu"), Dense(5, "leaky_relu"), Dense(3, "softmax")], input_shape=4, dtype="float64")
    x = inputs(network, 1)[0]
    ours, theirs = explain_prediction(network, x), explain_torch_prediction(network.to_torch(), x)
    assert theirs.explains == "logit"
    assert (theirs.value, theirs.probability) == (pytest.approx(ours.value), pytest.approx(ours.probability))
    # A module's output is z; z · slope is a · slope where the function is made of straight pieces through zero.
    for mine, his in zip(ours.layers, theirs.layers, strict=True):
        np.testing.assert_allclose(his.contributions, mine.contributions, atol=1e-12)
        assert his.start == pytest.approx(mine.start, abs=1e-12)
    assert type(theirs) is type(ours)


class _Skip(nn.Module):  # type: ignore[misc, name-defined]
    """Functions in the forward pass, and a way around a layer."""

    def __init__(self, function: Any = torch.relu) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.last, self.function = nn.Linear(4, 2), function

    def forward(self, x: Any) -> Any:
        return self.last(self.drop(self.norm(self.function(self.first(x)))) + x)


def _model(function: Any = torch.relu) -> Any:
    torch.manual_seed(1)
    model = _Skip(function).double()
    for _ in range(3):
        model(torch.randn(32, 4, dtype=torch.float64) + 1)
    return model


def test_what_passes_a_layer_by_is_counted_apart() -> None:
    model, x = _model(), torch.randn(4, dtype=torch.float64)
    told = explain_torch_prediction(model, x, 1)
    assert told.is_exact
    assert abs(told.gap) < 1e-12
    assert {one.layer for one in told.layers} == {"first", "norm"}
    for layer in told.layers:
        assert abs(layer.gap) < 1e-12
    by_hand = float((model.last.weight[1] * x).sum().detach() + model.last.bias[1].detach())
    norm = next(one for one in told.layers if one.layer == "norm")
    assert norm.start == pytest.approx(by_hand)


def test_a_curve_that_no_module_shows_is_found_by_the_sum() -> None:
    told = explain_torch_prediction(_model(torch.tanh), torch.full((4,), 2.0, dtype=torch.float64), 0)
    assert told.method == "integrated gradients"
    assert told.curved == ("its forward pass",)
    assert told.is_close
    with pytest.raises(UsageError, match="its forward pass"):
        explain_torch_prediction(_model(torch.tanh), torch.full((4,), 2.0), method="local linear map")


def test_looking_changes_nothing() -> None:
    model = _model()
    model.drop.eval()
    model.train(True)
    model.norm.eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    for method in ("local linear map", "integrated gradients"):
        explain_torch_prediction(model, torch.ones(4), method=method)
    assert torch.equal(random, torch.get_rng_state())
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(UsageError):
        explain_torch_prediction(model, torch.ones(5))
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())


def test_frozen_parameters_and_inference_mode_are_no_hindrance() -> None:
    model = _model().requires_grad_(False)
    with torch.no_grad():
        told = explain_torch_prediction(model, torch.ones(4), layers=["first"])
    assert told.is_exact
    assert told.bias_terms
    model = _model()
    with torch.inference_mode():
        assert explain_torch_prediction(model, torch.ones(4)).is_exact


def test_pictures_may_come_with_or_without_the_batch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2))
    x = torch.randn(1, 8, 8)
    one, batch = explain_torch_prediction(model, x), explain_torch_prediction(model, x[None])
    np.testing.assert_array_equal(one.input_contributions, batch.input_contributions)
    assert list(one.layers[0].names) == ["0[0]", "0[1]", "0[2]"]
    with pytest.raises(UsageError, match="one input is explained at a time"):
        explain_torch_prediction(nn.Linear(3, 2), torch.zeros(5, 3))


def test_names_and_what_cannot_be_used() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 2), nn.LogSoftmax(1))
    told = explain_torch_prediction(model, [1.0, 2.0], "no", input_names=["a", "b"], output_names=["yes", "no"])
    assert list(told.names) == ["a", "b"]
    assert told.output == "no"
    assert told.curved == ("1 (GELU)",)
    assert told.probability == pytest.approx(model(torch.tensor([[1.0, 2.0]])).exp()[0, 1].item(), abs=1e-6)
    with pytest.raises(UsageError, match="2 names are needed, got 1"):
        explain_torch_prediction(model, [1.0, 2.0], input_names=["a"])
    with pytest.raises(NotFoundError, match="there is no module '7'"):
        explain_torch_prediction(model, [1.0, 2.0], layers=["7"])
    with pytest.raises(NotFoundError, match="no output 'maybe'"):
        explain_torch_prediction(model, [1.0, 2.0], "maybe")
    with pytest.raises(UsageError, match="no array of numbers"):
        explain_torch_prediction(model, ["a", "b"])
