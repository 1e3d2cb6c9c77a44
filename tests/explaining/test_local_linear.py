"""The local linear map: it adds up, and each of its numbers is autograd's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining.local_linear import Pullback, Target, hidden_layers, local_linear
from neuronwise.network import ACTIVATIONS, Network
from neuronwise.network.layers import ActivationLayer, Dense, Dropout, Flatten, MaxPool2D

from .networks import inputs, networks

# Of each precision some networks every time, and half of the 1,000 that the promise speaks of in the full run.
SOME, MANY = settings(max_examples=80), settings(max_examples=500)


def _gradients_by_torch(network: Network, x: Any) -> Any:
    """Return d output / d x of each output, (batch, outputs, *input_shape), by autograd."""
    import torch

    model = network.to_torch()
    tensor = torch.from_numpy(x).requires_grad_()
    out = model(tensor)
    rows = [torch.autograd.grad(out[:, k].sum(), tensor, retain_graph=True)[0] for k in range(out.shape[1])]
    return torch.stack(rows, 1).numpy()


def _bias_by_hand(network: Network, x: Any) -> Any:
    """Return what the biases come to, (batch, outputs): the slow way, by autograd with respect to each constant."""
    import torch

    model = network.to_torch()
    kept: list[tuple[Any, Any]] = []

    def hook(module: Any, taken: Any, out: Any) -> None:
        with torch.no_grad():
            zero = torch.zeros_like(taken[0])
            own = type(module).forward(module, zero)
        kept.append((out, own))

    kinds = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
    for module in model:
        if isinstance(module, kinds):
            module.register_forward_hook(hook)
    out = model(torch.from_numpy(x))
    total = np.zeros(out.shape)
    for k in range(out.shape[1]):
        grads = torch.autograd.grad(out[:, k].sum(), [value for value, _ in kept], retain_graph=True)
        for grad, (_, own) in zip(grads, kept, strict=True):
            total[:, k] += (grad * own).reshape(len(x), -1).sum(1).numpy()
    return total


def _check(network: Network, tolerance: float) -> None:
    x = inputs(network)
    found = local_linear(network, x)
    assert found.is_exact
    y_hat = network.predict(x).astype(np.float64)
    parts = found.contributions.reshape(*y_hat.shape, -1)
    terms = np.stack(list(found.bias_terms.values()), -1)
    scale = np.abs(parts).sum(-1) + np.abs(terms).sum(-1)
    assert (np.abs(y_hat - parts.sum(-1) - terms.sum(-1)) <= tolerance * scale).all()
    np.testing.assert_allclose(found.gap, y_hat - parts.sum(-1) - terms.sum(-1), atol=1e-12 * scale.max())
    expected = _gradients_by_torch(network, x).reshape(found.gradient.shape).astype(np.float64) * x[:, None]
    difference = np.abs(found.contributions - expected).reshape(*y_hat.shape, -1).max(-1)
    assert (difference <= 10 * tolerance * scale).all()


@SOME
@given(networks("float64"))
def test_contributions_and_biases_sum_to_the_output_in_float64(network: Network) -> None:
    _check(network, 1e-12)


@SOME
@given(networks("float32"))
def test_contributions_and_biases_sum_to_the_output_in_float32(network: Network) -> None:
    _check(network, 1e-5)


@pytest.mark.full
@MANY
@given(networks("float64"))
def test_they_do_so_for_500_networks_in_float64(network: Network) -> None:
    _check(network, 1e-12)


@pytest.mark.full
@MANY
@given(networks("float32"))
def test_they_do_so_for_500_networks_in_float32(network: Network) -> None:
    _check(network, 1e-5)


@settings(max_examples=30)
@given(networks("float64"))
def test_the_bias_terms_are_what_the_constants_come_to_not_the_rest_of_the_sum(network: Network) -> None:
    x = inputs(network)
    found = local_linear(network, x)
    expected = _bias_by_hand(network, x)
    np.testing.assert_allclose(found.bias, expected, atol=1e-12 * max(1.0, np.abs(expected).max()))


@settings(max_examples=40)
@given(networks("float64", activations=tuple(name for name in ACTIVATIONS if name != "softmax")), st.booleans())
def test_the_slope_of_every_layer_is_that_of_small_changes(network: Network, of_z: bool) -> None:
    x = inputs(network, 2)
    rng = np.random.default_rng(0)
    for layer in network.layers:
        of: Any = "z" if of_z and layer.activation is not None else "a"
        neuron = int(rng.integers(layer.neuron_count))
        found = local_linear(network, x, layer.name, neuron, of=of)
        direction = rng.normal(size=x.shape)
        h = 1e-7

        def values(at: Any, position: int = network.layers.index(layer), of: str = of, neuron: int = neuron) -> Any:
            one = network.trace(at)[position]
            return (one.z if of == "z" else one.a).reshape(len(at), -1)[:, neuron]

        measured = (values(x + h * direction) - values(x - h * direction)) / (2 * h)
        expected = (found.gradient[:, 0] * direction).reshape(len(x), -1).sum(1)
        scale = np.abs(found.gradient[:, 0] * direction).reshape(len(x), -1).sum(1)
        # A kink between the two points is possible, but rare: neither rounding nor kinks may differ by more.
        assert (np.abs(measured - expected) <= 1e-5 * scale + 1e-6).all()
        np.testing.assert_array_equal(found.value[:, 0], values(x))


def test_a_network_worked_out_by_hand() -> None:
    # hidden: z = (x1 - x2 + 1, -x1 + 0.5), at (2, 1): z = (2, -1.5), a = (2, 0); output: 3 a1 - a2 + 0.25 = 6.25
    network = Network.dense([2, 2, 1], dtype="float64")
    network["hidden1"].W, network["hidden1"].b = [[1, -1], [-1, 0]], [1, 0.5]
    network["output"].W, network["output"].b = [[3, -1]], [0.25]
    found = local_linear(network, [2.0, 1.0])
    assert found.value.tolist() == [[6.25]]
    assert found.gradient.tolist() == [[[3.0, -3.0]]]
    assert found.contributions.tolist() == [[[6.0, -3.0]]]
    assert {name: term.tolist() for name, term in found.bias_terms.items()} == {"hidden1": [[3.0]], "output": [[0.25]]}
    assert found.gap.tolist() == [[0.0]]
    assert (found.layer, found.of, found.curved) == ("output", "z", ())


def test_which_functions_are_straight() -> None:
    z = np.linspace(-3, 3, 61)
    for activation in ACTIVATIONS.values():
        if activation.name == "softmax":
            assert not activation.is_piecewise_linear
            continue
        straight = bool(np.allclose(activation(z), activation.derivative(z) * z, atol=1e-12))
        assert activation.is_piecewise_linear == straight, activation.name


def test_curved_layers_are_named_where_they_lie_on_the_way() -> None:
    network = Network([Dense(4, "relu"), Dense(4, "tanh"), Dense(3, "softmax")], input_shape=2)
    assert local_linear(network, np.zeros(2)).curved == ("hidden2",)
    assert local_linear(network, np.zeros(2), of="a").curved == ("hidden2", "output")
    assert local_linear(network, np.zeros(2), "hidden2").curved == ()
    assert Target.answer(network) == Target(2, "z")
    assert Target.answer(Network.dense([2, 1])) == Target(0, "a")


def test_gradients_by_hidden_activations_are_those_from_there_up() -> None:
    network = Network(
        [Dense(5, "relu"), Dropout(0.5), Dense(4, "leaky_relu"), Dense(2)], input_shape=3, dtype="float64"
    )
    x = inputs(network, 4)
    pullback = Pullback(network, 4)
    pullback.forward(x)
    seed = np.array([[0.0, 1.0]])
    _, kept = pullback.pull(seed, ["hidden1", "hidden2"])
    above = network["output"].W[1]
    np.testing.assert_allclose(kept["hidden2"], np.tile(above, (4, 1)))
    bent = network["hidden2"].activation.derivative(network.trace(x)["hidden2"].z)
    np.testing.assert_allclose(kept["hidden1"], (bent * above) @ network["hidden2"].W)


def test_looking_changes_nothing() -> None:
    network = Network.dense([3, 4, 2])
    before = network.parameters.copy()
    x = inputs(network)
    twice = [local_linear(network, x).gradient for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    np.testing.assert_array_equal(network.parameters, before)


def test_many_rows_are_taken_in_parts() -> None:
    network = Network.dense([3, 4, 2])
    x = inputs(network, 5000)
    assert network.rows_at_a_time < 5000
    found = local_linear(network, x, neurons=1)
    np.testing.assert_allclose(found.gradient[4321], local_linear(network, x[4321], neurons=[1]).gradient[0], rtol=1e-5)


def test_infinite_inputs_give_what_they_give() -> None:
    network = Network.dense([2, 2, 1])
    found = local_linear(network, [np.inf, 1.0])
    assert not np.isfinite(found.contributions).all()


def test_hidden_layers_are_those_that_compute() -> None:
    network = Network(
        [Dense(4, "identity"), ActivationLayer("relu"), Dropout(0.1), Dense(3, "identity"), ActivationLayer("softmax")],
        input_shape=2,
    )
    assert hidden_layers(network, Target.answer(network)) == ["hidden1", "activation1"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"layer": "hiden1"}, NotFoundError, "Did you mean 'hidden1'"),
        ({"layer": "hidden1", "neurons": 4}, NotFoundError, "has 4 neurons, 0 to 3, got 4"),
        ({"neurons": 0.5}, UsageError, "whole numbers, got 0.5"),
        ({"layer": "flatten1", "of": "z"}, UsageError, "has no pre-activation z"),
        ({"of": "logits"}, UsageError, "expected 'z' or 'a', got 'logits'"),
    ],
)
def test_what_cannot_be_asked_is_said(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    network = Network([MaxPool2D(2), Flatten(), Dense(4), Dense(2)], input_shape=(4, 4))
    with pytest.raises(error, match=words):
        local_linear(network, np.zeros((4, 4)), **arguments)


def test_more_than_memory_is_refused() -> None:
    network = Network.dense([100_000, 10])
    with pytest.raises(UsageError, match=r"take .* GB; the limit is 2\.0 GB"):
        local_linear(network, np.zeros((1000, 100_000), np.float32))
