"""What inputs mean to the user: original units without the digits of float32, dates as dates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from neuronwise.data import FeatureEncoder, describe_columns, read_table
from neuronwise.explaining import Meaning
from neuronwise.network import Network


def test_a_row_is_told_in_the_words_of_its_table() -> None:
    rng = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame(
        {
            "basement": np.where(rng.random(n) < 0.5, 0, rng.integers(100, 4_000, n)),
            "lot": rng.integers(300, 1_600_000, n),
            "kind": rng.choice(["a", "b"], n),
            "pool": rng.choice(["yes", "no"], n),
            "sold": [str(np.datetime64("2014-05-02") + int(i)) for i in rng.integers(0, 390, n)],
            "seen": [str(np.datetime64("2014-05-02T08:30") + 60 * int(i))[:16] for i in rng.integers(0, 9_000, n)],
        }
    )
    table = read_table(frame)
    encoder = FeatureEncoder.fit(table, describe_columns(table))
    meaning = Meaning.of(Network.dense([encoder.n_inputs, 1]), encoder)
    X = encoder.transform(table)
    for row in range(n):
        told = {column: meaning.column_words(column, X[row]) for column in meaning.columns}
        for column in ("basement", "lot"):
            assert told[column].replace(",", "") == str(frame[column][row])
        assert (told["kind"], told["pool"]) == (frame["kind"][row], frame["pool"][row])
        assert told["sold"] == frame["sold"][row]
        if "seen" in told:
            assert told["seen"].replace(" 00:00", "") in (
                str(frame["seen"][row]).replace("T", " "),
                frame["seen"][row][:10],
            )
    first = min(frame["sold"])
    assert meaning.date_words("sold", 1e9) == f"1,000,000,000 days after {first}"


def test_missing_and_never_seen_are_words() -> None:
    frame = pd.DataFrame({"kind": ["a", "b", None, "a"] * 5, "x": [1.0, None, 3.0, 4.5] * 5})
    table = read_table(frame)
    encoder = FeatureEncoder.fit(table, describe_columns(table))
    meaning = Meaning.of(Network.dense([encoder.n_inputs, 1]), encoder)
    X = encoder.transform(table)
    assert meaning.column_words("kind", X[2]) == "missing"
    assert meaning.column_words("x", X[1]) == "missing"
    other = encoder.transform(read_table(frame.assign(kind="z")))
    assert meaning.column_words("kind", other[0]) == "never seen in training"
