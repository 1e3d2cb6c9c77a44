"""What is not learned: errors by class and slice, states of rows, neurons that separate, each counted again slowly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining import Meaning
from neuronwise.explaining.separating import auc_of, separate
from neuronwise.explaining.slices import Slicing, slicings
from neuronwise.explaining.unlearned import what_is_not_learned
from neuronwise.network import Conv2D, Dense, Flatten, Network
from neuronwise.running import prepare
from neuronwise.running.prepare import DataOptions


def answering(answers: Any) -> Network:
    """A network that answers row i, which is the i-th unit vector, with the class answers[i]."""
    classes = 3
    network = Network.dense([len(answers), classes], output="softmax", class_names=["a", "b", "c"])
    network["output"].W = 5.0 * np.eye(classes)[np.asarray(answers)].T
    network["output"].b = np.zeros(classes)
    return network


RIGHT = [0, 0, 0, 0, 1, 1, 1, 2]
OVER_TIME = [
    (0, [0, 1, 1, 1, 1, 0, 0, 0]),
    (5, [0, 0, 1, 0, 1, 0, 0, 0]),
    (9, [0, 0, 1, 1, 1, 0, 1, 0]),
    (20, [0, 0, 0, 1, 1, 0, 1, 0]),
    (30, [0, 1, 1, 1, 1, 0, 0, 0]),
]


def found_over_time(**options: Any) -> Any:
    networks = [(step, answering(answers)) for step, answers in OVER_TIME]
    return what_is_not_learned(networks, np.eye(8), np.array(RIGHT), **options)


def test_rows_are_told_apart_by_when_they_were_right() -> None:
    found = found_over_time(rows=np.arange(100, 108))
    # Row 1 was right at 5, 9 and 20, row 6 at 9 and 20; row 3 at 5 alone, row 2 at 20 alone, 5 and 7 never.
    assert found.forgotten.tolist() == [101, 106]
    assert found.never_learned.tolist() == [102, 103, 105, 107]
    assert found.wrong == 6
    assert {one.row: one.state for one in found.worst} == {
        101: "forgotten", 106: "forgotten", 102: "never learned", 103: "never learned", 105: "never learned",
        107: "never learned",
    }  # fmt: skip
    assert "6 of 8 rows are wrong at the end: 4 never learned, 2 learned and forgotten" in str(found)


def test_errors_by_class_over_time_and_confusion() -> None:
    found = found_over_time()
    expected = [
        [np.mean([a != r for a, r in zip(answers, RIGHT, strict=True) if r == c]) for c in range(3)]
        for _, answers in OVER_TIME
    ]
    np.testing.assert_allclose(found.classes.errors, expected)
    np.testing.assert_allclose(found.errors, [np.mean(np.array(a) != RIGHT) for _, a in OVER_TIME])
    assert found.confusion.tolist() == [[1, 3, 0], [2, 1, 0], [1, 0, 0]]
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.figure() is not None


def test_with_few_steps_it_does_not_tell_never_from_forgotten() -> None:
    networks = [(step, answering(answers)) for step, answers in OVER_TIME[-2:]]
    found = what_is_not_learned([(0, answering(RIGHT)), *networks], np.eye(8), np.array(RIGHT))
    assert len(found.never_learned) == len(found.forgotten) == 0
    assert {one.state for one in found.worst} == {"wrong"}


def test_one_network_is_looked_at_as_it_is() -> None:
    found = what_is_not_learned(answering(RIGHT), np.eye(8), np.array(RIGHT))
    assert found.steps == (-1,)
    assert found.wrong == 0
    assert found.worst == ()
    assert "as delivered" in str(found)


@given(seed=st.integers(0, 10_000))
def test_slices_are_counted_as_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    right, places = rng.integers(0, 3, 40), rng.integers(0, 4, 40)
    given_ = [rng.integers(0, 3, 40) for _ in range(3)]
    found = what_is_not_learned(
        [(step, answering(answers)) for step, answers in enumerate(given_)],
        np.eye(40), right, slices=[Slicing("zip", ("w", "x", "y", "z"), places)],
    )  # fmt: skip
    (one,) = found.slices
    for place in range(4):
        chosen = places == place
        assert one.rows[place] == chosen.sum()
        for step, answers in enumerate(given_):
            if chosen.any():
                assert one.errors[step, place] == pytest.approx(np.mean((answers != right)[chosen]))
            else:
                assert np.isnan(one.errors[step, place])
        if chosen.sum() > 1:
            wrong = (given_[-1] != right)[chosen]
            assert one.noise[place] == pytest.approx(wrong.std(ddof=1) / np.sqrt(len(wrong)))


def test_a_slice_that_is_worse_is_found_and_one_that_may_be_chance_is_not() -> None:
    rng = np.random.default_rng(0)
    right = rng.integers(0, 3, 400)
    answers, places = right.copy(), np.arange(400) % 20
    answers[places == 7] = (right[places == 7] + 1) % 3  # all of a zip code wrong
    answers[(places == 3).nonzero()[0][:2]] += 1
    answers %= 3
    cut = Slicing("zipcode", tuple(map(str, range(98100, 98120))), places)
    found = what_is_not_learned(answering(answers), np.eye(400), right, slices=[cut])
    assert [(one.by, one.labels[place]) for one, place in found.worst_slices] == [("zipcode", "98107")]
    assert "zipcode 98107 is learned worst: 100.0 % of its 20 rows" in str(found).splitlines()[0]


def price_network(target: Any) -> Network:
    network = Network.dense([5, 1], dtype="float64")
    network["output"].W = np.array([[0.1, 0.2, -0.3, 0.0, 4.0]])
    network["output"].b = np.zeros(1)
    return network


@pytest.mark.parametrize("log", [True, False])
def test_values_are_wrong_beyond_twice_the_median_error(log: bool) -> None:
    from neuronwise.data import TargetSpec

    target = TargetSpec("price", "regression", (), (), log, 12.0, 0.5, 1.0, 9.0, 3.0, "", 5, 0)
    network = price_network(target)
    y = np.array([[0.0], [0.0], [0.0], [0.5], [0.0]])
    found = what_is_not_learned(network, np.eye(5), y, meaning=Meaning.of(network, target=target))
    truth, answers = target.decode(y), target.decode(network.predict(np.eye(5)))
    errors = np.abs(np.log(answers) - np.log(truth)) if log else np.abs(answers - truth)
    assert found.errors[-1] == pytest.approx(errors.mean())
    assert found.threshold == pytest.approx(2 * np.median(errors))
    assert found.wrong == int((errors > 2 * np.median(errors)).sum()) == 1
    assert found.worst[0].row == 4
    assert found.kind == ("factor" if log else "amount")
    text = str(found)
    assert ("a factor" in text) == log
    assert "2 times the median error" in text
    assert found.figure() is not None
    cut = Slicing("zip", ("a", "b"), np.array([0] * 40 + [1] * 10))
    rows = np.array([0, 1, 3, 0] * 10 + [4] * 10)
    worst = what_is_not_learned(
        network, np.eye(5)[rows], y[rows], slices=[cut], meaning=Meaning.of(network, target=target)
    )  # fmt: skip
    assert "zip b is learned worst: " in str(worst).splitlines()[0]
    assert "on its 10 rows" in str(worst).splitlines()[0]
    if log:
        assert found.words(np.log(1.12)) == "12.0 %"


def test_an_answer_that_is_not_finite_is_wrong_and_stands_first() -> None:
    network = Network.dense([3, 1], dtype="float64")
    network["output"].W = np.array([[0.5, np.nan, 0.1]])
    found = what_is_not_learned(
        network, np.diag([1.0, 1.0, 1.0])[[0, 2]] + [[0, 0, 0], [0, np.inf, 0]], np.zeros((2, 1))
    )
    assert found.wrong >= 1
    assert not np.isfinite(found.errors[-1])
    json.dumps(found.to_dict(), allow_nan=False)
    str(found)
    assert found.figure() is not None


@given(
    values=arrays(np.float64, (12, 3), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0])),
    first=arrays(bool, 12),
)
def test_auc_is_the_share_of_pairs_in_the_right_order(values: Any, first: Any) -> None:
    found = auc_of(values, first)
    for j in range(3):
        pairs = [
            1.0 if a > b else 0.5 if a == b else 0.0 for a in values[first, j] for b in values[~first, j]
        ]  # fmt: skip
        if pairs:
            assert found[j] == pytest.approx(np.mean(pairs))
        else:
            assert np.isnan(found[j])


def test_neurons_that_do_and_do_not_separate_a_pair() -> None:
    rng = np.random.default_rng(0)
    ids = np.arange(300) % 3
    X = rng.normal(size=(300, 3))
    X[:, 0] = np.where(ids == 0, 1.0, np.where(ids == 1, -1.0, X[:, 0]))
    network = Network.dense([3, 3, 3], "identity", "softmax")
    network["hidden1"].W = np.eye(3)
    (pair,) = separate(network, X, ids, [(0, 1, 17)])
    assert pair.auc[0] == 1.0
    assert pair.order[0] == 0
    expected = np.mean([[a > b for b in X[ids == 1, 1]] for a in X[ids == 0, 1]])
    assert pair.auc[1] == pytest.approx(expected, abs=1e-6)
    assert set(pair.blunt) == {j for j in (1, 2) if abs(pair.auc[j] - 0.5) < 0.05}
    assert (pair.confused, pair.rows) == (17, 200)


def test_a_channel_is_judged_by_its_mean_over_the_places() -> None:
    rng = np.random.default_rng(0)
    X, ids = rng.normal(size=(40, 6, 6)).astype(np.float32), np.arange(40) % 2
    network = Network([Conv2D(3, 3, "relu"), Flatten(), Dense(4), Dense(2, "softmax")], input_shape=(6, 6))
    (pair,) = separate(network, X, ids, [(0, 1, 1)])
    assert pair.neurons == ("conv1[0]", "conv1[1]", "conv1[2]", "hidden1[0]", "hidden1[1]", "hidden1[2]", "hidden1[3]")
    mean = network.trace(X)["conv1"].a.mean(axis=(1, 2))
    np.testing.assert_allclose(pair.auc[:3], auc_of(mean, ids == 0))


def table() -> Any:
    import pandas as pd

    rng = np.random.default_rng(0)
    n = 200
    area = rng.integers(500, 5_000, n)
    return pd.DataFrame(
        {
            "sqft": area,
            "zipcode": rng.choice(["98101", "98103", "98105"], n),
            "garden": np.where(rng.random(n) < 0.5, "yes", "no"),
            "rooms": rng.integers(1, 4, n),
            "lot": np.where(rng.random(n) < 0.1, np.nan, 10.0 * area),
            "price": 300.0 * area * np.exp(0.1 * rng.normal(size=n)),
        }
    )


def test_rows_of_a_table_are_cut_in_its_own_units() -> None:
    frame = table()
    data = prepare(frame, DataOptions(target="price", category=["zipcode"]), 0)
    network = Network.dense([data.X.shape[1], 1])
    meaning = Meaning.of(network, data.encoder, data.target)
    found = {one.by: one for one in slicings(data.X, data.y, meaning)}
    rows = data.source_rows
    assert set(found) == {"sqft", "zipcode", "garden", "rooms", "lot", "price"}
    for name in ("zipcode", "garden", "rooms"):
        words = np.array(found[name].labels)[found[name].places]
        assert words.tolist() == [str(value) for value in frame[name].to_numpy()[rows]]
    assert len(found["sqft"].labels) == 4
    for place, label in enumerate(found["sqft"].labels):
        inside = frame["sqft"].to_numpy()[rows][found["sqft"].places == place]
        low, high = (int(end.replace(",", "")) for end in label.split(" to "))
        assert (low, high) == (inside.min(), inside.max())
        assert 40 <= len(inside) <= 60
    missing = found["lot"].labels.index("missing")
    assert ((found["lot"].places == missing) == np.isnan(frame["lot"].to_numpy()[rows])).all()
    assert len(found["price"].labels) == 5
    assert [one.by for one in slicings(data.X, data.y, meaning, ["zipcode"])] == ["zipcode"]
    with pytest.raises(NotFoundError, match=r"no column 'zipcod' to cut the rows by\. Did you mean 'zipcode'"):
        slicings(data.X, data.y, meaning, ["zipcod"])


def test_pictures_have_no_slices() -> None:
    network = Network([Flatten(), Dense(2, "softmax")], input_shape=(4, 4))
    X, y = np.zeros((5, 4, 4)), np.zeros(5, int)
    assert slicings(X, y, Meaning.of(network)) == []
    with pytest.raises(NotFoundError, match="pictures have no columns"):
        slicings(X, y, Meaning.of(network), ["zipcode"])


def test_networks_are_asked_for_one_by_one_and_progress_is_told() -> None:
    asked: list[int] = []
    told: list[tuple[int, int]] = []

    def networks() -> Iterator[tuple[int, Network]]:
        for step, answers in OVER_TIME:
            asked.append(step)
            yield step, answering(answers)

    what_is_not_learned(
        networks(), np.eye(8), np.array(RIGHT), steps_in_all=5, progress=lambda done, of: told.append((done, of))
    )
    assert asked == [0, 5, 9, 20, 30]
    assert told == [(8 * k, 40) for k in range(1, 6)]


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(UsageError, match="8 inputs need as many targets, got 7"):
        what_is_not_learned(answering(RIGHT), np.eye(8), np.zeros(7, int))
    with pytest.raises(UsageError, match="at least one network"):
        what_is_not_learned([], np.eye(8), np.zeros(8, int))
    with pytest.raises(UsageError, match="8 rows are cut by zip into 3"):
        what_is_not_learned(
            answering(RIGHT), np.eye(8), np.zeros(8, int), slices=[Slicing("zip", ("a",), np.zeros(3, int))]
        )  # fmt: skip
