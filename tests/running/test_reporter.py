"""The interface of those who hear of a training."""

from __future__ import annotations

import neuronwise
from neuronwise.running import Plan, Prepared, Reporter, Run

from .conftest import make_frame


def test_by_default_nothing_is_said(capfd: object) -> None:
    neuronwise.train(make_frame(), "y", epochs=1, track=False)
    assert capfd.readouterr() == ("", "")  # type: ignore[attr-defined]


def test_every_stage_is_heard_in_order() -> None:
    heard: list[tuple[str, object]] = []

    class Listener(Reporter):
        def understood(self, data: Prepared) -> None:
            heard.append(("understood", data.name))

        def planned(self, plan: Plan) -> None:
            heard.append(("planned", plan.settings["epochs"]))
            assert plan.estimate.steps > 0
            assert plan.recording_bytes > 0

        def progress(self) -> None:
            heard.append(("progress", None))

        def working(self, what: str) -> None:
            heard.append(("working", what))

        def finished(self, run: Run) -> None:
            heard.append(("finished", run.status))

    neuronwise.train(make_frame(), "y", epochs=2, track=False, reporter=Listener())
    stages = [stage for stage, _ in heard if stage != "working"]
    assert stages == ["understood", "planned", "progress", "finished"]
    assert ("planned", 2) in heard
    assert ("working", "evaluating on held-out rows") in heard
    assert heard[-1] == ("finished", "finished")
