"""`explain` for all that can be explained: runs, fitted networks, estimators, networks, PyTorch modules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronwise
from neuronwise import Network, NeuralNetworkClassifier, NeuralNetworkRegressor, Run
from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining import explain_prediction
from neuronwise.running import important_features, smallest_change_of_run, what_if_run
from neuronwise.running.subject import Subject

from .conftest import make_frame


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run on made houses, trained once for all of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("houses")
        patch.setenv("NEURONWISE_HOME", str(place / "home"))
        neuronwise.data.make_houses(900, 0).to_csv(place / "houses.csv", index=False)
        yield neuronwise.train(str(place / "houses.csv"), "price", layers="12,6", epochs=15, track=False).folder


def test_a_row_of_a_run_is_counted_from_the_average_training_row(houses: Path) -> None:
    told = neuronwise.explain(houses, row=17)
    subject = Subject(houses)
    train = subject.examples("train")
    by_hand = explain_prediction(
        subject.network, subject.row(17), baseline=train.X.mean(axis=0), meaning=subject.meaning
    )
    np.testing.assert_allclose(told.contributions, by_hand.contributions, atol=1e-5)
    assert told.baseline == f"the average of the {len(train.X):,} training rows"
    assert told.is_exact
    zeros = neuronwise.explain(houses, row=17, baseline="zeros")
    assert zeros.start == pytest.approx(sum(zeros.bias_terms.values()))


def test_new_data_is_explained_too_and_what_was_never_seen_is_said(houses: Path, tmp_path: Path) -> None:
    frame = neuronwise.data.make_houses(5, 3).drop(columns="price")
    frame.loc[2, "sqft_living"] = 40_000
    frame["zipcode"] = frame["zipcode"].astype(str)
    frame.loc[2, "zipcode"] = "10115"
    frame.to_csv(tmp_path / "new.csv", index=False)
    told = neuronwise.explain(houses, tmp_path / "new.csv", row=2)
    assert "Beware: sqft_living 40,000 is beyond anything seen: " in str(told)
    assert "Beware: zipcode: none of the 12 categories seen in training" in str(told)
    same = neuronwise.explain(houses, frame, row=2)
    np.testing.assert_array_equal(same.contributions, told.contributions)
    with pytest.raises(NotFoundError, match="there is no row 5"):
        neuronwise.explain(houses, frame, row=5)


def test_where_the_training_rows_are_gone_the_baseline_says_so(tmp_path: Path) -> None:
    frame = make_frame()
    path = tmp_path / "data.csv"
    frame.to_csv(path, index=False)
    run = neuronwise.train(str(path), "y", drop=["sign"], layers=[4], epochs=2, track=False)
    path.unlink()
    told = neuronwise.explain(run, frame, row=1)
    assert told.baseline == "all inputs 0: numbers at their mean, no category; the training rows were not found"
    with pytest.raises(UsageError):
        neuronwise.explain(run, frame, baseline="average")


def test_fitted_networks_estimators_and_networks(kept_run: Run) -> None:
    frame = make_frame()
    fitted = neuronwise.load(kept_run.folder)
    told = neuronwise.explain(fitted, frame, row=4)
    assert list(told.names) == ["a", "b", "kind"]
    X, y = frame[["a", "b", "kind"]], frame["y"]
    model = NeuralNetworkRegressor(layers=[5], epochs=3, random_state=0).fit(X, y)
    told = neuronwise.explain(model, X.iloc[[4]])
    assert list(told.names) == ["a", "b", "kind"]
    price = told.unit.amount(told.value) if told.unit is not None else None
    assert price == pytest.approx(float(model.predict(X.iloc[[4]])[0]), rel=1e-4)
    classes = NeuralNetworkClassifier(layers=[5], epochs=3, random_state=0)
    with pytest.raises(UsageError, match="not fitted"):
        neuronwise.explain(classes, X)
    classes.fit(X[["a", "b"]].to_numpy(), np.array(["x", "y", "z"])[np.arange(len(X)) % 3])
    told = neuronwise.explain(classes, X[["a", "b"]].to_numpy()[:1])
    assert told.output in ("x", "y", "z")
    assert told.probability is not None
    network = Network.dense([3, 4, 2])
    np.testing.assert_array_equal(
        neuronwise.explain(network, np.ones((2, 3)), row=1).contributions,
        explain_prediction(network, np.ones(3)).contributions,
    )


def test_a_module_of_pytorch_is_explained_without_being_converted() -> None:
    torch: Any = pytest.importorskip("torch")
    network = Network.dense([3, 4, 2], seed=3)
    x = np.array([1.0, -2.0, 0.5], np.float32)
    told = neuronwise.explain(network.to_torch(), torch.from_numpy(x))
    np.testing.assert_allclose(told.contributions, neuronwise.explain(network, x).contributions, atol=1e-6)
    with pytest.raises(UsageError, match="not known"):
        neuronwise.explain(network.to_torch(), x, baseline="average")


@pytest.mark.parametrize(
    ("what", "arguments", "words"),
    [
        (3, {}, "got int, not a run"),
        (Network.dense([2, 1]), {}, "an input is needed"),
        (Network.dense([2, 1]), {"x": [1.0, 2.0], "baseline": "average"}, "known of runs only"),
        (Network.dense([2, 1]), {"x": [1.0, 2.0], "baseline": "median"}, "got 'median'"),
    ],
)
def test_what_cannot_be_explained_is_said(what: Any, arguments: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        neuronwise.explain(what, **arguments)


def test_a_run_needs_to_be_told_which_input(houses: Path) -> None:
    with pytest.raises(UsageError, match="which input"):
        neuronwise.explain(houses)


def test_what_if_and_the_smallest_change_of_a_run(houses: Path) -> None:
    subject = Subject(houses)
    frame = neuronwise.data.make_houses(900, 0)
    told = what_if_run(houses, row=17, inputs={"zipcode": "98112"})
    changed = frame.iloc[[17]].assign(zipcode=98112)
    new = subject.fitted.raw(changed)[0]
    np.testing.assert_allclose(told.y_after, new, rtol=1e-5)
    found = smallest_change_of_run(houses, "sqft_living", row=17, by=50_000)
    assert found.found is not None
    price = subject.fitted.predict(frame.iloc[[17]].assign(sqft_living=float(found.found)))[0]
    assert price - subject.fitted.predict(frame.iloc[[17]])[0] >= 50_000 * (1 - 1e-5)


def test_what_the_answers_of_a_run_rest_on(houses: Path) -> None:
    found = important_features(houses, repeats=3)
    assert set(found.names) == set(Subject(houses).meaning.columns)
    assert found.names[found.order[0]] in ("zipcode", "sqft_living")
    assert found.rows_are == "held-out rows"
    assert "training rows" in found.baseline
    with pytest.raises(NotFoundError, match="no output 'cat'"):
        important_features(houses, output="cat")


def test_pictures_are_counted_from_black(tmp_path: Path) -> None:
    run = neuronwise.train("digits", layers="8", epochs=2, track=False)
    told = neuronwise.explain(run, row=3)
    assert told.baseline == "a black picture"
    assert told.picture is not None
    assert "logit" in str(told)
    assert important_features(run, repeats=1).picture_shape == (8, 8)
