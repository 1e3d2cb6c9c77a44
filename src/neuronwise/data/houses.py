"""Synthetic house sales whose truth is known: each price is a documented formula and noise.

What a network or an explanation says about these rows can be compared with what made them. The formula and
all numbers are in docs/reference/houses.md; they are invented, and the zip codes are only names.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import DataError, UsageError
from neuronwise.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 10_000_000
"""The most rows that are made: about 1 GB of text."""

_FIRST_DAY = np.datetime64("2023-01-01")
_DAYS = 730  # two years of sales, the last day is 2024-12-30
_COLUMNS_WITH_GAPS = ("sqft_lot", "bedrooms", "bathrooms", "year_built", "waterfront")


_ZIP_PREMIUMS = {
    "98101": 0.20,
    "98103": 0.12,
    "98105": -0.10,
    "98107": 0.30,
    "98112": 0.60,
    "98115": -0.25,
    "98118": 0.05,
    "98122": 0.45,
    "98133": -0.35,
    "98144": 0.00,
    "98178": -0.50,
    "98199": 0.40,
}
# How often each zip code occurs, in the order of the premiums.
_ZIP_SHARES = (0.06, 0.14, 0.07, 0.08, 0.05, 0.12, 0.11, 0.07, 0.12, 0.06, 0.08, 0.04)


@dataclass(frozen=True)
class HouseTruth:
    """The numbers behind `make_houses`. Effects are on log price: 0.05 is about 5 % of the price.

    Attributes:
        constant: Log price of the reference house: 2,000 sqft on a lot of 7,500 sqft, 2 bathrooms, built 1980, not at
            the water, in a zip code of premium 0, sold on 2023-01-01.
        sqft_living: Elasticity: per unit of log(sqft_living / 2000).
        sqft_lot: Elasticity: per unit of log(sqft_lot / 7500).
        bathrooms: Per bathroom above 2.
        bedrooms: Per bedroom: none. Bedrooms go along with square footage and add nothing of their own.
        year_built: Per year after 1980.
        waterfront: If it is "yes".
        years_sold: Per year (365.25 days) from 2023-01-01 to the sale.
        lucky_number: Per unit: none, this column is pure noise.
        zip_premiums: Of each zip code.
        noise: Standard deviation of the normal noise added to log price.
    """

    constant: float = 13.0
    sqft_living: float = 0.7
    sqft_lot: float = 0.05
    bathrooms: float = 0.04
    bedrooms: float = 0.0
    year_built: float = 0.002
    waterfront: float = 0.45
    years_sold: float = 0.05
    lucky_number: float = 0.0
    noise: float = 0.1
    zip_premiums: Mapping[str, float] = field(default_factory=lambda: MappingProxyType(_ZIP_PREMIUMS))


HOUSE_TRUTH = HouseTruth()
"""The truth of every house that `make_houses` makes."""


def make_houses(rows: int = 2000, seed: int = 0, *, missing: float = 0.0) -> pd.DataFrame:
    """Return a frame of synthetic house sales of known truth (`HOUSE_TRUTH`), one row per sale.

    Columns: sale_id (a number without meaning), date ("2023-05-17"), sqft_living, sqft_lot, bedrooms, bathrooms
    (in halves), year_built, waterfront ("yes" or "no"), zipcode (a whole number that is a name), lucky_number
    (noise), price (US dollars, the target). The same `rows` and `seed` give the same frame, and fewer rows are
    the first rows of more.

    Args:
        rows: 1 to 10,000,000; default 2000.
        seed: A whole number from 0.
        missing: Share of the cells of sqft_lot, bedrooms, bathrooms, year_built and waterfront left empty,
            from 0 (the default) to below 1. Prices come from the true values.

    Raises:
        UsageError: An argument out of range.
    """
    import pandas as pd

    rows = _whole(rows, "rows", 1, MAX_ROWS)
    seed = _whole(seed, "seed", 0, 2**63 - 1)
    if not 0 <= missing < 1:
        raise UsageError(f"a share from 0 to below 1 expected, not {missing}", where="argument missing")

    def uniform(column: str) -> NDArray[np.float64]:
        return _generator(seed, column).random(rows)

    def normal(column: str) -> NDArray[np.float64]:
        return _generator(seed, column).standard_normal(rows)

    size = np.clip(0.38 * normal("sqft_living"), -1.4, 1.4)
    sqft_living = np.round(2000 * np.exp(size), -1)
    sqft_lot = np.round(7500 * np.exp(0.5 * size + 0.55 * normal("sqft_lot")), -1)
    year_built = 1900 + np.floor(123 * uniform("year_built") ** 0.7)
    modern = (year_built - 1980) / 40
    bedrooms = np.clip(np.round(3.2 + 1.8 * size + 0.6 * normal("bedrooms")), 1, 7)
    bathrooms = np.clip(np.round(2 * (2.1 + 1.4 * size + 0.4 * modern + 0.35 * normal("bathrooms"))) / 2, 1, 6)
    codes = np.array(list(HOUSE_TRUTH.zip_premiums), dtype=np.int64)
    edges = np.cumsum(_ZIP_SHARES)[:-1]
    number = np.arange(rows)
    frame = pd.DataFrame(
        {
            # Steps of uneven length: an identifier is unique, and here it says no more than the row's number.
            "sale_id": 7_000_000_000 + 4_001 * number + np.floor(4_001 * uniform("sale_id")).astype(np.int64),
            "date": np.datetime_as_string(_FIRST_DAY + np.floor(_DAYS * uniform("date")).astype(np.int64)),
            "sqft_living": sqft_living.astype(np.int64),
            "sqft_lot": sqft_lot.astype(np.int64),
            "bedrooms": bedrooms.astype(np.int64),
            "bathrooms": bathrooms,
            "year_built": year_built.astype(np.int64),
            "waterfront": np.where(uniform("waterfront") < 0.04, "yes", "no"),
            "zipcode": codes[np.searchsorted(edges, uniform("zipcode"), side="right")],
            "lucky_number": np.floor(100 * uniform("lucky_number")).astype(np.int64),
        }
    )
    frame["date"] = frame["date"].astype("str")
    frame["waterfront"] = frame["waterfront"].astype("str")
    price = np.exp(expected_log_price(frame) + HOUSE_TRUTH.noise * normal("noise"))
    frame["price"] = np.round(price).astype(np.int64)
    if missing:
        for column in _COLUMNS_WITH_GAPS:
            frame[column] = frame[column].mask(uniform(f"missing {column}") < missing)
    return frame


def expected_log_price(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the log price of each row by the formula, without the noise: float64 (n,).

    No prediction of log price from these columns can have a smaller expected squared error.

    Raises:
        DataError: A column is missing, a cell is empty, or a zip code is not one of the formula's.
    """
    import pandas as pd

    needed = ["date", "sqft_living", "sqft_lot", "bathrooms", "year_built", "waterfront", "zipcode"]
    if absent := [column for column in needed if column not in frame.columns]:
        raise DataError(f"columns that the formula needs are missing: {', '.join(absent)}")
    if frame[needed].isna().to_numpy().any():
        raise DataError("the formula needs every cell, but some are empty")
    truth = HOUSE_TRUTH
    premium = frame["zipcode"].astype("int64").astype("str").map(dict(truth.zip_premiums))
    if premium.isna().any():
        raise DataError(f"unknown zip code {frame['zipcode'][premium.isna()].iloc[0]}", where="column zipcode")
    days = (pd.to_datetime(frame["date"]) - pd.Timestamp(_FIRST_DAY)).dt.days.to_numpy(dtype=np.float64)
    numbers = {
        column: frame[column].to_numpy(dtype=np.float64)
        for column in ("sqft_living", "sqft_lot", "bathrooms", "year_built")
    }
    return np.asarray(
        truth.constant
        + truth.sqft_living * np.log(numbers["sqft_living"] / 2000)
        + truth.sqft_lot * np.log(numbers["sqft_lot"] / 7500)
        + truth.bathrooms * (numbers["bathrooms"] - 2)
        + truth.year_built * (numbers["year_built"] - 1980)
        + truth.waterfront * (frame["waterfront"] == "yes").to_numpy(dtype=np.float64)
        + truth.years_sold * days / 365.25
        + premium.to_numpy(dtype=np.float64)
    )


def write_houses(path: str | Path, rows: int = 2000, seed: int = 0, *, missing: float = 0.0) -> Path:
    """Write `make_houses(rows, seed)` as a CSV file, whole or not at all, and return its path.

    An existing file is replaced. `pandas.read_csv` gives back the same frame.

    Raises:
        UsageError: An argument out of range, a name that does not end in .csv, or a folder that does not exist
            or cannot be written.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() != ".csv":
        raise UsageError(f"the file is written as CSV: a name ending in .csv expected, not {path.name!r}")
    if path.is_dir():
        raise UsageError("this is a folder, a file name is expected", where=str(path))
    if not path.parent.is_dir():
        raise UsageError("no such folder", where=str(path.parent), hint=f"mkdir -p {path.parent}")
    text = make_houses(rows, seed, missing=missing).to_csv(index=False, lineterminator="\n")
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(f"the file cannot be written: {error.strerror or error}", where=str(path)) from None
    return path


def _whole(value: object, name: str, low: int, high: int) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or not low <= number <= high:
        raise UsageError(f"a whole number from {low} to {high:,} expected, not {value!r}", where=f"argument {name}")
    return number


def _generator(seed: int, column: str) -> np.random.Generator:
    # A stream of its own per column: then the first rows stay the same however many follow.
    words = np.frombuffer(hashlib.sha256(column.encode()).digest()[:16], dtype="<u4")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *(int(word) for word in words)])))
