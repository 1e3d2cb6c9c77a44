"""Ids and names of runs that MLflow does not know."""

from __future__ import annotations

import re

from neuronwise.running.names import new_local_id, new_local_name


def test_an_id_looks_like_those_of_mlflow() -> None:
    ids = {new_local_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)


def test_a_name_can_be_typed_and_leads_to_the_id() -> None:
    assert new_local_name("0123456789abcdef" * 2) == "local-01234567"
