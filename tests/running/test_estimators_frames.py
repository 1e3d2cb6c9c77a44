"""The estimators on frames of mixed columns: encoded as `neuronwise.train` encodes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neuronwise import NeuralNetworkClassifier, NeuralNetworkRegressor
from neuronwise.data import FeatureEncoder
from neuronwise.errors import DataError, UsageError


def make_frame(rows: int = 200, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Return numbers, a category, codes that look like numbers, yes/no, dates, with cells missing; and a number."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"size": random.normal(100, 20, rows), "kind": random.choice(["x", "y", "z"], rows)})
    frame["zip"] = random.choice([98101, 98102, 98103], rows)
    frame["sold"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 700, rows), unit="D")
    frame["pool"] = random.choice(["yes", "no"], rows)
    y = frame["size"] * 2 + 30 * (frame["kind"] == "x") - 50 * (frame["zip"] == 98102) + 20 * (frame["pool"] == "yes")
    frame.loc[::17, "size"] = np.nan
    frame.loc[::23, "kind"] = None
    return frame, y.rename("price")


def test_mixed_columns_are_encoded_one_by_one() -> None:
    X, y = make_frame()
    model = NeuralNetworkRegressor(random_state=0, category=["zip"]).fit(X, y)
    assert isinstance(model.encoder_, FeatureEncoder)
    assert model.network_.input_names == model.encoder_.input_names
    assert {"size", "kind=x", "zip=98102"} <= set(model.network_.input_names)
    assert list(model.feature_names_in_) == list(X.columns)
    assert model.n_features_in_ == 5
    assert model.score(*make_frame(seed=1)) > 0.8


def test_pandas_and_polars_are_the_same() -> None:
    X, y = make_frame()
    first = NeuralNetworkRegressor(random_state=0, epochs=3).fit(X, y)
    second = NeuralNetworkRegressor(random_state=0, epochs=3).fit(pl.from_pandas(X), y.to_numpy())
    assert_array_equal(first.predict(X), second.predict(pl.from_pandas(X)))
    assert_array_equal(first.predict(X), second.predict(X))


def test_the_target_tells_numbers_that_are_names_as_in_train() -> None:
    random = np.random.default_rng(0)
    zips = random.permutation(np.arange(98101, 98131))
    X = pd.DataFrame({"zip": random.choice(zips, 600), "a": random.normal(size=600)})
    y = (np.arange(30) * 11 % 7)[X["zip"] - 98101] * 10.0 + X["a"]
    model = NeuralNetworkRegressor(random_state=0, epochs=2).fit(X, y)
    assert any(name.startswith("zip=") for name in model.network_.input_names)
    forced = NeuralNetworkRegressor(random_state=0, epochs=2, numeric=["zip"]).fit(X, y)
    assert "zip" in forced.network_.input_names


def test_classes_of_any_name_on_frames() -> None:
    X, y = make_frame()
    labels = np.where(y > y.median(), " yes ", "1.0")
    model = NeuralNetworkClassifier(random_state=0).fit(X, labels)
    assert_array_equal(model.classes_, [" yes ", "1.0"])
    assert model.score(X, labels) > 0.85


def test_a_column_may_be_called_as_the_target_is() -> None:
    X, y = make_frame()
    model = NeuralNetworkRegressor(random_state=0, epochs=2).fit(X.rename(columns={"size": "y"}), y.rename("y"))
    assert "y" in model.network_.input_names


def test_several_numbers_from_a_frame() -> None:
    X, y = make_frame()
    model = NeuralNetworkRegressor(random_state=0).fit(X, pd.DataFrame({"price": y, "half": y / 2 + 7}))
    assert model.predict(X).shape == (200, 2)
    assert_allclose(model.predict(X)[:, 1], model.predict(X)[:, 0] / 2 + 7, rtol=0.3)


def test_other_columns_than_those_of_the_fit_are_refused() -> None:
    X, y = make_frame()
    model = NeuralNetworkRegressor(random_state=0, epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="Feature names seen at fit time, yet now missing:\n- pool"):
        model.predict(X.drop(columns="pool"))
    with pytest.raises(ValueError, match="same order"):
        model.predict(X[X.columns[::-1]])


def test_what_was_never_seen_is_no_error_and_the_encoder_tells() -> None:
    X, y = make_frame()
    model = NeuralNetworkRegressor(random_state=0, epochs=2).fit(X, y)
    new = X.head(3).assign(kind="never")
    assert np.isfinite(model.predict(new)).all()
    assert any("never" in sentence for sentence in model.encoder_.check(new))


def test_a_frame_without_rows_is_refused() -> None:
    X, y = make_frame()
    with pytest.raises(ValueError, match="0 sample"):
        NeuralNetworkRegressor().fit(X.head(0), y.head(0))
    with pytest.raises(ValueError, match="1 sample"):
        NeuralNetworkRegressor().fit(X.head(1), y.head(1))


def test_columns_without_names_and_arrays_after_frames() -> None:
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)))
    y = X[0] - X[2]
    model = NeuralNetworkRegressor(random_state=0).fit(X, y)
    assert model.network_.input_names == ["0", "1", "2"]
    assert_allclose(model.predict(X.to_numpy()), model.predict(X), rtol=1e-9)


def test_an_array_of_mixed_values_after_a_frame_is_that_frame() -> None:
    X, y = make_frame()
    X.loc[[3, 5], "kind"] = None
    model = NeuralNetworkRegressor(random_state=0, epochs=2).fit(X, y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert_array_equal(model.predict(X.to_numpy()), model.predict(X))
    with pytest.raises(DataError, match="1 masked value"):
        model.predict(np.ma.array(np.ones((1, 5)), mask=[[0, 1, 0, 0, 0]]))
    with pytest.warns(UserWarning, match="valid feature names"), pytest.raises(ValueError, match="X has 2 features"):
        model.predict(X.to_numpy()[:, :2])


@pytest.mark.parametrize(
    ("as_given", "drop"), [(lambda X: X, "X.drop(columns=['text'])"), (pl.from_pandas, "X.drop('text')")]
)
def test_what_is_wrong_with_a_frame_is_told_in_the_words_of_the_estimator(as_given: Any, drop: str) -> None:
    X = as_given(pd.DataFrame({"id": range(50), "text": [f"guest {i}" for i in range(50)]}))
    with pytest.raises(DataError) as caught:
        NeuralNetworkRegressor().fit(X, np.arange(50.0))
    told = str(caught.value)
    assert all(words in told for words in ("numeric=['id'] keeps it", "category=['text']", drop))
    assert "--" not in told


def test_a_column_named_by_an_argument_must_be_there() -> None:
    X, y = make_frame()
    with pytest.raises(UsageError, match=r"argument category: there is no column 'kinds'. Did you mean 'kind'\?$"):
        NeuralNetworkRegressor(category=["kinds"]).fit(X, y)
    numbered = pd.DataFrame({0: np.arange(60) % 3, 1: np.linspace(0, 1, 60)})
    model = NeuralNetworkRegressor(category=[0], epochs=1).fit(numbered, numbered[1])
    assert "0=1" in model.network_.input_names


def test_columns_of_the_same_name_are_told() -> None:
    with pytest.raises(DataError, match="'a'"):
        NeuralNetworkRegressor().fit(pd.DataFrame(np.ones((5, 2)), columns=["a", "a"]), np.arange(5.0))


def test_a_lazy_frame_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a LazyFrame holds no rows yet\nX.collect\(\)"):
        NeuralNetworkRegressor().fit(pl.DataFrame({"a": [1.0, 2.0]}).lazy(), [1.0, 2.0])


def _weights(model: Any) -> Any:
    return model.network_.parameters.copy()


def test_sample_weights_of_0_leave_rows_of_frames_out() -> None:
    X, y = make_frame()
    keep = np.arange(200) % 4 > 0
    first = NeuralNetworkRegressor(random_state=0, epochs=2).fit(X, y, sample_weight=keep.astype(float))
    second = NeuralNetworkRegressor(random_state=0, epochs=2).fit(X[keep], y[keep])
    assert_allclose(_weights(first), _weights(second), atol=1e-5)
