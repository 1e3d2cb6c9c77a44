"""What is drawn beside the limit that evidence crossed: something of the training over its steps, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronwise.diagnosing.course_quantities import score_to_skill, skill_at
from neuronwise.diagnosing.facts import Facts

MOST_POINTS = 400
"""Of a longer series so many points are kept, at equal distances, and the first that is not finite."""

_Points = tuple[NDArray[np.int64], NDArray[np.float64]]
SERIES: dict[str, Callable[[Facts], _Points]] = {}
"""What can be drawn, by name; the docstring of each is its definition."""

SERIES_OF = {
    **dict.fromkeys(
        ("loss_first", "loss_last", "loss_ratio", "loss_beside_best", "loss_rises", "loss_spike", "loss_still_falling",
         "nonfinite_step", "steps"), "loss"),
    "learning_rate": "learning_rate",
    "validation_loss_rise": "val_loss",
    **dict.fromkeys(("update_ratio", "update_ratio_early"), "update_ratio"),
    **dict.fromkeys(("weights_grown", "weights_shrunk"), "weight_size"),
    **dict.fromkeys(("gradient_norm", "gradient_largest"), "gradient_norm"),
    "first_last_gradient": "first_last_gradient",
    **dict.fromkeys(("dead_share", "dead_share_at_first"), "dead_share"),
    **dict.fromkeys(("saturated_share", "saturated_at_first"), "saturated_share"),
    "train_skill": "train_skill",
    **dict.fromkeys(("validation_skill", "best_validation_skill", "skill", "gap"), "validation_skill"),
    "rarest_recall": "rarest_recall",
    "batch_order": "target_mean",
}  # fmt: skip
"""What to draw for a quantity, where it has a course."""


@dataclass(frozen=True)
class Series:
    """Something of a training over its steps, thinned.

    Attributes:
        words: What it is.
        steps: Steps.
        values: As many numbers.
        of: How many points there were.
    """

    words: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    of: int


def drawn(facts: Facts, name: str) -> Series | None:
    """Return a series; None where the recording has nothing of it."""
    with np.errstate(all="ignore"):
        steps, values = SERIES[name](facts)
    if not len(steps):
        return None
    places = np.unique(np.linspace(0, len(steps) - 1, min(MOST_POINTS, len(steps))).round().astype(np.int64))
    odd = np.flatnonzero(~np.isfinite(values))[:1]
    places = np.union1d(places, odd)
    words = (SERIES[name].__doc__ or "").split(".", 1)[0]
    return Series(words, tuple(steps[places].tolist()), tuple(values[places].tolist()), len(steps))


def _series(function: Callable[[Facts], _Points]) -> Callable[[Facts], _Points]:
    SERIES[function.__name__] = function
    return function


_NOTHING: _Points = (np.zeros(0, np.int64), np.zeros(0))


@_series
def loss(facts: Facts) -> _Points:
    """Loss of each step."""
    return facts.losses


@_series
def learning_rate(facts: Facts) -> _Points:
    """Learning rate of each step."""
    return facts.losses[0], facts.rates


@_series
def val_loss(facts: Facts) -> _Points:
    """Loss on the rows held out, at stored states."""
    found = [(one["step"], one["loss"]) for one in facts.validated if isinstance(one.get("loss"), (int, float))]
    return _of_pairs(found)


@_series
def train_skill(facts: Facts) -> _Points:
    """Share of what can be learned that was, on the batch of each recorded step."""
    steps, score = facts.column("step"), facts.column(facts.score_name or "")
    if len(steps) != len(score):
        return _NOTHING
    found = np.array([np.nan if (one := score_to_skill(facts, value)) is None else one for value in score.tolist()])
    known = ~np.isnan(found)
    return steps[known].astype(np.int64), found[known]


@_series
def validation_skill(facts: Facts) -> _Points:
    """Share of what can be learned that was, on the rows held out, at stored states."""
    found = [(one.get("step"), skill_at(facts, place)) for place, one in enumerate(facts.validated)]
    return _of_pairs([(step, value) for step, value in found if value is not None])


@_series
def rarest_recall(facts: Facts) -> _Points:
    """Share of the rarest class that is recognised on the rows held out, at stored states."""
    if not facts.target_counts:
        return _NOTHING
    rarest = min(facts.target_counts, key=lambda key: facts.target_counts[key])
    recalls = [(one.get("step"), one.get("recall")) for one in facts.validated]
    return _of_pairs([(step, recall[rarest]) for step, recall in recalls
                      if isinstance(recall, dict) and isinstance(recall.get(rarest), (int, float))])  # fmt: skip


@_series
def target_mean(facts: Facts) -> _Points:
    """Mean of the targets of each recorded batch."""
    steps, mean = facts.column("step"), facts.column("target_mean")
    if len(mean) and len(steps) != len(mean):  # of our own engine: those of the first epoch
        steps = np.arange(1, len(mean) + 1, dtype=np.float64)
    known = ~np.isnan(mean)
    return steps[known].astype(np.int64), mean[known]


@_series
def update_ratio(facts: Facts) -> _Points:
    """‖ΔW‖ / ‖W‖ of each recorded step, the median over layers."""
    return _over_layers(facts, lambda own: own["update_norm"] / own["weight_norm"], np.nanmedian)


@_series
def weight_size(facts: Facts) -> _Points:
    """‖W‖ of each recorded step / that of the first, the median over layers."""
    return _over_layers(facts, lambda own: own["weight_norm"] / own["weight_norm"][:1], np.nanmedian)


@_series
def gradient_norm(facts: Facts) -> _Points:
    """Norm of all weights' gradients at each recorded step."""
    return _over_layers(facts, lambda own: own["grad_norm"], lambda each, axis: np.sqrt((each**2).sum(axis)))


@_series
def first_last_gradient(facts: Facts) -> _Points:
    """‖dW‖ of the first weighted layer / that of the last one at each recorded step, by the root of their sizes."""
    layers = facts.weighted
    if len(layers) < 2:
        return _NOTHING
    first, last = layers[0], layers[-1]
    assert first.weights is not None
    assert last.weights is not None
    scale = (last.parameters[last.weights].size / first.parameters[first.weights].size) ** 0.5
    one, other = facts.norms[first.name], facts.norms[last.name]
    ratio = one["grad_norm"] / other["grad_norm"] * scale
    known = ~np.isnan(ratio)
    return one["steps"][known].astype(np.int64), ratio[known]


@_series
def dead_share(facts: Facts) -> _Points:
    """Share of the neurons of a ReLU layer that answered 0 to every row, at each recorded step, the greatest."""
    return _of_neurons(facts, "inactive", lambda values: (values > 0.999).mean(axis=1))


@_series
def saturated_share(facts: Facts) -> _Points:
    """Share of a sigmoid or tanh layer's answers at an end of its range, at each recorded step, the greatest."""
    return _of_neurons(facts, "saturated", lambda values: np.nanmean(values, axis=1), but_last=True)


def _over_layers(
    facts: Facts, of: Callable[[dict[str, NDArray[np.float64]]], NDArray[np.float64]], how: Callable[..., object]
) -> _Points:
    """Return what is computed of each layer's norms, over the layers."""
    every = [own for own in facts.norms.values() if len(own["weight_norm"])]
    if not every:
        return _NOTHING
    each = np.array([of(own) for own in every])
    known = ~np.isnan(each).all(axis=0)
    return every[0]["steps"][known].astype(np.int64), np.asarray(how(each[:, known], axis=0), np.float64)


def _of_neurons(
    facts: Facts, name: str, of: Callable[[NDArray[np.float64]], NDArray[np.float64]], *, but_last: bool = False
) -> _Points:
    last = facts.weighted[-1].name if facts.weighted and but_last else None
    found = []
    for layer in facts.layers:
        steps, values = facts.statistic(layer, name)
        if layer.name != last and len(values) and np.isfinite(values).any():
            known = np.isfinite(values).any(axis=1)
            each = np.full(len(values), np.nan)
            each[known] = of(values[known])
            found.append((steps, each))
    if not found:
        return _NOTHING
    each = np.array([values for _, values in found])
    known = (found[0][0] > 0) & ~np.isnan(each).all(axis=0)
    return np.asarray(found[0][0][known], np.int64), np.nanmax(each[:, known], axis=0)


def _of_pairs(pairs: list[tuple[object, object]]) -> _Points:
    kept = [(step, float(value)) for step, value in pairs if isinstance(step, int) and isinstance(value, (int, float))]
    return np.array([step for step, _ in kept], np.int64), np.array([value for _, value in kept])
