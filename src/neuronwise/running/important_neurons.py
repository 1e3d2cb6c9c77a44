"""Which neurons of a run's network matter: each of a layer silenced in turn, on rows that it did not learn from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from neuronwise.errors import UsageError
from neuronwise.explaining.ablation import LayerImportance, numbers_per_row, rank_neurons
from neuronwise.running.run import Run
from neuronwise.running.subject import Part, Subject

# Multiplications in all: about 50 seconds of one processor core.
_MOST = 500_000_000_000


def important_neurons(
    run: str | Path | Run,
    layer: str | None = None,
    *,
    mode: Literal["zero", "mean"] = "zero",
    part: Part = "held-out",
    step: int | None = None,
    data: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> LayerImportance:
    """Return how much a run's network loses without each neuron of a layer.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        layer: Name of a layer before the last; default the first with neurons of its own.
        mode: ``"zero"``, or ``"mean"``: its mean over the rows.
        part: Rows it is measured on. Of very many a sample is taken, which the result says.
        step: The network after this step; default as it was delivered.
        data: What it learned from, where the run cannot find it by itself.
        progress: Called with the rows done and the rows in all.

    Raises:
        NotFoundError: There is no such run or layer, or its data is not to be found.
        UsageError: The layer is the last.
    """
    subject = Subject(run, data, step=step)
    network = subject.network
    if layer is None:
        layer = next((one.name for one in network.layers[:-1] if "W" in one.parameters), None)
        if layer is None:
            raise UsageError(
                "the network has no hidden layer, so there is no neuron to silence",
                where="argument layer",
                hint="its inputs can be ranked: neuronwise important RUN --features",
            )
    most = max(100, _MOST // max(1, numbers_per_row(network, layer)))
    rows = subject.examples(part, most=most)
    return rank_neurons(
        network, rows.X, rows.y, layer, mode=mode, loss=subject.loss, meaning=subject.meaning,
        rows_are=subject.rows_words(rows), progress=progress,
    )  # fmt: skip
