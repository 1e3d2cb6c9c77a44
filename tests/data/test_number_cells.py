"""Numbers read at once are those that are read word by word, whatever stands in the cells."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.data.cells import Cells, make_cells
from neuronwise.data.number_cells import Style, number_cells
from neuronwise.data.numerals import MISSING_WORDS, read_words

WORDS = [
    "1", "2.5", "-3", "1e5", "", "NA", "nan", " 4 ", "5.0", "-0.0", "1,5", "1.234,5", "1,234.5", "$5", "abc", "(57)",
    "inf", "-inf", "+7", ".5", "5.", "\u00a012", "12\u00a0%", "1 234", "NaN(3)", "-nan", "?", "1e400", "0x10", "１２",
    "--1", "1.234", "1,234", "12,5e3", "\x1c3", "Infinity", "1'000", "café", "98103.00",
    "1,23", "1.23", ",5", "12,", "1234,567", "1.234e2", "-1,234", "007", "007.0", "None", "–",
]  # fmt: skip
columns = st.lists(
    st.sampled_from(WORDS) | st.text(st.sampled_from("0123456789.,-+e$ ()%\tx\n"), max_size=6), min_size=1
)


def slow_cells(cells: list[str]) -> tuple[list[int], list[str]]:
    """Codes and distinct words, one cell after the other."""
    index: dict[str, int] = {}
    codes = []
    for cell in cells:
        word = cell.strip()
        if word.lower() in MISSING_WORDS:
            codes.append(-1)
            continue
        if re.fullmatch(r"-?(0|[1-9]\d*)\.0+", word, re.ASCII):
            word = word[: word.index(".")]
        codes.append(index.setdefault(word, len(index)))
    return codes, list(index)


@given(columns)
def test_distinct_cells_are_those_of_a_slow_obvious_reading(cells: list[str]) -> None:
    found = make_cells(pd.Series(cells, dtype="str"))
    codes, words = slow_cells(cells)
    assert found.codes.tolist() == codes
    assert list(found.words) == words
    assert found.counts.tolist() == [codes.count(code) for code in range(len(words))]


@given(columns, st.sampled_from(".,"), st.booleans())
def test_a_style_that_is_known_gives_the_same_numbers_word_by_word(
    cells: list[str], decimal: str, brackets: bool
) -> None:
    series = pd.Series(cells, dtype="str")
    quick, slow = number_cells(series, Style(decimal, brackets)), make_cells(series)
    assert quick is not None
    expected = np.append(read_words(list(slow.words), decimal, brackets=brackets), np.nan)[slow.codes]
    assert_same(quick, expected, slow)


@given(columns)
def test_the_style_of_the_whole_gives_each_part_the_numbers_of_the_whole(cells: list[str]) -> None:
    whole = make_cells(pd.Series(cells, dtype="str"))
    if not whole.n_distinct:
        return
    reading = whole.reading
    expected = np.append(reading.values, np.nan)[whole.codes]
    for start in range(0, len(cells), 3):
        part = pd.Series(cells[start : start + 3], dtype="str")
        quick = number_cells(part, Style(reading.decimal, reading.brackets))
        assert quick is not None
        assert_same(quick, expected[start : start + 3], make_cells(part))


def assert_same(quick: Cells, expected: np.ndarray[Any, Any], slow: Cells) -> None:
    found = np.append(quick.reading.values, np.nan)[quick.codes]
    assert np.array_equal(found, expected, equal_nan=True)
    known = ~np.isnan(expected)
    assert np.array_equal(np.signbit(found[known]), np.signbit(expected[known]))
    assert ((quick.codes < 0) == (slow.codes < 0)).all()
    assert quick.n_present == slow.n_present
    for a, b in zip(quick.codes.tolist(), slow.codes.tolist(), strict=True):
        assert a < 0 or quick.word(a) == slow.words[b]


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([1.5, np.nan, np.inf]),
        pd.Series([1, 2, 2**60]),
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([0.1, 2.0], dtype="float32"),
    ],
)
def test_columns_of_numbers_keep_their_values(series: Any) -> None:
    quick, slow = number_cells(series, Style()), make_cells(series)
    assert quick is not None
    assert_same(quick, np.append(slow.reading.values, np.nan)[slow.codes], slow)


def test_dates_and_truth_values_are_not_read_as_numbers() -> None:
    assert number_cells(pd.Series([True, False]), Style()) is None
    assert number_cells(pd.Series(pd.to_datetime(["2020-01-01"])), Style()) is None


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=40), st.sampled_from(".,"))
def test_many_words_are_read_as_few_are(words: list[str], decimal: str) -> None:
    few = read_words(words, decimal)
    many = read_words(words * 101, decimal)
    assert np.array_equal(many, np.tile(few, 101), equal_nan=True)
    known = ~np.isnan(few)
    assert np.array_equal(np.signbit(many[: len(few)][known]), np.signbit(few[known]))
