"""The kind of each column: found, told with a reason, and overridable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neuronwise.data import Column, FeatureEncoder, describe_columns, read_table
from neuronwise.errors import DataError, UsageError

N = 400


def describe(values: Any, name: str = "v", **options: Any) -> Column:
    return describe_columns(read_table(pd.DataFrame({name: values})), **options)[0]


def text_table(folder: Path, cells: list[str], name: str = "v") -> Path:
    path = folder / "t.csv"
    path.write_text("\n".join([f"{name},other", *(f"{cell},1" for cell in cells)]) + "\n")
    return path


rng = np.random.default_rng(0)
FOUND: dict[str, tuple[str, Any, str]] = {
    "measurements": ("size", rng.normal(size=N), "numeric"),
    "few numbers": ("size", rng.integers(1, 6, N), "numeric"),
    "unique prices": ("price", rng.permutation(10_000)[:N] * 37 + 50_000, "numeric"),
    "unique revenue": ("revenue", (np.exp(rng.normal(14, 1, N))).astype(int), "numeric"),
    "unique floats": ("lat", rng.uniform(47, 48, N), "numeric"),
    "large unique integers": ("id", rng.permutation(10**7)[:N] + 10**9, "identifier"),
    "row numbers": ("v", np.arange(N), "identifier"),
    "row numbers as index": ("Unnamed: 0", rng.permutation(N), "identifier"),
    "time steps": ("t", np.arange(N), "numeric"),
    "many customers": ("customer_id", rng.integers(0, 300, N), "identifier"),
    "order numbers": ("order", [f"A-{i:05}" for i in range(N)], "identifier"),
    "uuid": ("uuid", [f"{i:032x}" for i in range(N)], "identifier"),
    "names": ("name", [f"person {i}" for i in range(N)], "text"),
    "long text": ("remark", ["a fine house " * 30 + str(i % 90) for i in range(N)], "text"),
    "words": ("city", rng.choice(["x", "y", "z"], N), "category"),
    "sex": ("sex", rng.choice(["male", "female"], N), "category"),
    "constant": ("v", [3] * N, "constant"),
    "empty": ("v", [None] * N, "constant"),
    "there or not": ("garage", ["yes", None] * (N // 2), "category"),
    "0 and 1": ("v", rng.integers(0, 2, N), "yes/no"),
    "yes and no": ("v", rng.choice(["Yes", "no", "YES"], N), "yes/no"),
    "y and n": ("v", rng.choice(["y", "n"], N), "yes/no"),
    "true and false": ("v", rng.choice(["True", "False"], N), "yes/no"),
    "1 and 2": ("v", rng.integers(1, 3, N), "numeric"),
    "three answers": ("v", rng.choice(["yes", "no", "maybe"], N), "category"),
    "dates": ("sold", [f"2014{1 + i % 12:02}{1 + i % 28:02}T000000" for i in range(N)], "date"),
    "dates as integers": ("sold", [20140101 + 100 * (i % 12) + i % 28 for i in range(N)], "date"),
    "year": ("year", rng.integers(1990, 2020, N), "numeric"),
    "month": ("month", rng.integers(1, 13, N), "numeric"),
    "numbers as text": ("v", [f"{x:.2f}" for x in rng.normal(size=N)], "numeric"),
    "times of day": ("start", [f"{i * 7 % 24:02}:{i * 11 % 60:02}" for i in range(N)], "numeric"),
    "unique times": ("start", [f"{i // 60:02}:{i % 60:02}:30" for i in range(N)], "numeric"),
    "few times": ("start", rng.choice(["7:30", "8:15 pm", "9:00 AM"], N), "numeric"),
    "scores of games": ("result", rng.choice(["33:10", "7:30", "25:61"], N), "category"),
    "extended zip codes": ("v", rng.choice(["98103", "98103-1234", "98107"], N), "category"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_finds(case: str) -> None:
    name, values, kind = FOUND[case]
    column = describe(values, name)
    assert column.kind == kind, column.reason
    assert column.reason
    assert column.n_missing == pd.Series(values).isna().sum()


def test_an_integer_unlike_an_amount_and_without_effect_is_an_identifier() -> None:
    own = np.random.default_rng(1)
    parcel = own.permutation(10**6)[:N] + 10**6
    frame = pd.DataFrame({"parcel": parcel, "price": own.normal(size=N)})
    kinds = {c.name: c for c in describe_columns(read_table(frame), target="price")}
    assert kinds["parcel"].kind == "identifier"
    assert "price has nothing to do with their size" in kinds["parcel"].reason
    frame["price"] = frame["parcel"] * 2 + own.normal(size=N)
    assert {c.kind for c in describe_columns(read_table(frame), target="price")} == {"numeric"}


def test_the_reason_is_a_sentence_for_the_user() -> None:
    assert describe(np.arange(N) % 7 * 1.5).reason == "a number; 7 distinct numbers from 0 to 9"
    assert describe(["x", "y"] * N).reason == (
        "2 distinct texts in 800 rows, an input each, so that a row with neither can be told from both"
    )
    assert describe(["x", "y", "z"] * N).reason == "3 distinct texts in 1,200 rows"
    assert describe([5] * 3).reason == "'5' in every row, so nothing can be learned from it"
    assert describe([f"p {i}" for i in range(1200)]).reason == (
        "1,200 distinct texts in 1,200 rows, more than the 1,000 that could each be an input neuron: "
        "text is not learned from. --drop v says that this is meant"
    )


def test_a_few_odd_cells_are_missing_and_said(tmp_path: Path) -> None:
    cells = [str(i / 2) for i in range(300)]
    cells[7] = "abc"
    column = describe_columns(read_table(text_table(tmp_path, cells)))[0]
    assert column.kind == "numeric"
    assert column.odd == ("abc",)
    assert "1 cell is no number and counts as missing: 'abc' (t.csv:9)" in column.reason


def test_many_odd_cells_make_it_no_number(tmp_path: Path) -> None:
    cells = ["abc" if i % 20 == 0 else str(i) for i in range(300)]
    column = describe_columns(read_table(text_table(tmp_path, cells)))[0]
    assert column.kind == "text"
    assert column.reason.startswith("285 cells are numbers and 15 are not, such as 'abc' (t.csv:2)")


@pytest.mark.parametrize("marker", ["", "NA", "N/A", "nan", "null", "None", "?", "-", " "])
def test_missing_cells_are_known_by_their_marks(tmp_path: Path, marker: str) -> None:
    column = describe_columns(read_table(text_table(tmp_path, ["1.5", marker, "2.5", marker])))[0]
    assert (column.kind, column.n_missing, column.odd) == ("numeric", 2, ())


def test_infinite_numbers_are_refused_with_place_and_count(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        describe_columns(read_table(text_table(tmp_path, ["1", "2", "inf", "3", "-inf"])))
    assert "t.csv:4, column v: 'inf' is infinite (2 such cells)" in str(caught.value)
    with pytest.raises(DataError, match="row 2, column v"):
        describe([1.0, 2.0, np.inf])
    assert describe([1.0, 2.0, np.inf], drop=["v"]).kind == "dropped"


def test_a_long_right_tail_is_learned_as_logarithm() -> None:
    lots = np.exp(rng.normal(8, 1, 2000))
    column = describe(lots)
    assert column.log
    assert "the logarithm of 1 + the number is learned" in column.reason
    for values in (rng.normal(size=2000), rng.uniform(0, 9, 2000), -lots, np.r_[np.full(1999, 3.0), 33.0]):
        assert not describe(values).log


def test_zero_as_a_mark_does_not_make_a_tail() -> None:
    renovated = np.where(rng.random(2000) < 0.95, 0, rng.integers(1950, 2016, 2000))
    assert not describe(renovated, "yr_renovated").log


def test_latitude_and_longitude_are_a_place() -> None:
    frame = pd.DataFrame({"lat": rng.uniform(47, 48, N), "long": rng.uniform(-123, -121, N), "x": rng.normal(size=N)})
    assert [c.place for c in describe_columns(read_table(frame))] == [True, True, False]
    assert [c.place for c in describe_columns(read_table(frame), numeric=["lat"])] == [False, False, False]
    assert not any(c.place for c in describe_columns(read_table(frame.assign(lat=frame.lat * 100))))
    assert not any(c.place for c in describe_columns(read_table(frame.drop(columns="long"))))


def test_overrides_are_obeyed() -> None:
    frame = pd.DataFrame(
        {"a": rng.integers(0, 5, N), "b": rng.choice(["1", "0"], N), "c": rng.normal(size=N), "id": np.arange(N)}
    )
    columns = describe_columns(read_table(frame), category=["a"], numeric=["b", "id"], drop=["c"])
    assert [c.kind for c in columns] == ["category", "numeric", "dropped", "numeric"]
    assert all("as asked for" in c.reason for c in columns)
    assert describe_columns(read_table(frame), category="a")[0].kind == "category"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"drop": ["colour"]}, DataError, "there is no column 'colour'. Did you mean 'color'?"),
        ({"numeric": ["color"]}, DataError, "row 0, column color: 'red' is not a number (2 of 4 cells are none)"),
        (
            {"numeric": ["size"], "category": ["size"]},
            UsageError,
            "column 'size' is named by both --category and --numeric",
        ),
        ({"category": ["price"], "target": "price"}, UsageError, "column 'price' is the target"),
        ({"numeric": ["empty"]}, DataError, "all 4 cells are missing"),
    ],
)
def test_overrides_that_cannot_be_obeyed_are_refused(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    frame = pd.DataFrame(
        {"color": ["red", "1", "2", "red"], "size": [1, 2, 3, 4], "price": [1.5, 2, 3, 4], "empty": [None] * 4}
    )
    with pytest.raises(kind) as caught:
        describe_columns(read_table(frame), **options)
    assert message in str(caught.value)


def test_a_hundred_thousand_categories_are_refused_and_never_encoded() -> None:
    frame = pd.DataFrame({"v": [f"c{i}" for i in range(100_000)] * 2, "x": np.arange(200_000) / 3})
    table = read_table(frame)
    columns = describe_columns(table)
    assert columns[0].kind == "text"
    assert FeatureEncoder.fit(table, columns).n_inputs == 1
    with pytest.raises(DataError, match="100,000 categories, each an input neuron; the limit is 1,000"):
        describe_columns(table, category=["v"])
    coded = pd.DataFrame({"zip": rng.integers(0, 100_000, 50_000)})
    assert describe_columns(read_table(coded))[0].kind in ("identifier", "numeric")


def test_king_county_is_understood(shared_data: Path) -> None:
    table = read_table(shared_data / "housing" / "kc_house_data.csv")
    columns = {c.name: c for c in describe_columns(table, target="price")}
    kinds = {name: c.kind for name, c in columns.items() if c.kind != "numeric"}
    assert kinds == {"id": "identifier", "date": "date", "waterfront": "yes/no", "zipcode": "category"}
    assert len(columns) == 20
    assert columns["zipcode"].n_distinct == 70
    assert columns["zipcode"].reason == (
        "70 distinct values in 21,613 rows, price does not rise or fall with them, and it is called 'zipcode': "
        "a name written as a number"
    )
    assert columns["sqft_above"].n_missing == 2
    assert {name for name, c in columns.items() if c.log} == {"sqft_lot", "sqft_lot15"}
    assert {name for name, c in columns.items() if c.place} == {"lat", "long"}


def test_king_county_zip_codes_are_found_whatever_they_are_called(shared_data: Path) -> None:
    frame = pd.read_csv(shared_data / "housing" / "kc_house_data.csv").drop(columns=["id", "date"])
    frame.columns = [c if c == "price" else f"v{i}" for i, c in enumerate(frame.columns)]
    columns = describe_columns(read_table(frame), target="price")
    assert [c.name for c in columns if c.kind == "category"] == ["v14"]
    assert frame["v14"].iloc[0] == 98178


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("ja", "nein"), ("Ja", "Nein"), ("J", "N"), ("oui", "non"), ("sí", "no"), ("si\u0301", "no"), ("si", "no"),
        ("da", "net"), ("да", "нет"), ("Да", "Нет"), ("sim", "não"), ("tak", "nie"), ("evet", "hayır"),
        ("EVET", "HAYIR"),
        ("on", "off"), ("vrai", "faux"), ("wahr", "falsch"), ("ja", "nee"), ("ja", "nej"),
    ],
)  # fmt: skip
def test_yes_and_no_are_known_in_many_languages(yes: str, no: str) -> None:
    frame = pd.DataFrame({"v": [yes, no, no] * 20, "x": np.arange(60) % 7 / 2})
    table = read_table(frame)
    columns = describe_columns(table)
    assert columns[0].kind == "yes/no"
    assert columns[0].reason == f"two values, {no} and {yes}: {no} is 0, {yes} is 1"
    encoder = FeatureEncoder.fit(table, columns)
    assert encoder.transform(table)[:3, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("name", ["zip", "zipcode", "postcode", "postal_code", "Postal Code", "PLZ", "cap", "cp"])
def test_postal_codes_that_hardly_repeat_are_left_out_with_the_reason(name: str) -> None:
    codes = np.random.default_rng(3).permutation(89_999)[:120] + 10_000
    frame = pd.DataFrame({name: codes, "price": np.arange(120) * 1.5})
    for target in (None, "price"):
        column = describe_columns(read_table(frame), target=target)[0]
        assert column.kind == "identifier"
        assert column.reason == (
            f"120 distinct values in 120 rows, and it is called {name!r}: a name written as a number. Nearly every row "
            f"has its own, so too few rows share one to learn from (--category {name} or --numeric {name} keeps it)"
        )
    assert describe(codes, name, category=[name]).kind == "category"
    assert describe(codes, name, numeric=[name]).kind == "numeric"
    assert describe(codes, "market_cap").kind == "numeric"


def test_times_of_day_are_hours_since_midnight() -> None:
    column = describe(["07:30", "18:45", "00:15", "7:30 pm"] * 5)
    assert column.reason == "times of day written like 07:30, learned as hours since midnight, from 0.25 to 19.5"
    assert describe(["07:30", "18:45"] * 5, numeric=["v"]).kind == "numeric"
    assert describe(["07:30", "18:45"] * 5, category=["v"]).kind == "category"
    odd = describe(["07:30", "18:45"] * 150 + ["soon"])
    assert odd.odd == ("soon",)
    assert "1 cell is no time and counts as missing: 'soon'" in odd.reason


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([f"{i / 7:.3f} C" for i in range(N)], "numbers with a unit, 'C', and are not read as numbers: remove it"),
        ([f"{i / 7:.3f}°C" for i in range(N)], "numbers with a unit, '°C'"),
        ([f"EUR {i}.50" for i in range(N)], "numbers with a unit, 'EUR'"),
        (
            [f"{50 + i} {'kg' if i % 4 else 'lb'}" for i in range(N)],
            "numbers in mixed units ('kg' 300, 'lb' 100 cells), and nothing is converted silently",
        ),
        ([f"{50 + i}{' kg' if i % 4 else ''}" for i in range(N)], "mixed units ('kg' 300, none 100 cells)"),
    ],
)
def test_numbers_with_a_unit_are_told_so(cells: list[str], reason: str) -> None:
    column = describe(cells, "weight")
    assert column.kind == "text"
    assert reason in column.reason
    assert "--drop weight" in column.reason
    assert "--category" not in column.reason


def test_brackets_are_negative_numbers_if_the_whole_column_agrees() -> None:
    column = describe(["(57)", "12.5", "($3,000.25)", "$7"] * 5)
    assert column.kind == "numeric"
    assert "from -3,000.25 to 12.5; $ taken off; numbers in brackets are negative, as in accounting" in column.reason
    odd = describe([*(str(i / 2) for i in range(300)), "(57)", "abc"])
    assert odd.odd == ("(57)", "abc")


def test_the_decimal_comma_is_said_only_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Zimmer;Preis\n" + "".join(f"{i % 5};{i},25\n" for i in range(50)))
    rooms, price = describe_columns(read_table(path))
    assert "decimal comma" not in rooms.reason
    assert "decimal comma" in price.reason


def test_codes_that_happen_to_be_answers_in_several_languages_stay_apart() -> None:
    assert describe(["da", "no", "ja"] * 20, "language").kind == "category"
    assert describe(["sí", "si", "Sí", "no"] * 20).kind == "yes/no"
    assert describe(["yes", "1", "true", "n", "off"] * 20).kind == "yes/no"


@pytest.mark.parametrize(
    "cells",
    [
        [f"{i}{'AB'[i % 2]}" for i in range(1, N)],
        [f"{i:06}X" for i in range(N)],
        [f"{i} {'abcdefgh'[i % 8]} street" for i in range(N)],
        ["1" + " " * 200_000 + "!" + str(i) for i in range(3)],
        ["(" + " " * 200_000 + str(i) for i in range(3)],
    ],
    ids=["flats", "tokens", "streets", "spaces", "open brackets"],
)
def test_other_words_that_begin_with_digits_have_no_unit(cells: list[str]) -> None:
    assert "unit" not in describe(cells).reason
