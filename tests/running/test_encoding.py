"""A row as the network sees it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from neuronwise import Run
from neuronwise.errors import UsageError
from neuronwise.running import encode_row

from .conftest import make_frame


def test_every_cell_beside_its_neurons(frame: pd.DataFrame) -> None:
    encoded = encode_row(frame, 4, target="y", drop=["sign"])
    cells = {cell.column: cell for cell in encoded.cells}
    assert encoded.n_inputs == 5
    assert cells["kind"].raw == frame["kind"][4]
    assert dict(cells["kind"].inputs) == {f"kind={k}": float(k == frame["kind"][4]) for k in "xyz"}
    # Standardised by hand over all rows.
    expected = (frame["a"][4] - frame["a"].mean()) / frame["a"].std(ddof=0)
    assert dict(cells["a"].inputs) == {"a": pytest.approx(expected, rel=1e-4)}
    assert cells["sign"].inputs == []
    assert cells["sign"].kind == "dropped"
    assert encoded.target is not None
    assert encoded.target[:2] == ("y", str(frame["y"][4]))


def test_the_encoder_of_a_run_is_the_one_the_network_has(kept_run: Run, frame: pd.DataFrame) -> None:
    encoded = encode_row(frame, 7, run=kept_run.folder)
    x, _ = kept_run.model.encode(frame)
    values = [value for cell in encoded.cells for _, value in cell.inputs]
    np.testing.assert_allclose(values, x[7], rtol=1e-6)
    assert encoded.notes == []
    frame.loc[7, "kind"] = "new"
    (note,) = encode_row(frame, 7, run=kept_run.folder).notes
    assert "new" in note


def test_of_many_neurons_those_that_are_not_0_are_shown() -> None:
    frame = make_frame(200).assign(place=[f"p{i % 20}" for i in range(200)])
    (cell,) = [c for c in encode_row(frame, 3, target="y").cells if c.column == "place"]
    assert len(cell.inputs) == 20
    assert cell.shown == [("place=p3", 1.0)]
    assert cell.zeros == 19


def test_a_missing_cell_and_a_missing_target_are_said() -> None:
    frame = make_frame()
    frame.loc[2, ["a", "y"]] = np.nan
    encoded = encode_row(frame, 2, target="y")
    (cell,) = [c for c in encoded.cells if c.column == "a"]
    assert cell.raw == ""
    assert "missing" in cell.reason
    assert ("a is missing", 1.0) in [(name, value) for name, value in cell.inputs] or len(cell.inputs) == 2
    assert encoded.target == ("y", "", "missing")


@pytest.mark.parametrize("row", [-1, 90, 10**12])
def test_a_row_that_is_not_there(frame: pd.DataFrame, row: int) -> None:
    with pytest.raises(UsageError, match="rows count from 0 and the last is 89"):
        encode_row(frame, row)


def test_classes_are_shown_by_number(frame: pd.DataFrame) -> None:
    encoded = encode_row(frame, 0, target="sign")
    assert encoded.target is not None
    assert encoded.target[2] == f"class {int(frame['sign'][0] == 'below')}"
    assert encoded.to_dict()["target"] == encoded.target


def test_pictures_have_no_row() -> None:
    with pytest.raises(UsageError, match="'digits' names pictures"):
        encode_row("digits", 0)
