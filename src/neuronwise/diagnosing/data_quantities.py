"""Inputs, targets and rows."""

from __future__ import annotations

import math

import numpy as np

from neuronwise.diagnosing.facts import Facts, quantity

# Of fewer targets mean and deviation are chance.
_FEW_TARGETS = 20


@quantity
def input_size(facts: Facts) -> float | None:
    """Root mean square of all inputs that were seen."""
    return facts.number("inputs", "rms") if _is_measured(facts) else None


@quantity
def input_spread(facts: Facts) -> float | None:
    """Size of the largest / of the smallest input feature, constant ones and the smallest twentieth aside; a feature is
    as large as its standard deviation, or as an eighth of its range where that is more.
    """
    largest, least = facts.number("inputs", "scale_largest"), facts.number("inputs", "scale_least")
    return largest / least if _is_measured(facts) and largest and least else None


@quantity
def input_offset(facts: Facts) -> float | None:
    """Median over features of |mean| / standard deviation."""
    return facts.number("inputs", "offset") if _is_measured(facts) else None


def _is_measured(facts: Facts) -> bool:
    described = facts.data.get("inputs")
    return isinstance(described, dict) and "float" in str(described.get("dtype"))


@quantity
def input_nonfinite(facts: Facts) -> float | None:
    """How many inputs are NaN or infinite."""
    return facts.number("inputs", "nonfinite")


@quantity
def target_nonfinite(facts: Facts) -> float | None:
    """How many targets are NaN or infinite."""
    return facts.number("targets", "nonfinite")


@quantity
def target_size(facts: Facts) -> float | None:
    """Greatest |target| of a number to be predicted."""
    low, high = facts.number("targets", "min"), facts.number("targets", "max")
    return max(abs(low), abs(high)) if facts.task == "number" and low is not None and high is not None else None


@quantity
def target_spread(facts: Facts) -> float | None:
    """Standard deviation of a number to be predicted."""
    return facts.number("targets", "std") if facts.task == "number" else None


@quantity
def imbalance(facts: Facts) -> float | None:
    """Rows of the most frequent class / of the rarest."""
    counts = facts.target_counts
    return (
        max(counts.values()) / min(counts.values()) if facts.task in ("classes", "binary") and len(counts) > 1 else None
    )


@quantity
def labels_per_row(facts: Facts) -> float | None:
    """How many of its targets, which are 0 or 1, are 1 in a row, the mean."""
    shape, counts = facts.shape("target"), facts.target_counts
    if facts.task != "binary" or len(shape) < 2 or not counts:
        return None
    return shape[-1] * counts.get("1", 0) / sum(counts.values())


@quantity
def modal_share(facts: Facts) -> float | None:
    """Share of the most frequent class among the targets of the training."""
    counts = facts.target_counts
    return max(counts.values()) / sum(counts.values()) if facts.task in ("classes", "binary") and counts else None


@quantity
def batch_order(facts: Facts) -> float | None:
    """How much more the mean target of a batch varies than it would if rows came in random order: variance of the
    batches' means * rows of a batch / mean variance within and between batches. 1 if they do.
    """
    rows, mean, std = facts.column("rows"), facts.column("target_mean"), facts.column("target_std")
    if len(mean) < 8 or len(rows) != len(mean) or len(std) != len(mean):
        return None
    good = np.isfinite(mean) & np.isfinite(std) & (rows > 1)
    if np.count_nonzero(good) < 8:
        return None
    total = float(np.mean(std[good] ** 2) + np.var(mean[good]))
    return float(np.var(mean[good]) * np.mean(rows[good]) / total) if total > 0 else None


@quantity
def rows_seen(facts: Facts) -> float | None:
    """Different training rows, about: how many were seen / the share of later rows that were seen before."""
    distinct, seen, looked = facts.number("inputs", "distinct"), facts.column("seen_before"), facts.column("looked_at")
    if distinct is None or not len(seen):
        return None
    share = np.nansum(seen[-5:]) / max(1.0, np.nansum(looked[-5:]))
    return float(distinct / share) if share > 0.02 else None


@quantity
def batch_rows(facts: Facts) -> float | None:
    """Rows of a batch, the median."""
    rows = facts.column("rows")
    return float(np.nanmedian(rows)) if len(rows) else None


@quantity
def epochs_seen(facts: Facts) -> float | None:
    """`steps` * `batch_rows` / `rows_seen`: how often each row was learned from, about."""
    rows, batch = facts["rows_seen"], facts["batch_rows"]
    return None if not rows or not batch else facts.last_step * batch / rows


@quantity
def parameters_per_row(facts: Facts) -> float | None:
    """Parameters of the model / `rows_seen`."""
    rows = facts["rows_seen"]
    return facts.stored.parameter_count / rows if rows else None


@quantity
def validation_shift(facts: Facts) -> float | None:
    """Median over features of |mean of the rows held out - mean of the training| / deviation in the training."""
    return _beside(facts, "shift_median")


@quantity
def validation_scale(facts: Facts) -> float | None:
    """Median over features of |log10 of (deviation of the rows held out / deviation in the training)|."""
    value = _beside(facts, "scale_median")
    return None if value is None else abs(value)


@quantity
def validation_target_shift(facts: Facts) -> float | None:
    """|mean of the targets held out - mean of the training's| / their deviation in the training; of numbers."""
    (mean, std), (held, _) = _targets_beside(facts)
    return abs(held - mean) / std if mean is not None and held is not None and std else None


@quantity
def validation_target_scale(facts: Facts) -> float | None:
    """|log10 of (deviation of the targets held out / deviation in the training)|; of numbers."""
    (_, std), (_, held) = _targets_beside(facts)
    return abs(math.log10(held / std)) if held and std else None


def _targets_beside(facts: Facts) -> tuple[tuple[float | None, float | None], tuple[float | None, float | None]]:
    """Return mean and deviation of the targets in training, and of those held out; nothing of fewer than 20."""
    targets = facts.validated[-1].get("targets") if facts.validated else None
    own = targets if isinstance(targets, dict) else {}
    if facts.task != "number" or not isinstance(count := own.get("values"), int) or count < _FEW_TARGETS:
        return (None, None), (None, None)
    held = [float(one) if isinstance(one := own.get(key), (int, float)) else None for key in ("mean", "std")]
    return (facts.number("targets", "mean"), facts.number("targets", "std")), (held[0], held[1])


def _beside(facts: Facts, key: str) -> float | None:
    found = facts.validated[-1].get("beside") if facts.validated else None
    value = found.get(key) if isinstance(found, dict) else None
    return float(value) if isinstance(value, (int, float)) else None


@quantity
def classes_apart(facts: Facts) -> float | None:
    """How differently classes are distributed in training and held out: half the sum of |difference of their
    shares|.
    """
    targets = facts.validated[-1].get("targets") if facts.validated else None
    held = targets.get("counts") if isinstance(targets, dict) else None
    counts = facts.target_counts
    if not isinstance(held, dict) or not held or not counts or facts.task not in ("classes", "binary"):
        return None
    one, other = sum(counts.values()), sum(held.values())
    apart = [abs(counts.get(key, 0) / one - held.get(key, 0) / other) for key in counts.keys() | held.keys()]
    return float(sum(apart)) / 2
