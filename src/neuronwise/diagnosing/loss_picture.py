"""The loss over a training, with the steps at which something began."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_picture(losses: Sequence[tuple[int, float]], marks: Sequence[tuple[str, int | None]]) -> Figure:
    """Return a picture of the loss, with a line at each mark that has a step.

    Args:
        losses: (step, loss); what is not finite is marked below the curve.
        marks: (words, step or None).
    """
    from matplotlib.figure import Figure

    steps, values = (np.array(one, float) for one in zip(*losses, strict=True))
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes = figure.subplots()
    good = np.isfinite(values)
    axes.plot(steps[good], values[good], color="#1f5fa8", linewidth=1)
    if (~good).any():
        axes.plot(steps[~good], np.zeros(np.count_nonzero(~good)), "x", color="#d95f02", label="NaN or infinite",
                  transform=axes.get_xaxis_transform(), clip_on=False)  # fmt: skip
        axes.legend(frameon=False)
    if good.any() and values[good].min() > 0 and values[good].max() > 100 * values[good].min():
        axes.set_yscale("log")
    for place, (words, step) in enumerate(one for one in marks if one[1] is not None):
        assert step is not None
        axes.axvline(step, color="#d95f02", linewidth=1, linestyle="--")
        is_late = step > (steps[0] + steps[-1]) / 2  # the words stand to the left then
        axes.annotate(f"{words}, first seen at step {step:,}", (step, 0.97 - 0.1 * place),
                      xycoords=("data", "axes fraction"), xytext=(-4 if is_late else 4, 0), fontsize=8, va="top",
                      textcoords="offset points", ha="right" if is_late else "left", color="#a34700")  # fmt: skip
    axes.set(xlabel="step", ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
