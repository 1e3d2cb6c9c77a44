"""What explanations of a run need, found: the fitted network, its recording, and the data it learned from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining.meaning import Meaning
from neuronwise.network import LOSSES, Network
from neuronwise.recording import Recording
from neuronwise.running.checkpointing import SavedTraining
from neuronwise.running.find import find_folder, load
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.opening import open_recording
from neuronwise.running.prepare import Prepared
from neuronwise.running.reporter import Reporter
from neuronwise.running.resuming import prepare_again
from neuronwise.running.run import Run

Part = Literal["train", "validation", "test", "held-out"]


class Subject:
    """A run that is to be explained.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        data: What it learned from, where the run cannot find it by itself.
        step: The network after this step; default as it was delivered.

    Raises:
        NotFoundError: There is no such run.
    """

    def __init__(self, run: str | Path | Run, data: Any = None, *, step: int | None = None) -> None:
        self._run, self._data, self.step = run, data, step
        self.folder = run.folder if isinstance(run, Run) else find_folder(run)
        self.fitted: FittedNetwork = load(self.folder)

    @cached_property
    def recording(self) -> Recording:
        """The recording of the training."""
        return open_recording(self.folder, self._data)

    @cached_property
    def network(self) -> Network:
        """The network that is explained."""
        return self.fitted.network if self.step is None else self.recording.at(self.step)

    @cached_property
    def meaning(self) -> Meaning:
        """What its inputs and outputs mean."""
        return Meaning.of(self.fitted.network, self.fitted.encoder, self.fitted.target)

    @cached_property
    def prepared(self) -> Prepared:
        """The data, encoded and split as the training had it.

        Raises:
            NotFoundError: It is not to be found.
            UsageError: It is not the same, or was handed in by a program and is not now.
        """
        return prepare_again(SavedTraining.load(self.folder), self._data, Reporter())

    @cached_property
    def loss(self) -> str | None:
        """The loss it was trained with, by name; None where the run does not say, for the usual one."""
        loss = Run.load(self.folder).settings.get("loss")
        return loss if isinstance(loss, str) and loss in LOSSES else None

    def rows_words(self, examples: Examples) -> str:
        """Return what some rows are, in words: ``"held-out rows"``, ``"of 10,000 training rows"`` if a sample."""
        words = {"train": "training rows", "validation": "validation rows", "test": "held-out rows"}[examples.part]
        data = self.prepared
        every = {"train": data.train, "validation": data.validation, "test": data.test}[examples.part]
        return words if len(every) == len(examples.y) else f"of {len(every):,} {words}"

    def examples(self, part: Part = "held-out", *, most: int | None = None, seed: int = 0) -> Examples:
        """Return rows of the data: those held out (the test rows; without any, validation; without any, training).

        Args:
            part: Which rows.
            most: At most so many, drawn evenly over them without replacement by `seed`; default all.
            seed: Of that draw.
        """
        data = self.prepared
        chosen = {"train": data.train, "validation": data.validation, "test": data.test}
        names = ("test", "validation", "train") if part == "held-out" else (part,)
        name = next((name for name in names if len(chosen[name])), names[-1])
        rows = chosen[name]
        if most is not None and len(rows) > most:
            rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
        X = np.asarray(data.X[rows], dtype=self.network.dtype).reshape(-1, *self.network.input_shape)
        source = data.source_rows[rows] if len(data.source_rows) else rows
        return Examples(X, data.y[rows], source, name)

    def row(self, number: int) -> NDArray[Any]:
        """Return the inputs, (*input_shape), of a row of the data, counted from 0 as the data has them.

        Raises:
            UsageError: There is no such row, or it was left out because it has no target.
        """
        return np.asarray(self.prepared.X[self._place(number)], self.network.dtype).reshape(self.network.input_shape)

    def row_with_target(self, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a row's inputs as `row` does, and its target, (1,) or (1, outputs), as in `Examples.y`.

        Raises:
            NotFoundError: There is no such row, or it was left out because it has no target.
        """
        place = self._place(number)
        return self.row(number), self.prepared.y[place : place + 1]

    def _place(self, number: int) -> int:
        data = self.prepared
        source = data.source_rows if len(data.source_rows) else np.arange(len(data.X))
        found = np.flatnonzero(source == number)
        if not len(found):
            last = int(source.max()) if len(source) else -1
            raise NotFoundError(
                f"there is no row {number} among the {len(source):,} that have a target; the last is {last:,}",
                where="argument row",
            )
        return int(found[0])

    def encode(self, data: Any) -> tuple[NDArray[Any], list[str]]:
        """Return inputs, (rows, *input_shape), made of raw data, and sentences on what training has never seen."""
        x, said = self.fitted.encode(data)
        if not len(x):
            raise UsageError("there are no rows to explain", where="argument data")
        return np.asarray(x, dtype=self.network.dtype).reshape(-1, *self.network.input_shape), said


@dataclass(frozen=True)
class Examples:
    """Rows of the data, encoded.

    Attributes:
        X: Inputs, (rows, *input_shape).
        y: Targets as `TargetSpec.encode` gives them: class ids (rows,) or standardised values (rows, 1).
        rows: The number of each in the data, from 0.
        part: ``"train"``, ``"validation"`` or ``"test"``.
    """

    X: NDArray[Any]
    y: NDArray[Any]
    rows: NDArray[np.int64]
    part: str
