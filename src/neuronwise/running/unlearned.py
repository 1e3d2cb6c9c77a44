"""What the network of a run has not learned, on its own data, over its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuronwise.explaining.slices import slicings
from neuronwise.explaining.unlearned import what_is_not_learned
from neuronwise.explaining.unlearned_result import Unlearned
from neuronwise.running.over_time import networks_over_time
from neuronwise.running.run import Run
from neuronwise.running.subject import Part, Subject

_STEPS = 12


def unlearned(
    run: str | Path | Run,
    *,
    by: str | Sequence[str] | None = None,
    part: Part = "held-out",
    steps: Sequence[int] | None = None,
    step: int | None = None,
    data: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Unlearned:
    """Return which classes, slices and rows a run's network has not learned, and how that went.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        by: Columns by which the rows are cut; default every column of a table, and a target that is a number.
        part: Rows looked at: those held out say where it will fail, those it learned from (``"train"``) what it could
            not learn.
        steps: Earlier steps that are looked at too; default up to 11 stored ones, ``()`` for none.
        step: The network after this step; default as it was delivered.
        data: What it learned from, where the run cannot find it by itself.
        progress: Called with the rows judged, over all steps, and all.

    Raises:
        NotFoundError: There is no such run, column or step, or its data is not to be found.
    """
    subject = Subject(run, data, step=step)
    every, networks, note = networks_over_time(subject, steps, _STEPS)
    rows = subject.examples(part)
    cut = slicings(rows.X, rows.y, subject.meaning, [by] if isinstance(by, str) else by)
    found = what_is_not_learned(
        networks, rows.X, rows.y, slices=cut, loss=subject.loss, meaning=subject.meaning, rows=rows.rows,
        rows_are=subject.rows_words(rows), progress=progress, steps_in_all=len(every),
    )  # fmt: skip
    if rows.part == "train":
        return replace(found, notes=(note,) if note else ())
    hint = "These rows were held out; --part train shows which of those it learned from it could not learn."
    return replace(found, notes=(hint, note) if note else (hint,))
