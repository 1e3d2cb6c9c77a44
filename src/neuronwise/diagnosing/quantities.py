"""What is measured of a training for its diagnosis. Each function's docstring is the definition."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neuronwise.diagnosing.facts import Facts, quantity

# Of the recorded steps the last so many tell how it ended, at least so many.
_END_SHARE, _END_LEAST = 0.15, 5


def _end(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values = values[np.isfinite(values)]
    return values[-max(_END_LEAST, int(len(values) * _END_SHARE)) :]


def _chance(counts: dict[str, int]) -> float | None:
    total = sum(counts.values())
    return max(counts.values()) / total if total else None


# ---------------------------------------------------------------------- how well it does


@quantity
def train_skill(facts: Facts) -> float | None:
    """How much of what can be learned was, on the training's last recorded batches: (share of right answers - share of
    the most frequent class) / (1 - the latter); of numbers R², 1 - squared error / variance. 0 is a constant guess.
    """
    name = facts.score_name
    if name is None or not len(facts.column(name)):
        return None
    if name == "sse":
        std = facts.number("targets", "std")
        error = _end(facts.column("sse"))
        return None if not std or not len(error) else 1 - float(error.mean()) / std**2
    right = _end(facts.column(name))
    modal = [one for one in facts.eval_batches if isinstance(one, dict)]
    share = float(right.mean()) if len(right) else None
    if modal and isinstance(score := modal[-1].get(name), (int, float)) and share is not None:
        share = max(share, float(score))
    chance = _chance(facts.target_counts)
    return None if share is None or chance is None or chance >= 1 else (share - chance) / (1 - chance)


@quantity
def validation_skill(facts: Facts) -> float | None:
    """The same on the rows held out, in evaluation mode, at the last stored state; of our own engine without its data
    as the training told it: val_r2, or of val_accuracy what lies above 1 / classes.
    """
    return _skill_at(facts, -1) if facts.told_skill is None else facts.told_skill


@quantity
def best_validation_skill(facts: Facts) -> float | None:
    """The greatest of it at any stored state."""
    found = [one for place in range(len(facts.validated)) if (one := _skill_at(facts, place)) is not None]
    return max(found, default=None)


def _skill_at(facts: Facts, place: int) -> float | None:
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


# ---------------------------------------------------------------------- the loss


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


# ---------------------------------------------------------------------- weights and their changes


def _ratios(facts: Facts) -> list[NDArray[np.float64]]:
    with np.errstate(all="ignore"):
        return [own["update_norm"] / own["weight_norm"] for own in facts.norms.values() if len(own["weight_norm"])]


@quantity
def update_ratio(facts: Facts) -> float | None:
    """Median over layers and recorded steps of ‖ΔW‖ / ‖W‖."""
    found = [ratio[np.isfinite(ratio)] for ratio in _ratios(facts)]
    found = [one for one in found if len(one)]
    return float(np.median([np.median(one) for one in found])) if found else None


@quantity
def update_ratio_early(facts: Facts) -> float | None:
    """Greatest over layers of the mean of ‖ΔW‖ / ‖W‖ over the first 10 steps."""
    found = [ratio[:10][np.isfinite(ratio[:10])].mean() for ratio in _ratios(facts) if np.isfinite(ratio[:10]).any()]
    return float(max(found)) if found else None


@quantity
def moved(facts: Facts) -> float | None:
    """Median over layers of ‖W at the end - W at the beginning‖ / ‖W at the beginning‖."""
    found = []
    keyframes = facts.recording.keyframes
    if not len(keyframes):
        return None
    for layer in facts.weighted:
        first, last = facts.matrix(layer, int(keyframes[0])), facts.matrix(layer, int(keyframes[-1]))
        if first is not None and last is not None and (size := np.linalg.norm(first)) > 0:
            found.append(float(np.linalg.norm(last - first) / size))
    return float(np.median(found)) if found else None


@quantity
def weights_grown(facts: Facts) -> float | None:
    """Greatest over layers of ‖W‖ at the end / at the beginning."""
    found = [float(own["weight_norm"][-1] / own["weight_norm"][0]) for own in facts.norms.values()
             if len(own["weight_norm"]) and own["weight_norm"][0] > 0]  # fmt: skip
    return max(found, default=None)


@quantity
def weights_shrunk(facts: Facts) -> float | None:
    """Median over layers of ‖W‖ at the end / at the beginning."""
    found = [float(own["weight_norm"][-1] / own["weight_norm"][0]) for own in facts.norms.values()
             if len(own["weight_norm"]) and own["weight_norm"][0] > 0]  # fmt: skip
    return float(np.median(found)) if found else None


@quantity
def first_last_gradient(facts: Facts) -> float | None:
    """Median over the first 30 steps of ‖dW‖ of the first weighted layer / that of the last one, each divided by the
    root of its number of weights.
    """
    layers = facts.weighted
    if len(layers) < 2:
        return None
    first, last = layers[0], layers[-1]
    one, other = facts.norms[first.name]["grad_norm"][:30], facts.norms[last.name]["grad_norm"][:30]
    assert first.weights is not None
    assert last.weights is not None
    scale = math.sqrt(last.parameters[last.weights].size / first.parameters[first.weights].size)
    good = np.isfinite(one) & np.isfinite(other) & (other > 0)
    return float(np.median(one[good] / other[good])) * scale if good.any() else None


@quantity
def gradient_norm(facts: Facts) -> float | None:
    """Median over recorded steps of the norm of all weights' gradients."""
    return _of_all_gradients(facts, np.median)


@quantity
def gradient_largest(facts: Facts) -> float | None:
    """Greatest norm of all weights' gradients at a recorded step."""
    return _of_all_gradients(facts, np.max)


def _of_all_gradients(facts: Facts, how: object) -> float | None:
    every = [own["grad_norm"] for own in facts.norms.values()]
    if not every or not len(every[0]):
        return None
    each = np.array(every)
    each = each[:, ~np.isnan(each).all(0)]  # steps of which no gradient is known
    total = np.sqrt(np.nansum(each**2, 0))
    total = total[np.isfinite(total)]
    return float(how(total)) if len(total) else None  # type: ignore[operator]


@quantity
def gradient_first_layer_zero(facts: Facts) -> float | None:
    """Share of the recorded steps at which the gradient of some weighted layer is exactly 0 (below 1e-12)."""
    every = [own["grad_norm"] for own in facts.norms.values()]
    if not every or not len(every[0]):
        return None
    return max(float(np.mean(one < 1e-12)) for one in every)


# ---------------------------------------------------------------------- neurons


def _last_shares(facts: Facts, name: str) -> dict[str, NDArray[np.float64]]:
    """Return for each layer that has it the mean of a share over the last recorded steps, by neuron."""
    found = {}
    for layer in facts.layers:
        steps, values = facts.statistic(layer, name)
        values = values[steps > 0]
        if len(values) and np.isfinite(values).any():
            with np.errstate(all="ignore"):
                found[layer.name] = np.nanmean(values[-max(3, len(values) // 20) :], axis=0)
    return found


@quantity
def dead_share(facts: Facts) -> float | None:
    """Greatest over the ReLU layers of the share of neurons that were 0 for every row of the last recorded steps (over
    99.9 % of the answers).
    """
    found = [float(np.mean(one > 0.999)) for one in _last_shares(facts, "inactive").values()]
    return max(found, default=None)


@quantity
def dead_share_at_first(facts: Facts) -> float | None:
    """Greatest over the ReLU layers of the share of neurons that were 0 for every row of the first batch."""
    found = []
    for layer in facts.layers:
        steps, values = facts.statistic(layer, "inactive")
        values = values[steps > 0]
        if len(values) and np.isfinite(values[0]).any():
            found.append(float(np.mean(values[0] > 0.999)))
    return max(found, default=None)


@quantity
def saturated_share(facts: Facts) -> float | None:
    """Greatest over the hidden sigmoid and tanh layers of the share of answers within 0.03 of an end of the range, over
    the last recorded steps.
    """
    last = facts.weighted[-1].name if facts.weighted else None
    found = [float(np.nanmean(one)) for name, one in _last_shares(facts, "saturated").items() if name != last]
    return max(found, default=None)


@quantity
def saturated_at_first(facts: Facts) -> float | None:
    """The same at the first recorded step."""
    found = []
    for layer in facts.layers[:-1]:
        steps, values = facts.statistic(layer, "saturated")
        values = values[steps > 0]
        if len(values) and np.isfinite(values[0]).any():
            found.append(float(np.nanmean(values[0])))
    return max(found, default=None)


@quantity
def alike_neurons(facts: Facts) -> float | None:
    """Greatest over the hidden layers with two neurons or more of the share of neurons whose weights are, before the
    first step, those of another neuron of the layer (to 1e-6 of the largest).
    """
    found = []
    for layer in facts.weighted[:-1]:
        weights = facts.matrix(layer, 0)
        if weights is not None and len(weights) > 1:
            scale = float(np.abs(weights).max()) or 1.0
            # Rows that are the same lie at the same place along any direction; others, along two at random, do not.
            along = np.random.default_rng(1).standard_normal((weights.shape[1], 2)) / math.sqrt(weights.shape[1])
            _, counts = np.unique(np.round(weights @ along / scale, 6), axis=0, return_counts=True)
            found.append(float(counts[counts > 1].sum() / len(weights)))
    return max(found, default=None)


@quantity
def init_scale_largest(facts: Facts) -> float | None:
    """Greatest over the weighted layers of root mean square of W before the first step * √(inputs of a neuron); He's
    rule gives 1.41, PyTorch's own 0.58.
    """
    return max(init_scales(facts).values(), default=None)


@quantity
def init_scale_least(facts: Facts) -> float | None:
    """The least of the same, of hidden layers."""
    found = init_scales(facts)
    hidden = [found[layer.name] for layer in facts.weighted[:-1] if layer.name in found]
    return min(hidden, default=None)


def init_scales(facts: Facts) -> dict[str, float]:
    """Return the scale of each weighted layer before the first step."""
    found = {}
    for layer in facts.weighted:
        weights = facts.matrix(layer, 0)
        if weights is not None and weights.size and np.isfinite(weights).all():
            found[layer.name] = float(np.sqrt(np.mean(weights**2)) * math.sqrt(weights.shape[1]))
    return found


@quantity
def init_bias_largest(facts: Facts) -> float | None:
    """Greatest |bias| of a hidden layer before the first step."""
    found = [float(np.abs(own).max()) for layer in facts.weighted[:-1]
             if (own := facts.biases(layer, 0)) is not None and own.size]  # fmt: skip
    return max(found, default=None)


# ---------------------------------------------------------------------- data


@quantity
def input_size(facts: Facts) -> float | None:
    """Root mean square of all inputs that were seen."""
    return facts.number("inputs", "rms") if _is_measured(facts) else None


@quantity
def input_spread(facts: Facts) -> float | None:
    """Largest / least standard deviation of an input feature, constant ones aside."""
    largest, least = facts.number("inputs", "std_largest"), facts.number("inputs", "std_least")
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


# ---------------------------------------------------------------------- how it is done


@quantity
def gradients_kept(facts: Facts) -> float | None:
    """Share of the recorded steps, from the second on, at whose first backward pass gradients of the step before were
    still there.
    """
    kept, steps = facts.column("kept"), facts.column("step")
    kept = kept[(steps > 1) & np.isfinite(kept)] if len(kept) == len(steps) else kept
    return float(kept.mean()) if len(kept) else None


@quantity
def trained_in_eval_mode(facts: Facts) -> float | None:
    """Share of the recorded steps at which the model was in evaluation mode."""
    mode = facts.column("train_mode")
    mode = mode[np.isfinite(mode)]
    return float(1 - mode.mean()) if len(mode) else None


@quantity
def modal_modules(facts: Facts) -> float | None:
    """How many modules answer otherwise in evaluation mode: dropout of a rate above 0, batch normalisation."""
    return float(sum(
        ("Dropout" in str(one.get("kind")) and bool(one.get("p"))) or "BatchNorm" in str(one.get("kind"))
        for one in facts.modules
    )) if facts.modules else None  # fmt: skip


@quantity
def evaluated_in_train_mode(facts: Facts) -> float | None:
    """Of the model's calls without gradients that were seen, how many were in training mode."""
    value = facts.data.get("evaluated_in_train_mode")
    return float(value) if isinstance(value, int) else None


@quantity
def evaluated_in_eval_mode(facts: Facts) -> float | None:
    """Of the model's calls without gradients that were seen, how many were in evaluation mode."""
    value = facts.data.get("evaluated_in_eval_mode")
    return float(value) if isinstance(value, int) else None


@quantity
def not_trained(facts: Facts) -> float | None:
    """Share of the weighted layers whose weights never change, as they need no gradient or no optimizer holds them."""
    frozen = {*map(str, facts.setting.get("frozen") or ()), *map(str, facts.setting.get("not_held") or ())}
    if not facts.setting or not facts.weighted:
        return None
    return float(np.mean([any(name == f"{one.name}.{one.weights}" or name == one.name for name in frozen)
                          for one in facts.weighted]))  # fmt: skip


@quantity
def learning_rate(facts: Facts) -> float | None:
    """The greatest learning rate of any step."""
    return float(facts.rates.max()) if len(facts.rates) else None


@quantity
def weight_decay(facts: Facts) -> float | None:
    """Weight decay of the optimizer."""
    value = facts.optimizer[1].get("weight_decay")
    return float(value) if isinstance(value, (int, float)) else None


@quantity
def dropout(facts: Facts) -> float | None:
    """The greatest rate of a dropout."""
    found = [float(one["p"]) for one in facts.modules if "Dropout" in str(one.get("kind")) and "p" in one]
    return max(found, default=None)


@quantity
def depth(facts: Facts) -> float | None:
    """Layers with weights on the longest way from input to output."""
    follows = {str(one.get("weight")): [str(name) for name in one.get("follows", ())] for one in facts.graph_layers}
    if not follows:
        return float(len(facts.weighted)) or None
    lengths: dict[str, int] = {}
    for _ in range(len(follows)):
        before = dict(lengths)
        for name, own in follows.items():
            lengths[name] = 1 + max((lengths.get(one, 0) for one in own if one != name), default=0)
        if lengths == before:
            break
    return float(min(max(lengths.values()), len(follows)))


@quantity
def narrowest(facts: Facts) -> float | None:
    """Neurons of the narrowest hidden layer."""
    found = [layer.neurons for layer in facts.weighted[:-1]]
    return float(min(found)) if found else None


@quantity
def unbent_layers(facts: Facts) -> float | None:
    """How many layers get the output of another layer with no function in between that bends it."""
    if not facts.graph_layers:
        return None
    return float(len(unbent(facts)))


def unbent(facts: Facts) -> list[str]:
    """Return the names of these layers."""
    plain = {"batchnorm", "dropout"}
    embeddings = {f"{one['path']}.weight" for one in facts.modules if "Embedding" in str(one.get("kind"))}
    recurrent = {str(one["path"]) for one in facts.modules if str(one.get("kind")) in ("LSTM", "GRU", "RNN")}
    found = []
    for one in facts.graph_layers:
        follows = [name for name in one.get("follows", ()) if name not in embeddings]
        is_recurrent = any(str(one.get("weight")).startswith(f"{path}.") for path in recurrent)
        is_recurrent |= any(str(name).startswith(f"{path}.") for path in recurrent for name in follows)
        attends = "attn" in str(one.get("weight")) or "in_proj" in str(one.get("weight"))
        if follows and not is_recurrent and not attends and not set(one.get("after", ())) - plain:
            found.append(str(one.get("name")))
    return found


@quantity
def hidden_links(facts: Facts) -> float | None:
    """How many layers get the output of another layer."""
    return float(sum(bool(one.get("follows")) for one in facts.graph_layers)) if facts.graph_layers else None


@quantity
def output_constant(facts: Facts) -> float | None:
    """Standard deviation of an output over the rows held out (without these, over the last batches) / its deviation
    over the targets (for classes: as it is).
    """
    spread = facts.validated[-1].get("output_spread") if facts.validated else None
    if not isinstance(spread, (int, float)):
        last = _end(facts.column("output_spread"))
        spread = float(last.mean()) if len(last) else None
    if spread is None:
        return None
    std = facts.number("targets", "std") if facts.task == "number" else 1.0
    return float(spread) / std if std else None


@quantity
def targets_outside(facts: Facts) -> float | None:
    """How far targets lie outside what the output can reach, as a share of their range: of 0 to 1 behind a sigmoid or
    softmax, -1 to 1 behind tanh, from 0 behind ReLU.
    """
    last = next((one for one in facts.output_functions if one not in ("batchnorm", "dropout")), None)
    reach = {"sigmoid": (0, 1), "softmax": (0, 1), "hardsigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, math.inf),
             "softplus": (0, math.inf), "exp": (0, math.inf), "log_softmax": (-math.inf, 0), "elu": (-1.76, math.inf),
             "hardtanh": (-1, 1)}.get(last or "")  # fmt: skip
    low, high = facts.number("targets", "min"), facts.number("targets", "max")
    if facts.task != "number" or low is None or high is None or high <= low:
        return None
    if reach is None:
        return 0.0
    return (max(0.0, reach[0] - low) + max(0.0, high - reach[1])) / (high - low)


@quantity
def outputs(facts: Facts) -> float | None:
    """Numbers that the model returns for one row, to the loss."""
    shape = facts.shape("prediction")
    return float(shape[-1] if len(shape) > 1 else 1) if shape else None


@quantity
def broadcast_share(facts: Facts) -> float | None:
    """Share of the recorded steps at which predictions and targets of the loss had different shapes."""
    found = facts.column("broadcast")
    found = found[np.isfinite(found)]
    return float(found.mean()) if len(found) else None
