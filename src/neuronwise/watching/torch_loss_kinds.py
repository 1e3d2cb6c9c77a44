"""Which loss a function computes, known by its value and not by its name."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Values of the same loss that were computed in float32 by other operations differ by less.
_TOLERANCE = 2e-4
# Where losses of probabilities are cut off, so that no logarithm is infinite: by most authors at one of these.
_CLIPS = (1e-7, 1e-6, 1e-8, 1e-12)

_Loss = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]


def loss_kinds(prediction: torch.Tensor, target: torch.Tensor, value: float) -> list[str]:
    """Return which known losses have this value, as a mean over the batch (and over the outputs).

    Args:
        prediction: What the loss was given first, without gradients.
        target: What it was given second.
        value: What it returned.

    Returns:
        Of ``mse``, ``mae``, ``huber``, ``bce``, ``bce_logits``, ``hinge``, ``ce``, ``nll``, ``ce_probs`` (cross-entropy
        of values that are divided by their sum and read as probabilities), ``one_hot_mse``, ``one_hot_mae``,
        ``one_hot_huber``; ``ce_of_softmax`` and ``bce_logits_of_sigmoid`` (a softmax or sigmoid that is taken within
        the loss, and then once more). Several, where they agree.
    """
    import torch

    if not math.isfinite(value):
        return []
    found = []
    # In its own precision, as where a probability is cut off depends on that.
    prediction = prediction if prediction.dtype in (torch.float32, torch.float64) else prediction.float()
    with torch.no_grad():
        for name, compute in _candidates(prediction, target).items():
            try:
                other = float(compute(prediction, target))
            except (RuntimeError, ValueError, IndexError):  # shapes that do not go with it
                continue
            if math.isfinite(other) and abs(other - value) <= _TOLERANCE * max(abs(value), 1e-3):
                found.append(name.partition("@")[0])
    return list(dict.fromkeys(found))


def _candidates(prediction: torch.Tensor, target: torch.Tensor) -> dict[str, _Loss]:
    import torch
    from torch.nn import functional

    def huber(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        d = (p - t).abs()
        return torch.where(d < 1, d * d / 2, d - 0.5).mean()

    def bce(p: torch.Tensor, t: torch.Tensor, least: float) -> torch.Tensor:
        p = p.clamp(least, 1 - least)
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()

    def bce_logits(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return (p.clamp(min=0) - p * t + torch.log1p((-p.abs()).exp())).mean()

    def hinge(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return (1 - (2 * t - 1) * p).clamp(min=0).mean()

    def one_hot(t: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        return functional.one_hot(t, p.shape[-1]).to(p.dtype)

    def ce_probs(p: torch.Tensor, t: torch.Tensor, least: float) -> torch.Tensor:
        share = (p / p.sum(-1, keepdim=True)).clamp(least, 1 - least).log()
        if t.is_floating_point():
            return -(t * share).sum(-1).mean()
        return -share.gather(-1, t[:, None]).mean()

    if target.is_floating_point():
        plain: dict[str, _Loss] = {
            "mse": lambda p, t: ((p - t) ** 2).mean(),
            "mae": lambda p, t: (p - t).abs().mean(),
            "huber": huber,
            **{f"bce@{least}": functools.partial(bce, least=least) for least in _CLIPS},
            "bce_logits": bce_logits,
            "bce_logits_of_sigmoid": lambda p, t: bce_logits(p.sigmoid(), t),
            "hinge": hinge,
        }
        if prediction.ndim == 2 and prediction.shape == target.shape:
            plain |= {
                "ce": lambda p, t: -(t * p.log_softmax(-1)).sum(-1).mean(),
                **{f"ce_probs@{least}": functools.partial(ce_probs, least=least) for least in _CLIPS},
            }
        return plain
    if prediction.ndim < 2:
        return {}
    classes: dict[str, _Loss] = {
        "ce": lambda p, t: functional.cross_entropy(p, t),
        "ce_of_softmax": lambda p, t: functional.cross_entropy(p.softmax(1), t),
        "nll": lambda p, t: functional.nll_loss(p, t),
        **{f"ce_probs@{least}": functools.partial(ce_probs, least=least) for least in _CLIPS},
        "one_hot_mse": lambda p, t: ((p - one_hot(t, p)) ** 2).mean(),
        "one_hot_mae": lambda p, t: (p - one_hot(t, p)).abs().mean(),
        "one_hot_huber": lambda p, t: huber(p, one_hot(t, p)),
        "hinge": lambda p, t: hinge(p, one_hot(t, p)),
    }
    return classes
