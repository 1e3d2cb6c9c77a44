"""What if: the new answer is that of the network so changed, and all that moved is told."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from neuronwise.data import (
    ArrayEncoder,
    FeatureEncoder,
    PixelEncoder,
    describe_columns,
    describe_target,
    read_table,
)
from neuronwise.errors import DataError, NotFoundError, UsageError
from neuronwise.explaining import Meaning
from neuronwise.explaining.smallest_change import smallest_change
from neuronwise.explaining.what_if import what_if
from neuronwise.network import Network
from neuronwise.network.layers import Conv2D, Dense, Flatten

from .networks import inputs, networks


@pytest.fixture(scope="module")
def houses() -> Any:
    """Return a network with an encoder for a table of all kinds of columns, and the table."""
    rng = np.random.default_rng(5)
    n = 80
    frame = pd.DataFrame(
        {
            "sqft": rng.integers(300, 9_000, n) ** 2 // 9_000 + 300,
            "zipcode": rng.choice(["98103", "98039", "98178", "98101"], n),
            "waterfront": rng.choice(["yes", "no"], n),
            "date": [str(np.datetime64("2023-01-01") + int(i)) for i in rng.integers(0, 300, n)],
            "nearly": [f"{v:.1f}".replace(".", ",") for v in rng.uniform(1, 5, n)],
            "idle": [f"row {i}" for i in range(n)],
            "price": np.exp(rng.normal(13, 0.5, n)).round(),
        }
    )
    table = read_table(frame)
    target = describe_target(table, "price", log=True).fit(table)
    encoder = FeatureEncoder.fit(table, describe_columns(table, target=target, category=["zipcode"]))
    network = Network.dense([encoder.n_inputs, 10, 6, 1], seed=4)
    return network, Meaning.of(network, encoder, target), encoder, frame


def _encode(encoder: FeatureEncoder, frame: pd.DataFrame, row: int = 0) -> Any:
    return encoder.transform(read_table(frame))[row]


def test_a_changed_column_is_what_the_encoder_makes_of_the_changed_row(houses: Any) -> None:
    network, meaning, encoder, frame = houses
    x = _encode(encoder, frame, 7)
    for column, cell in [
        ("sqft", 1234), ("zipcode", "98039"), ("waterfront", "yes"), ("waterfront", "no"), ("date", "2023-04-05"),
        ("nearly", "2,75"), ("zipcode", "12345"), ("sqft", "40000"),
    ]:  # fmt: skip
        told = what_if(network, x, inputs={column: cell}, meaning=meaning)
        changed = frame.astype(object).iloc[[7]].copy()
        changed[column] = cell
        new = _encode(encoder, changed.astype({"sqft": str, "nearly": str}))
        np.testing.assert_array_equal(told.y_after, network.predict(new)[0].astype(np.float64), err_msg=column)
        np.testing.assert_array_equal(told.y_before, network.predict(x)[0].astype(np.float64))
        for layer in told.layers:
            np.testing.assert_array_equal(layer.after, network.trace(new)[layer.layer].a[0].astype(np.float64))


def test_what_moved_is_counted_and_the_largest_comes_first(houses: Any) -> None:
    network, meaning, encoder, frame = houses
    x = _encode(encoder, frame, 3)
    told = what_if(network, x, inputs={"sqft": 8_000, "ZipCode": "98178"}, meaning=meaning)
    sizes = [abs(after - before) for _, before, after in told.moved]
    assert sizes == sorted(sizes, reverse=True)
    assert len(told.moved) == sum(int((one.before != one.after).sum()) for one in told.layers)
    text = str(told)
    assert f"{len(told.moved)} of 17 activation levels moved" in text
    assert "changed: zipcode: " in text
    assert "→ 98178" in text
    assert json.loads(json.dumps(told.to_dict()))["moved"][0]["neuron"] == told.moved[0][0]
    same = what_if(network, x, inputs={"zipcode": meaning.column_words("zipcode", x)}, meaning=meaning)
    assert "the answer stays" in str(same)
    assert "None of 17 activation levels moved." in str(same)
    assert same.figure() is None
    assert told.figure() is not None


def test_what_training_has_never_seen_is_flagged_once(houses: Any) -> None:
    network, meaning, encoder, frame = houses
    told = what_if(network, _encode(encoder, frame), inputs={"zipcode": "10115", "sqft": 99_999}, meaning=meaning)
    assert len(told.unfamiliar) == 2
    assert told.unfamiliar[0] == "zipcode '10115' was never seen in training; all its inputs are 0"
    assert told.unfamiliar[1].startswith("sqft 99,999 is beyond anything seen in training: ")
    assert "→ 10115 (never seen in training)" in told.changes[0]


@settings(max_examples=20)
@given(networks("float64"))
def test_silencing_is_a_forward_pass_with_a_zero(network: Network) -> None:
    x = inputs(network, 1)[0]
    rng = np.random.default_rng(0)
    for layer in network.layers[:-1]:
        if layer.activation is None or not layer.parameters:
            continue
        trace = network.trace(x)[layer.name].a[0]
        channels_first = getattr(layer, "data_format", "channels_last") == "channels_first" and trace.ndim == 3
        count = trace.shape[0] if channels_first else trace.shape[-1]
        neuron = int(rng.integers(count))
        told = what_if(network, x, silence=[f"{layer.name}[{neuron}]"])
        silenced = np.array(trace)
        silenced[(neuron,) if channels_first else (..., neuron)] = 0
        above = network.layers[network.layers.index(layer) + 1 :]
        rest = Network(
            [one.unbuilt() for one in above], input_shape=trace.shape, dtype="float64",
            _parameters=network.parameters[sum(one.parameter_count for one in network.layers) - sum(
                one.parameter_count for one in above):].copy(),
            _buffers=network.buffers[network.buffer_count - sum(one.buffer_count for one in above):].copy(),
        )  # fmt: skip
        np.testing.assert_allclose(told.y_after, rest.predict(silenced[None])[0], rtol=1e-12, atol=1e-12)


def test_one_place_of_a_filter_and_several_neurons_are_silenced() -> None:
    network = Network([Conv2D(2, 2), Flatten(), Dense(4), Dense(1, "identity")], input_shape=(3, 3, 1), dtype="float64")
    x = np.abs(inputs(network, 1)[0])
    told = what_if(network, x, silence=["conv1[1] @ (0, 1)", "hidden1[0]", "hidden1[2]"])
    conv = next(one for one in told.layers if one.layer == "conv1")
    assert [conv.names[i] for i in conv.moved] in (["conv1[1] @ (0, 1)"], [])
    hidden = next(one for one in told.layers if one.layer == "hidden1")
    assert hidden.after[[0, 2]].tolist() == [0.0, 0.0]
    assert told.changes == ("conv1[1] @ (0, 1) silenced", "hidden1[0] silenced", "hidden1[2] silenced")


def test_weights_and_biases_are_changed_in_a_copy(houses: Any) -> None:
    network, meaning, encoder, frame = houses
    x = _encode(encoder, frame, 1)
    before = network.parameters.copy()
    place = list(meaning.input_names).index("zipcode=98103")
    told = what_if(
        network, x, meaning=meaning,
        parameters={"hidden1[3].bias": 2.5, "hidden1[3].weights[zipcode=98103]": -1, "hidden2[1].weights[4]": 0.25},
    )  # fmt: skip
    np.testing.assert_array_equal(network.parameters, before)
    twin = network.copy()
    twin["hidden1"].b[3], twin["hidden1"].W[3, place], twin["hidden2"].W[1, 4] = 2.5, -1, 0.25
    np.testing.assert_array_equal(told.y_after, twin.predict(x)[0].astype(np.float64))
    assert told.changes[0].startswith("hidden1[3].bias: 0 → 2.5")
    assert told.changes[2].startswith("hidden2[1].weights[hidden1[4]]: ")


def test_inputs_without_a_table_are_set_in_the_unit_of_the_data() -> None:
    network = Network.dense([4, 3, 2], output="softmax")
    pixels = Meaning.of(network, PixelEncoder((2, 2), maximum=16))
    x = np.array([0.0, 1.0, 0.5, 0.25], np.float32)
    told = what_if(network, x, inputs={"pixel (0, 1)": 4}, meaning=pixels)
    np.testing.assert_array_equal(told.y_after, network.predict([0.0, 0.25, 0.5, 0.25])[0].astype(np.float64))
    assert "beyond anything seen in training: 0 to 16" in what_if(
        network, x, inputs={"pixel (0, 1)": 20}, meaning=pixels
    ).unfamiliar[0]  # fmt: skip
    scaled = ArrayEncoder(4, 0.0, 100.0, means=np.full(4, 50.0), scales=np.full(4, 10.0))
    told = what_if(network, x, inputs={"x[2]": 70}, meaning=Meaning.of(network, scaled))
    np.testing.assert_array_equal(told.y_after, network.predict([0.0, 1.0, 2.0, 0.25])[0].astype(np.float64))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"inputs": {"zip": 1}}, NotFoundError, "there is no column 'zip'"),
        ({"inputs": {"idle": "x"}}, NotFoundError, "does not see the column 'idle': it was left out"),
        ({"inputs": {"sqft": "large"}}, DataError, "'large' is not a number"),
        ({"silence": ["hidden1[77]"]}, NotFoundError, "77"),
        ({"parameters": {"hidden1[3]": 1}}, UsageError, "no name of a weight or bias"),
        ({"parameters": {"hidden1[3].weights[sqfd]": 1}}, NotFoundError, "Did you mean 'sqft'"),
        ({"parameters": {"hidden1[3].bias": math.nan}}, UsageError, "finite number, got nan"),
    ],
)
def test_what_cannot_be_changed_is_said(houses: Any, arguments: Any, error: type[Exception], words: str) -> None:
    network, meaning, encoder, frame = houses
    with pytest.raises(error, match=words):
        what_if(network, _encode(encoder, frame), meaning=meaning, **arguments)


def _price(network: Network, meaning: Meaning, x: Any) -> float:
    assert meaning.target is not None
    return float(meaning.target.decode(network.predict(x))[0])


@pytest.mark.parametrize("by", [20_000.0, -20_000.0])
@pytest.mark.parametrize("column", ["sqft", "nearly", "date"])
def test_the_smallest_move_is_found_and_nothing_nearer_does_it(houses: Any, column: str, by: float) -> None:
    network, meaning, encoder, frame = houses
    some = False
    for row in range(3):
        x = _encode(encoder, frame, row)
        told = smallest_change(network, x, column, by=by, meaning=meaning)
        was = _price(network, meaning, x)
        decimal = "," if column == "nearly" else "."
        every = [f"{v:.6g}".replace(".", decimal) for v in np.linspace(*_ends(frame, column), 97)]
        if column == "date":
            first, last = frame["date"].min(), frame["date"].max()
            every = [str(day) for day in np.arange(first, last, dtype="datetime64[D]")]
        tried = [*every, told.found or every[0]]
        changed = pd.concat([frame.astype({column: str}).iloc[[row]]] * len(tried), ignore_index=True)
        changed[column] = tried
        prices = meaning.target.decode(network.predict(encoder.transform(read_table(changed))))
        enough = [cell for cell, price in zip(every, prices, strict=False) if (price - was) * np.sign(by) >= abs(by)]
        if told.found is None:
            assert not enough
            assert f"No {column} " in str(told)
            continue
        some = True
        assert (prices[-1] - was) * np.sign(by) >= abs(by)
        now = _number(frame[column].iloc[row], column)
        distance = abs(_number(told.found, column) - now)
        assert all(abs(_number(cell, column) - now) >= 0.979 * distance - 1e-9 for cell in enough)
    assert some


def _ends(frame: pd.DataFrame, column: str) -> tuple[float, float]:
    numbers = [_number(cell, column) for cell in frame[column]]
    return min(numbers), max(numbers)


def _number(cell: Any, column: str) -> float:
    if column == "date":
        return float((np.datetime64(str(cell)) - np.datetime64("2023-01-01")).astype(float))
    return float(str(cell).replace(",", "."))


def test_of_categories_all_are_tried(houses: Any) -> None:
    network, meaning, encoder, frame = houses
    x = _encode(encoder, frame, 2)
    was = _price(network, meaning, x)
    prices = {}
    for code in ("98101", "98103", "98178", "98039"):
        prices[code] = _price(network, meaning, _encode(encoder, frame.iloc[[2]].assign(zipcode=code)))
    best = max(prices, key=lambda code: prices[code])
    by = 0.9 * (prices[best] - was) if prices[best] > was else 1e9
    told = smallest_change(network, x, "zipcode", by=by, meaning=meaning)
    enough = sorted((abs(p - was), code) for code, p in prices.items() if p - was >= by)
    assert [code for code, _ in told.enough] == [code for _, code in enough]
    never = smallest_change(network, x, "zipcode", by=1e9, meaning=meaning)
    assert never.found is None
    assert "all 4 known categories" in str(never)
    yes = smallest_change(network, x, "waterfront", by=1e9, meaning=meaning)
    assert yes.searched == "yes and no"


def test_a_class_is_flipped_where_its_boundary_is() -> None:
    # yes where 2 a - 3 b + 1 > 0: from a = 0, b = 1 it takes a = 1.
    network = Network.dense([2, 1], output="sigmoid", dtype="float64", input_names=["a", "b"])
    network["output"].W, network["output"].b = [[2.0, -3.0]], [1.0]
    told = smallest_change(network, [0.0, 1.0], "a", seen=(-5.0, 5.0))
    assert told.found is not None
    assert float(told.found) == pytest.approx(1.0, abs=0.021)
    assert float(told.found) >= 1.0
    assert "makes it another class" in str(told)
    none = smallest_change(network, [0.0, 1.0], "a", seen=(-5.0, 0.5))
    assert none.found is None
    assert "The most that another class gets there is" in str(none)
    three = Network.dense([2, 3], output="softmax", class_names=["cat", "dog", "cow"], seed=1)
    chosen = str(["cat", "dog", "cow"][int(three.predict([1.0, 1.0])[0].argmax())])
    with pytest.raises(UsageError, match="already"):
        smallest_change(three, [1.0, 1.0], "x[0]", to=chosen, seen=(-9.0, 9.0))
    for name in {"cat", "dog", "cow"} - {chosen}:
        told = smallest_change(three, [1.0, 1.0], "x[0]", to=name, seen=(-9.0, 9.0))
        if told.found is not None:
            answer = int(three.predict([float(told.found), 1.0])[0].argmax())
            assert ["cat", "dog", "cow"][answer] == name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "predicts a number, which has no class to flip"),
        ({"by": 0.0}, "other than 0"),
        ({"by": 1.0, "to": "cat"}, "no class to flip"),
        ({"by": 1.0, "column": "zip"}, "there is no column 'zip'"),
    ],
)
def test_what_cannot_be_searched_is_said(houses: Any, arguments: Any, words: str) -> None:
    network, meaning, encoder, frame = houses
    given = {"column": "sqft"} | arguments
    with pytest.raises(UsageError, match=words):
        smallest_change(network, _encode(encoder, frame), meaning=meaning, **given)


def test_a_range_is_needed_and_a_class_moves_by_no_amount() -> None:
    network = Network.dense([2, 3], output="softmax")
    with pytest.raises(UsageError, match="nothing is known of the values"):
        smallest_change(network, [0.0, 1.0], "x[0]")
    with pytest.raises(UsageError, match="moves by no amount"):
        smallest_change(network, [0.0, 1.0], "x[0]", by=3.0)
