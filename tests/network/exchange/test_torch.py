"""To and from PyTorch: equal outputs, gradients and running averages, random networks both ways; what is refused."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import neuronwise
from neuronwise.errors import MissingExtraError, UsageError
from neuronwise.network import (
    ACTIVATIONS,
    ActivationLayer,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    Network,
    Workspace,
    get_loss,
)
from neuronwise.network.exchange import from_torch, to_torch

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
# Of random networks: 1e-6 are eight roundings of float32, which values larger than the outputs inside use up.
SLACK = 10.0
WITH_WEIGHTS = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)
KEYS = {"weight": ("W", "gamma"), "bias": ("b", "beta")}


def assert_equal_within(found: Any, expected: Any, dtype: str, scale: float | None = None) -> None:
    """Equal within the tolerance promised, relative to the size of what is expected (at least 1 for outputs)."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max(initial=0.0))) if scale is None else scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def inputs(network: Network, rows: int = 6, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(size=(rows, *network.input_shape)).astype(network.dtype)


def run(module: nn.Module, x: NDArray[Any]) -> NDArray[Any]:
    """Return the module's outputs in evaluation; its mode is put back."""
    was = module.training
    with torch.no_grad():
        y_hat: NDArray[Any] = module.eval()(torch.from_numpy(x)).numpy()
    module.train(was)
    return y_hat


def assert_same_step(network: Network, module: nn.Module, *, slack: float = 1.0) -> None:
    """Outputs, gradients (by weights and input) and running averages of one training step are equal."""
    dtype = str(network.dtype)
    x = inputs(network, seed=1)
    y = np.random.default_rng(2).normal(size=(len(x), network.output_size)).astype(dtype)
    x_torch = torch.from_numpy(x.copy()).requires_grad_()
    module.train()
    y_hat = module(x_torch)
    nn.functional.mse_loss(y_hat, torch.from_numpy(y)).backward()

    gradients = np.zeros_like(network.parameters)
    space = network.workspace(len(x), gradients, training=True, input_gradient=True)
    space.x[...] = x
    if space.is_random:
        space.draw(0, 1)
    with np.errstate(all="ignore"):  # as in predict and fit
        y_hat_ours = space.forward().copy()
    factor = slack * _amplification(space)
    assert_equal_within(y_hat_ours, y_hat.detach(), dtype, factor * max(1.0, float(np.abs(y_hat_ours).max())))
    activation = network.layers[-1].activation
    space.backward(get_loss("squared_error", "identity" if activation is None else activation.name), y)
    space.update_buffers()

    assert x_torch.grad is not None
    ours = [views for views in network.views(gradients) if views]
    theirs = [one for one in module.modules() if isinstance(one, WITH_WEIGHTS)]
    sizes = [float(np.abs(np.asarray(values)).max(initial=0.0)) for values in (gradients, x_torch.grad)]
    scale = factor * max([*sizes, 1e-3 if slack == 1 else 1.0])  # a saturated sigmoid magnifies roundings, too
    assert_equal_within(space.dx, x_torch.grad, dtype, scale)
    assert len(ours) == len(theirs)
    for views, one in zip(ours, theirs, strict=True):
        for key, tensor in one.named_parameters(recurse=False):
            view = next(views[name] for name in KEYS[key] if name in views)
            assert tensor.grad is not None
            assert_equal_within(view, tensor.grad, dtype, scale)
    norms = [one for one in module.modules() if isinstance(one, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for layer, norm in zip((one for one in network.layers if one.buffers), norms, strict=True):
        for key, view in layer.buffers.items():
            expected = getattr(norm, key)
            assert_equal_within(view, expected, dtype, factor * max(1.0, float(expected.abs().max())))


def _amplification(space: Workspace) -> float:
    """How much batch normalisation magnifies a rounding of its input: by the input's size over its deviation."""
    factor = 1.0
    for step in space.passes:
        if isinstance(step.layer, BatchNorm):
            axes = tuple(axis for axis in range(step.x.ndim) if axis != step.layer.axis)
            deviation = np.sqrt(step.x.var(axes) + step.layer.epsilon)
            factor *= max(1.0, float((np.abs(step.x).max(axes) / deviation).max()))
    return factor


def assert_same(network: Network, module: nn.Module, *, slack: float = 1.0) -> None:
    x = inputs(network)
    expected = run(module, x)
    scale = slack * max(1.0, float(np.abs(expected).max()))
    assert_equal_within(network.predict(x), expected, str(network.dtype), scale)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Random networks of torch.


@st.composite
def activations(draw: st.DrawFn) -> list[nn.Module]:
    makers: list[Any] = [
        nn.ReLU,
        nn.LeakyReLU,
        nn.ELU,
        nn.GELU,
        nn.Softplus,
        nn.Sigmoid,
        nn.Tanh,
        nn.Identity,
    ]
    return [draw(st.sampled_from(makers))() for _ in range(draw(st.integers(0, 2)))]


@st.composite
def modules(draw: st.DrawFn) -> tuple[nn.Sequential, tuple[int, ...], str]:
    """A Sequential of known modules that ends with a vector, the shape of its input, and its dtype."""
    torch.manual_seed(draw(st.integers(0, 999)))
    dtype = draw(st.sampled_from(sorted(TOLERANCE)))
    stack: list[nn.Module] = []
    features = draw(st.integers(1, 5))
    shape: tuple[int, ...] = (features,)
    if draw(st.booleans()):
        shape = (draw(st.integers(1, 3)), draw(st.integers(4, 9)), draw(st.integers(4, 9)))
        for _ in range(draw(st.integers(0, 3))):
            stack += draw(picture_modules(_shape_after(stack, shape)))
            stack += draw(activations())
        stack.append(nn.Flatten())
        features = int(np.prod(_shape_after(stack, shape)))
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["linear", "linear", "norm", "dropout"]))
        if kind == "linear":
            units = draw(st.integers(1, 6))
            stack.append(nn.Linear(features, units, bias=draw(st.booleans())))
            features = units
        elif kind == "norm":
            stack.append(_moved(nn.BatchNorm1d(features, momentum=draw(st.sampled_from([0.1, 0.7])))))
        else:
            stack.append(nn.Dropout(0.0))
        stack += draw(activations())
    cut = draw(st.integers(0, len(stack)))
    nested: list[nn.Module] = [nn.Sequential(*stack[:cut]), *stack[cut:]] if draw(st.booleans()) else stack
    return nn.Sequential(*nested).to(getattr(torch, dtype)), shape, dtype


@st.composite
def picture_modules(draw: st.DrawFn, shape: tuple[int, ...]) -> list[nn.Module]:
    channels, rows, columns = shape
    kernel = (draw(st.integers(1, min(3, rows))), draw(st.integers(1, min(3, columns))))
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    half = (draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2)))
    kind = draw(st.sampled_from(["conv", "conv", "max", "average", "norm"]))
    if kind == "conv":
        filters, bias = draw(st.integers(1, 3)), draw(st.booleans())
        padding: Any = draw(st.sampled_from(["same", "valid", half, (2, 1)]))
        stride = (1, 1) if padding == "same" else stride
        return [nn.Conv2d(channels, filters, kernel, stride, padding, bias=bias)]
    if kind == "max":
        return [nn.MaxPool2d(kernel, stride, half)]
    if kind == "average":
        return [nn.AvgPool2d(kernel, stride, half)]
    return [_moved(nn.BatchNorm2d(channels, affine=draw(st.booleans())))]


def _moved(norm: Any) -> nn.Module:
    """Batch normalisation whose values are not the first ones."""
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        if norm.affine:
            norm.weight.normal_()
            norm.bias.normal_()
    module: nn.Module = norm
    return module


def _shape_after(stack: list[nn.Module], shape: tuple[int, ...]) -> tuple[int, ...]:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(nn.Sequential(*copy.deepcopy(stack)).eval()(torch.zeros(1, *shape)).shape[1:])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=100)
@given(modules())
def test_a_random_sequential_is_the_same_network_and_comes_back(
    made: tuple[nn.Sequential, tuple[int, ...], str],
) -> None:
    module, shape, dtype = made
    network = from_torch(module, input_shape=shape)
    if network.parameter_count == 0:
        dtype = "float32"  # without weights nothing tells otherwise
    assert network.dtype == dtype
    assert_same(network, module, slack=SLACK)
    back = network.to_torch()
    assert_same(network, back, slack=SLACK)
    again = from_torch(back, input_shape=shape)
    assert again.to_dict() == network.to_dict()
    np.testing.assert_array_equal(again.parameters, network.parameters)
    np.testing.assert_array_equal(again.buffers, network.buffers)
    assert_same_step(network, module, slack=SLACK)


# Random networks of ours.


@st.composite
def networks(draw: st.DrawFn) -> Network:
    names = sorted(set(ACTIVATIONS) - {"softmax"})
    layers: list[Layer] = []
    shape: tuple[int, ...] = (draw(st.integers(1, 5)),)
    if draw(st.booleans()):
        data_format = draw(st.sampled_from(["channels_last", "channels_first"]))
        shape = (draw(st.integers(6, 9)), draw(st.integers(6, 9)))
        if draw(st.booleans()):
            channels = draw(st.integers(1, 3))
            shape = (*shape, channels) if data_format == "channels_last" else (channels, *shape)
        for _ in range(draw(st.integers(0, 3))):
            sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))
            layer: Layer
            kind = draw(st.sampled_from(["conv", "conv", "max", "average", "norm", "activation"]))
            if kind == "conv":
                padding = draw(st.sampled_from(["valid", "same", (1, 2)]))
                layer = Conv2D(
                    draw(st.integers(1, 3)),
                    draw(sizes),
                    draw(st.sampled_from(names)),
                    stride=draw(st.sampled_from([1, (1, 2), 2, 3])),
                    padding=padding,
                    data_format=data_format,
                )
            elif kind in ("max", "average"):
                pool = MaxPool2D if kind == "max" else AveragePool2D
                layer = pool(draw(sizes), stride=draw(st.sampled_from([None, 1])), data_format=data_format)
            elif kind == "norm":
                layer = BatchNorm(activation=draw(st.sampled_from(names)), data_format=data_format)
            else:
                layer = ActivationLayer(draw(st.sampled_from(names)))
            try:
                Network([*(one.unbuilt() for one in layers), layer.unbuilt()], input_shape=shape)
            except UsageError:  # the picture is too small by now
                continue
            layers.append(layer)
        layers.append(Flatten())
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["dense", "dense", "norm", "dropout"]))
        if kind == "dense":
            layers.append(Dense(draw(st.integers(1, 5)), draw(st.sampled_from([*names, "softmax"]))))
        elif kind == "norm":
            layers.append(BatchNorm(0.3, 1e-3, draw(st.sampled_from(names))))
        else:
            layers.append(Dropout(0.0))
    dtype = draw(st.sampled_from(sorted(TOLERANCE)))
    if not any(isinstance(layer, (Dense, Conv2D, BatchNorm)) for layer in layers):
        dtype = "float32"  # without weights nothing tells otherwise
    seed = draw(st.integers(0, 999))
    network = Network(layers, input_shape=shape, dtype=dtype, seed=seed)
    rng = np.random.default_rng(seed)
    network.parameters += rng.normal(0, 0.1, network.parameter_count)  # so that biases are not 0
    network.buffers[:] = rng.uniform(0.5, 2.0, network.buffer_count)
    return network


@settings(max_examples=100)
@given(networks())
def test_a_random_network_is_the_same_in_torch_and_comes_back(network: Network) -> None:
    module = network.to_torch()
    assert_same(network, module, slack=SLACK)
    again = from_torch(module, input_shape=network.input_shape)
    np.testing.assert_array_equal(again.parameters, network.parameters)
    np.testing.assert_array_equal(again.buffers, network.buffers)
    assert again.input_shape == network.input_shape
    assert_same(again, module, slack=SLACK)
    assert_same_step(network, module, slack=SLACK)


# From torch: what a user brings.


def classifier() -> nn.Sequential:
    """A network of pictures as people write it."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2, bias=False),
        _moved(nn.BatchNorm2d(4)),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, (3, 5), stride=(2, 1), padding=(1, 0)),
        nn.GELU(),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(32, 16),
        _moved(nn.BatchNorm1d(16)),
        nn.Tanh(),
        nn.Linear(16, 10),
        nn.Softmax(dim=1),
    )


@pytest.mark.parametrize("dtype", sorted(TOLERANCE))
def test_a_network_of_pictures_predicts_and_learns_the_same(dtype: str) -> None:
    module = classifier().to(getattr(torch, dtype))
    network = from_torch(module, input_shape=(1, 16, 16), class_names=list("0123456789"))
    assert [layer.name for layer in network.layers] == [
        "conv1", "norm1", "pool1", "conv2", "pool2", "flatten1", "dropout1", "hidden1", "norm2", "output",
    ]  # fmt: skip
    assert network["conv1"].data_format == "channels_first"
    assert network.class_names == list("0123456789")
    assert_same(network, module)
    module[8].p = 0.0  # the masks of the two libraries are not the same
    assert_same_step(from_torch(module, input_shape=(1, 16, 16)), module)


@pytest.mark.parametrize("dtype", sorted(TOLERANCE))
def test_batch_normalisation_trains_the_same(dtype: str) -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16, momentum=0.3), nn.ReLU(), nn.Linear(16, 3))
    module.to(getattr(torch, dtype))
    assert_same_step(from_torch(module), module)
    module.zero_grad()
    assert_same_step(from_torch(module), module)


def test_the_module_is_left_as_it_was_and_shares_nothing() -> None:
    module = classifier()
    module.train()
    module[1].eval()  # frozen, as people do
    calls: list[Any] = []
    module[0].register_forward_hook(lambda *args: calls.append(args))
    module[9].weight.requires_grad_(False)
    module[12].weight.grad = torch.ones_like(module[12].weight)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    random, modes = torch.get_rng_state(), [one.training for one in module.modules()]
    network = from_torch(module, input_shape=(1, 16, 16))
    network.parameters[:] = 0
    network.buffers[:] = 0
    network.to_torch()
    assert calls == []
    assert [one.training for one in module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert not module[9].weight.requires_grad
    assert torch.equal(module[12].weight.grad, torch.ones_like(module[12].weight))
    assert len(module[0]._forward_hooks) == 1


def test_layers_bear_the_names_of_their_modules() -> None:
    module = nn.Sequential(
        OrderedDict(
            first=nn.Sequential(OrderedDict(linear=nn.Linear(3, 4), act=nn.ReLU())),
            middle=nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Sigmoid()),
            head=nn.Linear(5, 2),
        )
    )
    assert [layer.name for layer in from_torch(module).layers] == ["first.linear", "hidden2", "activation1", "head"]
    assert [name for name, _ in from_torch(module).to_torch().named_children()] == [
        "first_linear", "first_linear_relu", "hidden2", "hidden2_tanh", "activation1", "head",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a b", "x[0]", "c/d", "input"], ["hidden1", "hidden2", "hidden3", "output"]),
        (["0", "hidden1", "hidden2", "3"], ["hidden1", "hidden2", "hidden3", "output"]),
        (["output", "weights", "1st", "last"], ["output", "weights", "1st", "last"]),
        (["output", "hidden1", "last"], ["output", "hidden1", "last"]),
        (["output", "weights", "1st", "3"], ["hidden1", "weights", "1st", "output"]),
    ],
)
def test_names_that_are_none_here_or_stand_twice_give_way(names: list[str], expected: list[str]) -> None:
    module = nn.Sequential(OrderedDict((name, nn.Linear(2, 2)) for name in names))
    assert [layer.name for layer in from_torch(module).layers] == expected


def test_one_activation_in_two_places_counts_twice() -> None:
    relu = nn.ReLU()
    module = nn.Sequential(nn.Linear(2, 3), relu, nn.Linear(3, 3), relu, nn.Identity(), nn.Linear(3, 1))
    assert [layer.activation.name for layer in from_torch(module).layers] == ["relu", "relu", "identity"]


def test_without_any_layer_no_shape_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"^argument module: there is no layer in it: Sequential\( \(0\): Identity"):
        from_torch(nn.Sequential(nn.Identity()))
    with pytest.raises(UsageError, match="at least one layer"):
        from_torch(nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Flatten(1, 2)), input_shape=(3, 4))


def test_what_a_module_lacks_is_nothing() -> None:
    module = nn.Sequential(nn.Linear(2, 3, bias=False), nn.BatchNorm1d(3, affine=False))
    network = from_torch(module)
    np.testing.assert_array_equal(network["hidden1"].b, 0)
    np.testing.assert_array_equal(network["output"].gamma, 1)
    np.testing.assert_array_equal(network["output"].beta, 0)


def test_a_subclass_of_sequential_that_computes_as_it_is_taken() -> None:
    class Mine(nn.Sequential):
        pass

    module = Mine(nn.Linear(2, 3), nn.ReLU())
    assert from_torch(nn.Sequential(module)).to_dict() == from_torch(nn.Sequential(*module)).to_dict()


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Linear(3, 2)), (3,)),
        (nn.Sequential(nn.Dropout(0.1), nn.Identity(), nn.Tanh(), nn.Linear(3, 2)), (3,)),
        (nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)), (4,)),
    ],
)
def test_the_shape_of_the_input_is_read_off(module: nn.Sequential, shape: tuple[int, ...]) -> None:
    assert from_torch(module).input_shape == shape


@pytest.mark.parametrize(("rows", "places"), [(7, 3), (8, 4)])
def test_ceil_mode_is_taken_where_it_makes_no_difference(rows: int, places: int) -> None:
    module = nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(1, ceil_mode=True))
    if rows == 8:
        network = from_torch(module, input_shape=(1, rows, 4))
        assert network.layers[-1].output_shape == (1, places, 2)
        assert_same(network, module)
    else:
        with pytest.raises(UsageError, match="module 0: ceil_mode=True matters for a picture of 7 × 4 pixels"):
            from_torch(module, input_shape=(1, rows, 4))


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2))
def test_ceil_mode_is_refused_exactly_where_torch_gives_another_shape(
    size: int, window: int, stride: int, padding: int
) -> None:
    if padding * 2 > window or size + 2 * padding < window:
        return
    found = nn.MaxPool2d(window, stride, padding, ceil_mode=True)(torch.zeros(1, 1, size, size)).shape
    module = nn.Sequential(nn.MaxPool2d(window, stride, padding, ceil_mode=True))
    if found == nn.MaxPool2d(window, stride, padding)(torch.zeros(1, 1, size, size)).shape:
        assert from_torch(module, input_shape=(1, size, size)).layers[0].output_shape == found[1:]
    else:
        with pytest.raises(UsageError, match="ceil_mode"):
            from_torch(module, input_shape=(1, size, size))


def test_a_window_of_one_number_in_a_tuple_is_taken() -> None:
    module = nn.Sequential(nn.MaxPool2d((2,)))  # type: ignore[arg-type]
    assert_same(from_torch(module, input_shape=(1, 4, 6)), module)


def test_keras_padding_comes_as_zero_pad() -> None:
    first, second = nn.Conv2d(1, 2, 3, stride=2), nn.Conv2d(2, 2, 3)
    module = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), first, nn.ZeroPad2d(1), second)
    network = from_torch(module, input_shape=(1, 6, 6))
    assert network["conv1"].padding == "same"
    assert network["output"].padding == (1, 1)
    assert_same(network, module)


# From torch: what is refused, and how that is said.


def _with(module: nn.Module, **attributes: Any) -> nn.Module:
    for key, value in attributes.items():
        setattr(module, key, value)
    return module


def _tied() -> nn.Sequential:
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    module[2].weight = module[0].weight
    return module


def _tied_by_a_view() -> nn.Sequential:
    """An autoencoder whose decoder is the transposed encoder: two parameters in one memory."""
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))
    module[1].weight = nn.Parameter(module[0].weight.t())
    return module


def _with_none() -> nn.Sequential:
    module = nn.Sequential(nn.Sequential(nn.Linear(3, 4)))
    module[0].register_module("gap", None)
    return module


class _Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class _Reversed(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(-x)


VECTOR: list[tuple[nn.Module, str]] = [
    (nn.Sequential(nn.Tanh(), nn.Sequential(nn.LSTM(3, 4))), r"1.0: this .* here: LSTM\(3, 4\)\nknown are Linear"),
    (nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(dim=1)), r": LogSoftmax\(dim=1\)\nleave it out, or put nn.Softmax"),
    (nn.Sequential(OrderedDict(fc=_Doubled(3, 2))), r"module fc: this module is not known here: _Doubled"),
    (nn.Sequential(_Reversed(nn.Linear(3, 2))), r"module 0: this module is not known here: _Reversed\( \(0\): Linear"),
    (_Reversed(nn.Linear(3, 2)), r"^argument module: .* here: _Reversed(.|\n)*nn.Sequential\(\*module.children\(\)\)"),
    (nn.Sequential(_Doubled(3, 2)), r"an nn.Linear with its state_dict is known"),
    (nn.Sequential(weight_norm(nn.Linear(3, 2))), "parametrize.remove_parametrizations"),
    (nn.Sequential(nn.Tanh(), nn.AdaptiveAvgPool2d(1)), "module 1: (.|\n)*nn.AvgPool2d gives the same where"),
    (_with_none(), "module 0.gap: there is None where a module is needed"),
    (nn.Sequential(_with(nn.Linear(3, 2), forward=lambda x: x)), "module 0: the forward of this module was replaced"),
    (nn.Sequential(nn.LazyLinear(2)), "run the module once on a batch"),
    (nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 2)), r"module 1: its input .* asks for W \(2, 4\), not \(2, 3\)"),
    (nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2)), "module 1: only negative_slope=0.01 is known here, got 0.2"),
    (nn.Sequential(nn.Linear(3, 4), nn.ELU(0.5)), "module 1: only alpha=1.0 is known here, got 0.5"),
    (nn.Sequential(nn.Linear(3, 4), nn.GELU(approximate="tanh")), "only approximate='none' is known here, got 'tanh'"),
    (nn.Sequential(nn.Linear(3, 4), nn.Softplus(beta=2)), "only beta=1.0 is known here, got 2"),
    (nn.Sequential(nn.Linear(3, 4), nn.Softplus(threshold=3)), "only a threshold of at least 20"),
    (nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=0)), r"got dim=0 for shape \(4,\)"),
    (nn.Sequential(nn.Linear(3, 4), nn.Softmax()), r"got dim=None for shape \(4,\)"),
    (nn.Sequential(nn.Linear(3, 4), nn.Dropout(1.0)), "module 1: expected a share from 0 to below 1, got 1.0"),
    (nn.Sequential(nn.Linear(3, 4), nn.AlphaDropout()), "the same in evaluation, not in training"),
    (nn.Sequential(nn.BatchNorm1d(3, momentum=None)), "momentum=None, the mean over all batches, is not known"),
    (nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)), "only track_running_stats=True is known"),
    (nn.Sequential(nn.Linear(3, 4), nn.Flatten(0)), "module 1: only what flattens all axes"),
    (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm2d(4)), r"it takes a picture .*, but its input has shape \(4,\)"),
    (nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (2, 2))), "module 1: of an input of shape"),
    (nn.Sequential(nn.Linear(3, 4).half()), "module 0: its weight is float16; needed is float32 or float64"),
    (nn.Sequential(nn.Linear(3, 4).bfloat16()), "is bfloat16"),
    (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2).double()), "1: its weight is float64; needed is float32, as"),
    (nn.Sequential(nn.Linear(3, 10**12, device="meta")), "0: its weight has a shape but no values"),
    (nn.DataParallel(nn.Sequential(nn.Linear(3, 4))), r"got DataParallel\nnetwork = from_torch\(module.module\)"),
    (_tied(), "module 2: its weight is shared with 0.weight"),
    (_tied_by_a_view(), "module 1: its weight is shared with 0.weight"),
    (nn.Sequential(*[nn.Linear(3, 3)] * 2), "module 1: its weight is shared with 0.weight"),
    (nn.Sequential(), "argument module: there is no layer in it"),
    (nn.Sequential(nn.Identity()), "argument module: there is no layer in it"),
    (nn.Linear(3, 2), "argument module: an nn.Sequential is needed, got Linear\nnetwork = from_torch"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "message"), VECTOR, ids=range(len(VECTOR)))
def test_what_is_not_known_is_refused_by_the_path_of_its_module(module: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_torch(module, input_shape=3)


PICTURE: list[tuple[list[nn.Module], str]] = [
    ([nn.Conv2d(2, 2, 3, dilation=2)], r"module 0: only dilation=\(1, 1\) is known here, got \(2, 2\)"),
    ([nn.Conv2d(2, 2, 3, groups=2)], "only groups=1 is known here, got 2"),
    ([nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")], "only padding_mode='zeros' is known here, got 'reflect'"),
    ([nn.Conv2d(1, 2, 3)], r"its input has shape \(2, 5, 4\), which asks for W \(2, 2, 3, 3\), not \(2, 1, 3, 3\)"),
    ([nn.Conv2d(2, 2, 6)], "module 0: a kernel of 6 × 6 does not fit into its input"),
    ([nn.Conv2d(2, 2, 3), nn.Softmax(dim=1)], r"module 1: softmax over .* got dim=1 for shape \(2, 5, 4\)"),
    ([nn.MaxPool2d(2, dilation=2)], "only dilation=1 is known here, got 2"),
    ([nn.MaxPool2d(2, return_indices=True)], "only return_indices=False"),
    ([nn.AvgPool2d(2, divisor_override=3)], "only divisor_override=None is known here, got 3"),
    ([nn.AvgPool2d(3, padding=1, count_include_pad=False)], "module 0: padding counts in the mean here"),
    ([nn.Dropout2d(0.5)], "it drops whole channels"),
    ([nn.BatchNorm1d(2)], r"it takes a vector, but its input has shape \(2, 5, 4\)"),
    ([nn.Linear(4, 2)], "module 0: a Dense layer takes a vector"),
    ([nn.Flatten(2)], "only what flattens all axes of an input of shape"),
    ([nn.ZeroPad2d(1), nn.ReLU()], "it is known only directly before a Conv2d"),
    ([nn.ZeroPad2d((2, 0, 0, 0)), nn.Conv2d(2, 2, 3)], r"\(0, 2\) zeros before and \(0, 0\) after"),
    ([nn.ZeroPad2d(-1), nn.Conv2d(2, 2, 2)], r"\(-1, -1\) zeros before"),
    ([nn.ConvTranspose2d(2, 2, 3)], "module 0: this module is not known here"),
]  # fmt: skip


@pytest.mark.parametrize(("stack", "message"), PICTURE, ids=range(len(PICTURE)))
def test_settings_for_pictures_that_are_not_known_are_refused(stack: list[nn.Module], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_torch(nn.Sequential(*stack), input_shape=(2, 5, 4))


def test_a_mean_without_padding_is_the_same_with_either_count() -> None:
    module = nn.Sequential(nn.AvgPool2d(2, count_include_pad=False))
    assert_same(from_torch(module, input_shape=(1, 4, 4)), module)


def test_the_shape_of_a_picture_must_be_given() -> None:
    with pytest.raises(UsageError, match=r"argument input_shape: .*\nfrom_torch\(module, input_shape=\(3, 28, 28\)\)"):
        from_torch(nn.Sequential(nn.Conv2d(3, 4, 3)))
    with pytest.raises(UsageError, match=r"argument input_shape: .*\nfrom_torch\(module, input_shape=784\)"):
        from_torch(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    with pytest.raises(UsageError, match="argument input_shape"):
        from_torch(nn.Sequential(nn.Linear(3, 4)), input_shape=(0,))


def test_weights_that_a_hook_computes_are_refused() -> None:
    from torch.nn.utils import parametrizations, prune

    pruned = nn.Sequential(nn.Linear(3, 2))
    prune.l1_unstructured(pruned[0], "weight", 0.5)
    with pytest.raises(UsageError, match=r"module 0: its weight is computed by a hook(.|\n)*prune.remove"):
        from_torch(pruned)
    prune.remove(pruned[0], "weight")
    assert_same(from_torch(pruned), pruned)
    with pytest.raises(UsageError, match="ParametrizedLinear"):
        from_torch(nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2))))


def test_files_are_not_read() -> None:
    with pytest.raises(UsageError, match="got str\na live module is needed; files are not read"):
        from_torch("model.pt")  # type: ignore[arg-type]


# To torch.


def test_the_module_is_ordinary_independent_and_in_evaluation() -> None:
    network = Network([Dense(4), BatchNorm(activation="tanh"), Dropout(0.5), Dense(3, "softmax")], input_shape=5)
    random = torch.get_rng_state()
    with torch.inference_mode():
        module = network.to_torch()
    assert torch.equal(torch.get_rng_state(), random)
    assert [name for name, _ in module.named_children()] == [
        "hidden1", "hidden1_relu", "norm1", "norm1_tanh", "dropout1", "output", "output_softmax",
    ]  # fmt: skip
    assert not any(one.training for one in module.modules())
    assert all(one.requires_grad and not one.is_inference() for one in module.parameters())
    assert int(module.norm1.num_batches_tracked) == 0
    before = network.predict(inputs(network))
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.zero_()
    np.testing.assert_array_equal(network.predict(inputs(network)), before)


def test_a_module_with_channels_last_takes_the_input_of_the_network_and_can_be_saved() -> None:
    layers = [Conv2D(3, 3), MaxPool2D(2), BatchNorm(), Flatten(), Dense(2, "identity")]
    network = Network(layers, input_shape=(8, 6, 2), seed=3)
    module = network.to_torch()
    assert [name for name, _ in module.named_children()] == [
        "conv1_channels_first", "conv1", "conv1_relu", "pool1", "norm1", "flatten1_channels_last", "flatten1", "output",
    ]  # fmt: skip
    assert_same(network, module)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    assert_same(network, torch.load(file, weights_only=False))
    assert_same(network, copy.deepcopy(module))
    assert from_torch(module, input_shape=(8, 6, 2)).to_dict() == network.to_dict() | {"seed": 0}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_picture_without_channels_comes_back(data_format: str) -> None:
    layers = [BatchNorm(data_format=data_format), Conv2D(3, 3, data_format=data_format), Flatten(), Dense(2)]
    network = Network(layers, input_shape=(8, 6))
    module = network.to_torch()
    assert_same(network, module)
    assert from_torch(module, input_shape=(8, 6)).to_dict() == network.to_dict()


def test_axes_that_stay_in_another_order_are_refused() -> None:
    module = Network([Conv2D(3, 3), MaxPool2D(2)], input_shape=(8, 6, 2)).to_torch()
    assert_same(from_torch(module, input_shape=(8, 6, 2)), module)
    with pytest.raises(UsageError, match="the axes are still in another order at the end"):
        from_torch(module[:-1], input_shape=(8, 6, 2))
    with pytest.raises(UsageError, match=r"module 4: its input has its axes in another order"):
        from_torch(nn.Sequential(*module[:-1], nn.Flatten()), input_shape=(8, 6, 2))
    with pytest.raises(UsageError, match=r"module 0: this order of axes is not known .*: Permute\(0, 2, 3, 1\)"):
        from_torch(nn.Sequential(module[-1]), input_shape=(8, 6, 2))


@pytest.mark.parametrize(("activation", "left_out"), [("softmax", True), ("sigmoid", True), ("tanh", False)])
def test_logits_leave_out_the_last_softmax_or_sigmoid(activation: str, left_out: bool) -> None:
    for last in ([Dense(3, activation)], [Dense(3, "identity"), ActivationLayer(activation)]):
        network = Network([Dense(4, activation), *last], input_shape=5)
        module = network.to_torch(logits=True)
        x = inputs(network)
        z = network.trace(x).layers[-1].z
        assert_equal_within(run(module, x), z if left_out else network.predict(x), "float32")


def test_cross_entropy_on_logits_has_the_same_gradients() -> None:
    network = Network.dense([5, 8, 3], hidden="tanh", output="softmax", dtype="float64")
    module = network.to_torch(logits=True)
    x, y = inputs(network), np.array([0, 1, 2, 0, 1, 2])
    loss = nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y))
    loss.backward()
    gradients = np.zeros_like(network.parameters)
    space = network.workspace(6, gradients)
    space.x[...] = x
    space.forward()
    assert space.backward(get_loss("categorical_cross_entropy", "softmax"), y) == pytest.approx(loss.item(), abs=1e-12)
    theirs = torch.cat([one.grad.ravel() for one in module.parameters() if one.grad is not None])
    assert_equal_within(gradients, theirs, "float64")


def test_softplus_is_exact_far_out() -> None:
    network = Network([ActivationLayer("softplus")], input_shape=1)
    x = np.linspace(-60, 60, 241)[:, None]
    expected = np.logaddexp(x, 0.0)
    found = network.to_torch()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(nn.Softplus()(torch.from_numpy(x)).numpy(), expected, rtol=0, atol=2.1e-9)


def test_names_that_torch_does_not_take_are_changed() -> None:
    names = ["forward", "a.b", "a_b", "training", "weights"]
    network = Network([Dense(2, "identity", name=name) for name in names], input_shape=2)
    assert [name for name, _ in network.to_torch().named_children()] == [
        "forward_", "a_b", "a_b_", "training_", "weights",
    ]  # fmt: skip
    assert_same(network, network.to_torch())


def test_a_layer_of_ones_own_is_refused() -> None:
    class Mine(Flatten):
        pass

    with pytest.raises(UsageError, match="layer output: a layer of type Mine has no counterpart here"):
        to_torch(Network([Mine()], input_shape=(2, 2)))


def test_the_values_are_the_same_bits_both_ways() -> None:
    module = classifier()
    network = from_torch(module, input_shape=(1, 16, 16))
    state = network.to_torch().state_dict()
    expected = [tensor for key, tensor in module.state_dict().items() if "num_batches" not in key]
    found = [tensor for key, tensor in state.items() if "num_batches" not in key and key != "conv1.bias"]
    assert len(found) == len(expected)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


# torch stays away until it is asked for.


def test_torch_is_loaded_when_first_needed() -> None:
    code = "import neuronwise, sys; neuronwise.from_torch; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network.dense([2, 2])
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"PyTorch is not installed\npip install 'neuronwise\[torch\]'"):
        network.to_torch()
    with pytest.raises(MissingExtraError, match="PyTorch is not installed"):
        neuronwise.from_torch(None)  # type: ignore[arg-type]
