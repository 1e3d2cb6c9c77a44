"""Every statistic against a second, slow computation straight from its definition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from neuronwise.network import (
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
    Pass,
)
from neuronwise.recording import HISTOGRAMS, NEURON_FIELDS, Layout, Measured, Statistics, weight_statistics
from neuronwise.recording.histogram import SAMPLE, histogram

NAN = math.nan


def picture_layers(data_format: str) -> list[Layer]:
    conv = {"data_format": data_format}
    return [
        Conv2D(3, 3, "relu", **conv), BatchNorm(**conv), MaxPool2D(**conv), Conv2D(2, 2, "identity", **conv),
        ActivationLayer("tanh"), AveragePool2D(**conv), Flatten(), Dropout(0.3), Dense(4, "sigmoid"), BatchNorm(),
        ActivationLayer("relu"), Dense(3, "softmax"),
    ]  # fmt: skip


NETWORKS: dict[str, Any] = {
    "dense": lambda dtype: Network(
        [Dense(6, "relu"), Dense(5, "sigmoid"), Dense(4, "tanh"), Dense(3, "identity"), Dense(1, "sigmoid")],
        input_shape=(7,),
        seed=1,
        dtype=dtype,
    ),
    "channels last": lambda dtype: Network(picture_layers("channels_last"), input_shape=(9, 9, 2), seed=2, dtype=dtype),
    "channels first": lambda dtype: Network(
        picture_layers("channels_first"), input_shape=(2, 9, 9), seed=3, dtype=dtype
    ),
    "without channels": lambda dtype: Network(
        [ActivationLayer("relu"), Flatten(), Dense(2)], input_shape=(4, 5), seed=4, dtype=dtype
    ),
}


def a_step(network: Network, seed: int = 0, batch: int = 6) -> Measured:
    generator = np.random.default_rng(seed)
    space = network.workspace(batch, np.zeros_like(network.parameters), training=True)
    space.x[...] = generator.normal(size=space.x.shape)
    if space.is_random:
        space.draw(0, 1)
    space.forward()
    gradients = generator.normal(size=network.parameter_count).astype(network.dtype)
    update = (gradients * 0.1).astype(network.dtype)
    network.parameters[:] -= update
    return Measured(network.parameters, gradients, update, space.passes)


def resize(step: Measured, factor: float) -> None:
    """Multiply each array once: that of a flattened layer is that of the one before."""
    done: list[Any] = []
    for flat in (step.parameters, step.gradients, step.update, *(one.a for one in step.passes)):
        if not any(np.shares_memory(flat, other) for other in done):
            flat *= factor  # type: ignore[operator]
            done.append(flat)


# The slow second way: loops over neurons, Python's own numbers.


def norm(values: Sequence[float]) -> float:
    if any(math.isnan(value) for value in values):
        return NAN
    return math.hypot(*values) if values else 0.0


def mean(values: Sequence[float]) -> float:
    if all(map(math.isfinite, values)):
        return math.fsum(value / len(values) for value in values)
    return sum(value for value in values if not math.isfinite(value))


def deviation(values: Sequence[float]) -> float:
    middle = mean(values)
    away = [value - middle for value in values]
    return norm(away) / math.sqrt(len(away)) if all(map(math.isfinite, values)) else NAN


def not_finite(values: Sequence[float]) -> int:
    return sum(not math.isfinite(value) for value in values)


def activations_of(network: Network, step: Measured, position: int, neuron: int) -> list[float]:
    one = next(one for one in step.passes if one.layer is network.layers[position])
    first = next(
        (layer.data_format == "channels_first" for layer in network.layers if hasattr(layer, "data_format")), False
    )
    a = one.a
    if a.ndim == 2:
        return [float(value) for value in a[:, neuron]]
    if a.ndim == 3:
        return [float(value) for value in a.ravel()]
    return [float(value) for value in (a[:, neuron] if first else a[..., neuron]).ravel()]


def slow(network: Network, step: Measured) -> dict[str, list[dict[str, float]]]:
    found = {}
    for position, layer in enumerate(network.layers):
        if not (layer.parameters or layer.activation):
            continue
        weights, biases = next(
            (pair for pair in (("W", "b"), ("gamma", "beta")) if pair[0] in layer.parameters), ("", "")
        )
        views = [
            None if flat is None else network.views(flat)[position]
            for flat in (step.parameters, step.gradients, step.update)
        ]
        shape = layer.output_shape
        if weights:
            count = len(layer.parameters[weights])
        elif len(shape) == 3:
            first = getattr(network.layers[0], "data_format", "") == "channels_first"
            count = shape[0] if first else shape[2]
        else:
            count = shape[0] if len(shape) == 1 else 1
        neurons = []
        for neuron in range(count):
            W, dW, update = (
                None if own is None or not weights else [float(value) for value in own[weights][neuron].ravel()]
                for own in views
            )
            b, db = (None if own is None or not biases else float(own[biases][neuron]) for own in views[:2])
            stats = dict.fromkeys(NEURON_FIELDS, NAN)
            stats["nonfinite_weights"] = not_finite([*(W or []), *([] if b is None else [b])])
            if step.gradients is not None:
                stats["nonfinite_gradients"] = not_finite([*(dW or []), *([] if db is None else [db])])
            for name, values in (("weight_norm", W), ("grad_norm", dW), ("update_norm", update)):
                if values is not None:
                    stats[name] = norm(values)
            for name, value in (("bias", b), ("bias_grad", db)):
                if value is not None:
                    stats[name] = value
            up, size = (float(network.dtype.type(stats[key])) for key in ("update_norm", "weight_norm"))
            stats["update_ratio"] = 0.0 if up == 0 else (up / size if size else math.inf if up > 0 else NAN)
            if step.passes:
                a = activations_of(network, step, position, neuron)
                stats |= {"mean": mean(a), "std": deviation(a), "nonfinite_activations": not_finite(a)}
                visible = any(map(math.isnan, a))
                stats |= {"min": NAN if visible else min(a), "max": NAN if visible else max(a)}
                activation = layer.activation.name if layer.activation else None
                if activation == "relu":
                    stats["inactive"] = sum(value == 0 for value in a) / len(a)
                if activation in ("sigmoid", "tanh"):
                    low = 0.0 if activation == "sigmoid" else -1.0
                    stats["saturated"] = sum(value < low + 0.03 or value > 0.97 for value in a) / len(a)
            neurons.append(stats)
        found[layer.name] = neurons
    return found


def the_same_however_it_is_measured(network: Network, step: Measured, row: np.void) -> None:
    """Large layers are gone through at once, small ones later; several steps at a time, or one."""
    expected = row.tobytes()
    for at_once in (0, 1_000_000):
        with mock.patch.object(weight_statistics, "AT_ONCE_WEIGHTS", at_once), np.errstate(all="ignore"):
            for steps in (1, 3, 5):
                statistics = Statistics(network, Layout.of(network), capacity=5)
                for _ in range(2):
                    for _ in range(steps):
                        statistics.take(step)
                    assert [found.tobytes() for found in statistics.finish()] == [expected] * steps


def agree(network: Network, step: Measured, *, exact_std: float = 1e-3) -> None:
    statistics = Statistics(network, Layout.of(network))
    kept = [None if one is None else one.copy() for one in (step.parameters, step.gradients, step.update)]
    kept += [one.a.copy() for one in step.passes]
    row = statistics.measure_neurons(step)[0]
    statistics.measure_layers(step)
    the_same_however_it_is_measured(network, step, row)
    now = [step.parameters, step.gradients, step.update, *(one.a for one in step.passes)]
    for before, after in zip(kept, now, strict=True):
        np.testing.assert_array_equal(before, after)  # looking changes nothing
    expected = [neuron for layer in slow(network, step).values() for neuron in layer]
    assert len(expected) == statistics.layout.neuron_count
    eps = float(np.finfo(network.dtype).eps)
    for name in NEURON_FIELDS:
        found, true = row[name].astype(np.float64), np.array([one[name] for one in expected])
        within = {
            "rtol": max(exact_std if name == "std" else 0, 200 * eps),
            "atol": 4 * float(np.finfo(network.dtype).smallest_subnormal),
        }
        if name == "mean":  # of values that cancel
            size = np.array([max(map(abs, (one["min"], one["max"]))) for one in expected])
            finite = np.isfinite(size)
            np.testing.assert_array_less(
                np.abs(found[finite] - true[finite]), (100 * eps * size[finite] + 1e-44), err_msg=name
            )
            found, true = found[~finite], true[~finite]
        np.testing.assert_allclose(found, true, err_msg=name, **within)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_the_slow_obvious_way(name: str, dtype: str) -> None:
    network = NETWORKS[name](dtype)
    for seed, batch in ((0, 6), (1, 1), (2, 40)):
        agree(network, a_step(network, seed, batch))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_of_an_update_that_is_the_scaled_gradient_the_rate_says_all(name: str, dtype: str) -> None:
    network = NETWORKS[name](dtype)
    step = a_step(network)
    layout = Layout.of(network)
    slow = Statistics(network, layout).measure_neurons(step).copy()
    told = Statistics(network, layout)
    quick = told.measure_neurons(replace(step, update=None, rate=0.1)).copy()
    for field in NEURON_FIELDS:
        np.testing.assert_allclose(quick[field], slow[field], rtol=1e-6 if dtype == "float32" else 1e-13, err_msg=field)
    assert np.isfinite(quick["update_norm"]).any() == bool(network.parameter_count)
    without = told.measure_neurons(replace(step, update=None))
    assert np.isnan(without["update_norm"]).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_before_the_first_step_there_are_weights_only(name: str) -> None:
    network = NETWORKS[name]("float32")
    agree(network, Measured(network.parameters, None, None, ()))


@given(data=st.data())
def test_what_is_not_finite_is_counted_and_stays_visible(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(NETWORKS)))
    network = NETWORKS[name](data.draw(st.sampled_from(["float32", "float64"])))
    step = a_step(network)
    flats = [step.parameters, step.gradients, *(one.a.reshape(-1) for one in step.passes)]
    bad = st.sampled_from([NAN, math.inf, -math.inf])
    for flat in flats:
        assert flat is not None
        for place in data.draw(st.lists(st.integers(0, flat.size - 1), max_size=3)):
            flat[place] = data.draw(bad)
    agree(network, step)


@pytest.mark.parametrize("size", [1e30, 1e-30, 1e-42, 1e36])
@pytest.mark.parametrize("name", NETWORKS)
def test_squares_out_of_range_do_not_matter(name: str, size: float) -> None:
    network = NETWORKS[name]("float32")
    step = a_step(network)
    resize(step, size)
    agree(network, step)


@pytest.mark.parametrize("size", [1e200, 1e-200, 1e306, 1e-310])
def test_squares_out_of_range_do_not_matter_in_float64(size: float) -> None:
    network = NETWORKS["dense"]("float64")
    step = a_step(network)
    resize(step, size)
    agree(network, step)


def test_values_that_cancel_have_a_deviation_however_small() -> None:
    network = NETWORKS["dense"]("float32")
    step = a_step(network)
    step.passes[0].a[:] = np.resize([1e-30, -1e-30], (6, 1))
    row = Statistics(network, Layout.of(network)).measure_neurons(step)[0]
    np.testing.assert_allclose(row["std"][:6], 1e-30, rtol=1e-6)


def test_dead_neurons_have_norms_of_zero_and_are_inactive() -> None:
    network = NETWORKS["dense"]("float32")
    step = a_step(network)
    assert step.gradients is not None
    network.views(step.gradients)[0]["W"][2] = 0
    network.views(step.update)[0]["W"][2] = 0  # type: ignore[arg-type]
    network.layers[0].parameters["W"][3] = 0
    step.passes[0].a[:, 2] = 0
    agree(network, step)
    row = Statistics(network, Layout.of(network)).measure_neurons(step)[0]
    assert (row["grad_norm"][2], row["update_ratio"][2], row["inactive"][2], row["std"][2]) == (0, 0, 1, 0)
    assert row["update_ratio"][3] == math.inf


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", [0.1, -7e5, 3e37, 0.0])
def test_a_constant_activation_has_no_deviation_at_all(dtype: str, level: float) -> None:
    network = NETWORKS["dense"](dtype)
    step = a_step(network, batch=37)
    step.passes[0].a[:] = level
    row = Statistics(network, Layout.of(network)).measure_neurons(step)[0]
    assert not row["std"][:6].any()
    np.testing.assert_array_equal(row["mean"][:6], network.dtype.type(level))


@pytest.mark.parametrize("spread", [1e-5, 1e-3, 1e-2, 3e-2, 3.4e-2, 1e-1])
def test_a_small_deviation_beside_a_large_mean_is_exact(spread: float) -> None:
    network = NETWORKS["channels last"]("float32")
    step = a_step(network, batch=600)
    generator = np.random.default_rng(0)
    for one in step.passes:
        one.a[...] = 1000 * (1 + spread * generator.normal(size=one.a.shape))
    agree(network, step, exact_std=0.005)


def test_the_buffers_follow_arrays_that_are_replaced() -> None:
    network = NETWORKS["dense"]("float32")
    statistics = Statistics(network, Layout.of(network))
    statistics.measure_neurons(Measured(network.parameters, None, None, ()))
    step = a_step(network)
    moved = Measured(step.parameters.copy(), step.gradients, step.update, step.passes)
    first = statistics.measure_neurons(step).copy()
    moved.parameters[:] = 0
    assert not statistics.measure_neurons(moved)[0]["weight_norm"].any()
    assert statistics.measure_neurons(step).tobytes() == first.tobytes()


# Histograms.


def counted(values: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    ends = np.zeros(2, np.float64 if values is None else values.dtype)
    counts = np.ones(64, np.uint32)
    with np.errstate(all="ignore"):  # as in `Statistics`
        histogram(values, counts, ends)
    return counts.astype(np.int64), ends


def check_histogram(values: np.ndarray) -> None:
    """Classes of equal width; a value at a border may fall on either side by the rounding of its dtype."""
    counts, ends = counted(values)
    finite = np.sort(values[np.isfinite(values)].ravel().astype(np.longdouble))
    if not finite.size:
        assert not counts.any()
        assert np.isnan(ends).all()
        return
    assert (ends[0], ends[1]) == (finite[0], finite[-1])
    assert counts.sum() == finite.size
    edges = finite[0] + (finite[-1] - finite[0]) / 64 * np.arange(65, dtype=np.longdouble)
    slack = 4 * np.finfo(values.dtype).eps * np.abs(finite[[0, -1]]).max() + np.finfo(values.dtype).smallest_subnormal
    for place, below in enumerate(np.cumsum(counts)[:-1], 1):
        assert np.searchsorted(finite, edges[place] - slack) <= below
        assert below <= np.searchsorted(finite, edges[place] + slack, "right") or finite[0] == finite[-1]


@given(
    st.sampled_from([np.float32, np.float64]).flatmap(
        lambda dtype: arrays.arrays(dtype, st.integers(0, 60), elements=st.floats(width=np.dtype(dtype).itemsize * 8))
    )
)
def test_a_histogram_counts_every_finite_value(values: np.ndarray) -> None:
    check_histogram(values)


@pytest.mark.parametrize(
    "values",
    [
        np.full(7, 0.1, np.float32), np.array([-3e38, 0, 3e38], np.float32), np.array([-1.7e308, 1.7e308]),
        np.array([1e-45, 3e-45, 1e-44], np.float32), np.array([0, 1e-38, 2e-39], np.float32),
        np.array([1e6, 1e6 + 0.5, 1e6 + 1], np.float32), np.array([NAN, math.inf, 1, 2, -math.inf]),
        np.array([NAN, NAN]), np.array([5e-324, 1e-323]), np.array([2.0]),
    ],
    ids=str,
)  # fmt: skip
def test_histograms_of_extreme_values(values: np.ndarray) -> None:
    check_histogram(values)


def test_no_values_have_no_histogram() -> None:
    counts, ends = counted(None)
    assert not counts.any()
    assert np.isnan(ends).all()


@pytest.mark.parametrize("shape", [(SAMPLE + 1,), (400, 128), (30, 784), (128, 20, 20, 8)])
def test_of_many_values_an_even_sample_is_counted(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    counts, ends = counted(values)
    assert SAMPLE / 3 < counts.sum() <= SAMPLE
    assert ends[0] < 0.001
    assert ends[1] > 0.999
    np.testing.assert_allclose(counts / counts.sum(), 1 / 64, atol=0.008)
    columns = values * 0 + np.arange(shape[-1], dtype=np.float32)  # each column its own value: all are looked at
    assert np.count_nonzero(counted(columns)[0]) == min(64, shape[-1])


def test_histograms_are_of_weights_gradients_and_activations() -> None:
    for name, make in NETWORKS.items():
        network = make("float32")
        step = a_step(network)
        layout = Layout.of(network)
        row = Statistics(network, layout).measure_layers(step)[0]
        passes = {one.layer.name: one for one in step.passes}
        for place, layer in enumerate(layout.observed):
            one: Pass = passes[layer.name]
            key = layer.weights
            true: dict[str, Any] = {
                "W": None if key is None else layer.parameters[key].of(step.parameters),
                "dW": None if key is None else layer.parameters[key].of(step.gradients),  # type: ignore[arg-type]
                "z": one.z,
                "a": one.a,
            }
            for what in HISTOGRAMS:
                counts, ends = counted(true[what])
                np.testing.assert_array_equal(
                    row[f"{what}_counts"][place], counts, err_msg=f"{name} {layer.name} {what}"
                )
                np.testing.assert_array_equal(row[f"{what}_range"][place], ends.astype(np.float32))
