"""How it is done: modes, optimizer, layers, output."""

from __future__ import annotations

import math

import numpy as np

from neuronwise.diagnosing.course_quantities import end_of
from neuronwise.diagnosing.facts import Facts, quantity
from neuronwise.recording.layout import LayerLayout


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
    """Share of the weighted layers whose weights never change, as they need no gradient, no optimizer holds them, or no
    gradient gets to them at any recorded step though they answer (detach).
    """
    if not facts.setting or not facts.weighted:
        return None
    return len({*frozen_layers(facts), *cut_off_layers(facts)}) / len(facts.weighted)


@quantity
def unregistered_lists(facts: Facts) -> float | None:
    """How many lists, tuples or dictionaries of the model hold layers that get gradients and that it does not know."""
    found = facts.setting.get("unregistered")
    return float(len(found)) if isinstance(found, list) else None


def frozen_layers(facts: Facts) -> list[str]:
    """Return the names of the weighted layers that need no gradient, or that no optimizer holds.

    Those that never answer in a training pass in which others do are left out: a teacher that is only asked.
    """
    frozen = {*map(str, facts.setting.get("frozen") or ()), *map(str, facts.setting.get("not_held") or ())}
    names = [one.name for one in facts.weighted if f"{one.name}.{one.weights}" in frozen or one.name in frozen]
    answering = _answering(facts)
    return [name for name in names if not answering or _is_among(name, answering)]


def cut_off_layers(facts: Facts) -> list[str]:
    """Return the names of the weighted layers that answer and to which no gradient gets at any recorded step."""
    gradients = {name: bool(np.isfinite(own["grad_norm"]).any()) for name, own in facts.norms.items()}
    if not any(gradients.values()):
        return []
    answering = _answering(facts)
    return [name for name, has in gradients.items() if not has and not facts.norms[name]["update_norm"].any()
            and _is_among(name, answering)]  # fmt: skip


def _answering(facts: Facts) -> set[str]:
    """Return the names of the layers that answered in a recorded training pass."""
    return {one.name for one in facts.layers if np.isfinite(facts.statistic(one, "mean")[1]).any()}


def _is_among(name: str, answering: set[str]) -> bool:
    return name in answering or name.rpartition(".")[0] in answering


@quantity
def learning_rate(facts: Facts) -> float | None:
    """The greatest learning rate of any step."""
    return float(facts.rates.max()) if len(facts.rates) else None


@quantity
def rate_fallen(facts: Facts) -> float | None:
    """Median over all steps of the learning rate / the greatest of any step."""
    return float(np.median(facts.rates) / facts.rates.max()) if len(facts.rates) and facts.rates.max() > 0 else None


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
    """Neurons of the narrowest hidden layer; of a recurrent one those that answer, whatever gates each has."""
    layer = narrowest_layer(facts)
    return None if layer is None else float(_answers(layer))


def narrowest_layer(facts: Facts) -> LayerLayout | None:
    """Return the hidden layer with the fewest neurons; None where none is hidden."""
    hidden = [one for one in facts.weighted[:-1] if "weight_ih" not in one.name]
    return min(hidden, key=_answers, default=None)


def _answers(layer: LayerLayout) -> int:
    """Return how many numbers a layer hands on: of a recurrent one as many as it takes from itself."""
    assert layer.weights is not None
    return layer.parameters[layer.weights].shape[1] if "weight_hh" in layer.name else layer.neurons


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
        last = end_of(facts.column("output_spread"))
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
    """Numbers that the model returns for one row, to the loss; where that has a class at each place, for a place."""
    shape, target = facts.shape("prediction"), facts.shape("target")
    if len(shape) > 2 and shape[:1] + shape[2:] == target:
        return float(shape[1])
    return float(shape[-1] if len(shape) > 1 else 1) if shape else None


@quantity
def broadcast_share(facts: Facts) -> float | None:
    """Share of the recorded steps at which predictions and targets of the loss had different shapes."""
    found = facts.column("broadcast")
    found = found[np.isfinite(found)]
    return float(found.mean()) if len(found) else None
