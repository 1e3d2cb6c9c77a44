"""The convolution: equal to torch and to a slow second implementation, gradient-checked, described."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.learning import backpropagate, fit, get_optimizer
from neuronwise.network import (
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    Network,
    get_loss,
)
from neuronwise.network.layers import conv2d_pass, pooling

FORMATS = ["channels_last", "channels_first"]
PADDINGS: list[Any] = ["valid", "same", 0, 1, (2, 0), (0, 3)]


def _shape(rows: int, columns: int, channels: int, data_format: str) -> tuple[int, ...]:
    return (rows, columns, channels) if data_format == "channels_last" else (channels, rows, columns)


def _channels_second(x: NDArray, data_format: str) -> NDArray:
    """Return a batch as torch has it, (batch, channels, rows, columns)."""
    if x.ndim == 3:
        return x[:, None]
    return x if data_format == "channels_first" else np.moveaxis(x, -1, 1)


def _one(shape: tuple[int, ...], data_format: str, dtype: str = "float64", **options: Any) -> Network:
    """Return a network of one convolution, with biases other than 0."""
    layer = Conv2D(options.pop("filters", 3), options.pop("kernel_size"), data_format=data_format, name="c", **options)
    network = Network([layer], input_shape=shape, seed=1, dtype=dtype)
    network.parameters[:] = np.random.default_rng(2).normal(size=network.parameter_count)
    return network


def _padding(size: int, kernel: int, stride: int, padding: Any, axis: int) -> tuple[int, int]:
    """Return the zeros before and after, worked out apart from the layer."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2
    amount = padding if isinstance(padding, int) else padding[axis]
    return amount, amount


def _padded(x: Any, layer: Conv2D) -> Any:
    """Return a torch batch with the layer's zeros around it."""
    pads = [
        _padding(size, layer.kernel_size[k], layer.stride[k], layer.padding, k)
        for k, size in enumerate((x.shape[2], x.shape[3]))
    ]
    return torch.nn.functional.pad(x, (*pads[1], *pads[0]))


def _run(network: Network, x: NDArray, da: NDArray | None = None) -> tuple[NDArray, NDArray, dict[str, NDArray]]:
    """Return z, dx and the gradients; `da` is dL/da, default all ones."""
    gradients = np.full_like(network.parameters, np.nan)
    space = network.workspace(len(x), gradients, input_gradient=True)
    space.x[...] = x
    space.forward()
    one = space.passes[0]
    one.da[...] = 1 if da is None else da
    one.backward(space.dx)
    return one.z, space.dx, network.views(gradients)[0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("padding", PADDINGS)
def test_forward_and_backward_equal_torch(padding: Any, data_format: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for kernel, stride, (rows, columns, channels, batch) in itertools.product(
        [1, 3, (5, 2)], [1, 2, (1, 3)], [(9, 7, 2, 6), (6, 11, 1, 1)]
    ):
        shape = _shape(rows, columns, channels, data_format)
        network = _one(shape, data_format, dtype, kernel_size=kernel, stride=stride, padding=padding)
        layer = network["c"]
        x = rng.normal(size=(batch, *shape))
        da = rng.normal(size=(batch, *layer.output_shape))
        z, dx, gradients = _run(network, x, da)
        inputs = torch.tensor(_channels_second(x, data_format), dtype=getattr(torch, dtype), requires_grad=True)
        W, b = torch.tensor(layer.W, requires_grad=True), torch.tensor(layer.b, requires_grad=True)
        expected = torch.nn.functional.conv2d(_padded(inputs, layer), W, b, stride=layer.stride)
        torch.relu(expected).backward(torch.tensor(_channels_second(da, data_format), dtype=getattr(torch, dtype)))
        close = {"rtol": 0, "atol": 1e-12} if dtype == "float64" else {"rtol": 2e-5, "atol": 5e-5}
        np.testing.assert_allclose(_channels_second(z, data_format), expected.detach(), **close)
        np.testing.assert_allclose(gradients["W"], W.grad, **close)
        np.testing.assert_allclose(gradients["b"], b.grad, **close)
        np.testing.assert_allclose(_channels_second(dx, data_format), inputs.grad, **close)


def _slow(x: NDArray, layer: Conv2D, da: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return z, dx, dW and db of an identity layer, one number at a time; x is (batch, channels, rows, columns)."""
    _, channels, rows, columns = x.shape
    (top, _), (left, _) = (
        _padding(size, layer.kernel_size[k], layer.stride[k], layer.padding, k)
        for k, size in enumerate((rows, columns))
    )
    z, dx, dW, db = np.empty_like(da), np.zeros_like(x), np.zeros_like(layer.W), np.zeros_like(layer.b)
    for n, f, r, q in np.ndindex(da.shape):
        z[n, f, r, q] = layer.b[f]
        db[f] += da[n, f, r, q]
        for c, i, j in np.ndindex(channels, *layer.kernel_size):
            row, column = r * layer.stride[0] + i - top, q * layer.stride[1] + j - left
            if 0 <= row < rows and 0 <= column < columns:
                z[n, f, r, q] += layer.W[f, c, i, j] * x[n, c, row, column]
                dW[f, c, i, j] += da[n, f, r, q] * x[n, c, row, column]
                dx[n, c, row, column] += da[n, f, r, q] * layer.W[f, c, i, j]
    return z, dx, dW, db


@st.composite
def _convolutions(draw: st.DrawFn) -> tuple[Network, NDArray, NDArray]:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    sizes = [draw(st.integers(n, n + 4)) for n in kernel]
    padding = draw(st.sampled_from(["valid", "same"]) | st.tuples(st.integers(0, 3), st.integers(0, 3)))
    data_format = draw(st.sampled_from(FORMATS))
    network = _one(
        _shape(*sizes, draw(st.integers(1, 3)), data_format),
        data_format,
        filters=draw(st.integers(1, 3)),
        kernel_size=kernel,
        stride=draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        padding=padding,
        activation="identity",
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    batch = draw(st.integers(1, 4))
    return network, rng.normal(size=(batch, *network.input_shape)), rng.normal(size=(batch, *network["c"].output_shape))


@given(_convolutions())
def test_it_is_the_sum_over_the_patch_of_each_place(drawn: tuple[Network, NDArray, NDArray]) -> None:
    network, x, da = drawn
    layer = network["c"]
    found = _run(network, x, da)
    z, dx, dW, db = _slow(_channels_second(x, layer.data_format), layer, _channels_second(da, layer.data_format).copy())
    np.testing.assert_allclose(_channels_second(found[0], layer.data_format), z, atol=1e-12)
    np.testing.assert_allclose(_channels_second(found[1], layer.data_format), dx, atol=1e-12)
    np.testing.assert_allclose(found[2]["W"], dW, atol=1e-12)
    np.testing.assert_allclose(found[2]["b"], db, atol=1e-12)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("padding", ["valid", "same", (1, 2)])
@pytest.mark.parametrize("stride", [1, (2, 1), (3, 5)])
def test_parts_of_the_work_give_the_whole(
    padding: Any, stride: Any, data_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = _shape(13, 9, 2, data_format)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(70, *shape))
    network = _one(shape, data_format, filters=4, kernel_size=(4, 3), stride=stride, padding=padding)
    layer = network["c"]
    da = rng.normal(size=(70, *layer.output_shape))
    whole = [_run(network, x, da)]
    for bands, laid, product in [(1, 1, 4 * 30 * 64), (200_000, 10**9, 10**9), (90_000, 300_000, 4 * 30 * 100)]:
        monkeypatch.setattr(conv2d_pass, "BAND_BYTES", bands)
        monkeypatch.setattr(conv2d_pass, "_LAID_BYTES", laid)
        monkeypatch.setattr(conv2d_pass, "_PRODUCT", product)
        monkeypatch.setattr(conv2d_pass, "_TURN_FROM", bands % 7)
        whole.append(_run(network, x, da))
    one = layer.start(x, None)
    assert len(one._bands) > 1
    for z, dx, gradients in whole[1:]:
        np.testing.assert_allclose(z, whole[0][0], atol=1e-12)
        np.testing.assert_allclose(dx, whole[0][1], atol=1e-12)
        for key, values in gradients.items():
            np.testing.assert_allclose(values, whole[0][2][key], atol=1e-11)


def test_what_is_laid_out_is_bounded_and_made_again_going_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _one((40, 8, 3), "channels_last", kernel_size=3, padding=1)
    x = np.random.default_rng(0).normal(size=(4, 40, 8, 3))
    expected = _run(network, x)
    assert network["c"].start(x, None)._laid.nbytes == 42 * 10 * 8 * 4 * 8
    monkeypatch.setattr(conv2d_pass, "_LAID_BYTES", 20_000)
    one = network["c"].start(x, None)
    assert one._laid.nbytes <= 20_000
    for _ in range(2):  # what the last band left behind is padding no more
        one.forward()
        np.testing.assert_allclose(one.z, expected[0], atol=1e-13)
    again = _run(network, x)
    np.testing.assert_allclose(again[1], expected[1], atol=1e-13)
    np.testing.assert_allclose(again[2]["W"], expected[2]["W"], atol=1e-11)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([Conv2D(2, 3, "tanh"), MaxPool2D(2), Conv2D(3, 2, "sigmoid", padding="same")], (8, 9, 2)),
        ([Conv2D(2, (2, 3), "elu", stride=2, padding="same"), AveragePool2D((2, 1), stride=1)], (7, 6, 3)),
        ([Conv2D(3, 3, "softplus", padding=2), BatchNorm(), Conv2D(2, 2, "tanh", stride=(1, 2))], (4, 5, 1)),
        ([AveragePool2D(3, stride=1, padding=1), Conv2D(2, 2, "gelu")], (4, 5, 2)),
        ([MaxPool2D(2, stride=1, padding=1), Conv2D(2, 2, "identity")], (4, 4, 2)),
    ],
)
def test_gradients_are_those_of_the_loss(layers: list[Any], shape: tuple[int, int, int], data_format: str) -> None:
    rebuilt = [layer.unbuilt() for layer in layers]
    for layer in rebuilt:
        layer.name, layer.given_name, layer.data_format = "", None, data_format
    network = Network(
        [*rebuilt, Flatten(), Dense(2, "identity")], input_shape=_shape(*shape, data_format), seed=5, dtype="float64"
    )
    gradients = np.zeros_like(network.parameters)
    space = network.workspace(3, gradients, training=True, input_gradient=True)
    rng = np.random.default_rng(6)
    space.x[...] = rng.normal(size=space.x.shape)
    y, loss = rng.normal(size=(3, 2)), get_loss("squared_error", "identity")

    def value() -> float:
        space.forward()
        return space.backward(loss, y)

    value()
    found = [gradients.copy(), space.dx.copy()]
    for values, analytic in zip([network.parameters, space.x], found, strict=True):
        numeric = np.empty_like(values)
        for place in np.ndindex(values.shape):
            kept = values[place]
            values[place] = kept + 1e-6
            above = value()
            values[place] = kept - 1e-6
            numeric[place] = (above - value()) / 2e-6
            values[place] = kept
        np.testing.assert_allclose(analytic, numeric, atol=3e-8)


def _picture_network(dtype: str, data_format: str = "channels_last") -> Network:
    pool = {"data_format": data_format}
    return Network(
        [
            Conv2D(4, 3, padding=1, **pool), MaxPool2D(**pool), Conv2D(6, 3, "tanh", **pool), MaxPool2D(**pool),
            Flatten(), Dense(5, "softmax"),
        ],
        input_shape=_shape(14, 12, 2, data_format), seed=7, dtype=dtype,
    )  # fmt: skip


def _torch_twin(network: Network, data_format: str) -> torch.nn.Module:
    """Return the same network in torch, whose Flatten lays channels first."""
    dtype = getattr(torch, str(network.dtype))
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(4, 6, 3),
        torch.nn.Tanh(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(6 * 2 * 2, 5),
    ).to(dtype)  # fmt: skip
    W = network["output"].W
    if data_format == "channels_last":
        W = W.reshape(5, 2, 2, 6).transpose(0, 3, 1, 2).reshape(5, -1)
    with torch.no_grad():
        for own, layer in zip((twin[0], twin[3]), (network["conv1"], network["conv2"]), strict=True):
            own.weight.copy_(torch.tensor(layer.W))
            own.bias.copy_(torch.tensor(layer.b))
        twin[7].weight.copy_(torch.tensor(np.ascontiguousarray(W)))
        twin[7].bias.copy_(torch.tensor(network["output"].b))
    return twin


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 2e-5)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_ten_steps_of_training_equal_torch(optimizer: str, dtype: str, tolerance: float, data_format: str) -> None:
    network = _picture_network(dtype, data_format)
    twin = _torch_twin(network, data_format)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    stepper = kind(twin.parameters(), lr=0.01)
    own = get_optimizer(optimizer, learning_rate=0.01)
    own.start(network.parameters)
    gradients = np.zeros_like(network.parameters)
    space = network.workspace(8, gradients, training=True)
    rng = np.random.default_rng(8)
    loss = get_loss("categorical_cross_entropy", "softmax")
    for _ in range(10):
        x, y = rng.normal(size=space.x.shape).astype(dtype), rng.integers(0, 5, 8)
        space.x[...] = x
        space.forward()
        value = space.backward(loss, y)
        own.step(network.parameters, gradients)
        stepper.zero_grad()
        expected = torch.nn.functional.cross_entropy(
            twin(torch.tensor(_channels_second(x, data_format))), torch.tensor(y)
        )
        expected.backward()
        stepper.step()
        assert value == pytest.approx(float(expected.detach()), abs=tolerance)
    for mine, theirs in ((network["conv1"], twin[0]), (network["conv2"], twin[3])):
        np.testing.assert_allclose(mine.W, theirs.weight.detach(), atol=tolerance)
        np.testing.assert_allclose(mine.b, theirs.bias.detach(), atol=tolerance)


def test_weights_moved_to_the_other_data_format_give_the_same() -> None:
    last, first = (_one(_shape(7, 6, 3, f), f, kernel_size=(3, 2), padding="same", stride=2) for f in FORMATS)
    assert last["c"].W.shape == first["c"].W.shape == (3, 3, 3, 2)
    first.parameters[:] = last.parameters
    x = np.random.default_rng(9).normal(size=(5, 7, 6, 3))
    np.testing.assert_array_equal(np.moveaxis(first.predict(np.moveaxis(x, -1, 1)), 1, -1), last.predict(x))


def test_same_padding_has_its_odd_pixel_at_the_end() -> None:
    # 4 pixels, kernel 3, stride 2: 2 outputs need 5 pixels, so one zero, after the last: (1+2+3), (3+4+0).
    network = Network([Conv2D(1, (1, 3), "identity", stride=(1, 2), padding="same")], input_shape=(1, 4))
    network["output"].W = np.ones((1, 1, 1, 3))
    np.testing.assert_array_equal(network.predict([[1.0, 2.0, 3.0, 4.0]])[0, :, :, 0], [[6, 7]])
    # 5 pixels, kernel 4, stride 1: three zeros, one before and two after.
    network = Network([Conv2D(1, (1, 4), "identity", padding="same")], input_shape=(1, 5))
    network["output"].W = np.ones((1, 1, 1, 4))
    np.testing.assert_array_equal(network.predict([[1.0, 2.0, 3.0, 4.0, 5.0]])[0, 0, :, 0], [6, 10, 14, 12, 9])


def test_a_picture_worked_out_by_hand() -> None:
    # An edge: right minus left pixel. 0 0 5 5 has its edge between the second and third pixel.
    network = Network([Conv2D(1, (1, 2))], input_shape=(1, 4))
    network["output"].W, network["output"].b = [[[[-1.0, 1.0]]]], [0.5]
    np.testing.assert_array_equal(network.predict([[0.0, 0.0, 5.0, 5.0]])[0, 0, :, 0], [0.5, 5.5, 0.5])


def test_rows_that_fill_no_patch_are_left_out_as_in_torch() -> None:
    network = Network([Conv2D(2, 3, stride=2)], input_shape=(8, 6))
    assert network["output"].output_shape == (3, 2, 2)
    assert tuple(torch.nn.Conv2d(1, 2, 3, stride=2)(torch.zeros(1, 1, 8, 6)).shape) == (1, 2, 3, 2)


@pytest.mark.parametrize("data_format", FORMATS)
def test_a_layer_takes_an_input_and_a_dx_of_any_strides(data_format: str) -> None:
    network = _one(_shape(6, 5, 2, data_format), data_format, kernel_size=2, padding=1)
    layer, rng = network["c"], np.random.default_rng(11)
    x = rng.normal(size=(3, *network.input_shape))
    expected = _run(network, x)
    for order in itertools.permutations(range(4)):
        back = tuple(np.argsort(order))
        strided = np.ascontiguousarray(x.transpose(order)).transpose(back)
        dx = np.empty_like(strided)[::-1]
        gradients = {key: np.empty_like(value) for key, value in layer.parameters.items()}
        one = layer.start(strided, gradients)
        one.forward()
        one.da[...] = 1
        one.backward(dx)
        np.testing.assert_allclose(one.z, expected[0], atol=1e-13)
        np.testing.assert_allclose(dx, expected[1], atol=1e-13)
        np.testing.assert_allclose(gradients["W"], expected[2]["W"], atol=1e-12)


def test_two_buffers_for_dx_may_be_used_by_turns() -> None:
    network = _one((5, 5, 1), "channels_last", kernel_size=2)
    layer, x = network["c"], np.random.default_rng(0).normal(size=(2, 5, 5, 1))
    one = layer.start(x, {key: np.empty_like(value) for key, value in layer.parameters.items()})
    one.forward()
    buffers = [np.empty_like(x), np.empty_like(x)]
    for dx in (*buffers, *buffers):
        dx[...] = np.nan
        one.da[...] = 1
        one.backward(dx)
    np.testing.assert_array_equal(*buffers)


def test_from_logits_leaves_delta_as_it_is() -> None:
    network = _one((4, 4, 1), "channels_last", kernel_size=2, activation="sigmoid")
    gradients = {key: np.empty_like(value) for key, value in network["c"].parameters.items()}
    one = network["c"].start(np.ones((2, 4, 4, 1)), gradients)
    one.forward()
    one.da[...] = 0.25
    one.backward(None, from_logits=True)
    np.testing.assert_array_equal(one.delta, 0.25)
    np.testing.assert_allclose(gradients["b"], 0.25 * 2 * 9)


def test_not_finite_inputs_stay_in_their_patches() -> None:
    network = _one((5, 5, 1), "channels_last", kernel_size=2, activation="identity")
    x = np.zeros((1, 5, 5, 1))
    x[0, 2, 2] = np.nan
    z = network.predict(x)
    assert set(map(tuple, np.argwhere(np.isnan(z[0, ..., 0])))) == {(1, 1), (1, 2), (2, 1), (2, 2)}


def test_first_weights_follow_the_patch() -> None:
    network = Network([Conv2D(200, 5, "relu"), Conv2D(100, 3, "tanh")], input_shape=(12, 12, 4), seed=0)
    first, second = network.layers
    assert first.W.std() == pytest.approx((2 / (4 * 25)) ** 0.5, rel=0.02)
    assert np.abs(second.W).max() == pytest.approx((6 / (200 * 9 + 100 * 9)) ** 0.5, rel=0.01)
    np.testing.assert_array_equal(first.b, 0)


def test_the_same_seed_trains_to_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 14, 12, 2)).astype(np.float32), rng.integers(0, 5, 40)
    runs = []
    for _ in range(2):
        network = _picture_network("float32")
        fit(network, X, y, epochs=2, batch_size=16, seed=1)
        runs.append(network.parameters.copy())
    np.testing.assert_array_equal(*runs)


def test_bars_that_lie_and_stand_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(0, 0.1, size=(120, 8, 8)).astype(np.float32), rng.integers(0, 2, 120)
    for picture, stands in zip(X, y, strict=True):
        place = rng.integers(0, 8)
        picture[(slice(None), place) if stands else place] += 1
    network = Network(
        [Conv2D(4, 3), MaxPool2D(2), Dropout(0.2), Flatten(), Dense(2, "softmax")], input_shape=(8, 8), seed=0
    )
    fit(network, X[:100], y[:100], optimizer="adam", learning_rate=0.01, epochs=20, batch_size=10)
    assert (network.predict(X[100:]).argmax(axis=1) == y[100:]).mean() == 1.0


def test_backpropagation_shows_the_gradients_of_filters_also_per_example() -> None:
    network = _picture_network("float64")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 14, 12, 2)), rng.integers(0, 5, 4)
    found = backpropagate(network, x, y, per_example=True)
    assert found["conv2"].delta.shape == (4, 5, 4, 6)
    assert found["conv2"].dW.shape == (6, 4, 3, 3)
    assert found["conv2"].dW_per_example is not None
    np.testing.assert_allclose(found["conv2"].dW_per_example.mean(axis=0), found["conv2"].dW, atol=1e-13)
    alone = backpropagate(network, x[1:2], y[1:2])
    np.testing.assert_allclose(found["conv1"].dW_per_example[1], alone["conv1"].dW, atol=1e-13)


def test_a_row_alone_is_the_row_in_a_batch() -> None:
    network = _picture_network("float32")
    x = np.random.default_rng(0).normal(size=(37, 14, 12, 2)).astype(np.float32)
    np.testing.assert_allclose(network.predict(x)[[5]], network.predict(x[5]), atol=1e-5)
    assert network.predict(x[:0]).shape == (0, 5)


@pytest.mark.parametrize("data_format", FORMATS)
def test_outputs_are_named_in_the_order_of_flatten(data_format: str) -> None:
    network = Network([Conv2D(3, 2, data_format=data_format), Flatten()], input_shape=(4, 3))
    layer = network["conv1"]
    names = layer.unit_names()
    assert list(network["output"].unit_names()) == list(names)
    assert len(names) == layer.neuron_count == 18
    shape = layer.output_shape
    for i, name in enumerate(names):
        place = np.unravel_index(i, shape)
        f, r, q = place if data_format == "channels_first" else (place[2], place[0], place[1])
        assert names[i] == name == f"conv1[{f}] @ ({r}, {q})"
    assert names[-2:] == [names[16], names[17]]
    with pytest.raises(IndexError):
        names[18]


def test_it_describes_itself() -> None:
    network = Network(
        [Conv2D(16, 5, padding=2, stride=(2, 1)), Conv2D(4, [3, 1], "tanh", padding="same"), Flatten(), Dense(2)],
        input_shape=(9, 9, 8),
    )
    first, second = network["conv1"], network["conv2"]
    assert first.to_dict() == {
        "type": "Conv2D", "name": "conv1", "filters": 16, "kernel_size": [5, 5], "activation": "relu",
        "stride": [2, 1], "padding": [2, 2], "data_format": "channels_last", "initializer": "he",
    }  # fmt: skip
    assert second.to_dict()["padding"] == "same"
    assert Network.from_dict(network.to_dict()).to_dict() == network.to_dict()
    assert first.formula() == "16 × (5 × 5 × 8) + 16"
    assert first.algebra() == (
        "a = relu(W ⋆ x + b), 16 filters of 5 × 5 × 8 over 9 × 9, stride 2 × 1, padding 2 × 2, b 16"
    )
    assert first.parameter_count == 16 * 5 * 5 * 8 + 16
    assert repr(second) == "Conv2D(4, 3 × 1, 'tanh', name='conv2')"
    assert "16 × (5 × 5 × 8) + 16" in str(network.summary())
    assert "conv1" in network._repr_html_()


def test_building_takes_no_memory() -> None:
    layer = Conv2D(10**5, 1000, padding=10**6)
    layer.build((10**6, 10**6, 100), "conv1")
    assert layer.parameter_count == 10**5 * (1000 * 1000 * 100 + 1)
    assert layer.unit_names()[-1] == "conv1[99999] @ (2999000, 2999000)"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"filters": 0}, "argument filters: a convolution needs a whole number of filters, at least 1, got 0"),
        ({"filters": True}, "argument filters"),
        ({"filters": 2.0}, "argument filters"),
        ({"kernel_size": 0}, "argument kernel_size: expected a whole number from 1, or two of them"),
        ({"kernel_size": (3, 3, 3)}, r"argument kernel_size: .*got \(3, 3, 3\)"),
        ({"kernel_size": (3, 0)}, "argument kernel_size"),
        ({"kernel_size": "3"}, "argument kernel_size"),
        ({"kernel_size": (True, 3)}, "argument kernel_size"),
        ({"stride": 0}, "argument stride: expected a whole number from 1"),
        ({"stride": 1.5}, "argument stride"),
        ({"padding": -1}, "argument padding: expected a whole number from 0"),
        ({"padding": "full"}, "argument padding: expected 'valid', 'same', a whole number from 0 or two of them"),
        ({"padding": None}, "argument padding"),
        ({"data_format": "NCHW"}, "argument data_format: expected 'channels_last' or 'channels_first', got 'NCHW'"),
        ({"data_format": "channel_last"}, "Did you mean 'channels_last'"),
        ({"activation": "rely"}, "unknown activation 'rely'"),
        ({"activation": "softmax"}, "argument activation: softmax compares the values of a vector"),
        ({"initializer": "kaiming"}, "unknown initialiser 'kaiming'"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Conv2D(**({"filters": 2, "kernel_size": 3} | options))


@pytest.mark.parametrize(
    ("layers", "shape", "text"),
    [
        (
            [Conv2D(2, 5)], (4, 9, 1),
            "layer output: a kernel of 5 × 5 does not fit into its input of shape (4, 9, 1): 4 × 9 pixels with 1 "
            "channel (channels_last)\ntake a smaller one, or padding",
        ),
        (
            [Conv2D(2, 5), Flatten()], (3, 28, 28),
            "layer conv1: a kernel of 5 × 5 does not fit into its input of shape (3, 28, 28): 3 × 28 pixels with 28 "
            'channels (channels_last)\nif 28 is no number of channels, pass data_format="channels_first"',
        ),
        (
            [Conv2D(2, 5, data_format="channels_first"), Flatten()], (28, 28, 3),
            'if 28 is no number of channels, pass data_format="channels_last"',
        ),
        ([Conv2D(2, 5, padding=1)], (2, 9), "shape (2, 9): 2 × 9 pixels, with padding 1 × 1"),
        (
            [Conv2D(2, 5)], (784,),
            "layer output: Conv2D takes a picture, (rows, columns, channels) or (rows, columns), but its input has "
            "shape (784,)\ngive the network the shape of the picture, such as input_shape=(28, 28)",
        ),
        ([Flatten(), Conv2D(2, 5)], (28, 28), "but its input has shape (784,)"),
        ([Conv2D(2, 5)], (2, 28, 28, 3), "but its input has shape (2, 28, 28, 3)"),
        ([Conv2D(2, 3), Dense(2)], (9, 9), "put Flatten() before it"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_refused_with_the_mend(layers: list[Any], shape: Any, text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(text)):
        Network(layers, input_shape=shape)


def test_no_bands_are_needed_for_what_fits_the_cache() -> None:
    network = _one((28, 28), "channels_last", "float32", filters=8, kernel_size=5)
    assert len(network["c"].start(np.zeros((4, 28, 28), np.float32), None)._bands) == 1
    assert pooling.BAND_BYTES == conv2d_pass.BAND_BYTES
