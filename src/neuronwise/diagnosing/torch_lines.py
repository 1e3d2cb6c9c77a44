"""The line to type after a training by PyTorch: of its own optimizer, loss and layers, with what should be another."""

from __future__ import annotations

import math
import re
from typing import Any

from neuronwise.diagnosing.facts import Facts
from neuronwise.diagnosing.setup_quantities import cut_off_layers, frozen_layers, narrowest_layer
from neuronwise.diagnosing.suspects import Suspect

# What an optimizer of PyTorch is made with where nothing else is said; of others nothing is repeated.
_DEFAULTS: dict[str, Any] = {"momentum": 0, "dampening": 0, "nesterov": False, "weight_decay": 0, "betas": [0.9, 0.999],
                             "eps": 1e-8, "alpha": 0.99, "centered": False, "amsgrad": False}  # fmt: skip
_ADAMW_DECAY = 1e-2
_PICTURE_AXES = 3
_PLACE = re.compile(r"input\[(\d+)\]")
DROPOUT = 0.3


def torch_line(facts: Facts, one: Suspect, words: dict[str, Any]) -> str | None:
    """Return the line of a cause where it is another than the one of its page; None where that one will do.

    Args:
        facts: Of the training.
        one: The suspect.
        words: What stands in the lines of the pages.
    """
    seen = {each.quantity for each in one.evidence}
    rate = facts["learning_rate"]
    if one.cause == "lr_too_low" and "rate_fallen" in seen:
        return f"scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max={facts.last_step})"
    if one.cause in ("lr_too_high", "lr_too_low"):
        return _optimizer(facts, lr=words["lower_lr" if one.cause == "lr_too_high" else "higher_lr"])
    if one.cause == "wrong_optimizer" and facts.optimizer[1].get("maximize") is True:
        return _optimizer(facts, lr=rate)
    if one.cause == "excessive_regularisation":
        if "dropout" in seen:
            return f"nn.Dropout({DROPOUT})"
        return _optimizer(facts, lr=rate, weight_decay=_ADAMW_DECAY if facts.optimizer[0] == "AdamW" else 1e-4)
    if one.cause == "overfitting" or (one.cause == "too_few_data" and not _is_of_pictures(facts)):
        return _more_decay(facts)
    if one.cause == "frozen_layer":
        return _trained(facts)
    if one.cause == "class_imbalance" and facts.task == "binary":
        return _weighted_loss(facts)
    if one.cause == "wrong_output_activation" and not facts.output_functions:  # within the loss, or not there
        return f"loss = {words['loss_line']}"
    if one.cause == "wrong_labels":
        return _worst_rows(facts)
    if one.cause in ("leaking_target", "identifier_feature") and (place := _PLACE.fullmatch(words["column"])):
        return f"x = x[:, [place for place in range(x.shape[1]) if place != {place[1]}]]"
    if one.cause == "preprocessing_mismatch" and not seen & {"validation_shift", "validation_scale"}:
        return "y_val = (y_val - y_train.mean(0)) / y_train.std(0)"
    return _wider(facts, words["wider"], words["outputs"]) if one.cause == "network_too_small" else None


def _worst_rows(facts: Facts) -> str:
    """Return the line that finds the rows whose loss is the largest."""
    loss = {"classes": "cross_entropy", "binary": "binary_cross_entropy_with_logits"}.get(facts.task or "", "mse_loss")
    each = f'nn.functional.{loss}(model(x), y, reduction="none")'
    return f"rows = {each}.reshape(len(x), -1).mean(1).topk(20).indices"


def _optimizer(facts: Facts, kind: str = "", **changes: float | None) -> str | None:
    """Return the line that makes the training's optimizer, with settings changed; None where it is not known."""
    own, settings = facts.optimizer
    groups = facts.setting.get("optimizers")
    several = isinstance(groups, list) and (len(groups) > 1 or len((groups or [{}])[0].get("groups") or ()) > 1)
    changes = {name: value for name, value in changes.items() if value is not None}
    if several:
        said = "; ".join(f"group[{name!r}] = {value:g}" for name, value in changes.items())
        return f"for group in optimizer.param_groups: {said}" if said else None
    if not own:
        return None
    default = _DEFAULTS | ({"weight_decay": _ADAMW_DECAY} if (kind or own) == "AdamW" else {})
    kept = {name: value for name, value in settings.items() if name in default and name not in changes
            and value is not None and value != default[name]}  # fmt: skip
    words = [f"{name}={value:g}" for name, value in changes.items()]
    words += [f"{name}={tuple(value) if isinstance(value, list) else value}" for name, value in kept.items()]
    return f"optimizer = torch.optim.{kind or own}({', '.join(['model.parameters()', *words])})"


def _more_decay(facts: Facts) -> str | None:
    """Return the line of an optimizer with more weight decay, which Adam does not do well by itself."""
    kind, rate, decay = facts.optimizer[0], facts["learning_rate"], facts["weight_decay"] or 0.0
    if kind in ("Adam", "AdamW"):
        return _optimizer(facts, "AdamW", lr=rate, weight_decay=max(_ADAMW_DECAY, 10 * decay))
    return _optimizer(facts, lr=rate, weight_decay=10 * decay or 1e-3)


def _trained(facts: Facts) -> str | None:
    if lists := facts.setting.get("unregistered"):
        return f"self.{lists[0].rpartition('.')[2]} = nn.ModuleList(…)  # in __init__, before the optimizer is made"
    optimizer = _optimizer(facts, lr=facts["learning_rate"])
    if facts.setting.get("frozen"):
        return f"model.requires_grad_(True); {optimizer}" if optimizer else None
    if cut_off_layers(facts) and not frozen_layers(facts):
        return f"loss(model(x), y).backward()  # in forward: no .detach(), no torch.no_grad() behind {_first(facts)}"
    return optimizer


def _first(facts: Facts) -> str:
    return cut_off_layers(facts)[-1]


def _weighted_loss(facts: Facts) -> str:
    counts = facts.target_counts
    weight = counts.get("0", 0) / max(1, counts.get("1", 0))
    behind = "" if facts.loss_kind == "bce_logits" else "  # of plain sums: no sigmoid before it"
    return f"loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor({weight:.3g})){behind}"


def _wider(facts: Facts, wider: int, outputs: int) -> str | None:
    layer = narrowest_layer(facts)
    if layer is None:
        first = facts.weighted[0] if len(facts.weighted) == 1 else None
        if first is None or first.weights is None or "Linear" not in first.kind:
            return None
        inputs = first.parameters[first.weights].shape[1]
        return f"nn.Sequential(nn.Linear({inputs}, {wider}), nn.ReLU(), nn.Linear({wider}, {outputs}))"
    assert layer.weights is not None
    shape = layer.parameters[layer.weights].shape
    if "Conv" in layer.kind:
        return f"nn.{layer.kind}({shape[1]}, {wider}, {shape[-1]})"
    if layer.kind in ("LSTM", "GRU", "RNN"):
        return f"nn.{layer.kind}(…, {wider}, batch_first=True)"
    return f"nn.Linear({math.prod(shape[1:])}, {wider})" if "Linear" in layer.kind else None


def _is_of_pictures(facts: Facts) -> bool:
    inputs = facts.data.get("inputs")
    shape = inputs.get("shape") if isinstance(inputs, dict) else None
    return isinstance(shape, list) and len(shape) == _PICTURE_AXES
