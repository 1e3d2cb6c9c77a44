"""The network of a run at some steps of its training, to be looked at one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from neuronwise.errors import NeuronwiseError, UsageError
from neuronwise.network import Network
from neuronwise.running.subject import Subject


def networks_over_time(
    subject: Subject, steps: Sequence[int] | None = None, count: int = 6
) -> tuple[list[int], Iterator[tuple[int, Network]], str]:
    """Return steps, ascending, the network after each, read or taken again when its turn comes, and a note.

    Args:
        subject: The run; the last of the networks is that which it explains.
        steps: The steps before that; default up to `count` - 1 stored ones, the first among them, ever farther apart,
            as most is learned at the beginning.
        count: How many networks at most, unless `steps` says otherwise.

    Returns:
        Steps (of a run whose recording cannot be read only -1, for the network as delivered), networks, and a sentence
        on why there are no earlier ones, or ``""``.

    Raises:
        NotFoundError: A step that the training did not take; raised when its turn comes.
        UsageError: Steps that are no whole numbers from 0.
    """
    try:
        recording = subject.recording
        last = subject.step if subject.step is not None else recording.stored.delivered_step
        stored = recording.keyframes
    except NeuronwiseError as error:
        if steps is not None:
            raise
        return [-1], iter([(-1, subject.network)]), f"How it came so is not known: {error.message}."
    if last is None:
        last = int(stored[-1]) if len(stored) else -1
    if steps is None:
        earlier = stored[stored < last]
        chosen = (
            {int(earlier[np.abs(earlier - wanted).argmin()]) for wanted in _wanted(last, count)}
            if len(earlier)
            else set()
        )
    else:
        if any(isinstance(step, bool) or step < 0 for step in steps):
            raise UsageError(f"steps are whole numbers from 0, got {list(steps)}", where="argument steps")
        chosen = {int(step) for step in steps}
        if late := sorted(step for step in chosen if step > last):
            recording.at(late[0])  # a step that was never taken is said as such
            raise UsageError(
                f"step {late[0]:,} comes after the network that is looked at, that of step {last:,}",
                where="argument steps",
                hint=f"to look at a later one: --step {late[-1]}",
            )
    order = sorted(chosen - {last})
    every = sorted([*order, last])

    def networks() -> Iterator[tuple[int, Network]]:
        for step in every:
            yield step, subject.network if step == last else recording.at(step)

    return every, networks(), ""


def _wanted(last: int, count: int) -> list[float]:
    """Return steps to be approached by stored ones: 0, some ever farther apart, then some evenly spaced."""
    if count < 2:
        return []
    early = (count - 2) // 2
    first = np.geomspace(max(1.0, last / 2 ** (early + 4)), max(1.0, last / 8), early)
    return [0.0, *first.tolist(), *np.linspace(last / 4, last, count - 2 - early, endpoint=False).tolist()]
