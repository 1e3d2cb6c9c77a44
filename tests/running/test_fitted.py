"""A fitted network: from raw data to answers, saved and read back without trust."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuronwise
from neuronwise import FittedNetwork, Run
from neuronwise.errors import DataError, FormatError, NeuronwiseError, NotFoundError, UnseenDataWarning, UsageError

from .conftest import make_frame


def test_answers_are_in_the_unit_of_the_data(kept_run: Run, frame: pd.DataFrame) -> None:
    answers = kept_run.predict(frame)
    assert answers.shape == (90,)
    assert np.corrcoef(answers, frame["y"])[0, 1] > 0.3
    # By hand: encode, network, and the way back through mean and scale.
    x, _ = kept_run.model.encode(frame)
    z = kept_run.network.predict(x)[:, 0].astype(np.float64)
    target = kept_run.model.target
    np.testing.assert_allclose(answers, z * target.scale + target.mean, rtol=1e-12)


def test_classes_are_answered_by_name_with_probabilities(kept_classes: Run, frame: pd.DataFrame) -> None:
    model = kept_classes.model
    answers, probabilities = model.predict(frame), model.predict_proba(frame)
    assert set(answers) <= {"above", "below"}
    assert probabilities.shape == (90, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    chosen = np.array(model.target.classes, dtype=object)[probabilities.argmax(axis=1)]
    assert (answers == chosen).all()
    np.testing.assert_allclose(probabilities[:, 1], model.raw(frame)[:, 0])


def test_a_frame_of_answers_has_a_column_for_each_class(kept_classes: Run, kept_run: Run, frame: pd.DataFrame) -> None:
    answers, unseen = kept_classes.model.predict_frame(frame)
    assert list(answers.columns) == ["prediction", "P(above)", "P(below)"]
    assert all("beyond anything seen" in sentence for sentence in unseen)
    assert list(kept_run.model.predict_frame(frame)[0].columns) == ["prediction"]


def test_a_number_has_no_probabilities(kept_run: Run, frame: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="predicts a number"):
        kept_run.model.predict_proba(frame)


def test_the_same_rows_from_any_source(kept_run: Run, frame: pd.DataFrame, tmp_path: Path) -> None:
    expected = kept_run.predict(frame)
    frame.to_csv(tmp_path / "table.csv", index=False)
    frame.to_parquet(tmp_path / "table.parquet")
    for data in (
        pl.from_pandas(frame),
        frame[frame.columns[::-1]],
        frame.assign(more="x"),
        frame.drop(columns=["y", "sign"]),
        str(tmp_path / "table.csv"),
        tmp_path / "table.parquet",
    ):
        np.testing.assert_allclose(kept_run.predict(data), expected, rtol=1e-6)
    # One row inside a batch differs from the row alone in the last bits: BLAS takes another kernel.
    assert kept_run.predict(frame[3:4])[0] == pytest.approx(expected[3], rel=1e-5)


def test_what_was_never_seen_is_told(kept_run: Run, frame: pd.DataFrame) -> None:
    frame.loc[0, "kind"] = "new"
    frame.loc[1, "a"] = 99.0
    frame.loc[2, "b"] = np.nan
    answers, unseen = kept_run.model.predict_frame(frame)
    assert np.isfinite(answers["prediction"]).all()
    said = "\n".join(unseen)
    assert "kind" in said
    assert "new" in said
    assert "99" in said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (5, "a table is a path or a DataFrame"),
        ([[1.0]], "pandas.DataFrame"),
        ("digits", "the network learned from a table, and 'digits' names pictures"),
        (make_frame().drop(columns=["a", "kind"]), "trained on columns 'a', 'kind'"),
        (make_frame()[:0], "no rows"),
        ("none.csv", "no such file"),
    ],
    ids=["number", "list", "digits", "columns", "no rows", "no file"],
)
def test_data_that_does_not_fit_a_table(kept_run: Run, data: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        kept_run.predict(data)


@pytest.fixture(scope="module")
def pictures(kept_home: Path) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(kept_home))
        return neuronwise.train("digits", layers=[8], epochs=2, track=False)


def test_pictures_as_a_stack_one_alone_flat_or_a_frame(pictures: Run) -> None:
    from sklearn.datasets import load_digits

    images = load_digits().images
    expected = pictures.predict(images)
    assert expected.shape == (1797,)
    assert set(expected) <= set("0123456789")
    flat = images.reshape(-1, 64)
    for data in (flat, pd.DataFrame(flat), pl.DataFrame(flat), "digits"):
        assert (pictures.predict(data) == expected).all()
    for one in (images[5], flat[5], images[5:6, :, :, None]):
        assert pictures.predict(one).tolist() == [expected[5]]


def test_a_file_of_a_picture_is_as_bright_as_the_pictures_that_were_learned(pictures: Run, tmp_path: Path) -> None:
    """What is fully bright is 16 in scikit-learn's digits, and 255 in a file."""
    from PIL import Image
    from sklearn.datasets import load_digits

    images = load_digits().images[:20]
    for place, image in enumerate(images):
        path = tmp_path / f"{place:02}.png"
        Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)).save(path)
        x, said = pictures.model.encode(path)
        assert not said
        np.testing.assert_allclose(x, image.reshape(1, -1) / 16, atol=1 / 255)


@pytest.mark.parametrize(
    "shape",
    [(2, 9, 9), (4, 4, 4), (8, 16), (63,), (2, 8, 8, 3), (128,), ()],
    ids=lambda shape: "x".join(map(str, shape)),
)
def test_arrays_that_are_no_pictures_are_refused_not_reshaped(pictures: Run, shape: tuple[int, ...]) -> None:
    with pytest.raises(NeuronwiseError):
        pictures.predict(np.zeros(shape))


@pytest.mark.parametrize("data", [np.full((1, 8, 8), np.nan), np.full((1, 8, 8), "x"), make_frame()])
def test_pixels_that_are_no_numbers(pictures: Run, data: Any) -> None:
    with pytest.raises(DataError):
        pictures.predict(data)


def test_a_table_is_no_picture(pictures: Run) -> None:
    with pytest.raises(UsageError, match=r"learned from pictures, and 'houses\.csv' names a table"):
        pictures.predict("houses.csv")


def test_arrays_of_any_shape_come_back_as_they_were_learned(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    X, y = random.normal(size=(40, 5, 6)), random.integers(0, 3, 40)
    run = neuronwise.train((X, y), layers=[4], epochs=1, track=False)
    assert run.network.input_shape == (5, 6)
    answers = run.predict(X)
    assert (run.predict(X.reshape(40, 30)) == answers).all()
    assert (neuronwise.load(run.folder).predict(X) == answers).all()
    with pytest.raises(DataError, match="expected 30 values per row, got 7"):
        run.predict(np.zeros((2, 7)))
    with pytest.raises(UsageError, match="takes an array, not a name"):
        run.predict("table.csv")
    with pytest.raises(DataError, match="NaN"):
        run.predict(np.full((1, 30), np.nan))


@pytest.mark.parametrize("which", ["kept_run", "kept_classes", "pictures"])
def test_saved_and_loaded_is_the_same(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run = request.getfixturevalue(which)
    run.model.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "encoder.json", "network.json", "network.safetensors"
    }  # fmt: skip
    loaded = FittedNetwork.load(tmp_path / "model")
    data = make_frame() if which != "pictures" else "digits"
    assert (loaded.predict(data) == run.predict(data)).all()
    assert loaded.kind == run.model.kind
    assert loaded.target == run.model.target
    assert loaded.encoder.to_dict() == run.model.encoder.to_dict()
    assert repr(loaded) == repr(run.model)


def damaged(run: Run, folder: Path) -> tuple[Path, dict[str, Any]]:
    shutil.copytree(run.folder / "model", folder)
    return folder / "encoder.json", json.loads((folder / "encoder.json").read_text())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "not an encoder of version 1"),
        ({"version": 2}, "not an encoder of version 1"),
        ({"kind": "pickle"}, "the key 'kind' should be one of table, image, array, got 'pickle'"),
        ({"kind": ["table"]}, "the key 'kind'"),
        ({"kind": {}}, "the key 'kind'"),
        ({"kind": "image"}, "encoder.json"),
        ({"kind": "array"}, "encoder.json"),
        ({"encoder": None}, "encoder.json"),
        ({"encoder": {}}, "encoder.json"),
        ({"encoder": [1, 2]}, "encoder.json"),
        ({"target": None}, "encoder.json"),
        ({"target": {"name": "y"}}, "encoder.json"),
        ({"target": "x" * 1_000_000}, "encoder.json"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_hostile_encoder_is_refused(kept_run: Run, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path, content = damaged(kept_run, tmp_path / "model")
    path.write_text(json.dumps(content | change))
    with pytest.raises(FormatError, match=said) as caught:
        FittedNetwork.load(tmp_path / "model")
    assert len(str(caught.value)) < 1000
    assert "encoder.json" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000, b"NaN", b"\x80\x04K\x01."]
)
def test_an_encoder_that_is_no_json_is_refused(kept_run: Run, tmp_path: Path, content: bytes) -> None:
    path, _ = damaged(kept_run, tmp_path / "model")
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"encoder\.json"):
        FittedNetwork.load(tmp_path / "model")


@given(st.data())
def test_an_encoder_with_any_one_value_replaced_loads_or_is_refused(kept_run: Run, data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path, content = damaged(kept_run, Path(folder) / "model")
        places: list[tuple[Any, Any]] = []

        def walk(value: Any) -> None:
            entries = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in entries:
                places.append((value, key))
                if isinstance(item, dict | list):
                    walk(item)

        walk(content)
        where, key = data.draw(st.sampled_from(range(len(places))).map(places.__getitem__))
        where[key] = data.draw(
            st.sampled_from([None, True, -1, 2**70, 1e308, float("nan"), "", "x", [], {}, [[]], [None], {"a": 1}])
        )
        path.write_text(json.dumps(content))
        try:
            loaded = FittedNetwork.load(path.parent)
            loaded.predict(make_frame(5))
        except NeuronwiseError:
            pass


def test_files_that_do_not_belong_together(kept_run: Run, kept_classes: Run, tmp_path: Path) -> None:
    shutil.copytree(kept_run.folder / "model", tmp_path / "model")
    shutil.copy(kept_classes.folder / "model" / "encoder.json", tmp_path / "model" / "encoder.json")
    other = neuronwise.train(make_frame(), "y", drop=["kind", "sign"], layers=[2], epochs=1, track=False)
    shutil.copy(other.folder / "model" / "encoder.json", tmp_path / "model" / "encoder.json")
    with pytest.raises(FormatError, match="do not belong together: 2 inputs and 1 outputs here"):
        FittedNetwork.load(tmp_path / "model")


def test_no_model_at_all(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"encoder\.json"):
        FittedNetwork.load(tmp_path)


def test_what_training_never_saw_is_warned_of_in_python(frame: pd.DataFrame) -> None:
    run = neuronwise.train(frame, "y", layers="4", epochs=2, track=False)
    strange = frame.head(2).copy()
    strange.loc[strange.index[0], "a"] = 1e6
    with pytest.warns(UnseenDataWarning, match="a 1,000,000 is beyond anything seen in training"):
        run.predict(strange)


def test_predictions_that_are_not_finite_are_said(frame: pd.DataFrame) -> None:
    run = neuronwise.train(frame, "y", layers="4", epochs=2, track=False)
    run.network.parameters[:] = np.inf
    _, said = run.model.predict_frame(frame.head(3))
    assert any("3 of 3 predictions are not finite" in message for message in said)
