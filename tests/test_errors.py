"""Errors as others handle them."""

from __future__ import annotations

import pickle

from neuronwise.errors import DataError, TrainingDiverged


def test_errors_travel_between_processes() -> None:
    diverged = TrainingDiverged("it diverged", step=3, layer="hidden1", quantity="z", hint="try 0.01")
    diverged.result = {"steps": 3}
    back = pickle.loads(pickle.dumps(diverged))
    assert str(back) == str(diverged)
    assert (back.step, back.layer, back.quantity, back.result, back.run) == (3, "hidden1", "z", {"steps": 3}, None)
    error = DataError("no rows", where="a.csv", hint="add some")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
