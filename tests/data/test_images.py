from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from neuronwise.data.idx import write_idx
from neuronwise.data.images import is_image_source, is_picture_source, read_images
from neuronwise.data.pixels import ImageData
from neuronwise.errors import DataError, UsageError


def pair(
    folder: Path, part: str = "train", n: int = 4, *, ending: str = "", labels: list[int] | None = None, fill: int = 0
) -> Path:
    """Write n images of 2 × 3 pixels with their labels; return the path of the images."""
    folder.mkdir(parents=True, exist_ok=True)
    images = (np.arange(n * 6, dtype=np.uint8) + fill).reshape(n, 2, 3)
    write_idx(folder / f"{part}-images-idx3-ubyte{ending}", images)
    values = np.array(labels if labels is not None else [i % 2 for i in range(n)], dtype=np.uint8)
    write_idx(folder / f"{part}-labels-idx1-ubyte{ending}", values)
    return folder / f"{part}-images-idx3-ubyte{ending}"


def test_digits_are_scikit_learns() -> None:
    data = read_images("digits")
    theirs = load_digits()
    np.testing.assert_array_equal(data.images, theirs.images)
    np.testing.assert_array_equal(data.labels, theirs.target)
    assert data.images.dtype == np.uint8
    assert data.maximum == 16
    assert data.class_names == [str(digit) for digit in range(10)]
    assert data.test_images is None
    np.testing.assert_allclose(data.encoder().transform(data.images), theirs.data / 16)


def test_a_pair_of_idx_files_is_read_with_its_test_pair(tmp_path: Path) -> None:
    path = pair(tmp_path, n=4)
    pair(tmp_path, "t10k", n=3, fill=100)
    for source in (path, str(path), tmp_path):
        data = read_images(source)
        assert data.images.shape == (4, 2, 3)
        assert data.images[1, 0, 0] == 6
        assert data.labels is not None
        assert data.labels.tolist() == [0, 1, 0, 1]
        assert data.labels.dtype == np.int64
        assert data.class_names == ["0", "1"]
        assert data.test_images is not None
        assert data.test_labels is not None
        assert data.test_images[0, 0, 0] == 100
        assert data.test_labels.tolist() == [0, 1, 0]
        assert data.notes == ["t10k-images-idx3-ubyte is the test split (3 images)."]


def test_the_test_pair_alone_can_be_read(tmp_path: Path) -> None:
    pair(tmp_path)
    data = read_images(pair(tmp_path, "t10k", n=3))
    assert len(data) == 3
    assert data.test_images is None
    assert data.labels is not None


def test_compressed_and_plain_files_go_together(tmp_path: Path) -> None:
    pair(tmp_path, ending=".gz")
    images = pair(tmp_path, "test", ending=".gz")
    images.write_bytes(images.read_bytes())
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(gzip.decompress(labels.with_suffix(".gz").read_bytes()))
    labels.with_suffix(".gz").unlink()
    data = read_images(tmp_path)
    assert data.labels is not None
    assert data.test_labels is not None


def test_a_plain_file_is_preferred_to_its_compressed_twin(tmp_path: Path) -> None:
    pair(tmp_path, ending=".gz", fill=50)
    pair(tmp_path)
    assert read_images(tmp_path).images[0, 0, 0] == 0


def test_names_with_dots_and_prefixes_are_known(tmp_path: Path) -> None:
    write_idx(tmp_path / "emnist-letters-train-images.idx3-ubyte", np.zeros((2, 2, 2), np.uint8))
    write_idx(tmp_path / "emnist-letters-train-labels.idx1-ubyte", np.array([1, 26], np.uint8))
    write_idx(tmp_path / "emnist-letters-test-images.idx3-ubyte", np.zeros((1, 2, 2), np.uint8))
    write_idx(tmp_path / "emnist-letters-test-labels.idx1-ubyte", np.array([7], np.uint8))
    data = read_images(tmp_path)
    assert data.class_names == ["1", "7", "26"]
    assert data.labels is not None
    assert data.test_labels is not None
    assert data.labels.tolist() == [0, 2]
    assert data.test_labels.tolist() == [1]


def test_images_without_labels_are_read_and_said(tmp_path: Path) -> None:
    path = pair(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    data = read_images(path)
    assert data.labels is None
    assert data.class_names == []
    assert data.notes == ["No labels: there is no train-labels-idx1-ubyte beside the images."]


def test_several_sets_in_one_folder_must_be_told_apart(tmp_path: Path) -> None:
    pair(tmp_path, "a-train")
    pair(tmp_path, "b-train")
    with pytest.raises(
        DataError, match=r"several sets of images: a-train-\S+, b-train-\S+\nName the one that is meant"
    ):
        read_images(tmp_path)
    assert len(read_images(tmp_path / "b-train-images-idx3-ubyte")) == 4


def test_a_file_of_labels_is_refused_with_advice(tmp_path: Path) -> None:
    pair(tmp_path)
    with pytest.raises(DataError, match=r"these are 4 single values, not images(.|\n)*images-idx3-ubyte"):
        read_images(tmp_path / "train-labels-idx1-ubyte")


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = pair(tmp_path, n=4, labels=[0, 1])
    with pytest.raises(DataError, match="labels-idx1-ubyte: 2 labels for 4 images"):
        read_images(path)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(4, np.float32))
    with pytest.raises(DataError, match="labels are whole numbers"):
        read_images(path)


def test_a_truncated_file_among_the_four_is_named(tmp_path: Path) -> None:
    pair(tmp_path)
    bad = pair(tmp_path, "t10k")
    bad.write_bytes(bad.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: truncated IDX file: 40 bytes expected .* 39 found"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    ("images", "dtype", "maximum"),
    [
        (np.array([[[0, 255]]], np.int32), "uint8", 255),
        (np.array([[[0, 4095]]], np.int16), "float32", 4095),
        (np.array([[[0, 0.5]]], np.float64), "float32", 1),
        (np.array([[[0, 200.5]]], np.float32), "float32", 255),
    ],
)
def test_other_types_of_pixels_keep_their_range(
    images: np.ndarray[Any, Any], dtype: str, maximum: float, tmp_path: Path
) -> None:
    write_idx(tmp_path / "a-images-idx3-x", images)
    data = read_images(tmp_path / "a-images-idx3-x")
    assert data.images.dtype == np.dtype(dtype)
    assert data.maximum == maximum
    np.testing.assert_allclose(data.images, images)


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (np.array([[[0, -1]]], np.int16), "pixel values below 0"),
        (np.array([[[0, np.nan]]], np.float32), r"NaN or infinite, the first in image 0 at \(0, 1\)"),
        (np.zeros((0, 2, 2), np.uint8), "no images"),
        (np.zeros((2, 2), np.uint8), r"images have the shape \(n, h, w\)"),
        (np.zeros((2, 2, 2, 9), np.uint8), r"images have the shape \(n, h, w\)"),
    ],
)
def test_arrays_that_are_no_images_are_refused(images: np.ndarray[Any, Any], text: str, tmp_path: Path) -> None:
    write_idx(tmp_path / "a-images-idx3-ubyte", images)
    with pytest.raises(DataError, match=text) as caught:
        read_images(tmp_path / "a-images-idx3-ubyte")
    assert "a-images-idx3-ubyte" in str(caught.value)


def test_colour_images_in_an_idx_file(tmp_path: Path) -> None:
    write_idx(tmp_path / "a-images-idx4-ubyte", np.zeros((2, 3, 4, 3), np.uint8))
    assert read_images(tmp_path / "a-images-idx4-ubyte").image_shape == (3, 4, 3)
    write_idx(tmp_path / "a-images-idx4-ubyte", np.zeros((2, 3, 4, 1), np.uint8))
    assert read_images(tmp_path / "a-images-idx4-ubyte").image_shape == (3, 4)


def test_what_does_not_exist_is_refused_with_a_guess(tmp_path: Path) -> None:
    pair(tmp_path)
    with pytest.raises(DataError, match=r"no such file or folder\nDid you mean 'train-images-idx3-ubyte'\?"):
        read_images(tmp_path / "trian-images-idx3-ubyte")
    with pytest.raises(DataError, match=r"Did you mean 'digits'\?"):
        read_images("digit")
    with pytest.raises(DataError, match="Images are read from"):
        read_images(tmp_path / "no" / "such")


def test_another_size_is_refused_where_nothing_can_be_resized(tmp_path: Path) -> None:
    path = pair(tmp_path)
    assert len(read_images(path, image_size=(2, 3), channels=1)) == 4
    with pytest.raises(UsageError, match=r"argument image_size: .*the images are 2 × 3 pixels"):
        read_images(path, image_size=(3, 2))
    with pytest.raises(UsageError, match="argument channels"):
        read_images("digits", channels=3)
    with pytest.raises(UsageError, match="argument image_size"):
        read_images("digits", image_size=(0, 3))
    with pytest.raises(UsageError, match=r"channels is 1 \(grey\) or 3 \(RGB\), not 4"):
        read_images("digits", channels=4)


def test_image_data_passes_through() -> None:
    data = ImageData(images=np.zeros((1, 2, 2), np.uint8))
    assert read_images(data) is data


def test_mnist_by_name_reads_the_local_copy(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_DATA", str(shared_data))
    by_name, by_folder = read_images("mnist"), read_images(shared_data / "mnist")
    assert by_name.fingerprint == by_folder.fingerprint
    assert by_name.image_shape == (28, 28)
    assert by_name.labels is not None
    assert np.bincount(by_name.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert by_name.test_labels is not None
    assert by_name.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    x = by_name.encoder().transform(by_name.images)
    assert x.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert x.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("digits", True),
        ("mnist", True),
        ("train-images-idx3-ubyte", True),
        ("a/train-images.idx3-ubyte.gz", True),
        ("t10k-labels-idx1-ubyte.gz", True),
        (Path("cat.PNG"), True),
        ("cat.jpeg", True),
        ("houses.csv", False),
        ("houses.csv.gz", False),
        ("houses.parquet", False),
        ("Digits", False),
        (Path("mnist"), False),
        (np.zeros((2, 2)), False),
        (None, False),
        (ImageData(images=np.zeros((1, 2, 2), np.uint8)), True),
    ],
)
def test_images_are_told_from_tables_by_name(source: object, expected: bool) -> None:
    assert is_image_source(source) is expected


def test_a_folder_is_taken_for_images(tmp_path: Path) -> None:
    assert is_image_source(tmp_path)
    assert is_image_source(str(tmp_path))
    assert not is_image_source(tmp_path / "absent")


def test_pictures_are_told_from_images_of_fixed_size(tmp_path: Path) -> None:
    assert is_picture_source("cat.PNG")
    assert is_picture_source(tmp_path)
    pair(tmp_path)
    for source in (tmp_path, tmp_path / "train-images-idx3-ubyte", "digits", "mnist", None, tmp_path / "absent"):
        assert not is_picture_source(source)
