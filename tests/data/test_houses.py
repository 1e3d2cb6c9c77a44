from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neuronwise.data.houses import HOUSE_TRUTH, expected_log_price, make_houses, write_houses
from neuronwise.errors import DataError, UsageError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "houses.md"


def test_the_page_states_the_numbers_of_the_formula() -> None:
    rows = dict(re.findall(r"^\| `?(\w+)`? \| (-?[\d.]+) \|", PAGE.read_text(encoding="utf-8"), flags=re.M))
    truth = {name: value for name, value in vars(HOUSE_TRUTH).items() if name != "zip_premiums"}
    assert {name: float(value) for name, value in rows.items()} == {**truth, **HOUSE_TRUTH.zip_premiums}


def test_the_page_lists_the_columns_in_order() -> None:
    columns = re.search(r"## Columns(.*?)## Formula", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert columns is not None
    assert re.findall(r"^\| `(\w+)`", columns[1], flags=re.M) == list(make_houses(1).columns)


def test_a_price_worked_out_by_hand() -> None:
    # Twice the reference house and lot, one bathroom more, ten years newer, at the water,
    # in 98101, a year and a day after the first day.
    house = pd.DataFrame(
        {"date": ["2024-01-02"], "sqft_living": [4000], "sqft_lot": [15000], "bathrooms": [3.0], "year_built": [1990],
         "waterfront": ["yes"], "zipcode": [98101]}
    )  # fmt: skip
    by_hand = 13.0 + 0.7 * np.log(2) + 0.05 * np.log(2) + 0.04 + 0.02 + 0.45 + 0.05 * 366 / 365.25 + 0.20
    assert expected_log_price(house) == pytest.approx([by_hand], abs=1e-12)


def test_prices_are_the_formula_and_normal_noise() -> None:
    houses = make_houses(20_000, seed=3)
    noise = np.log(houses["price"]) - expected_log_price(houses)
    assert abs(noise.mean()) < 0.003
    assert noise.std() == pytest.approx(HOUSE_TRUTH.noise, rel=0.02)
    assert np.median(np.abs(noise)) == pytest.approx(0.0674, rel=0.03)
    share_of_noise = noise.var() / np.log(houses["price"]).var()
    assert 0.04 < share_of_noise < 0.06
    for column in ("lucky_number", "bedrooms", "sqft_living"):
        assert abs(np.corrcoef(noise, houses[column])[0, 1]) < 0.03


def test_least_squares_finds_the_coefficients_again() -> None:
    houses = make_houses(20_000, seed=1)
    days = (pd.to_datetime(houses["date"]) - pd.Timestamp("2023-01-01")).dt.days
    columns = {
        "sqft_living": np.log(houses["sqft_living"] / 2000),
        "sqft_lot": np.log(houses["sqft_lot"] / 7500),
        "bathrooms": houses["bathrooms"] - 2,
        "bedrooms": houses["bedrooms"],
        "year_built": houses["year_built"] - 1980,
        "waterfront": (houses["waterfront"] == "yes").astype(float),
        "years_sold": days / 365.25,
        "lucky_number": houses["lucky_number"],
    }
    codes = pd.get_dummies(houses["zipcode"]).astype(float)
    A = np.column_stack([*columns.values(), codes.to_numpy()])
    found = np.linalg.lstsq(A, np.log(houses["price"]), rcond=None)[0]
    for name, value in zip(columns, found, strict=False):
        assert value == pytest.approx(getattr(HOUSE_TRUTH, name), abs=0.01), name
    premiums = [HOUSE_TRUTH.constant + HOUSE_TRUTH.zip_premiums[str(code)] for code in codes.columns]
    assert found[len(columns) :] == pytest.approx(premiums, abs=0.03)


def test_zip_codes_are_names_not_numbers() -> None:
    codes = [int(code) for code in HOUSE_TRUTH.zip_premiums]
    ranks = pd.Series(codes).corr(pd.Series(HOUSE_TRUTH.zip_premiums.values()), method="spearman")
    assert len(codes) == 12
    assert abs(ranks) < 0.3
    assert set(make_houses(2000)["zipcode"]) == set(codes)


def test_columns_are_plausible() -> None:
    houses = make_houses(5000, seed=5)
    assert houses["sale_id"].is_unique
    assert houses["date"].between("2023-01-01", "2024-12-30").all()
    assert houses["sqft_living"].between(490, 8110).all()
    assert houses["bedrooms"].between(1, 7).all()
    assert houses["bathrooms"].between(1, 6).all()
    assert (houses["bathrooms"] * 2 % 1 == 0).all()
    assert houses["year_built"].between(1900, 2022).all()
    assert set(houses["waterfront"]) == {"yes", "no"}
    assert houses["lucky_number"].between(0, 99).all()
    assert houses["price"].between(30_000, 10_000_000).all()
    assert houses["bedrooms"].corr(houses["sqft_living"]) > 0.5
    assert houses["sqft_lot"].corr(houses["sqft_living"]) > 0.2
    assert houses["bathrooms"].corr(houses["year_built"]) > 0.2
    assert abs(houses["lucky_number"].corr(houses["price"])) < 0.05


def test_fewer_rows_are_the_first_of_more_and_seeds_differ() -> None:
    many = make_houses(300, seed=7, missing=0.2)
    pd.testing.assert_frame_equal(make_houses(120, seed=7, missing=0.2), many.head(120), check_dtype=False)
    assert not make_houses(120, seed=8)["price"].equals(many["price"].head(120))


def test_missing_cells_are_as_many_as_asked_and_change_no_price() -> None:
    whole, holed = make_houses(4000, seed=2), make_houses(4000, seed=2, missing=0.1)
    assert whole.notna().all().all()
    shares = holed.isna().mean()
    with_gaps = ["sqft_lot", "bedrooms", "bathrooms", "year_built", "waterfront"]
    assert ((shares[with_gaps] > 0.08) & (shares[with_gaps] < 0.12)).all()
    assert (shares.drop(with_gaps) == 0).all()
    assert holed["price"].equals(whole["price"])


def test_the_file_reads_back_as_the_frame(tmp_path: Path) -> None:
    path = write_houses(tmp_path / "houses.csv", 50, 3)
    pd.testing.assert_frame_equal(pd.read_csv(path), make_houses(50, 3))
    content = path.read_bytes()
    assert b"\r" not in content
    assert content.count(b"\n") == 51
    write_houses(path, 50, 3)
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["houses.csv"]


@pytest.mark.parametrize("rows", [0, -1, 1.5, True, "ten", 10_000_001])
def test_a_wrong_number_of_rows_is_refused_and_nothing_written(rows: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"argument rows: a whole number from 1 to 10,000,000 expected, not "):
        write_houses(tmp_path / "houses.csv", rows)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="argument seed"):
        make_houses(1, seed=-1)
    with pytest.raises(UsageError, match=r"argument missing: a share from 0 to below 1 expected, not 1\.0"):
        make_houses(1, missing=1.0)
    with pytest.raises(UsageError, match=r"a name ending in \.csv expected, not 'houses\.parquet'"):
        write_houses(tmp_path / "houses.parquet")
    with pytest.raises(UsageError, match="no such folder"):
        write_houses(tmp_path / "no" / "houses.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="this is a folder"):
        write_houses(tmp_path / "folder.csv")


def test_numpy_integers_are_whole_numbers() -> None:
    assert len(make_houses(np.int64(3), seed=np.uint8(1))) == 3  # type: ignore[arg-type]


def test_the_formula_refuses_what_it_does_not_know() -> None:
    houses = make_houses(5)
    with pytest.raises(DataError, match="missing: sqft_lot, zipcode"):
        expected_log_price(houses.drop(columns=["zipcode", "sqft_lot"]))
    with pytest.raises(DataError, match="unknown zip code 12345"):
        expected_log_price(houses.assign(zipcode=12345))
    with pytest.raises(DataError, match="some are empty"):
        expected_log_price(houses.assign(bathrooms=np.nan))
