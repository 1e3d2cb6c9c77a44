"""The encoder of plain arrays: numbers as they are, or standardised column by column."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from neuronwise.data import ArrayEncoder
from neuronwise.errors import DataError, FormatError


def test_by_default_numbers_stay_as_they_are() -> None:
    X = np.array([[1.0, 300.0], [2.0, -4.0]])
    encoder = ArrayEncoder.fit(X)
    assert_array_equal(encoder.transform(X), X)
    assert encoder.advice is not None
    assert "means" not in encoder.to_dict()


def test_standardised_columns_have_mean_0_and_deviation_1() -> None:
    X = np.random.default_rng(0).normal([1e9, -3.0, 1e-200], [10.0, 1e-3, 1e-201], size=(5_000, 3))
    x = ArrayEncoder.fit(X, standardize=True).transform(X)
    assert x.dtype == np.float32
    assert_allclose(x.mean(axis=0), 0, atol=1e-4)
    assert_allclose(x.std(axis=0), 1, rtol=1e-4)


def test_flags_stay_and_constants_become_0() -> None:
    X = np.array([[0.0, 1.0, 5.0, 0.0, 0.1], [1.0, 1.0, 5.0, 0.0, 0.1], [1.0, 1.0, 5.0, 0.0, 0.1 + 1e-17]])
    encoder = ArrayEncoder.fit(X, standardize=True)
    assert_allclose(encoder.transform(X), [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]], atol=1e-12)
    assert_allclose(encoder.transform([[0.0, 2.0, 5.0, 3.0, 0.1]]), [[0, 1, 0, 3, 0]], atol=1e-12)
    assert encoder.advice is None


@given(arrays(np.float64, (6, 3), elements=st.floats(-1e300, 1e300)))
def test_any_finite_numbers_become_finite_inputs(X: Any) -> None:
    encoder = ArrayEncoder.fit(X, standardize=True)
    x = encoder.transform(X)
    assert np.isfinite(x).all()
    assert np.abs(x).max() <= 6**0.5 + 1
    assert np.isfinite(encoder.transform(-X)).all()


@given(arrays(np.float64, (5, 4), elements=st.floats(-1e9, 1e9)))
def test_it_goes_through_json_bit_for_bit(X: Any) -> None:
    encoder = ArrayEncoder.fit(X, np.array([1, 2, 3, 4, 5]), standardize=True)
    again = ArrayEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert_array_equal(again.transform(X), encoder.transform(X))
    assert again.labels == "int"


def test_what_lies_beyond_training_is_told_in_its_own_unit() -> None:
    encoder = ArrayEncoder.fit(np.array([[0.0], [100.0]]), standardize=True)
    assert encoder.check([[50.0]]) == []
    assert encoder.check([[500.0]]) == [
        "values from 500 to 500 go beyond anything seen in training: 0 to 100",
    ]
    with pytest.raises(DataError, match="expected 1 values per row, got 2"):
        encoder.transform([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"means": [0.0]}, "'means' must be 2 finite numbers"),
        ({"scales": [1.0, 0.0]}, "'scales' must be numbers above 0"),
        ({"scales": [1.0, "2"]}, "'scales' must be 2 finite numbers"),
        ({"means": [0.0, float("nan")]}, "'means' must be 2 finite numbers"),
        ({"means": 3}, "'means' must be a list"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    good = ArrayEncoder.fit(np.array([[0.0, 3.0], [2.0, 5.0]]), standardize=True).to_dict()
    with pytest.raises(FormatError, match=message):
        ArrayEncoder.from_dict(good | changes)
    with pytest.raises(FormatError, match="the entry 'means' is missing"):
        ArrayEncoder.from_dict({key: value for key, value in good.items() if key != "means"})
