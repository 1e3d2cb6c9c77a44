"""How the layers of a run's network work together, on its own data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuronwise.errors import UsageError
from neuronwise.explaining.collapse import collapse
from neuronwise.explaining.layer_probe import MOST_ROWS, what_layers_add
from neuronwise.explaining.layers_together import LayersTogether
from neuronwise.running.over_time import networks_over_time
from neuronwise.running.run import Run
from neuronwise.running.subject import Subject


def layers_together(
    run: str | Path | Run,
    *,
    steps: Sequence[int] | None = None,
    step: int | None = None,
    row: int | None = None,
    data: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> LayersTogether:
    """Return what each layer of a run's network adds, how that came, and what the layers are without their bends.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        steps: Earlier steps that are looked at too; default up to five stored ones, ``()`` for none.
        step: The network after this step; default as it was delivered.
        row: A row of the data whose answer with and without bends is told.
        data: What it learned from, where the run cannot find it by itself.
        progress: Called with the linear models done, and all.

    Raises:
        NotFoundError: There is no such run, row or step, or its data is not to be found.
    """
    subject = Subject(run, data, step=step)
    every, networks, note = networks_over_time(subject, steps)
    learned, held = subject.examples("train", most=MOST_ROWS), subject.examples("held-out", most=MOST_ROWS)
    added = what_layers_add(
        networks, learned.X, learned.y, held.X, held.y, loss=subject.loss, meaning=subject.meaning,
        progress=progress, steps_in_all=len(every),
    )  # fmt: skip
    if note:
        added = replace(added, notes=(*added.notes, note))
    try:
        collapsed = collapse(
            subject.network, held.X, held.y, loss=subject.loss, meaning=subject.meaning, rows=held.rows,
            rows_are=subject.rows_words(held),
        )  # fmt: skip
    except UsageError as error:
        where = f"{error.where}: " if error.where else ""
        return LayersTogether(added, None, f"The layers are not multiplied together: {where}{error.message}.")
    told = None
    if row is not None:
        x, y = subject.row_with_target(row)
        alone = collapse(subject.network, x[None], y, loss=subject.loss, meaning=subject.meaning, rows=[row])
        told = alone.examples[0]
    return LayersTogether(added, collapsed, row=told)
