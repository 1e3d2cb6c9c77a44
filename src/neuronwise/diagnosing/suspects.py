"""What rules share: a suspected cause with its evidence, and how much harm there is at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neuronwise.diagnosing.diagnosis import Evidence
from neuronwise.diagnosing.facts import Facts
from neuronwise.diagnosing.series import SERIES_OF

# From this skill on a training counts as one that went well, and below the other as one that did not.
GOOD_SKILL, POOR_SKILL = 0.8, 0.45
# From this one on a network has learned something.
SOME_SKILL = 0.3
OURS = "calibrated: benchmarks/diagnosis_networks.py"


@dataclass(frozen=True)
class Suspect:
    """A cause that a rule suspects.

    Attributes:
        cause: Its name.
        certainty: How sure the rule is that the setting is at fault where the training does poorly, 0 to 1.
        evidence: The numbers.
        layers: Where, by name.
        always: Whether it is told of a training that does well too, as it harms what comes after.
        first_step: Since which step.
    """

    cause: str
    certainty: float
    evidence: tuple[Evidence, ...] = ()
    layers: tuple[str, ...] = ()
    always: bool = False
    first_step: int | None = None


def over(facts: Facts, name: str, limit: float, source: str = OURS) -> Evidence | None:
    """Return the evidence that a quantity is above a limit; None if it is not."""
    value = facts[name]
    series = SERIES_OF.get(name, "")
    return Evidence(name, value, limit, True, source, series) if value is not None and value > limit else None


def under(facts: Facts, name: str, limit: float, source: str = OURS) -> Evidence | None:
    """Return the evidence that a quantity is below a limit; None if it is not."""
    value = facts[name]
    series = SERIES_OF.get(name, "")
    return Evidence(name, value, limit, False, source, series) if value is not None and value < limit else None


def told(*evidence: Evidence | None) -> tuple[Evidence, ...]:
    """Return the evidence that there is."""
    return tuple(one for one in evidence if one is not None)


def harm(facts: Facts) -> float:
    """Return how badly a training went: 0 where it learned, 1 where it did not; 0.2 where nothing tells."""
    if facts["nonfinite_step"] is not None:
        return 1.0
    skill = facts["skill"]
    if skill is not None:
        return min(1.0, max(0.0, (GOOD_SKILL - skill) / (GOOD_SKILL - POOR_SKILL)))
    ratio = facts["loss_ratio"]
    if ratio is None:
        return 0.2
    return min(1.0, max(0.0, (ratio - 0.5) / 0.4))


def has_converged(facts: Facts) -> bool:
    """Return whether the loss no longer falls."""
    return facts.below("loss_still_falling", 0.05)


def names(values: Sequence[str]) -> tuple[str, ...]:
    """Return names of layers, each once."""
    return tuple(dict.fromkeys(values))
