"""What a training tells while it runs: an interface, silent by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuronwise.learning import Estimate, Observer

if TYPE_CHECKING:
    from neuronwise.running.architecture import Choice
    from neuronwise.running.prepare import Prepared
    from neuronwise.running.run import Run


@dataclass(frozen=True)
class Plan:
    """What a training is about to do.

    Attributes:
        data: The data.
        choice: The network and why it is so.
        settings: Optimizer, learning rate, batch size, epochs, patience, seed, as they will be used.
        estimate: Memory, steps and time.
        recording_bytes: Bytes that will be recorded, at most.
        where: Where the run is kept, in a sentence.
    """

    data: Prepared
    choice: Choice
    settings: dict[str, object]
    estimate: Estimate
    recording_bytes: int
    where: str


class Reporter:
    """Hears of every stage of a training; override what is to be shown."""

    def reading(self, what: str, rows: int, total: int) -> None:
        """A long table is being read: ``"reading"`` or ``"encoding"``, rows done, rows in all (at first estimated)."""

    def understood(self, data: Prepared) -> None:
        """The data was read and understood."""

    def planned(self, plan: Plan) -> None:
        """The network was chosen; learning is about to begin."""

    def progress(self) -> Observer | None:
        """Return an observer that shows progress, or None."""
        return None

    def working(self, what: str) -> None:
        """Something after the learning takes a while: ``"evaluating"``."""

    def warned(self, message: str) -> None:
        """Something is not as it should be, and the training goes on."""

    def diagnosed(self, run: Run) -> None:
        """The training of a run that failed was diagnosed; of one that is complete `finished` tells it."""

    def finished(self, run: Run) -> None:
        """The run is complete."""
