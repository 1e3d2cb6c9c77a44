"""Numbers that are names, told from quantities on made-up tables of many sorts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from neuronwise.data import describe_columns, read_table
from neuronwise.data.codes import name_hint, name_words, names_an_identifier, order_test

ROWS = 3000
SEEDS = range(5)
Numbers = NDArray[np.float64]


def kind(
    values: Numbers, effect: Numbers, name: str = "v", *, seed: int = 0, noise: float = 1.0, classes: int = 0
) -> str:
    """Return the kind found for a column whose rows have the given effect on the target."""
    rng = np.random.default_rng(seed)
    y = effect / (effect.std() or 1) + noise * rng.normal(size=len(values))
    frame = pd.DataFrame(
        {
            name: values.astype(int),
            "y": y if not classes else np.digitize(y, np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1])),
        }
    )
    column = describe_columns(read_table(frame), target="y")[0]
    assert column.name == name
    assert column.reason
    return column.kind


def named(codes: NDArray[np.int64], seed: int) -> tuple[Numbers, Numbers]:
    """Return rows with one of the codes each, unevenly often, and an effect of its own for each code."""
    rng = np.random.default_rng(seed)
    which = rng.choice(len(codes), ROWS, p=rng.dirichlet(np.full(len(codes), 3.0)))
    return codes[which].astype(float), rng.normal(size=len(codes))[which]


def some_zip_codes(seed: int) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(seed).choice(np.arange(10_001, 10_300), 70, replace=False))


NAMES: dict[str, Callable[[int], NDArray[np.int64]]] = {
    "zip codes": some_zip_codes,
    "shops 1 to 45": lambda seed: np.arange(1, 46),
    "districts 1 to 30": lambda seed: np.arange(1, 31),
    "class codes": lambda seed: np.random.default_rng(seed).choice(np.arange(100, 999), 40, replace=False),
    "ids far apart": lambda seed: np.random.default_rng(seed).choice(10**6, 60, replace=False),
}


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("classes", [0, 2, 5])
def test_finds_names_by_the_data_alone(case: str, classes: int) -> None:
    found = [kind(*named(NAMES[case](seed), seed), seed=seed, classes=classes) for seed in SEEDS]
    assert found == ["category"] * len(found)


QUANTITIES: dict[str, Callable[[NDArray[np.int64], np.random.Generator], tuple[Numbers, Numbers]]] = {
    "rising": lambda v, rng: (v, v),
    "falling with steps": lambda v, rng: (v, -np.floor(v / 5)),
    "hill": lambda v, rng: (v, -((v - 12) ** 2)),
    "two peaks a day": lambda v, rng: (v, np.exp(-((v - 8) ** 2) / 6) + np.exp(-((v - 18) ** 2) / 6)),
    "saturating": lambda v, rng: (v, -np.exp(-v / 4)),
    "threshold": lambda v, rng: (v, (v > 9).astype(float)),
    "zero is special": lambda v, rng: (v, np.where(v == 0, 5.0, v / 10)),
    "without effect": lambda v, rng: (v, np.zeros(len(v))),
}


@pytest.mark.parametrize("case", QUANTITIES)
@pytest.mark.parametrize("classes", [0, 3])
def test_leaves_quantities_numeric(case: str, classes: int) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        v = rng.integers(0, 24, ROWS).astype(float)
        assert kind(*QUANTITIES[case](v, rng), seed=seed, classes=classes) == "numeric"


def test_leaves_years_numeric_though_the_target_wiggles_over_them() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        year = rng.integers(1900, 2016, ROWS).astype(float)
        effect = np.sin((year - 1900) / 9) + (year - 1950) ** 2 / 2000
        assert kind(year, effect, seed=seed) == "numeric"


def test_leaves_few_ordered_grades_numeric() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        grade = np.clip(np.round(rng.normal(7, 1.2, ROWS)), 1, 13)
        assert kind(grade, grade**2, "grade", seed=seed) == "numeric"
        assert kind(grade, grade**2, "v", seed=seed) == "numeric"


def test_pixels_of_digits_stay_numeric() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits(as_frame=True).frame.astype(int)
    kinds = [column.kind for column in describe_columns(read_table(digits), target="target")]
    assert set(kinds) <= {"numeric", "constant", "yes/no"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("zipcode", "code"), ("zip", "code"), ("ZipCode", "code"), ("postal_code", "code"), ("PLZ", "code"),
        ("area_code", "code"), ("zip_count", "quantity"), ("store", "maybe code"), ("store_id", "maybe code"),
        ("StoreId", "maybe code"), ("store_number", "maybe code"), ("yr_built", "quantity"), ("Year", "quantity"),
        ("num_stores", "quantity"), ("number_of_stores", "quantity"), ("n_rooms", "quantity"), ("grade", "quantity"),
        ("sqft_living", ""), ("x", ""), ("", ""), ("価格", ""),
    ],
)  # fmt: skip
def test_reads_the_name(name: str, hint: str) -> None:
    assert name_hint(name) == hint


def test_takes_names_apart() -> None:
    assert name_words("StoreID") == name_words("store_id") == name_words("Store ID") == ["store", "id"]
    assert names_an_identifier("customerId")
    assert not names_an_identifier("paid")


def test_a_named_code_needs_no_target() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "zip": rng.choice(some_zip_codes(0), 500),
        "store_id": rng.integers(1, 20, 500),
        "place": rng.choice([98_101, 98_115, 98_199], 500),
        "rooms": rng.integers(1, 9, 500),
        "built": rng.integers(1900, 2016, 500),
        "v": rng.integers(1, 40, 500),
    })  # fmt: skip
    kinds = {column.name: column.kind for column in describe_columns(read_table(frame))}
    assert kinds == {
        "zip": "category", "store_id": "category", "place": "category",
        "rooms": "numeric", "built": "numeric", "v": "numeric",
    }  # fmt: skip


def test_a_store_whose_number_orders_the_target_is_a_quantity() -> None:
    rng = np.random.default_rng(0)
    v = rng.integers(1, 40, ROWS).astype(float)
    assert kind(v, v, "level of store") == "numeric"
    assert kind(v, v, "store") == "numeric"
    assert kind(*named(np.arange(1, 40), 0), "store") == "category"


def test_a_number_without_any_effect_is_not_spread_over_many_inputs() -> None:
    v = np.random.default_rng(0).integers(1, 100, ROWS).astype(float)
    assert kind(v, np.zeros(ROWS), "lucky number") == "numeric"


def test_leading_zeros_make_a_name(tmp_path: object) -> None:
    frame = pd.DataFrame({"v": ["02139", "02140", "10001"] * 30, "n": ["01", "02", "10"] * 30})
    assert [column.kind for column in describe_columns(read_table(frame))] == ["category", "numeric"]


def test_the_share_is_near_one_for_an_order_and_near_zero_for_none() -> None:
    rng = np.random.default_rng(0)
    v = rng.integers(0, 50, 5000).astype(float)
    noise = rng.normal(size=5000)
    ordered = order_test(v, (v / 10 + noise)[:, None])
    assert ordered is not None
    assert ordered.ordered > 0.95
    assert not ordered.says_name
    unordered = order_test(v, (rng.normal(size=50)[v.astype(int)] + noise)[:, None])
    assert unordered is not None
    assert unordered.ordered < 0.3
    assert unordered.says_name
    # Against the slow way: the variance of the true effects over that of the target.
    assert unordered.spread == pytest.approx(0.5, abs=0.15)


def test_says_nothing_from_too_few_rows() -> None:
    assert order_test(np.arange(10.0), np.arange(10.0)[:, None]) is None
