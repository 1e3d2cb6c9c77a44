"""How long it takes to read a recording: to seek any step, and to follow one weight. Part of `recording.py`."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import random
import statistics
from pathlib import Path
from typing import Any

from measuring import spread, timed
from neuronwise.learning import Observer, TrainingState
from neuronwise.recording import RecordingWriter, TrainingData
from trainings import Training


class Digests(Observer):
    """Notes a digest of the parameters as they were after some of the steps."""

    def __init__(self, steps: set[int]) -> None:
        self.steps, self.found = steps, dict[int, str]()

    def on_step_end(self, state: TrainingState) -> None:
        """Note it if the step is one of them."""
        if state.step in self.steps:
            self.found[state.step] = digest(state.network)


def digest(network: Any) -> str:
    return hashlib.sha256(network.parameters.tobytes()).hexdigest()


def times_ms(seconds: list[float]) -> dict[str, float]:
    """Return median, 95th percentile, smallest and largest, in milliseconds."""
    values = [1e3 * one for one in seconds]
    return spread(values) | {"p95": statistics.quantiles(values, n=20, method="inclusive")[-1]}


def measure_seeks(training: Training, folder: Path, count: int) -> dict[str, Any]:
    """Train once with default recording, open it anew, and seek `count` random steps, then as many near them.

    The first visit of an interval between two stored states may cost more than those after it; therefore the second
    seeks are of other steps in intervals that the first visited, in a new order. After the first ones each network is
    compared, bit by bit, with what the training had at that step.

    Args:
        training: What is trained.
        folder: Empty.
        count: Seeks of each kind.
    """
    import neuronwise
    from neuronwise.files import folder_size_bytes

    chance = random.Random(1)
    steps = chance.sample(range(1, training.steps + 1), min(count, training.steps))
    digests = Digests(set(steps))
    place = folder / "recording"
    training.train(lambda _: [RecordingWriter(place), digests], folder)
    data = TrainingData(training.X, training.y, training.rows)

    def open_and_seek() -> Any:
        recording = neuronwise.open(place, data=data)
        recording.at(chance.randrange(training.steps))
        return recording

    _, opened_s, recording = timed(open_and_seek)
    first, same = [], 0
    for step in steps:
        _, wall, network = timed(lambda: recording.at(step))  # noqa: B023
        first.append(wall)
        same += digest(network) == digests.found[step]
    keyframes = [int(step) for step in recording.keyframes]
    again = []
    for place_of in (bisect.bisect_left(keyframes, step) for step in chance.sample(steps, len(steps))):
        step = chance.randint(keyframes[place_of - 1] + 1, keyframes[place_of])
        again.append(timed(lambda: recording.at(step))[1])  # noqa: B023
    return {
        **training.description,
        "steps": training.steps,
        "seeks": len(steps),
        "opened_and_first_seek_ms": 1e3 * opened_s,
        "first_visit_ms": times_ms(first),
        "warm_ms": times_ms(again),
        "same_bits": same,
        "keyframes": len(keyframes),
        "keyframes_per_100_000_steps": (len(keyframes) - 1) * 100_000 / training.steps,
        "widest_interval": max(b - a for a, b in itertools.pairwise(keyframes)),
        "bytes": folder_size_bytes(place),
    }


def measure_history(training: Training, folder: Path, every: int, calls: int) -> dict[str, Any]:
    """Train once with a state stored every so many steps, open it anew, and follow single weights.

    Args:
        training: What is trained.
        folder: Empty.
        every: Steps from one state to the next.
        calls: How many weights are followed after the first.
    """
    import neuronwise

    place = folder / "recording"
    training.train(lambda _: [RecordingWriter(place, keyframe_every=every, max_bytes=2_000_000_000)], folder)
    recording = neuronwise.open(place, data=TrainingData(training.X, training.y, training.rows))
    _, first_s, course = timed(lambda: recording.history("hidden1[7].weights[300]"))
    chance = random.Random(2)
    names = [f"hidden1[{chance.randrange(16)}].weights[{chance.randrange(784)}]" for _ in range(calls)]
    further = [timed(lambda: recording.history(name))[1] for name in names]  # noqa: B023
    stored = chance.choices([int(step) for step in recording.keyframes], k=calls)
    networks = [timed(lambda: recording.at(step))[1] for step in stored]  # noqa: B023
    return {
        **training.description,
        "keyframes": len(course.steps),
        "first_ms": 1e3 * first_s,
        "further_ms": times_ms(further),
        "all_weights_ms": times_ms(networks),
    }
