"""Diagnosis: what was found, with evidence, and what was looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from neuronwise.diagnosing.causes import CAUSES, SYMPTOMS
from neuronwise.explaining.result import TYPED, Block, Explanation, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neuronwise.diagnosing.series import Series

FORMAT, VERSION = "neuronwise-diagnosis", 1
"""What ``diagnosis.json`` says that it is."""
# From this part of the way on, a network is told to be better than a constant guess.
_LEARNED_FROM = 0.02

CRITICAL = 0.5
"""A finding of at least this confidence is critical: `neuronwise diagnose` ends with exit code 3."""


@dataclass(frozen=True)
class Evidence:
    """A number that speaks for a finding, beside the limit that it crossed.

    Attributes:
        quantity: Its name; `diagnosing.measure(recording, quantity)` computes it again.
        value: The number.
        threshold: The limit.
        is_above: Whether it lies above the limit; else below.
        source: Where the limit comes from.
        series: What to draw beside the limit, a name of `Diagnosis.series`; ``""`` for nothing.
    """

    quantity: str
    value: float
    threshold: float
    is_above: bool
    source: str
    series: str = ""

    def __str__(self) -> str:
        side = "above" if self.is_above else "below"
        return f"{self.quantity} is {self.value:.4g}, {side} {self.threshold:g}"


@dataclass(frozen=True)
class Treatment:
    """A change that should help.

    Attributes:
        setting: What to change, ``"learning_rate"``.
        to: To what.
        sentence: The same in words.
        line: What to type.
    """

    setting: str
    to: str
    sentence: str
    line: str


@dataclass(frozen=True)
class Symptom:
    """What can be seen of a training, harmful or not.

    Attributes:
        name: A word of the vocabulary, ``"dead_relu"``.
        layers: Where it shows, by name.
        neurons: Which neurons, by name; of many the first.
        first_step: Since when; None where that is not known.
        evidence: The numbers.
        sentence: It in words.
    """

    name: str
    layers: tuple[str, ...]
    neurons: tuple[str, ...]
    first_step: int | None
    evidence: tuple[Evidence, ...]
    sentence: str


@dataclass(frozen=True)
class Finding:
    """A root cause, with what speaks for it.

    Attributes:
        cause: A word of the vocabulary (`CAUSES`).
        symptoms: What follows from it (`SYMPTOMS`).
        confidence: How sure it is, 0 to 1.
        layers: Where, by name; empty where it is of the whole training.
        neurons: Which neurons.
        first_step: Since which step; None where it holds for all.
        steps: Recorded steps to look at, from the first on: at most 20, the last one among them.
        evidence: Numbers, with the limits that they crossed.
        student: A sentence for a student.
        expert: A sentence for an expert.
        reference: Where one reads about it.
        treatment: What should help.
    """

    cause: str
    symptoms: tuple[str, ...]
    confidence: float
    layers: tuple[str, ...]
    neurons: tuple[str, ...]
    first_step: int | None
    steps: tuple[int, ...]
    evidence: tuple[Evidence, ...]
    student: str
    expert: str
    reference: str
    treatment: Treatment

    @property
    def is_critical(self) -> bool:
        """Whether it is certain enough to act on it."""
        return self.confidence >= CRITICAL

    @property
    def title(self) -> str:
        """The cause in words."""
        return CAUSES[self.cause].title

    @property
    def page(self) -> str:
        """The page about this cause, in the documentation."""
        return f"docs/causes/{self.cause}.md"


@dataclass(frozen=True)
class Diagnosis(Explanation):
    """Why a training did not go well, or what was looked at where it did. Made by `neuronwise.diagnose`.

    Attributes:
        findings: Root causes, the most certain first; empty where nothing is wrong.
        symptoms: What was seen and is harmful, under the findings.
        remarks: What was seen and does no harm.
        checked: What was looked at: sentences.
        missing: What could not be looked at, and why: sentences.
        skill: How much of what can be learned was, 0 (a constant guess) to 1; None where that is not known.
        steps: Steps of the training.
        series: What the evidence names to be drawn, and the loss, by name.
    """

    findings: tuple[Finding, ...]
    symptoms: tuple[Symptom, ...]
    remarks: tuple[Symptom, ...]
    checked: tuple[str, ...]
    missing: tuple[str, ...]
    skill: float | None
    steps: int
    series: Mapping[str, Series] = field(default_factory=dict)

    @property
    def is_critical(self) -> bool:
        """Whether a finding is critical."""
        return any(one.is_critical for one in self.findings)

    @property
    def learned(self) -> str:
        """How much the network learned, in a sentence; ``""`` where that is not known."""
        if self.skill is None:
            return ""
        if self.skill >= _LEARNED_FROM:
            return f"The network gets {self.skill:.0%} of the way from a constant guess to all right."
        is_near = self.skill > -1
        return f"The network's answers are {'no better' if is_near else 'far worse'} than a constant guess."

    def blocks(self) -> Sequence[Block]:
        """See `Explanation.blocks`."""
        learned = f" {self.learned}" if self.learned else ""
        found: list[Block] = []
        if self.findings:
            first = self.findings[0]
            found.append(f"{first.title} (confidence {first.confidence:.0%}).{learned}")
        else:
            found.append(f"Nothing wrong was found in {self.steps:,} steps.{learned}")
        for one in self.findings:
            where = f" In {', '.join(one.layers[:5])}{' …' if len(one.layers) > 5 else ''}." if one.layers else ""
            found.append(f"{one.title} ({one.cause}).{where} {one.student}")
            found.append(f"For experts: {one.expert} [{one.reference}]")
            rows = tuple(
                (each.quantity, f"{each.value:.4g}", f"{'>' if each.is_above else '<'} {each.threshold:g}", each.source)
                for each in one.evidence
            )
            if rows:
                found.append(
                    Table(("what was measured", "value", "limit", "where the limit is from"), rows, left=(0, 3))
                )
            if one.symptoms:
                found.append(f"It shows as {', '.join(f'{name} ({SYMPTOMS[name]})' for name in one.symptoms)}.")
            found += [f"Try: {one.treatment.sentence}", f"{TYPED}{one.treatment.line}"]
        if self.symptoms and not self.findings:
            found += [one.sentence for one in self.symptoms]
        found += [f"Remark: {one.sentence}" for one in self.remarks]
        if self.checked:
            found.append(f"Looked at: {'; '.join(self.checked)}.")
        if self.missing:
            found.append(f"Not looked at: {'; '.join(self.missing)}.")
        return found

    def figure(self) -> Figure | None:
        """Return the loss over the training, with the first step of each finding."""
        loss = self.series.get("loss")
        if loss is None or len(loss.steps) < 2:
            return None
        from neuronwise.diagnosing.loss_picture import loss_picture

        words = [", ".join(one.symptoms[:1]) or one.title for one in self.findings]
        marks = [(word, one.first_step) for word, one in zip(words, self.findings, strict=True)]
        return loss_picture(list(zip(loss.steps, loss.values, strict=True)), marks)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON's types; each finding with its page, and whether it is critical."""
        found: dict[str, Any] = {"format": FORMAT, "version": VERSION} | super().to_dict()
        for content, one in zip(found["findings"], self.findings, strict=True):
            content |= {"title": one.title, "page": one.page, "critical": one.is_critical}
        return found
