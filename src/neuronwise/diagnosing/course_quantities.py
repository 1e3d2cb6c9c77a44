"""How well a training does, and how its loss goes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neuronwise.diagnosing.facts import Facts, quantity

# Of the recorded steps the last so many tell how it ended, at least so many.
_END_SHARE, _END_LEAST = 0.15, 5


def end_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the finite ones of the last values, which tell how it ended."""
    values = values[np.isfinite(values)]
    return values[-max(_END_LEAST, int(len(values) * _END_SHARE)) :]


def _chance(counts: dict[str, int]) -> float | None:
    total = sum(counts.values())
    return max(counts.values()) / total if total else None


# --- how well it does


@quantity
def train_skill(facts: Facts) -> float | None:
    """How much of what can be learned was, on the training's last recorded batches: (share of right answers - share of
    the most frequent class) / (1 - the latter); of numbers R², 1 - squared error / variance. 0 is a constant guess.
    """
    name = facts.score_name
    if name is None or not len(facts.column(name)):
        return None
    found = end_of(facts.column(name))
    if not len(found):
        return None
    score = float(found.mean())
    modal = [one for one in facts.eval_batches if isinstance(one, dict)]
    if name != "sse" and modal and isinstance(evaluated := modal[-1].get(name), (int, float)):
        score = max(score, float(evaluated))
    return score_to_skill(facts, score)


def score_to_skill(facts: Facts, score: float) -> float | None:
    """Return the skill that a batch's score means: a share of right answers, or of numbers a mean squared error."""
    if facts.score_name == "sse":
        std = facts.number("targets", "std")
        return None if not std else 1 - score / std**2
    chance = _chance(facts.target_counts)
    return None if chance is None or chance >= 1 else (score - chance) / (1 - chance)


@quantity
def validation_skill(facts: Facts) -> float | None:
    """The same on the rows held out, in evaluation mode, at the last stored state; of our own engine without its data
    as the training told it: val_r2, or of val_accuracy what lies above 1 / classes.
    """
    return skill_at(facts, -1) if facts.told_skill is None else facts.told_skill


@quantity
def best_validation_skill(facts: Facts) -> float | None:
    """The greatest of it at any stored state."""
    found = [one for place in range(len(facts.validated)) if (one := skill_at(facts, place)) is not None]
    return max(found, default=None)


def skill_at(facts: Facts, place: int) -> float | None:
    """Return the skill on the rows held out at one of the states that were asked."""
    name = facts.score_name
    if not facts.validated or name is None:
        return None
    last = facts.validated[place]
    if name == "sse":
        error, own = last.get("sse"), last.get("sst")
        if not isinstance(error, (int, float)) or not isinstance(own, (int, float)) or own <= 0:
            return None
        return 1 - error / own
    share = last.get(name)
    targets = last.get("targets")
    counts = targets.get("counts") if isinstance(targets, dict) else None
    if not isinstance(share, (int, float)) or not isinstance(counts, dict) or not counts:
        return None
    chance = _chance(counts)
    return None if chance is None or chance >= 1 else (share - chance) / (1 - chance)


@quantity
def skill_gained(facts: Facts) -> float | None:
    """`validation_skill` - the same at the first stored state."""
    first, last = skill_at(facts, 0), facts["validation_skill"]
    return None if first is None or last is None else last - first


@quantity
def balanced_skill(facts: Facts) -> float | None:
    """(Mean over the classes of the share recognised - 1 / classes) / (1 - 1 / classes), on the rows held out."""
    recall = facts.validated[-1].get("recall") if facts.validated else None
    if not isinstance(recall, dict) or len(recall) < 2:
        return None
    chance = 1 / len(recall)
    return (float(np.mean(list(recall.values()))) - chance) / (1 - chance)


@quantity
def rarest_recall(facts: Facts) -> float | None:
    """Share of the rarest class that is recognised on the rows held out."""
    recall = facts.validated[-1].get("recall") if facts.validated else None
    if not isinstance(recall, dict) or not facts.target_counts:
        return None
    rarest = min(facts.target_counts, key=lambda key: facts.target_counts[key])
    value = recall.get(rarest)
    return float(value) if isinstance(value, (int, float)) else None


@quantity
def surest_error(facts: Facts) -> float | None:
    """Share of wrong answers among the surest third of the rows held out, of classes; at least 150 rows."""
    right = facts.validated[-1].get("surest_right") if facts.validated else None
    return 1 - float(right) if isinstance(right, (int, float)) else None


@quantity
def surest_beside_all(facts: Facts) -> float | None:
    """`surest_error` / share of wrong answers of all rows held out: near 1 where being sure does not help."""
    error, right = facts["surest_error"], facts.validated[-1].get(facts.score_name or "") if facts.validated else None
    return error / (1 - right) if error is not None and isinstance(right, (int, float)) and right < 1 else None


@quantity
def rounded_skill(facts: Facts) -> float | None:
    """Of a number to be predicted that seems to be a class, as it takes 3 to 10 whole values from 0 on, about equally
    often: (share of predictions that are right when rounded - share of the most frequent value) / (1 - the latter),
    held out.
    """
    counts, values = facts.target_counts, facts.target_values
    if facts.task != "number" or not 3 <= len(values) <= 10 or values != [float(one) for one in range(len(values))]:
        return None
    if max(counts.values()) > 3 * min(counts.values()) or not facts.validated:
        return None
    share, chance = facts.validated[-1].get("correct_rounded"), _chance(counts)
    if not isinstance(share, (int, float)) or chance is None:
        return None
    return (share - chance) / (1 - chance)


@quantity
def skill(facts: Facts) -> float | None:
    """`validation_skill`; without rows held out `train_skill`. Of classes that are unevenly frequent at most
    `balanced_skill`, of classes that are predicted as a number at most `rounded_skill`.
    """
    found = facts["validation_skill"] if facts["validation_skill"] is not None else facts["train_skill"]
    if found is None:
        return None
    balanced, rounded = facts["balanced_skill"], facts["rounded_skill"]
    if balanced is not None and facts.above("imbalance", 4):
        found = min(found, balanced)
    return found if rounded is None else min(found, rounded)


@quantity
def gap(facts: Facts) -> float | None:
    """`train_skill` - `validation_skill`."""
    train, held = facts["train_skill"], facts["validation_skill"]
    return None if train is None or held is None else train - held


@quantity
def validation_loss_rise(facts: Facts) -> float | None:
    """Last validation loss / least validation loss of any stored state from step 1 on."""
    found = [one["loss"] for one in facts.validated if isinstance(one.get("loss"), (int, float))]
    return found[-1] / min(found) if found and min(found) > 0 else None


@quantity
def score_of_majority(facts: Facts) -> float | None:
    """Share of the rows held out that get the most frequent answer, at the last state."""
    value = facts.validated[-1].get("one_answer") if facts.validated else None
    return float(value) if isinstance(value, (int, float)) else None


# --- the loss


def _smoothed(facts: Facts) -> NDArray[np.float64]:
    """Return the loss as means of at most 40 equal parts of the training."""
    _, losses = facts.losses
    count = min(40, max(1, len(losses) // 3))
    return np.array([part.mean() for part in np.array_split(losses, count)]) if len(losses) else losses


@quantity
def loss_first(facts: Facts) -> float | None:
    """Mean loss of the first 3 steps (of fewer, if fewer were taken)."""
    _, losses = facts.losses
    return float(losses[:3].mean()) if len(losses) else None


@quantity
def loss_last(facts: Facts) -> float | None:
    """Mean loss of the last 40th of the steps, of at least 3."""
    _, losses = facts.losses
    return float(losses[-max(3, len(losses) // 40) :].mean()) if len(losses) else None


@quantity
def loss_ratio(facts: Facts) -> float | None:
    """`loss_last` / `loss_first`."""
    first, last = facts["loss_first"], facts["loss_last"]
    return None if first is None or last is None or first <= 0 else last / first


@quantity
def loss_beside_best(facts: Facts) -> float | None:
    """Last / least of the loss's means over 40 equal parts of the training."""
    smooth = _smoothed(facts)
    if not len(smooth) or not np.isfinite(smooth).all():
        return math.inf if len(smooth) else None
    return float(smooth[-1] / smooth.min()) if smooth.min() > 0 else None


@quantity
def loss_still_falling(facts: Facts) -> float | None:
    """How much of the loss fell in the last fifth of the training: (mean of the fifth before - mean of the last) / the
    former, by the slope of a straight line through the last two fifths.
    """
    _, losses = facts.losses
    losses = losses[np.isfinite(losses)]
    if len(losses) < 10:
        return None
    part = losses[-max(5, 2 * len(losses) // 5) :]
    x = np.linspace(0, 2, len(part))
    slope = float(np.polyfit(x, part, 1)[0])
    start = float(part.mean()) - slope
    return -slope / abs(start) if start else None


@quantity
def loss_rises(facts: Facts) -> float | None:
    """Share of the loss's means over 40 equal parts of the training, from the sixth on, that are over 5 % above the one
    before.
    """
    smooth = _smoothed(facts)
    if len(smooth) < 8:
        return None
    smooth = smooth[len(smooth) // 8 :]
    return float(np.mean(smooth[1:] > 1.05 * smooth[:-1]))


@quantity
def loss_spike(facts: Facts) -> float | None:
    """Greatest loss of the first 50 steps / loss of the first step."""
    _, losses = facts.losses
    return float(np.max(losses[:50]) / losses[0]) if len(losses) > 2 and losses[0] > 0 else None


@quantity
def nonfinite_step(facts: Facts) -> float | None:
    """The step at which something was first NaN or infinite."""
    step = None if facts.nonfinite is None else facts.nonfinite.get("step")
    return float(step) if isinstance(step, int) else None


@quantity
def steps(facts: Facts) -> float | None:
    """Steps that were taken."""
    return float(facts.last_step)
