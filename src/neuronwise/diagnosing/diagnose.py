"""diagnose: a recording in, a diagnosis out."""

from __future__ import annotations

from neuronwise.diagnosing.diagnosis import Diagnosis
from neuronwise.diagnosing.facts import QUANTITIES, Facts
from neuronwise.diagnosing.own_facts import OwnFacts
from neuronwise.diagnosing.reasoning import reason
from neuronwise.errors import NotFoundError, did_you_mean
from neuronwise.recording import Recording


def diagnose(recording: Recording) -> Diagnosis:
    """Return why a training did not go well: root causes with evidence, or what was looked at where it did.

    Args:
        recording: Of a training of the own engine, or of a watched one; with ``loss=`` and ``validation=`` more can be
            told of that. Of the own engine more can be told where the data is at hand.
    """
    return reason(facts_of(recording))


def facts_of(recording: Recording) -> Facts:
    """Return the facts of a recording, of whichever kind."""
    return Facts(recording) if recording.stored.description.get("watched") else OwnFacts(recording)


def measure(recording: Recording, quantity: str) -> float | None:
    """Return a quantity that a diagnosis rests on, by its name in `Evidence.quantity`; None where it is not known.

    Raises:
        NotFoundError: There is no such quantity.
    """
    if quantity not in QUANTITIES:
        raise NotFoundError(
            f"there is no quantity {quantity!r:.100}.{did_you_mean(quantity[:100], list(QUANTITIES))}",
            hint=f"quantities are {', '.join(sorted(QUANTITIES))}",
        )
    return facts_of(recording)[quantity]
