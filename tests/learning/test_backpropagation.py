"""Backpropagation against finite differences, one example at a time, and torch."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.learning import backpropagate
from neuronwise.network import ACTIVATIONS, LOSSES, Dense, Flatten, Network
from neuronwise.network.layers import BatchNorm, Conv2D, Dropout, MaxPool2D

from .helpers import COMBINATIONS, flat, targets_for, torch_loss, torch_twin


def _network(hidden: str, output: str, depth: int, dtype: str = "float64", seed: int = 0) -> Network:
    network = Network.dense([3, *[4] * depth, 2], hidden=hidden, output=output, seed=seed, dtype=dtype)
    network.parameters[:] += np.random.default_rng(seed).normal(scale=0.2, size=network.parameter_count)
    return network


def test_a_step_worked_out_by_hand() -> None:
    # One input x = 2, w1 = 0.5, b1 = 1, relu: z1 = 2, a1 = 2;  w2 = -1, b2 = 0.5: y_hat = -1.5;  y = 1.
    # L = (y_hat - y)^2 = 6.25;  delta2 = 2 (y_hat - y) = -5;  dW2 = delta2·a1 = -10;  db2 = -5
    # delta1 = delta2·w2·relu'(2) = 5;  dW1 = 5·2 = 10;  db1 = 5;  dx = delta1·w1 = 2.5
    network = Network.dense([1, 1, 1], dtype="float64")
    network.parameters[:] = [0.5, 1, -1, 0.5]
    found = backpropagate(network, [[2.0]], [[1.0]])
    assert found.loss == 6.25
    assert [float(v) for v in found.flat] == [10, 5, -10, -5]
    assert found["output"].delta.tolist() == [[-5]]
    assert found["hidden1"].delta.tolist() == [[5]]
    assert found["hidden1"].dW.tolist() == [[10]]
    assert found["output"].db.tolist() == [-5]
    assert found.dx.tolist() == [[2.5]]


@pytest.mark.parametrize(
    ("depth", "hidden"), [(0, "identity"), *((depth, name) for depth in (1, 2, 3) for name in sorted(ACTIVATIONS))]
)
def test_gradients_are_those_of_finite_differences(depth: int, hidden: str) -> None:
    h, m = 1e-5, 3
    for seed, (name, output) in enumerate(COMBINATIONS):
        network = _network(hidden, output, depth, seed=seed)
        rng = np.random.default_rng(seed)
        x, y, loss = rng.normal(size=(m, 3)), targets_for(name, rng, m, 2), LOSSES[name]
        found = backpropagate(network, x, y, name)
        space, scratch = network.workspace(m), np.empty((m, 2))

        def value(space=space, loss=loss, y=y, scratch=scratch) -> float:
            space.forward()
            return loss.evaluate(space.output.z, space.output.a, y, scratch)

        np.copyto(space.x, x)
        assert found.loss == pytest.approx(value(), rel=1e-14)
        for array, gradient in ((network.parameters, found.flat), (space.x.reshape(-1), found.dx.reshape(-1))):
            numeric = np.empty_like(gradient)
            for i in range(len(array)):
                kept = array[i]
                array[i] = kept + h
                up = value()
                array[i] = kept - h
                numeric[i] = (up - value()) / (2 * h)
                array[i] = kept
            scale = max(np.linalg.norm(gradient), 1e-3)
            assert np.linalg.norm(numeric - gradient) <= 1e-6 * scale, (name, output, numeric, gradient)


@pytest.mark.parametrize("hidden", ["relu", "gelu", "softmax"])
@pytest.mark.parametrize(("loss", "output"), COMBINATIONS)
def test_examples_alone_average_to_the_batch(loss: str, output: str, hidden: str) -> None:
    network, rng, m = _network(hidden, output, 2), np.random.default_rng(1), 5
    x, y = rng.normal(size=(m, 3)), targets_for(loss, rng, m, 2)
    found = backpropagate(network, x, y, loss, per_example=True)
    alone = [backpropagate(network, x[i], y[i : i + 1], loss) for i in range(m)]
    assert found.loss == pytest.approx(np.mean([one.loss for one in alone]), rel=1e-13)
    for layer in found:
        assert layer.dW_per_example.shape == (m, *layer.dW.shape)
        assert layer.db_per_example.shape == (m, *layer.db.shape)
        np.testing.assert_allclose(layer.dW_per_example.mean(axis=0), layer.dW, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(layer.db_per_example.mean(axis=0), layer.db, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(layer.db, layer.delta.sum(axis=0), rtol=1e-12, atol=1e-15)
        for i, one in enumerate(alone):
            np.testing.assert_allclose(layer.dW_per_example[i], one[layer.name].dW, rtol=1e-11, atol=1e-14)
            np.testing.assert_allclose(layer.db_per_example[i], one[layer.name].db, rtol=1e-11, atol=1e-14)
            np.testing.assert_allclose(layer.delta[i] * m, one[layer.name].delta[0], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize(("loss", "output"), COMBINATIONS)
def test_forward_and_backward_equal_torch(loss: str, output: str, depth: int, dtype: str) -> None:
    hidden = sorted(ACTIVATIONS)[(len(loss) + len(output) + depth) % len(ACTIVATIONS)]
    network, rng = _network(hidden, output, depth, dtype), np.random.default_rng(2)
    torch, forward, parameters = torch_twin(network)
    x, y = rng.normal(size=(20, 3)).astype(dtype), targets_for(loss, rng, 20, 2)
    inputs = torch.tensor(x, requires_grad=True)
    z, a = forward(inputs)
    expected = torch_loss(torch, loss, z, a, y)
    expected.backward()
    found, trace = backpropagate(network, x, y, loss), network.trace(x)
    tolerance = {"rtol": 3e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-13}
    if "softplus" in (hidden, output) and dtype == "float64":
        tolerance = {"rtol": 1e-8, "atol": 1e-9}  # torch's is linear beyond 20
    np.testing.assert_allclose(trace[-1].z, z.detach().numpy(), **tolerance)
    np.testing.assert_allclose(trace[-1].a, a.detach().numpy(), **tolerance)
    assert found.loss == pytest.approx(expected.item(), rel=tolerance["rtol"])
    np.testing.assert_allclose(found.flat, flat([p.grad for p in parameters]), **tolerance)
    np.testing.assert_allclose(found.dx, inputs.grad.numpy(), **tolerance)


def test_a_flatten_on_the_way_passes_the_gradient_through() -> None:
    network = Network([Flatten(), Dense(2, "tanh"), Flatten(), Dense(1)], input_shape=(2, 2), seed=1, dtype="float64")
    plain = Network([Dense(2, "tanh"), Dense(1)], input_shape=4, seed=1, dtype="float64")
    plain.parameters[:] = network.parameters
    x, y = np.random.default_rng(0).normal(size=(3, 4)), np.ones(3)
    pictures, rows = backpropagate(network, x.reshape(3, 2, 2), y), backpropagate(plain, x, y)
    np.testing.assert_array_equal(pictures.flat, rows.flat)
    np.testing.assert_array_equal(pictures.dx, rows.dx.reshape(3, 2, 2))
    assert [layer.name for layer in pictures] == ["hidden1", "output"]


def test_a_flatten_at_the_end_changes_nothing() -> None:
    ended = Network([Dense(3, "tanh"), Flatten()], input_shape=2, seed=1, dtype="float64")
    plain = Network([Dense(3, "tanh")], input_shape=2, seed=1, dtype="float64")
    x = np.random.default_rng(0).normal(size=(4, 2))
    for loss, y in (("squared_error", np.ones((4, 3))), ("categorical_cross_entropy", [0, 1, 2, 0])):
        found = backpropagate(ended, x, y, loss)
        if loss == "squared_error":
            np.testing.assert_array_equal(found.flat, backpropagate(plain, x, y, loss).flat)
        up, down = ended.copy(), ended.copy()
        up.parameters[0] += 1e-6
        down.parameters[0] -= 1e-6
        numeric = (backpropagate(up, x, y, loss).loss - backpropagate(down, x, y, loss).loss) / 2e-6
        assert found.flat[0] == pytest.approx(numeric, rel=1e-6)


def test_the_network_is_not_changed_and_results_are_their_own() -> None:
    network = _network("relu", "softmax", 2)
    before = network.parameters.copy()
    first = backpropagate(network, np.ones((2, 3)), [0, 1])
    kept = first.flat.copy(), first["hidden1"].delta.copy()
    backpropagate(network, -np.ones((2, 3)), [1, 1])
    np.testing.assert_array_equal(network.parameters, before)
    np.testing.assert_array_equal(first.flat, kept[0])
    np.testing.assert_array_equal(first["hidden1"].delta, kept[1])
    assert not np.shares_memory(first.flat, network.parameters)


def test_views_by_layer_are_those_of_the_flat_array() -> None:
    network = _network("tanh", "identity", 1)
    found = backpropagate(network, np.ones((2, 3)), np.ones((2, 2)))
    for layer, views in zip(found, network.views(found.flat), strict=True):
        np.testing.assert_array_equal(layer.dW, views["W"])
        np.testing.assert_array_equal(layer.db, views["b"])
        assert layer.dW_per_example is None
        assert layer.db_per_example is None


def test_an_unknown_layer_is_answered_with_those_that_learn() -> None:
    network = Network([Flatten(), Dense(2), Dense(1)], input_shape=(1, 2))
    found = backpropagate(network, [[1.0, 2.0]], [1.0])
    with pytest.raises(NotFoundError) as caught:
        found["flatten1"]
    assert "there is no layer 'flatten1' with parameters" in str(caught.value)
    assert "the layers are hidden1, output" in str(caught.value)


def test_infinite_and_missing_inputs_give_gradients_that_are_not_finite_without_a_warning() -> None:
    network = _network("relu", "identity", 1, "float32")
    for bad in (np.nan, np.inf, 1e300):
        found = backpropagate(network, [[bad, 0.0, 0.0]], [[0.0, 0.0]])
        assert not np.isfinite(found.loss)


def test_gradients_of_too_many_examples_are_refused_before_memory_is_taken() -> None:
    network = Network.dense([1000, 1000])
    with pytest.raises(UsageError, match=r"the gradients of 2,000 examples need 8\.0 GB") as caught:
        backpropagate(network, np.zeros((2000, 1000), dtype=np.float32), np.zeros((2000, 1000)), per_example=True)
    assert "argument per_example" in str(caught.value)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one row is needed, got none"):
        backpropagate(_network("relu", "softmax", 1), np.empty((0, 3)), np.empty(0, dtype=int))


def test_a_loss_that_does_not_go_with_the_output_is_refused() -> None:
    with pytest.raises(UsageError, match="does not go with the output activation 'relu'"):
        backpropagate(_network("relu", "relu", 1), np.ones((1, 3)), [0], "categorical_cross_entropy")


# --- other layers, and as in training


def _pictures(data_format: str = "channels_last", *, drop: bool = True) -> Network:
    """Return convolution, batch normalisation, pooling and dropout, with buffers that are not the first ones."""
    shape = (5, 6, 2) if data_format == "channels_last" else (2, 5, 6)
    network = Network(
        [
            Conv2D(3, 2, "tanh", data_format=data_format),
            BatchNorm(activation="tanh", data_format=data_format),
            MaxPool2D(2, data_format=data_format),
            Flatten(),
            *([Dropout(0.4)] if drop else []),
            Dense(4, "identity"),
            BatchNorm(),
            Dense(2, "softmax"),
        ],
        input_shape=shape,
        seed=3,
        dtype="float64",
    )
    rng = np.random.default_rng(1)
    network.parameters[:] += rng.normal(scale=0.2, size=network.parameter_count)
    network.buffers[:] = rng.uniform(0.5, 2, network.buffer_count)
    return network


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_examples_alone_average_to_the_batch_in_every_layer(data_format: str) -> None:
    network, rng, m = _pictures(data_format), np.random.default_rng(1), 5
    x, y = rng.normal(size=(m, *network.input_shape)), rng.integers(0, 2, m)
    found = backpropagate(network, x, y, per_example=True)
    alone = [backpropagate(network, x[i], y[i : i + 1]) for i in range(m)]
    assert [layer.name for layer in found] == ["conv1", "norm1", "hidden1", "norm2", "output"]
    assert list(found["conv1"].gradients) == list(found["conv1"].per_example) == ["W", "b"]
    assert list(found["norm1"].gradients) == list(found["norm1"].per_example) == ["gamma", "beta"]
    assert found["conv1"].dW.shape == (3, 2, 2, 2)
    for layer in found:
        for name, gradient in layer.gradients.items():
            assert layer.per_example[name].shape == (m, *gradient.shape)
            np.testing.assert_allclose(layer.per_example[name].mean(axis=0), gradient, rtol=1e-10, atol=1e-14)
            for i, one in enumerate(alone):
                expected = one[layer.name].gradients[name]
                np.testing.assert_allclose(layer.per_example[name][i], expected, rtol=1e-9, atol=1e-13)
    np.testing.assert_array_equal(found["conv1"].dW_per_example, found["conv1"].per_example["W"])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_gradients_as_in_training_are_those_of_finite_differences(data_format: str) -> None:
    network, rng = _pictures(data_format), np.random.default_rng(2)
    x, y = rng.normal(size=(6, *network.input_shape)), rng.integers(0, 2, 6)
    buffers, h = network.buffers.copy(), 1e-6

    def value() -> float:
        return backpropagate(network, x, y, training=True, step=4).loss

    found = backpropagate(network, x, y, training=True, step=4)
    assert found.loss != backpropagate(network, x, y).loss
    for i in rng.permutation(network.parameter_count)[:30]:
        kept = network.parameters[i]
        network.parameters[i] = kept + h
        up = value()
        network.parameters[i] = kept - h
        numeric = (up - value()) / (2 * h)
        network.parameters[i] = kept
        assert found.flat[i] == pytest.approx(numeric, rel=1e-4, abs=1e-7)
    np.testing.assert_array_equal(network.buffers, buffers)


def test_what_is_dropped_follows_from_step_and_seed() -> None:
    network, rng = _pictures(), np.random.default_rng(2)
    x, y = rng.normal(size=(6, 5, 6, 2)), rng.integers(0, 2, 6)
    first = backpropagate(network, x, y, training=True, step=1).flat
    np.testing.assert_array_equal(first, backpropagate(network, x, y, training=True, step=1).flat)
    np.testing.assert_array_equal(first, backpropagate(network, x, y, training=True, step=1, seed=3).flat)
    assert not np.array_equal(first, backpropagate(network, x, y, training=True, step=2).flat)
    assert not np.array_equal(first, backpropagate(network, x, y, training=True, step=1, seed=4).flat)


def test_dropout_as_in_training_needs_a_step() -> None:
    x = np.zeros((2, 5, 6, 2))
    with pytest.raises(UsageError) as caught:
        backpropagate(_pictures(), x, [0, 1], training=True)
    assert "argument step: which activations dropout leaves out depends on the step, got None" in str(caught.value)
    assert "pass step=1" in str(caught.value)
    backpropagate(_pictures(drop=False), x, [0, 1], training=True)  # nothing is drawn
    backpropagate(_pictures(), x, [0, 1])
    for wrong in (0, 1.5, True):
        with pytest.raises(UsageError, match="argument step: expected a whole number from 1"):
            backpropagate(_pictures(), x, [0, 1], training=True, step=wrong)


def test_examples_alone_with_dropout_use_the_masks_of_the_batch() -> None:
    layers = [Dense(6, "tanh"), Dropout(0.5), Dense(2, "softmax")]
    network = Network(layers, input_shape=3, seed=0, dtype="float64")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)), [0, 1, 1, 0]
    found = backpropagate(network, x, y, training=True, step=2, per_example=True)
    for layer in found:
        for name, gradient in layer.gradients.items():
            np.testing.assert_allclose(layer.per_example[name].mean(axis=0), gradient, rtol=1e-12, atol=1e-15)


def test_batch_normalisation_as_in_training_leaves_no_example_alone() -> None:
    with pytest.raises(UsageError) as caught:
        backpropagate(_pictures(), np.zeros((2, 5, 6, 2)), [0, 1], training=True, step=1, per_example=True)
    assert "argument per_example: in training, batch normalisation makes the loss of every example depend" in str(
        caught.value
    )
    assert "pass training=False" in str(caught.value)


def test_a_parameter_that_a_layer_has_not_is_answered_with_those_it_has() -> None:
    found = backpropagate(_pictures(), np.zeros((2, 5, 6, 2)), [0, 1])
    for name in ("dW", "db", "dW_per_example", "db_per_example"):
        with pytest.raises(NotFoundError) as caught:
            getattr(found["norm1"], name)
        assert f"the layer 'norm1' has no parameter {name[1]!r}, it has gamma, beta" in str(caught.value)
        assert "gradients['norm1'].gradients['gamma']" in str(caught.value)
    assert found["conv1"].dW_per_example is None
