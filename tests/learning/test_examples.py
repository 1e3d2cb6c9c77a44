"""Gradients of each example of a step that was taken, against the step and against each example alone."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.learning import example_gradients, examples, get_optimizer, neuron_gradients
from neuronwise.learning.stepping import Stepper
from neuronwise.network import LOSSES, Network
from neuronwise.network.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D

LOSS = LOSSES["categorical_cross_entropy"]
ROWS = np.array([7, 2, 9, 2, 0])


def _stepper(
    *layers: Layer, dtype: str = "float64", weighted: bool = False, input_shape: tuple[int, ...] = (3,),
    clip: float | None = None,
) -> Stepper:  # fmt: skip
    network = Network([*layers, Dense(3, "softmax")], input_shape=input_shape, seed=1, dtype=dtype)
    rng = np.random.default_rng(0)
    network.parameters[:] += rng.normal(scale=0.1, size=network.parameter_count)
    X, y = rng.normal(size=(12, *input_shape)).astype(dtype), rng.integers(0, 3, 12)
    weights = rng.uniform(0, 3, 12).astype(dtype) if weighted else None
    optimizer = get_optimizer("adam", 0.05)
    optimizer.start(network.parameters)
    return Stepper(network, X, y, weights, LOSS, optimizer, clip, seed=5)


def _dense(**options: object) -> Stepper:
    return _stepper(Dense(6, "tanh"), Dropout(0.5), Dense(4, "relu"), Dropout(0.3), **options)


def _pictures(data_format: str = "channels_last", **options: object) -> Stepper:
    shape = (6, 5, 2) if data_format == "channels_last" else (2, 6, 5)
    return _stepper(
        Conv2D(4, 3, "tanh", padding="same", data_format=data_format),
        MaxPool2D(2, data_format=data_format),
        Dropout(0.4),
        Conv2D(2, 2, "tanh", data_format=data_format),
        Flatten(),
        Dense(5, "tanh"),
        input_shape=shape,
        **options,
    )


def _alone(stepper: Stepper, i: int) -> dict[str, dict[str, np.ndarray]]:
    """Return the gradients of a batch of example i of the last step alone, with the masks that were drawn for it."""
    network, row = stepper.network, ROWS[i]
    flat = np.zeros_like(network.parameters)
    space = network.workspace(1, flat, training=True)
    for own, drawn in zip(space.passes, stepper.space.passes, strict=True):
        if isinstance(own.layer, Dropout):
            own.mask[:] = drawn.mask[i]
    space.x[:] = stepper.X[row]
    space.forward()
    space.backward(LOSS, stepper.y[[row]], None if stepper.weights is None else stepper.weights[[row]])
    views = network.views(flat)
    return {layer.name: own for layer, own in zip(network.layers, views, strict=True) if own}


CASES = {
    "dense": _dense,
    "dense, weighted": lambda: _dense(weighted=True),
    "convolution": _pictures,
    "convolution, channels first, weighted": lambda: _pictures("channels_first", weighted=True),
}


@pytest.mark.parametrize("case", CASES)
def test_examples_of_a_step_are_each_its_gradient_alone_and_average_to_that_of_the_batch(case: str) -> None:
    stepper = CASES[case]()
    for _ in range(3):  # so that the masks are those of a step, not of the first
        stepper.step(ROWS[:4])
    stepper.forward_backward(ROWS)
    found = example_gradients(stepper.space.passes)
    alone = [_alone(stepper, i) for i in range(len(ROWS))]
    assert list(found) == list(alone[0])
    batch = {layer.name: views for layer, views in zip(
        stepper.network.layers, stepper.network.views(stepper.gradients), strict=True) if views}  # fmt: skip
    for layer, gradients in batch.items():
        assert list(found[layer]) == list(gradients)
        for key, gradient in gradients.items():
            assert found[layer][key].shape == (len(ROWS), *gradient.shape)
            np.testing.assert_allclose(found[layer][key].mean(axis=0), gradient, rtol=1e-11, atol=1e-15)
            for i, one in enumerate(alone):
                np.testing.assert_allclose(found[layer][key][i], one[layer][key], rtol=1e-10, atol=1e-14)
    assert not np.allclose(found["output"]["W"][1], found["output"]["W"][3])  # the same row, other masks


def test_the_examples_of_a_convolution_in_float32() -> None:
    stepper = _pictures(dtype="float32")
    stepper.forward_backward(ROWS)
    found = example_gradients(stepper.space.passes)["conv1"]["W"]
    assert found.dtype == np.float32
    for i in range(len(ROWS)):
        np.testing.assert_allclose(found[i], _alone(stepper, i)["conv1"]["W"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_one_neuron_is_that_part_of_all(case: str) -> None:
    stepper = CASES[case]()
    stepper.forward_backward(ROWS)
    passes = stepper.space.passes
    for layer, gradients in example_gradients(passes).items():
        for neuron in range(gradients["b"].shape[1]):
            own = neuron_gradients(passes, layer, neuron)
            assert list(own) == ["W", "b"]
            for key, values in gradients.items():
                np.testing.assert_array_equal(own[key], values[:, neuron])


def test_examples_are_those_before_clipping_also_after_the_update() -> None:
    free, clipped = _pictures(), _pictures(clip=0.01)
    free.forward_backward(ROWS)
    clipped.step(ROWS)
    expected, found = (example_gradients(one.space.passes) for one in (free, clipped))
    for layer, gradients in expected.items():
        for key, values in gradients.items():
            np.testing.assert_array_equal(found[layer][key], values)


def test_looking_at_examples_changes_no_later_step() -> None:
    ends = []
    for looks in (False, True):
        stepper = _pictures()
        for _ in range(3):
            stepper.forward_backward(ROWS)
            kept = [one.x.copy() for one in stepper.space.passes], stepper.gradients.copy()
            if looks:
                example_gradients(stepper.space.passes)["conv1"]["W"][:] = 7
                neuron_gradients(stepper.space.passes, "hidden1", 0)["b"][:] = 7
            for one, x in zip(stepper.space.passes, kept[0], strict=True):
                np.testing.assert_array_equal(one.x, x)
            np.testing.assert_array_equal(stepper.gradients, kept[1])
            stepper.update()
        ends.append(stepper.network.parameters.tobytes())
    assert ends[0] == ends[1]


def test_batch_normalisation_mixes_the_examples_of_a_step() -> None:
    stepper = _stepper(Dense(4, "tanh"), BatchNorm())
    stepper.step(ROWS)
    for ask in (example_gradients, lambda passes: neuron_gradients(passes, "output", 0)):
        with pytest.raises(UsageError) as caught:
            ask(stepper.space.passes)
        assert "argument passes: in training, batch normalisation makes the loss of every example depend" in str(
            caught.value
        )


def test_batch_normalisation_by_the_running_statistics_mixes_nothing() -> None:
    network = _stepper(Dense(4, "tanh"), BatchNorm()).network
    network.buffers[:] = np.random.default_rng(1).uniform(0.5, 2, network.buffer_count)
    flat = np.zeros_like(network.parameters)
    space = network.workspace(4, flat)
    space.x[:] = np.random.default_rng(0).normal(size=(4, 3))
    space.forward()
    space.backward(LOSS, np.array([0, 1, 2, 0]))
    found = example_gradients(space.passes)["norm1"]
    for key, gradient in network.views(flat)[1].items():
        np.testing.assert_allclose(found[key].mean(axis=0), gradient, rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(neuron_gradients(space.passes, "norm1", 3)[key], found[key][:, 3])


def test_a_neuron_of_a_layer_too_large_for_all_its_examples_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # 5 examples of 24 + 28 + 15 parameters in float64 are 2,680 bytes; one neuron of hidden1 is 160.
    stepper = _dense()
    stepper.forward_backward(ROWS)
    monkeypatch.setattr(examples, "_MAX_BYTES", 2679)
    with pytest.raises(UsageError, match=r"(?s)argument passes: the gradients of 5 examples need .* neuron_gradients"):
        example_gradients(stepper.space.passes)
    monkeypatch.setattr(examples, "_MAX_BYTES", 160)
    assert neuron_gradients(stepper.space.passes, "hidden1", 5)["W"].shape == (5, 3)
    monkeypatch.setattr(examples, "_MAX_BYTES", 159)
    with pytest.raises(UsageError, match="the gradients of 5 examples need 160"):
        neuron_gradients(stepper.space.passes, "hidden1", 5)


def test_passes_that_only_went_forward_are_refused() -> None:
    space = _dense().network.workspace(2)
    space.x[:] = 1
    space.forward()
    with pytest.raises(UsageError, match=r"(?s)argument passes: these passes only go forward.*stepper\.space\.passes"):
        example_gradients(space.passes)
    with pytest.raises(UsageError, match="these passes only go forward"):
        neuron_gradients(space.passes, "output", 0)


def test_an_unknown_layer_or_neuron_is_answered_with_those_there_are() -> None:
    stepper = _dense()
    stepper.forward_backward(ROWS)
    with pytest.raises(NotFoundError, match=r"(?s)there is no layer 'hiden1' .*layers are hidden1, hidden2"):
        neuron_gradients(stepper.space.passes, "hiden1", 0)
    for wrong in (-1, 6, 1.0, True):
        with pytest.raises(NotFoundError, match=r"the layer 'hidden1' has 6 neurons, 0 to 5, got"):
            neuron_gradients(stepper.space.passes, "hidden1", wrong)


def test_gradients_that_are_not_finite_are_returned_without_a_warning() -> None:
    stepper = _pictures(dtype="float32")
    stepper.X[2] = np.inf
    with np.errstate(all="ignore"):
        stepper.forward_backward(ROWS)
    found = example_gradients(stepper.space.passes)["output"]["W"]
    assert np.isfinite(found[0]).all()
    assert not np.isfinite(found[1]).any()
