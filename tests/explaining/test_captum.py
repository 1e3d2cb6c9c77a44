"""Agreement with Captum, on our networks turned into torch's: an implementation that is not ours."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from neuronwise.explaining.path import through_neuron
from neuronwise.explaining.prediction import explain_prediction
from neuronwise.explaining.torch_models import explain_torch_prediction
from neuronwise.network import Network
from neuronwise.network.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D

from .networks import inputs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    attr: Any = pytest.importorskip("captum.attr")


def _dense() -> Network:
    layers = [Dense(7, "tanh"), BatchNorm(), Dropout(0.3), Dense(5, "gelu"), Dense(4, "sigmoid"), Dense(3, "softmax")]
    return _filled(Network(layers, input_shape=6, seed=3, dtype="float64"))


def _pictures() -> Network:
    layers = [
        *(Conv2D(3, 3, "softplus"), MaxPool2D(2), Conv2D(2, 2, "elu", padding="same")),
        *(Flatten(), Dense(5, "tanh"), Dense(3, "identity")),
    ]
    return _filled(Network(layers, input_shape=(8, 8, 2), seed=4, dtype="float64"))


def _straight() -> Network:
    layers = [
        Conv2D(3, 3),
        MaxPool2D(2),
        Flatten(),
        Dense(9, "leaky_relu"),
        BatchNorm(activation="leaky_relu"),
        Dense(3, "identity"),
    ]
    return _filled(Network(layers, input_shape=(8, 8, 1), seed=5, dtype="float64"))


def _filled(network: Network) -> Network:
    rng = np.random.default_rng(network.seed)
    for layer in network.layers:
        for key, values in (layer.parameters | layer.buffers).items():
            values[...] = rng.uniform(0.5, 1.5, values.shape) if key == "running_var" else values
            if key != "W" and key != "running_var":
                values[...] = rng.normal(0, 0.3, values.shape) + (key == "gamma")
    return network


NETWORKS = {"dense": _dense, "pictures": _pictures, "straight": _straight}


def _tensors(network: Network) -> Any:
    import torch

    x, origin = (torch.from_numpy(one[None]) for one in inputs(network, 2))
    return network.to_torch(logits=True), x, origin


@pytest.mark.parametrize("name", NETWORKS)
def test_integrated_gradients_are_captums(name: str) -> None:
    network = NETWORKS[name]()
    model, x, origin = _tensors(network)
    theirs = attr.IntegratedGradients(model).attribute(x, origin, target=1, n_steps=2000, method="riemann_trapezoid")
    ours = explain_prediction(network, x[0].numpy(), 1, baseline=origin[0].numpy(), method="integrated gradients")
    size = np.abs(theirs.numpy()).sum()
    np.testing.assert_allclose(ours.input_contributions, theirs.numpy().reshape(-1), atol=1e-3 * size)
    through_torch = explain_torch_prediction(
        model, x, 1, baseline=origin.numpy().reshape(-1), method="integrated gradients"
    )
    np.testing.assert_allclose(through_torch.input_contributions, ours.input_contributions, atol=1e-10 * size)
    assert through_torch.steps == ours.steps


@pytest.mark.parametrize("name", NETWORKS)
def test_the_conductance_of_layers_is_captums(name: str) -> None:
    network = NETWORKS[name]()
    model, x, origin = _tensors(network)
    ours = explain_prediction(network, x[0].numpy(), 1, baseline=origin[0].numpy(), method="integrated gradients")
    for layer in ours.layers:
        kind = network[layer.layer].activation.name
        module = model.get_submodule(layer.layer if kind == "identity" else f"{layer.layer}_{kind}")
        theirs = attr.LayerConductance(model, module).attribute(
            x, origin, target=1, n_steps=2000, method="riemann_trapezoid"
        )
        found = theirs.detach().numpy()[0]
        found = found.sum(axis=(1, 2)) if found.ndim == 3 else found
        size = np.abs(found).sum()
        np.testing.assert_allclose(layer.contributions, found, atol=3e-3 * size, err_msg=layer.layer)


@pytest.mark.parametrize(("name", "layer"), [("dense", "hidden2"), ("straight", "hidden1"), ("pictures", "hidden1")])
def test_the_conductance_of_inputs_through_one_neuron_is_captums(name: str, layer: str) -> None:
    network = NETWORKS[name]()
    model, x, origin = _tensors(network)
    module = model.get_submodule(f"{layer}_{network[layer].activation.name}")
    theirs = attr.NeuronConductance(model, module).attribute(
        x, 2, baselines=origin, target=1, n_steps=2000, method="riemann_trapezoid"
    )
    found = theirs.detach().numpy()[0]
    ours = through_neuron(network, x[0].numpy(), f"{layer}[2]", 1, baseline=origin[0].numpy(), steps=2000)
    size = np.abs(found).sum()
    assert size > 0
    np.testing.assert_allclose(ours, found, atol=2e-3 * size)
    # Together the inputs make what the neuron itself adds.
    whole = explain_prediction(network, x[0].numpy(), 1, baseline=origin[0].numpy(), method="integrated gradients")
    conductance = next(one for one in whole.layers if one.layer == layer).contributions[2]
    assert ours.sum() == pytest.approx(conductance, abs=2e-3 * size)


def test_gradient_times_input_is_captums() -> None:
    network = _straight()
    model, x, _ = _tensors(network)
    x = x.requires_grad_()
    theirs = attr.InputXGradient(model).attribute(x, target=1).detach().numpy().reshape(-1)
    ours = explain_prediction(network, x.detach()[0].numpy(), 1)
    assert ours.is_exact
    np.testing.assert_allclose(ours.input_contributions, theirs, atol=1e-12)
