from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neuronwise.data.pixels import ImageData, PixelEncoder
from neuronwise.errors import DataError, FormatError


def test_pixels_become_numbers_from_0_to_1_row_by_row() -> None:
    images = np.array([[[0, 255], [51, 102]]], dtype=np.uint8)
    x = PixelEncoder((2, 2)).transform(images)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert x.tolist() == [[0.0, 1.0, np.float32(0.2), np.float32(0.4)]]


def test_digits_are_divided_by_16() -> None:
    assert PixelEncoder((1, 2), 16).transform(np.array([[[16, 4]]], np.uint8)).tolist() == [[1.0, 0.25]]


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int64", "float16", "float32", "float64", "bool"])
def test_every_kind_of_number_gives_the_same_inputs(dtype: str) -> None:
    plain = np.array([[[1, 0, 1], [0, 1, 1]]])
    x = PixelEncoder((2, 3), 7).transform(np.asfortranarray(plain.astype(dtype))[:, ::-1])
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, (plain[:, ::-1].reshape(1, 6) / 7).astype(np.float32))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))))
def test_the_way_back_gives_the_same_pixels(images: np.ndarray[Any, Any]) -> None:
    encoder = PixelEncoder(images.shape[1:])
    back = encoder.inverse_transform(encoder.transform(images))
    assert back.shape == images.shape
    np.testing.assert_array_equal(np.rint(back), images)


def test_inputs_are_named_by_place_and_colour() -> None:
    assert PixelEncoder((2, 2)).input_names == ["pixel (0, 0)", "pixel (0, 1)", "pixel (1, 0)", "pixel (1, 1)"]
    assert PixelEncoder((1, 1, 3)).input_names == ["pixel (0, 0) red", "pixel (0, 0) green", "pixel (0, 0) blue"]
    assert PixelEncoder((1, 1, 2)).input_names == ["pixel (0, 0) channel 0", "pixel (0, 0) channel 1"]


def test_names_stand_where_the_values_go() -> None:
    encoder = PixelEncoder((3, 4, 3), 1)
    for name, at in (("pixel (2, 1) blue", (0, 2, 1, 2)), ("pixel (0, 3) red", (0, 0, 3, 0))):
        image = np.zeros((1, 3, 4, 3), np.uint8)
        image[at] = 1
        assert encoder.input_names[int(encoder.transform(image).argmax())] == name


def test_one_channel_may_be_given_or_left_out() -> None:
    images = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    expected = PixelEncoder((2, 3)).transform(images)
    for shape in ((2, 3), (2, 3, 1)):
        encoder = PixelEncoder(shape)
        np.testing.assert_array_equal(encoder.transform(images), expected)
        np.testing.assert_array_equal(encoder.transform(images[..., None]), expected)


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((1, 3, 2), "3 × 2 pixels found"),
        ((1, 2, 3, 3), "2 × 3 pixels in 3 channels found"),
        ((1, 6), r"shape \(1, 6\) found"),
    ],
)
def test_another_shape_is_refused(shape: tuple[int, ...], found: str) -> None:
    encoder = PixelEncoder((2, 3))
    for call in (encoder.transform, encoder.check):
        with pytest.raises(DataError, match=f"images of 2 × 3 pixels expected, {found}"):
            call(np.zeros(shape, np.uint8))


def test_a_lone_image_is_refused_with_the_line_that_mends_it() -> None:
    with pytest.raises(DataError, match=r"images\[None\]"):
        PixelEncoder((2, 3)).transform(np.zeros((2, 3), np.uint8))


def test_pixels_that_are_no_numbers_are_refused_with_their_place() -> None:
    images = np.zeros((3, 2, 2), np.float32)
    images[1, 0, 1] = np.nan
    images[2, 1, 1] = -np.inf
    with pytest.raises(DataError, match=r"2 pixel values are NaN or infinite, the first in image 1 at \(0, 1\)"):
        PixelEncoder((2, 2)).transform(images)
    with pytest.raises(DataError, match="pixel values are numbers, not"):
        PixelEncoder((2, 2)).transform(np.full((1, 2, 2), "x"))


def test_check_tells_values_out_of_range_and_transform_keeps_them() -> None:
    images = np.array([[[0, 255]], [[16, 8]], [[-1, 0]]])
    encoder = PixelEncoder((1, 2), 16)
    assert encoder.check(images) == [
        "2 pixel values in 2 of 3 images lie outside 0 to 16 (they run from -1 to 255), "
        "the range the network learned on"
    ]
    assert encoder.transform(images)[0, 1] == np.float32(255 / 16)
    assert encoder.check(images[1:2]) == []
    assert encoder.check(images[:0]) == []


def test_check_tells_pixels_that_were_scaled_before() -> None:
    (said,) = PixelEncoder((1, 2)).check(np.array([[[0.0, 1.0]]]))
    assert "Were they scaled before? Multiply them by 255" in said
    assert PixelEncoder((1, 2)).check(np.zeros((1, 1, 2))) == []


@given(
    shape=st.lists(st.integers(1, 64), min_size=2, max_size=3),
    maximum=st.floats(min_value=1e-3, max_value=1e9) | st.integers(1, 65535),
)
def test_an_encoder_survives_json(shape: list[int], maximum: float) -> None:
    encoder = PixelEncoder(tuple(shape), maximum)
    assert PixelEncoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder


GOOD = {"kind": "pixels", "input_shape": [2, 3], "maximum": 255.0}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {**GOOD, "kind": "table"},
        {**GOOD, "more": 1},
        {"kind": "pixels", "input_shape": [2, 3]},
        {**GOOD, "input_shape": "23"},
        {**GOOD, "input_shape": [2]},
        {**GOOD, "input_shape": [2, 3, 4, 5]},
        {**GOOD, "input_shape": [2, 0]},
        {**GOOD, "input_shape": [2, True]},
        {**GOOD, "input_shape": [2, 3.0]},
        {**GOOD, "input_shape": [2**30, 2**30]},
        {**GOOD, "maximum": 0},
        {**GOOD, "maximum": -1.0},
        {**GOOD, "maximum": float("nan")},
        {**GOOD, "maximum": float("inf")},
        {**GOOD, "maximum": "255"},
        {**GOOD, "maximum": None},
        {**GOOD, "maximum": True},
        {**GOOD, "maximum": 10**400},
    ],
)
def test_a_wrong_description_is_refused(content: Any) -> None:
    assert PixelEncoder.from_dict(GOOD) == PixelEncoder((2, 3))
    with pytest.raises(FormatError, match="pixel encoder: "):
        PixelEncoder.from_dict(content)


def _data(**changes: Any) -> ImageData:
    content: dict[str, Any] = {
        "images": np.arange(12, dtype=np.uint8).reshape(3, 2, 2),
        "labels": np.array([0, 1, 0]),
        "class_names": ["cat", "dog"],
    }
    return ImageData(**{**content, **changes})


def test_image_data_gives_its_encoder_and_says_what_it_is() -> None:
    data = _data(test_images=np.zeros((1, 2, 2), np.uint8), test_labels=np.array([1]), maximum=16)
    assert data.encoder() == PixelEncoder((2, 2), 16)
    assert len(data) == 3
    assert repr(data) == "ImageData('images': 3 images of 2 × 2 pixels, 1 for the test, 2 classes)"


def test_the_fingerprint_depends_on_every_value_and_on_nothing_else() -> None:
    data = _data()
    assert len(data.fingerprint) == 64
    assert data.fingerprint == _data(images=np.asfortranarray(data.images), name="other", notes=["x"]).fingerprint
    others = [
        _data(images=data.images[:, ::-1]),
        _data(images=data.images.astype(np.float32)),
        _data(labels=np.array([0, 1, 1])),
        _data(labels=None),
        _data(class_names=["cat", "cow"]),
        _data(maximum=16),
        _data(test_images=data.images),
        _data(images=data.images.reshape(3, 1, 4)),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 9


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"images": np.zeros((3, 4), np.uint8)}, "images is an unsigned or floating array"),
        ({"images": np.zeros((3, 2, 2), np.int32)}, "images is an unsigned or floating array"),
        ({"images": np.zeros((0, 2, 2), np.uint8)}, "no images"),
        ({"labels": np.array([0, 1])}, "labels is an int64 array of shape"),
        ({"labels": np.array([0, 1, 2])}, "labels run from 0 to 2, but there are 2 class names"),
        ({"labels": np.array([0, -1, 1])}, "labels run from -1 to 1"),
        ({"labels": np.array([0.0, 1, 1])}, "labels is an int64 array"),
        ({"test_images": np.zeros((1, 3, 2), np.uint8)}, "the test images are 3 × 2 pixels"),
        (
            {"test_images": np.zeros((1, 2, 2), np.uint8), "test_labels": np.array([2])},
            "test_labels run from 2 to 2",
        ),
    ],
)
def test_image_data_that_does_not_fit_together_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        _data(**changes)
