"""Rules on how a training is set up: what can be read off the graph, the loss, shapes, modes and the first weights."""

from __future__ import annotations

import numpy as np

from neuronwise.diagnosing.diagnosis import Evidence
from neuronwise.diagnosing.facts import OF_CLASSES, OF_NUMBERS, Facts
from neuronwise.diagnosing.neuron_quantities import init_scales
from neuronwise.diagnosing.setup_quantities import cut_off_layers, frozen_layers, unbent
from neuronwise.diagnosing.suspects import Suspect, over, told, under

_SATURATING = ("sigmoid", "tanh", "hardsigmoid", "softmax", "hardtanh")
_BOOK = "Goodfellow, Bengio, Courville (2016), 6.2.2"


def _last_function(facts: Facts) -> str | None:
    return next((one for one in facts.output_functions if one not in ("batchnorm", "dropout", "layernorm")), None)


def missing_zero_grad(facts: Facts) -> Suspect | None:
    """Suspect that zero_grad is missing."""
    if not (seen := over(facts, "gradients_kept", 0.9, "none is kept where zero_grad is called in every step")):
        return None
    return Suspect("missing_zero_grad", 0.97, (seen,))


def wrong_mode(facts: Facts) -> Suspect | None:
    """Suspect that the model is in the wrong mode, where that matters."""
    if not facts.above("modal_modules", 0):
        return None
    if seen := over(facts, "trained_in_eval_mode", 0.9, "a training is in training mode"):
        return Suspect("wrong_train_eval_mode", 0.9, (seen,))
    evaluated = over(facts, "evaluated_in_train_mode", 0, "an evaluation is in evaluation mode")
    if evaluated and not facts.above("evaluated_in_eval_mode", 0):
        return Suspect("wrong_train_eval_mode", 0.9, (evaluated,), always=True)
    return None


def frozen(facts: Facts) -> Suspect | None:
    """Suspect layers that are not trained."""
    if lists := over(facts, "unregistered_lists", 0, "a list of layers is a nn.ModuleList"):
        return Suspect("frozen_layer", 0.95, (lists,), tuple(map(str, facts.setting["unregistered"])))
    seen = over(facts, "not_trained", 0, "all layers are trained")
    if seen is None:
        return None
    layers = tuple(dict.fromkeys((*frozen_layers(facts), *cut_off_layers(facts))))
    is_last = bool(facts.weighted) and facts.weighted[-1].name in layers
    if facts["skill"] is None and facts["loss_ratio"] is None:
        # A former training's layers are frozen on purpose, and nothing tells whether it learns: not critical.
        return Suspect("frozen_layer", 0.8, (seen,), layers)
    return Suspect("frozen_layer", 0.93 if is_last or seen.value > 0.4 else 0.85, (seen,), layers)


def label_shape(facts: Facts) -> Suspect | None:
    """Suspect predictions and targets whose shapes are broadcast."""
    prediction, target = facts.shape("prediction"), facts.shape("target")
    if not prediction or not target or prediction == target or not facts.above("broadcast_share", 0.5):
        return None
    try:
        together = np.broadcast_shapes(prediction, target)
    except ValueError:
        return None
    if np.prod(together) == np.prod(prediction) == np.prod(target):
        return None
    evidence = told(over(facts, "broadcast_share", 0.5, "PyTorch warns of a broadcast in a loss"))
    if len(prediction) == len(target) and target[-1] == 1 and prediction[-1] > 1:
        return Suspect("wrong_output_size", 0.9, evidence)
    return Suspect("label_shape_mismatch", 0.97, evidence, always=True)


def output_size(facts: Facts) -> Suspect | None:
    """Suspect too few or too many outputs."""
    prediction, kind = facts.shape("prediction"), facts.loss_kind
    if not prediction:
        return None
    width = int(facts["outputs"] or 1)
    last = facts.weighted[-1:]
    where = tuple(one.name for one in last)
    classes = len(facts.target_values)
    if width == 1 and kind in ("ce", "nll", "ce_probs"):
        return Suspect("wrong_output_size", 0.9, told(under(facts, "outputs", 2, _BOOK)), where)
    if width == 1 and facts.task == "classes" and classes > 2:
        return Suspect("wrong_output_size", 0.85, told(under(facts, "outputs", classes, _BOOK)), where)
    if width == 1 and facts.task == "number" and 2 < classes <= 20 and _last_function(facts) in _SATURATING:
        return Suspect("wrong_output_size", 0.8, told(under(facts, "outputs", classes, _BOOK)), where)
    if width == 1 and facts["rounded_skill"] is not None:
        poor = under(facts, "rounded_skill", 0.7)
        return Suspect("wrong_output_size", 0.7, (poor,), where) if poor else None
    if facts.task == "classes" and width > 2 * classes + 2:
        return Suspect("wrong_output_size", 0.35, told(over(facts, "outputs", 2 * classes + 2, _BOOK)), where)
    return None


def output_activation(facts: Facts) -> Suspect | None:
    """Suspect the functions behind the last layer, by the loss that follows."""
    if not facts.graph:
        return None
    kind, last = facts.loss_kind, _last_function(facts)
    every = [one for one in facts.output_functions if one not in ("batchnorm", "dropout", "layernorm")]
    width = facts["outputs"]
    where = tuple(one.name for one in facts.weighted[-1:])
    certainty = 0.0
    if last == "softmax" and width == 1:
        certainty = 0.95
    elif kind in ("ce_of_softmax", "bce_logits_of_sigmoid"):
        certainty = 0.85
    elif kind == "ce" and last is not None:
        certainty = {"log_softmax": 0.0, "relu": 0.85, "softmax": 0.75, "sigmoid": 0.75}.get(last, 0.6)
    elif kind == "nll" and "log_softmax" not in every and "log" not in every:
        certainty = 0.95
    elif kind == "ce_probs":
        certainty = 0.0 if last == "softmax" else 0.4 if last == "sigmoid" else 0.9
    elif kind == "bce":
        if last == "softmax" and (facts.task == "binary" or facts["outputs"] != 1):
            certainty = 0.8
        elif last not in ("sigmoid", "hardsigmoid", "softmax"):
            certainty = 0.9
    elif kind in ("bce_logits", "hinge"):
        certainty = 0.85 if last in ("sigmoid", "relu", "softmax", "hardsigmoid", "log_softmax") else 0.0
    elif kind in OF_NUMBERS and facts.task == "number":
        if outside := over(facts, "targets_outside", 0.02, "the output cannot reach them"):
            return Suspect("wrong_output_activation", 0.6 + 0.35 * min(1.0, outside.value * 5), (outside,), where)
        certainty = 0.5 if last in ("softmax", "relu") else 0.0
    elif kind in OF_NUMBERS and facts.task == "binary":
        certainty = {"relu": 0.75, "softmax": 0.8, "tanh": 0.5}.get(last or "", 0.3)
        certainty = 0.0 if last in ("sigmoid", "hardsigmoid") else certainty
    elif kind is not None and kind.startswith("one_hot"):
        certainty = 0.7 if last in ("relu", "tanh") else 0.0
    return Suspect("wrong_output_activation", certainty, (), where) if certainty else None


def several_labels(facts: Facts) -> tuple[Evidence, ...]:
    """Return the evidence that a row is not of one class but of none or several, where there are several outputs."""
    if not facts.above("outputs", 1):
        return ()
    few = under(facts, "labels_per_row", 0.98, "1 where each row is of one class")
    return told(few, over(facts, "labels_per_row", 1.02, "1 where each row is of one class"))


def loss_kind(facts: Facts) -> Suspect | None:
    """Suspect a loss that is for another task."""
    kind, task = facts.loss_kind, facts.task
    if kind is None and facts.below("train_skill", 0.1) and (below := under(facts, "loss_last", 0, "an error is none")):
        return Suspect("wrong_loss", 0.92, (below,))  # its sign is turned: the more is wrong, the less it is
    if kind is None or task is None:
        return None
    certainty = 0.0
    if kind.startswith("one_hot"):
        certainty = {"one_hot_mse": 0.5, "one_hot_huber": 0.5, "one_hot_mae": 0.75}[kind]
    elif task == "classes" and kind == "hinge":
        certainty = 0.6
    elif task == "classes" and kind not in OF_CLASSES:
        certainty = 0.8
    elif task == "number" and kind in ("bce", "bce_logits", "hinge", *OF_CLASSES):
        certainty = 0.92
    elif task == "binary" and kind in ("ce", "ce_probs") and (several := several_labels(facts)):
        return Suspect("wrong_loss", 0.92, several)
    elif task == "binary" and kind in OF_NUMBERS:
        certainty = 0.6 if kind == "mae" else 0.5
    elif task == "binary" and kind in ("ce_probs", "ce") and facts["outputs"] == 1:
        certainty = 0.91
    elif task == "binary" and kind == "hinge":
        certainty = 0.55
    elif task == "number" and kind == "mae":
        certainty = 0.2
    return Suspect("wrong_loss", certainty) if certainty else None


def hidden_activation_missing(facts: Facts) -> Suspect | None:
    """Suspect layers with nothing between them that bends."""
    links, missing = facts["hidden_links"], facts["unbent_layers"]
    if not links or not missing:
        return None
    share = missing / links
    seen = over(facts, "unbent_layers", 0, "Goodfellow, Bengio, Courville (2016), 6.1")
    return Suspect("missing_hidden_activation", 0.9 if share == 1 else 0.35 + 0.4 * share, told(seen),
                   tuple(unbent(facts)))  # fmt: skip


def hidden_activation(facts: Facts) -> Suspect | None:
    """Suspect hidden functions that are unfit for the depth."""
    kinds = facts.hidden_functions
    links = facts["hidden_links"] or 0
    if not links:
        return None
    count = {kind: kinds.count(kind) for kind in set(kinds)}
    where = tuple(str(one.get("name")) for one in facts.graph_layers if set(one.get("after", ())) & set(_SATURATING))
    if count.get("softmax", 0) and not count.get("attention") and not any("attn" in str(one.get("name"))
                                                                          for one in facts.graph_layers):  # fmt: skip
        return Suspect("wrong_hidden_activation", 0.9, (), where)
    # Between two layers; the spread of a drawn code, beside its mean, is no function of a layer.
    is_between = any("exp" in one.get("after", ()) and not one.get("bare") for one in facts.graph_layers)
    if is_between and not count.get("softmax"):
        return Suspect("wrong_hidden_activation", 0.85, ())
    squashing = count.get("sigmoid", 0) + count.get("hardsigmoid", 0)
    is_normed = any(kind in count for kind in ("batchnorm", "layernorm"))
    if squashing >= 3 and not is_normed:
        seen = under(facts, "first_last_gradient", 0.1, "σ' ≤ 1/4: Glorot, Bengio (2010)")
        if seen:
            return Suspect("wrong_hidden_activation", 0.88, (seen,), where)
    if squashing >= 2 and not is_normed and (seen := under(facts, "first_last_gradient", 0.1, "σ' ≤ 1/4")):
        return Suspect("wrong_hidden_activation", 0.6, (seen,), where)
    if squashing and not is_normed:
        return Suspect("wrong_hidden_activation", 0.3, (), where)
    return None


def alike(facts: Facts) -> Suspect | None:
    """Suspect neurons that begin as copies of one another."""
    seen = over(facts, "alike_neurons", 0.9, "drawn at random, no two are the same")
    if seen is None:
        return None
    return Suspect("bad_init_symmetric", 0.97, (seen,))


def init_scale(facts: Facts) -> Suspect | None:
    """Suspect first weights that are too large or too small, or biases that silence neurons."""
    scales = init_scales(facts)
    if large := over(facts, "init_scale_largest", 4, "He et al. (2015): 1.41; PyTorch: 0.58"):
        where = tuple(name for name, scale in scales.items() if scale > 4)
        return Suspect("bad_init_scale", min(0.93, 0.75 + 0.1 * np.log10(large.value / 4) * 2), (large,), where)
    if small := under(facts, "init_scale_least", 0.12, "He et al. (2015): 1.41; PyTorch: 0.58"):
        where = tuple(name for name, scale in scales.items() if scale < 0.12)
        if not facts.above("alike_neurons", 0.9):
            return Suspect("bad_init_scale", 0.85, (small,), where)
    if bias := over(facts, "init_bias_largest", 1.5, "biases begin at 0, or within 1 / √inputs"):
        dead = over(facts, "dead_share_at_first", 0.3)
        saturated = over(facts, "saturated_at_first", 0.5)
        if dead or saturated or bias.value > 3:
            return Suspect("bad_init_scale", 0.9, told(bias, dead, saturated))
    return None


SETUP_RULES = (
    missing_zero_grad, wrong_mode, frozen, label_shape, output_size, output_activation, loss_kind,
    hidden_activation_missing, hidden_activation, alike, init_scale,
)  # fmt: skip
