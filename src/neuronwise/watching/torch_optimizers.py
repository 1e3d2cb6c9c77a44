"""The optimizers of a watched model: whose steps count, what each changes, and which steps it skips itself."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class Owners:
    """Tells the optimizers whose steps count from others.

    Args:
        model: The model.
        given: Those whose steps count; none: any that changes parameters of the model.
    """

    def __init__(self, model: nn.Module, given: Sequence[Optimizer]) -> None:
        self._model, self._is_given = model, bool(given)  # then hooks are on these only
        self._owns: weakref.WeakKeyDictionary[Optimizer, bool] = weakref.WeakKeyDictionary(dict.fromkeys(given, True))
        self._counted: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        self._under_way: list[weakref.ref[Optimizer]] = []

    @property
    def known(self) -> list[Optimizer]:
        """Those known so far."""
        return [one for one, owns in self._owns.items() if owns]

    def forget(self) -> None:
        """Forget which parameters they have, where none was given: those of the model are other ones."""
        if not self._is_given:
            self._owns.clear()

    def begins(self, optimizer: Optimizer) -> bool:
        """Return whether a step that begins counts."""
        return self._is_given or (self._changes(optimizer) and not self._is_within_another(optimizer, begins=True))

    def ends(self, optimizer: Optimizer) -> bool:
        """Return whether a step that ends counts."""
        return self._is_given or (self._changes(optimizer) and not self._is_within_another(optimizer, begins=False))

    def _changes(self, optimizer: Optimizer) -> bool:
        found = self._owns.get(optimizer)
        count = sum(len(group["params"]) for group in optimizer.param_groups)
        if found is None or (not found and self._counted.get(optimizer) != count):  # it may have got more by now
            self._counted[optimizer] = count
            ids = {id(parameter) for parameter in self._model.parameters()}
            found = any(id(one) in ids for group in optimizer.param_groups for one in group["params"])
            self._owns[optimizer] = found
        return found

    def _is_within_another(self, optimizer: Optimizer, *, begins: bool) -> bool:
        """Return whether a step is part of one of another optimizer, which wraps this one.

        Args:
            optimizer: Whose step it is.
            begins: Whether it begins; else it ends.
        """
        stack = [one for one in self._under_way if one() is not None]
        places = [place for place, one in enumerate(stack) if one() is optimizer]
        self._under_way = stack[: places[0]] if places else stack  # of what an error has broken off nothing is left
        if begins:
            self._under_way.append(weakref.ref(optimizer))
            return len(self._under_way) > 1
        return bool(self._under_way)


def changed_by_others(optimizer: Optimizer, every: Iterable[Optimizer]) -> frozenset[int]:
    """Return the parameters, by their `id`, that other optimizers change and this one does not."""
    others = [one for one in every if one is not optimizer]
    if not others:
        return frozenset()
    return frozenset().union(*map(_parameters, others)) - _parameters(optimizer)


def _parameters(optimizer: Optimizer) -> frozenset[int]:
    return frozenset(id(one) for group in optimizer.param_groups for one in group["params"])


def may_skip(optimizer: Optimizer) -> bool:
    """Return whether an optimizer skips steps itself, as its scaler tells it to (fused ones)."""
    return getattr(optimizer, "_step_supports_amp_scaling", False) or hasattr(optimizer, "found_inf")


def scale_of(optimizer: Optimizer) -> Any:
    """Return what gradients are multiplied by while a step is taken: fused optimizers divide by it themselves.

    None if by nothing; else a tensor, of which the value is not asked: that would wait for a GPU.
    """
    return getattr(optimizer, "grad_scale", None)


def skips(optimizer: Optimizer, *, waits: bool) -> bool:
    """Return whether a fused optimizer is about to change nothing, as its scaler found gradients that are not finite.

    Args:
        optimizer: The optimizer.
        waits: Whether a GPU may be waited for; else it is not known there.
    """
    found = getattr(optimizer, "found_inf", None)
    return found is not None and (waits or found.device.type == "cpu") and bool(found)
