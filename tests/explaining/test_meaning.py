"""Names and original units of inputs and outputs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from neuronwise.data import ArrayEncoder, FeatureEncoder, describe_columns, read_table
from neuronwise.explaining import Meaning
from neuronwise.network import Network


def _houses() -> tuple[Meaning, FeatureEncoder, pd.DataFrame]:
    frame = pd.DataFrame(
        {
            "sqft": [800, 1500, 2570, 1200, 2000, 3000],
            "zipcode": ["98103", "98039", "98103", "98004", "98039", "98103"],
            "sold": pd.to_datetime(
                ["2014-01-01", "2014-03-02", "2014-05-03", "2014-07-04", "2015-01-05", "2015-02-06"]
            ),
            "waterfront": ["no", "yes", "no", "no", "no", "yes"],
        }
    )
    table = read_table(frame)
    encoder = FeatureEncoder.fit(table, describe_columns(table, category=["zipcode"]))
    network = Network.dense([encoder.n_inputs, 2, 1])
    return Meaning.of(network, encoder), encoder, frame


def test_a_scaled_input_is_told_in_its_own_unit_and_a_flag_is_not() -> None:
    meaning, encoder, frame = _houses()
    x = encoder.transform(frame)[2]
    names = list(meaning.input_names)
    sqft, flag = names.index("sqft"), names.index("zipcode=98103")
    assert meaning.original_words(sqft, float(x[sqft])) == "2570"
    assert meaning.value_words(sqft, float(x[sqft])).startswith("2570 (scaled ")
    assert meaning.original_words(flag, float(x[flag])) is None
    assert meaning.value_words(flag, float(x[flag])) == "1"


def test_a_date_is_known_as_one() -> None:
    meaning, _, _ = _houses()
    assert meaning.is_date("sold")
    assert not meaning.is_date("sqft")
    assert not Meaning.of(Network.dense([2, 1])).is_date("x[0]")


def test_a_standardised_array_has_original_values_too() -> None:
    encoder = ArrayEncoder(2, 0.0, 9.0, means=np.array([3.0, 0.0]), scales=np.array([2.0, 1.0]))
    meaning = Meaning.of(Network.dense([2, 1]), encoder)
    assert meaning.original_words(0, 1.5) == "6"
    assert meaning.original_words(1, 1.5) is None
    assert Meaning.of(Network.dense([2, 1])).original_words(0, 1.5) is None


@pytest.mark.parametrize(("value", "words"), [(512_300.4, "512,300"), (1_520_320.0, "1,520,320"), (0.25, "0.25")])
def test_a_target_is_written_as_a_person_would(value: float, words: str) -> None:
    assert _houses()[0].target_words(value) == words
