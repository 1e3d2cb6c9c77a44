"""Numbers as people write them, read in one style per column and never turned into NaN in silence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.data.numerals import NumberReading, read_numbers


def read(*words: str, prefer: str | None = None, fallback: str = ".") -> NumberReading:
    return read_numbers(words, np.ones(len(words), np.int64), prefer=prefer, fallback=fallback)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1.225E+06", 1_225_000.0), ("1e-3", 0.001), ("-5", -5.0), ("+5.5", 5.5), (".5", 0.5), ("5.", 5.0),
        ("−3", -3.0),
        ("1,234.5", 1234.5), ("1,234,567", 1_234_567.0), ("1.234,5", 1234.5),
        ("1.234.567,8", 1_234_567.8), ("0,5", 0.5),
        ("1 234 567", 1_234_567.0), ("1\u00a0234,5", 1234.5), ("1'234.5", 1234.5), ("1’234", 1234.0),
        ("$1,200", 1200.0), ("-$5", -5.0), ("$-5", -5.0), ("€ 3,50", 3.5),
        ("3.50 €", 3.5), ("12%", 12.0), ("12.5 %", 12.5),
        ("inf", np.inf), ("-Infinity", -np.inf), ("1e999", np.inf),
    ],
)  # fmt: skip
def test_reads(word: str, value: float) -> None:
    # A second word makes the style of the first the only one that fits.
    assert read(word).values[0] == value


@pytest.mark.parametrize(
    "word",
    [
        "abc",
        "1.2.3",
        "1,23,456",
        "12,34,5",
        "0x10",
        "1_000",
        "١٢",
        "1e",
        "NaN(3)",
        "1 23",
        "2014-10-13",
        "--5",
        "$",
        "%",
    ],
)
def test_leaves_words_alone(word: str) -> None:
    assert np.isnan(read(word, "x").values[0])


def test_the_whole_column_decides_between_point_and_comma() -> None:
    assert read("1,234", "5,5").values.tolist() == [1.234, 5.5]
    assert read("1,234", "5.5").values.tolist() == [1234.0, 5.5]
    assert read("1.234", "5,5").values.tolist() == [1234.0, 5.5]
    assert read("1.234", "5.5").values.tolist() == [1.234, 5.5]


def test_what_is_outside_the_column_decides_only_where_it_does_not() -> None:
    assert read("1,234").values.tolist() == [1234.0]
    assert read("1,234", fallback=",").values.tolist() == [1.234]
    assert read("1,234", prefer=",").values.tolist() == [1.234]
    assert read("1.234", prefer=",").values.tolist() == [1234.0]
    assert read("1.5", prefer=",").values.tolist() == [1.5]
    assert read("1,5", prefer=".").values.tolist() == [1.5]


def test_a_column_of_both_styles_is_not_half_read_as_whole() -> None:
    reading = read("1,5", "2,5", "3.55")
    assert reading.decimal == ","
    assert np.isnan(reading.values).tolist() == [False, False, True]


def test_tells_the_signs_that_were_taken_off() -> None:
    assert read("$1,200", "5%").signs == ("$", "%")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5, unique=True))
def test_reads_back_every_float_that_python_writes(values: list[float]) -> None:
    assert read(*map(repr, values)).values.tolist() == values


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=5, unique=True))
def test_reads_back_thousands_and_german_style(values: list[int]) -> None:
    english = [f"{value:,}.25" for value in values]
    german = [word.translate(str.maketrans(",.", ".,")) for word in english]
    expected = [float(word.replace(",", "")) for word in english]
    assert read(*english).values.tolist() == expected
    assert read(*german).values.tolist() == expected
