"""Dates as people write them, in one format per column."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.data.dates import FORMATS, DateReading, date_parts, find_date_format, read_dates


def find(*words: str) -> DateReading | None:
    return find_date_format(words, np.ones(len(words), np.int64))


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["20141013T000000", "20150225T000000"], "2014-10-13T00:00:00"),
        (["2014-10-13", "2015-02-25"], "2014-10-13T00:00:00"),
        (["2014-10-13 17:30:00", "2015-02-25 00:00:00"], "2014-10-13T17:30:00"),
        (["2014-10-13T17:30:00.123Z", "2015-02-25T01:00:00+02:00"], "2014-10-13T17:30:00"),
        (["2014/10/13", "2015/2/5"], "2014-10-13T00:00:00"),
        (["13.10.2014", "1.2.2015"], "2014-10-13T00:00:00"),
        (["10/13/2014", "2/25/2015"], "2014-10-13T00:00:00"),
        (["13/10/2014", "25/2/2015"], "2014-10-13T00:00:00"),
        (["13-Oct-14", "25-Feb-15"], "2014-10-13T00:00:00"),
        (["Oct 13, 2014", "Feb 25, 2015"], "2014-10-13T00:00:00"),
        (["13 October 2014", "25 February 2015"], "2014-10-13T00:00:00"),
        (["10/13/2014 5:30 PM", "2/25/2015 12:00 AM"], "2014-10-13T17:30:00"),
        (["2014-10", "2015-02"], "2014-10-01T00:00:00"),
        (["20141013", "20150225", "20150301"], "2014-10-13T00:00:00"),
        (["201410", "201502", "201503"], "2014-10-01T00:00:00"),
    ],
)
def test_reads(words: list[str], first: str) -> None:
    found = find(*words)
    assert found is not None
    assert str(found.values[0]) == first
    assert not np.isnat(found.values).any()


@pytest.mark.parametrize(
    "words",
    [
        ["1955", "1991", "2003"],
        ["98103", "98178", "98125"],
        ["221900", "538000", "180000"],
        ["20141013", "20150225", "20151399"],
        ["12:30", "13:45"],
        ["1.5", "2.25", "3.75"],
        ["red", "blue", "May"],
        ["2014-02-30", "2014-13-01"],
        ["1-2-3", "4-5-6"],
    ],
)
def test_finds_no_dates_in(words: list[str]) -> None:
    assert find(*words) is None


def test_says_when_day_and_month_could_be_swapped() -> None:
    found = find("01/02/2014", "03/04/2014")
    assert found is not None
    assert found.ambiguous
    assert found.format == "%m/%d/%Y"
    sure = find("01/02/2014", "13/04/2014")
    assert sure is not None
    assert (sure.format, sure.ambiguous) == ("%d/%m/%Y", False)


def test_a_few_odd_words_do_not_hide_the_dates() -> None:
    words = [f"2014-{month:02d}-{day:02d}" for month in range(1, 13) for day in range(1, 29)]
    found = find(*words, "soon")
    assert found is not None
    assert np.isnat(found.values).sum() == 1


def test_parts_agree_with_the_standard_library() -> None:
    days = [dt.datetime(2014, 10, 13, 6, 30), dt.datetime(2016, 12, 31), dt.datetime(1969, 3, 1, 23, 59, 59)]
    parts = date_parts(np.array(days, "datetime64[s]"), np.datetime64("2014-10-01", "s"))
    assert parts["year"].tolist() == [day.year for day in days]
    assert parts["month"].tolist() == [day.month for day in days]
    assert parts["day of year"].tolist() == [day.timetuple().tm_yday for day in days]
    assert parts["days since first"].tolist() == [
        (day - dt.datetime(2014, 10, 1)).total_seconds() / 86400 for day in days
    ]
    assert parts["hour"] == pytest.approx([day.hour + day.minute / 60 + day.second / 3600 for day in days])


def test_no_date_gives_nan_in_every_part() -> None:
    parts = date_parts(np.array(["NaT", "2014-01-01"], "datetime64[s]"), np.datetime64("2014-01-01", "s"))
    assert all(np.isnan(values).tolist() == [True, False] for values in parts.values())


@given(st.lists(st.dates(dt.date(1900, 1, 1), dt.date(2150, 1, 1)), min_size=3, unique=True), st.sampled_from(FORMATS))
def test_every_format_reads_back_what_it_writes(days: list[dt.date], date_format: str) -> None:
    if "%d" not in date_format:
        days = [day.replace(day=1) for day in days]
    if "%y" in date_format:
        # strptime's pivot: two digits mean 1969 to 2068.
        days = [day for day in days if 1969 <= day.year <= 2068]
    words = [day.strftime(date_format) for day in days]
    assert read_dates(words, date_format).tolist() == [dt.datetime(day.year, day.month, day.day) for day in days]
