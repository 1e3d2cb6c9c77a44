"""The encoder: named vectors with a way back, the same from every source, and honest about what it never saw."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.data import FeatureEncoder, describe_columns, read_table
from neuronwise.errors import DataError, FormatError, UsageError

N = 200


def houses(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "id": rng.permutation(10**6)[:N] + 10**9,
        "date": [f"2014{1 + i % 12:02}{1 + i % 28:02}T000000" for i in range(N)],
        "sqft": rng.integers(500, 5000, N),
        "lot": np.exp(rng.normal(8, 1.2, N)).round(1),
        "zipcode": rng.choice([98101, 98103, 98107], N),
        "pool": rng.choice(["yes", "no"], N),
        "above": np.where(np.arange(N) % 9 == 0, np.nan, rng.normal(10, 2, N)),
        "city": rng.choice(["x", "y", None], N),
        "lat": rng.uniform(47, 48, N),
        "long": rng.uniform(-123, -122, N),
    })  # fmt: skip
    return frame


def fitted(frame: pd.DataFrame, **options: Any) -> FeatureEncoder:
    table = read_table(frame)
    return FeatureEncoder.fit(table, describe_columns(table, **options))


def test_every_input_has_a_name_and_columns_keep_their_order() -> None:
    assert fitted(houses()).input_names == [
        "date (year)", "date (month)", "date (day of year)", "date (days since first)",
        "sqft", "lot", "zipcode=98101", "zipcode=98103", "zipcode=98107", "pool", "above", "above missing",
        "city=x", "city=y", "city missing",
        "lat", "lat (sine)", "lat (cosine)", "lat (sine 2)", "lat (cosine 2)",
        "long", "long (sine)", "long (cosine)", "long (sine 2)", "long (cosine 2)",
    ][1:]  # the year is 2014 in all rows and teaches nothing  # fmt: skip


def test_vectors_equal_those_of_a_slow_obvious_encoding() -> None:
    frame = houses()
    encoder = fitted(frame)
    x = dict(zip(encoder.input_names, encoder.transform(frame).T, strict=True))
    sold = pd.to_datetime(frame["date"])

    def standard(values: Any) -> Any:
        values = np.asarray(values, float)
        return (values - values.mean()) / values.std()

    z = standard(frame["lat"])
    expected = {
        "date (month)": standard(sold.dt.month),
        "date (day of year)": standard(sold.dt.day_of_year),
        "date (days since first)": standard((sold - sold.min()).dt.days),
        "sqft": standard(frame["sqft"]),
        "lot": standard(np.log1p(frame["lot"])),
        "zipcode=98103": frame["zipcode"] == 98103,
        "pool": frame["pool"] == "yes",
        "above": standard(frame["above"].fillna(frame["above"].median())),
        "above missing": frame["above"].isna(),
        "city=x": frame["city"] == "x",
        "city missing": frame["city"].isna(),
        "lat": z,
        "lat (sine)": np.sin(z),
        "lat (cosine 2)": np.cos(2 * z),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(x[name], np.asarray(values, float), atol=2e-6, err_msg=name)


def test_vectors_are_float32_and_contiguous() -> None:
    x = fitted(houses()).transform(houses())
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert np.isfinite(x).all()


def test_only_the_training_rows_are_learned_from() -> None:
    frame = houses()
    frame.loc[150, ["sqft", "zipcode"]] = [10**6, 98199]
    table = read_table(frame)
    columns = describe_columns(table)
    rows = np.arange(100)
    encoder = FeatureEncoder.fit(table, columns, rows)
    alone = FeatureEncoder.fit(read_table(frame.iloc[:100]), columns)
    assert encoder.inputs == alone.inputs
    assert "zipcode=98199" not in encoder.input_names
    np.testing.assert_array_equal(encoder.transform(table, rows), alone.transform(frame.iloc[:100]))


def test_inputs_know_the_way_back() -> None:
    frame = houses()
    encoder = fitted(frame)
    x = encoder.transform(frame)
    for name, values in (("sqft", frame["sqft"]), ("lot", frame["lot"]), ("lat", frame["lat"])):
        at = encoder.input_names.index(name)
        np.testing.assert_allclose(encoder.inputs[at].decode(x[:, at]), values, rtol=1e-4)
        assert (encoder.inputs[at].minimum, encoder.inputs[at].maximum) == (values.min(), values.max())
    month = encoder.inputs[encoder.input_names.index("date (month)")]
    assert month.decode(x[:3, 0]) == pytest.approx([1, 2, 3])


def test_groups_lead_from_columns_to_inputs() -> None:
    encoder = fitted(houses())
    assert encoder.groups["zipcode"] == [5, 6, 7]
    assert [i for group in encoder.groups.values() for i in group] == list(range(encoder.n_inputs))
    assert [column.name for column in encoder.left_out] == ["id"]


def test_the_source_makes_no_difference(tmp_path: Path) -> None:
    frame = houses()
    frame.to_csv(tmp_path / "point.csv", index=False)
    frame.to_csv(tmp_path / "comma.csv", index=False, sep=";", decimal=",")
    frame.to_parquet(tmp_path / "t.parquet")
    sources = [frame, tmp_path / "point.csv", tmp_path / "comma.csv", tmp_path / "t.parquet"]
    sources += [frame.astype({"zipcode": float}), frame.astype({"zipcode": str}), frame.astype({"zipcode": "category"})]
    for source in sources:
        table = read_table(source)
        encoder = FeatureEncoder.fit(table, describe_columns(table))
        again = FeatureEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
        assert "zipcode=98103" in encoder.input_names
        for other in sources:
            np.testing.assert_allclose(again.transform(other), encoder.transform(frame), atol=1e-6)


def test_an_integer_finds_the_category_with_leading_zeros() -> None:
    encoder = fitted(pd.DataFrame({"zip": ["02139", "02140", "10001"] * 20}))
    assert encoder.transform(pd.DataFrame({"zip": [2139, 10001]})).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_one_row_written_ambiguously_is_read_as_the_column_was_learned(tmp_path: Path) -> None:
    learned, asked = tmp_path / "a.csv", tmp_path / "b.csv"
    learned.write_text("v;w\n" + "".join(f"{i},5;{i % 7},25\n" for i in range(50)))
    encoder = fitted(read_table(learned).frame)
    table = read_table(learned)
    encoder = FeatureEncoder.fit(table, describe_columns(table))
    asked.write_text("v|w\n1,500|2,25\n")
    values = encoder.transform(asked)[0]
    assert encoder.inputs[0].decode(values[:1]) == pytest.approx([1.5], abs=1e-5)
    # A file that plainly uses the point is not misread: 1.234 is not a thousand.
    asked.write_text("v,w\n1.234,2.25\n3.5,1.5\n")
    assert encoder.inputs[0].decode(encoder.transform(asked)[:, 0]) == pytest.approx([1.234, 3.5], abs=1e-5)


def test_unseen_things_are_reported_and_harmless() -> None:
    frame = houses()
    encoder = fitted(frame)
    assert encoder.check(frame) == []
    odd = frame.head(5).copy()
    odd.loc[3, ["sqft", "zipcode", "date", "city"]] = [40_000, 98199, "20170101T000000", "z"]
    odd.loc[4, "sqft"] = 41_000
    odd["pool"] = ["yes", "no", None, "yes", "no"]
    messages = encoder.check(odd.drop(columns="lot"))
    dates, sizes = pd.to_datetime(frame["date"]), frame["sqft"]
    beyond = "is beyond anything seen in training:"
    assert messages == [
        f"date 20170101T000000 {beyond} 2014-01-01 to {dates.max().date()} at row 3",
        f"sqft 40,000 {beyond} {sizes.min()} to {sizes.max()} at row 3, and 1 more row",
        "column 'lot' is missing. Did you mean 'lat'?",
        "zipcode '98199' was never seen in training; all its inputs are 0 at row 3",
        "pool is missing, as it never was in training at row 2",
        "city 'z' was never seen in training; all its inputs are 0 at row 3",
    ]
    x = encoder.transform(odd)
    assert np.isfinite(x).all()
    assert x[3, encoder.groups["zipcode"]].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns=["sqft", "lot"]), "trained on columns 'sqft', 'lot', which the table has not"),
        (lambda f: f.rename(columns={"sqft": "Sqft"}), "Did you mean 'Sqft'?"),
        (
            lambda f: f.assign(sqft="big"),
            "row 0, column sqft: 'big' is not a number, and the column was learned as numeric",
        ),
        (lambda f: f.assign(pool="maybe"), "column pool: 'maybe' is neither yes nor no"),
        (lambda f: f.assign(date="soon"), "column date: 'soon' is not a date like 20140101T000000"),
        (lambda f: f.assign(lot=np.inf), "column lot: 'inf' is infinite"),
    ],
)
def test_a_table_of_the_wrong_kind_is_refused(change: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        fitted(houses()).transform(change(houses()))
    assert message in str(caught.value)


def test_further_columns_are_ignored() -> None:
    encoder = fitted(houses())
    np.testing.assert_array_equal(encoder.transform(houses().assign(extra="?")), encoder.transform(houses()))


def test_odd_cells_of_training_stay_missing_and_new_ones_are_refused() -> None:
    frame = pd.DataFrame({"v": [*(str(i / 2) for i in range(300)), "abc"]})
    encoder = fitted(frame)
    assert encoder.input_names == ["v", "v missing"]
    assert encoder.transform(frame)[-1, 1] == 1
    with pytest.raises(DataError, match="'xyz' is not a number"):
        encoder.transform(pd.DataFrame({"v": ["xyz"]}))


def test_explains_a_row_cell_by_cell() -> None:
    frame = houses()
    encoder = fitted(frame)
    explained = {part.column: part for part in encoder.explain_row(frame, 0)}
    assert list(explained) == [*encoder.column_names, "id"]
    x = encoder.transform(frame, [0])[0]
    values = [value for part in explained.values() for _, value in part.inputs]
    assert values == x.tolist()
    assert explained["zipcode"].cell == frame["zipcode"][0]
    assert (f"zipcode={frame['zipcode'][0]}", 1.0) in explained["zipcode"].inputs
    assert explained["above"].note == "missing, filled with what is usual"
    assert explained["sqft"].note.startswith("(x - ")
    assert explained["lot"].note.startswith("(log(1 + x) - ")
    assert explained["id"].inputs == []
    assert explained["id"].note.startswith("left out (identifier): 200 distinct whole numbers")
    with pytest.raises(UsageError, match="there is no row 200; rows count from 0 and the last is 199"):
        encoder.explain_row(frame, 200)


def test_nothing_to_learn_from_is_refused_with_the_reasons() -> None:
    with pytest.raises(DataError, match="no column is left to learn from") as caught:
        fitted(pd.DataFrame({"v": [3, 3, 3]}))
    assert "v: '3' in every row" in str(caught.value)


def test_too_large_a_result_is_refused_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from neuronwise.data import encoder as module

    encoder = fitted(houses())
    monkeypatch.setattr(module, "MAX_ENCODED_BYTES", 1000)
    with pytest.raises(DataError, match=r"200 rows × 24 inputs take 19\.2 kB; the limit is 1\.0 kB"):
        encoder.transform(houses())


def test_long_tables_are_transformed_in_parts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    from neuronwise.data import encoder as module

    encoder = fitted(houses())
    whole = encoder.transform(houses())
    monkeypatch.setattr(module, "_CHUNK", 7)
    np.testing.assert_array_equal(encoder.transform(houses()), whole)


def test_input_names_differ_even_where_columns_conspire() -> None:
    frame = pd.DataFrame({"a": ["b=c", "d"] * 20, "a=b": ["c", "e"] * 20})
    names = fitted(frame).input_names
    assert names == ["a=b=c", "a=d", "a=b=c (2)", "a=b=e"]


def test_survives_json_bit_for_bit() -> None:
    encoder = fitted(houses())
    text = json.dumps(encoder.to_dict(), allow_nan=False)
    again = FeatureEncoder.from_dict(json.loads(text))
    assert again.inputs == encoder.inputs
    # Raw cells are not saved: an encoder travels with a run.
    assert again.left_out == tuple(dataclasses.replace(column, examples=()) for column in encoder.left_out)
    assert json.dumps(again.to_dict()) == text
    for seed in range(3):
        frame = houses(seed)
        assert again.transform(frame).tobytes() == encoder.transform(frame).tobytes()


cell_lists = st.one_of(
    st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=12, max_size=12),
    st.lists(st.sampled_from(["x", "y", "", "</script>", "\u202e", "'"]), min_size=12, max_size=12),
    st.lists(st.booleans() | st.none(), min_size=12, max_size=12),
    st.lists(st.integers(-5, 5), min_size=12, max_size=12),
    st.lists(st.dates(), min_size=12, max_size=12),
)


@given(st.dictionaries(st.text(min_size=1, max_size=5).filter(str.strip), cell_lists, min_size=1, max_size=4))
def test_any_table_is_encoded_to_finite_numbers_or_refused_clearly(data: dict[str, list[Any]]) -> None:
    try:
        table = read_table(pd.DataFrame(data))
        encoder = FeatureEncoder.fit(table, describe_columns(table), np.arange(9))
    except DataError:
        return
    x = encoder.transform(table)
    assert np.isfinite(x).all()
    assert x.shape == (12, encoder.n_inputs)
    again = FeatureEncoder.from_dict(json.loads(json.dumps(encoder.to_dict(), allow_nan=False)))
    assert again.transform(table).tobytes() == x.tobytes()
    assert isinstance(encoder.check(table), list)
    assert encoder.explain_row(table, 11)


def mutate(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(data))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 7, "its format has version 7"),
        (("columns",), [], "it has no columns"),
        (("columns",), {}, "'columns' must be a list"),
        (("columns",), [0] * 20_000, "at most 10,000 entries"),
        (("columns", 0), [], "encoder, column 0: expected an object, found list"),
        (("columns", 1, "kind"), "pickle", "'kind' must be one of"),
        (("columns", 1, "kind"), "text", "a column of kind 'text' has no inputs"),
        (("columns", 1, "name"), "date", "two columns have the same name"),
        (("columns", 1, "name"), 5, "'name' must be a text"),
        (("columns", 1, "categories"), ["x"], "a column of kind 'numeric' has categories"),
        (("columns", 3, "categories"), [], "a category column has no categories"),
        (("columns", 3, "categories"), ["x", "x"], "holds the same text twice"),
        (("columns", 3, "categories"), ["x", "y"], "'inputs' must be a list of at most 23 entries"),
        (("columns", 3, "categories"), [str(i) for i in range(5000)], "at most 1,000 entries"),
        (("columns", 0, "date_format"), "%%%", "is no known date format"),
        (("columns", 0, "origin"), "9999-99-99T00:00:00", "is no date"),
        (("columns", 0, "origin"), None, "the first date is missing"),
        (("columns", 0, "parts"), ["century"], "the parts of the date are wrong"),
        (("columns", 1, "log"), "yes", "'log' must be true or false"),
        (("columns", 4, "log"), True, "only a number has a logarithm"),
        (("inputs", 3, "scale"), 0, "'scale' must be a finite number above 0"),
        (("inputs", 3, "mean"), float("inf"), "'mean' must be a finite number"),
        (("inputs", 3, "fill"), None, "'fill' must be a finite number"),
        (("inputs",), [], "inputs, and 0 are given"),
        (("left_out", 0, "n_missing"), -1, "'n_missing' must be a whole number"),
    ],
)
def test_hostile_json_is_refused(path: tuple[Any, ...], value: Any, message: str) -> None:
    good = fitted(houses()).to_dict()
    FeatureEncoder.from_dict(good)
    with pytest.raises(FormatError) as caught:
        FeatureEncoder.from_dict(mutate(good, path, value))
    assert message in str(caught.value)


@given(st.data())
def test_no_damage_to_the_json_gets_past_a_format_error(data: st.DataObject) -> None:
    good = fitted(houses().head(60)).to_dict()
    damaged = json.loads(json.dumps(good))
    inner: Any = damaged
    for _ in range(data.draw(st.integers(1, 4))):
        keys = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if not isinstance(inner[key], (dict, list)) or data.draw(st.booleans()):
            inner[key] = data.draw(st.sampled_from([None, -1, 2, 10**30, 1.5, "x", [], {}, True, [None], float("nan")]))
            break
        inner = inner[key]
    try:
        encoder = FeatureEncoder.from_dict(damaged)
    except FormatError:
        return
    assert encoder.n_inputs == len(encoder.to_dict()["inputs"])


def test_king_county_becomes_a_hundred_inputs(shared_data: Path) -> None:
    table = read_table(shared_data / "housing" / "kc_house_data.csv")
    encoder = FeatureEncoder.fit(table, describe_columns(table, target="price"))
    x = encoder.transform(table)
    assert x.shape == (21_613, 100)
    assert np.isfinite(x).all()
    numbers = [i for i, neuron in enumerate(encoder.inputs) if neuron.is_scaled]
    np.testing.assert_allclose(x[:, numbers].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(x[:, numbers].std(axis=0), 1, atol=1e-3)
    assert x[10, encoder.input_names.index("sqft_above missing")] == 1
    assert x[:, encoder.groups["zipcode"]].sum(axis=1).tolist() == [1.0] * 21_613


def test_a_missing_category_is_flagged_if_training_had_one() -> None:
    frame = pd.DataFrame({"obj": ["a", "b", None, "a"] * 10, "full": ["x", "y", "z", "x"] * 10})
    encoder = FeatureEncoder.from_dict(json.loads(json.dumps(fitted(frame).to_dict())))
    assert encoder.input_names == ["obj=a", "obj=b", "obj missing", "full=x", "full=y", "full=z"]
    asked = pd.DataFrame({"obj": [None, "q"], "full": [None, "x"]})
    assert encoder.transform(asked).tolist() == [[0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0]]
    assert encoder.check(asked) == [
        "obj 'q' was never seen in training; all its inputs are 0 at row 1",
        "full is missing, as it never was in training; all its inputs are 0 at row 0",
    ]
    explained = encoder.explain_row(asked, 0)
    assert explained[0].inputs == [("obj=a", 0.0), ("obj=b", 0.0), ("obj missing", 1.0)]
    assert explained[0].note == "missing"


def test_times_of_day_travel_as_hours() -> None:
    frame = pd.DataFrame({"start": ["06:00", "18:30", None, "12:15:00"] * 10})
    encoder = FeatureEncoder.from_dict(json.loads(json.dumps(fitted(frame).to_dict())))
    assert encoder.input_names == ["start", "start missing"]
    x = encoder.transform(frame)
    assert encoder.inputs[0].decode(x[[0, 1, 3], 0]) == pytest.approx([6, 18.5, 12.25], abs=1e-5)
    asked = pd.DataFrame({"start": ["6:00 am", "23:10"]})
    assert encoder.transform(asked)[0, 0] == x[0, 0]
    assert encoder.check(asked) == ["start 23:10 is beyond anything seen in training: 6 to 18.5 at row 1"]
    assert encoder.explain_row(asked, 0)[0].note.startswith("(hours - ")
    for cell in ("7", "25:00", "soon"):
        with pytest.raises(DataError, match="is not a time like 7:30"):
            encoder.transform(pd.DataFrame({"start": [cell]}))
    with pytest.raises(DataError, match="'7:30' is not a number"):
        fitted(pd.DataFrame({"v": [1.5, 2.5, 4.0]})).transform(pd.DataFrame({"v": ["7:30"]}))
    with pytest.raises(FormatError, match="does not fit the kind 'numeric'"):
        FeatureEncoder.from_dict(mutate(encoder.to_dict(), ("columns", 0, "date_format"), "%Y-%m-%d"))
