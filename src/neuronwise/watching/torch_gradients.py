"""The gradients of a step as a whole: as the backward pass left them, and as the optimizer gets them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any

from neuronwise.watching.torch_hooks import current_backward

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer

# Norms before and after clipping that differ by less are the same, but for rounding.
_SAME_NORM = 1e-4


class Gradients:
    """Follows the norm of all gradients through a step. Of a model on a GPU nothing is known.

    Args:
        model: The model.
        is_on_host: Says whether all weights are on the CPU.

    Attributes:
        is_half: Whether the training was seen to compute in float16, where gradients are those of a loss that a scaler
            has multiplied.
        is_final: Whether the gradients of this step are known, and later backward passes within it are not looked at.
    """

    def __init__(self, model: nn.Module, is_on_host: Callable[[], bool]) -> None:
        self._model, self._is_on_host = model, is_on_host
        self.is_half = self._saw_scale = False
        self._task = -1
        self._usual: float = math.inf
        self.begin()

    def begin(self) -> None:
        """Forget the step before."""
        self._task, self._backwards = -1, 0
        self._found: dict[int, float] = {}
        self._before = self._after = math.nan
        self._is_bad = self.is_final = False

    def came(self, ended: Callable[[], None]) -> None:
        """Have `ended` called at the end of the backward pass that is under way, once."""
        import torch

        if self.is_final:
            return
        task = current_backward()
        if task != self._task and self._is_on_host():
            self._task = task
            torch.autograd.Variable._execution_engine.queue_callback(ended)

    def backward_ended(self) -> None:
        """Note the norms before anything clips them."""
        self._found = self._norms()
        self._backwards += 1
        self._is_bad = not math.isfinite(_together(self._found))

    @property
    def looks_skipped(self) -> bool:
        """Whether the gradients are complete and not finite, and no step was taken: a scaler skips such a step.

        Asked when the next forward pass begins. Where gradients are accumulated over several backward passes, they are
        complete after as many as the steps before had.
        """
        usual = 1 if math.isinf(self._usual) else self._usual
        return self._is_bad and self._backwards >= usual

    def before_step(self, optimizer: Optimizer, scale: Any, scaler: Any, others: Set[int]) -> None:
        """Note the norm as the optimizer gets it.

        Args:
            optimizer: The optimizer.
            others: Parameters, by their `id`, that are changed by other optimizers only.
            scale: What the gradients are multiplied by still, as a fused optimizer divides them itself; or None.
            scaler: The gradient scaler, where it is known.
        """
        if self._backwards:
            self._usual = min(self._usual, self._backwards)
        self._before = _together(self._found, others)
        if not math.isfinite(self._before):
            return
        self._after = _together(self._norms(), others) / (1.0 if scale is None else float(scale))
        if scaler is not None:
            self._before /= float(scaler.get_scale())
        elif scale is not None:
            self._before /= float(scale)
        elif self.is_half or hasattr(optimizer, "found_inf"):  # multiplied by a scaler, nobody says by what
            self._before = math.nan

    @property
    def are_scaled(self) -> bool:
        """Whether it was seen that a scaler multiplies the loss."""
        return self.is_half or self._saw_scale

    def norms(self) -> dict[str, float]:
        """Return the norm of all gradients before and after they were clipped, if they were."""
        before, after = self._before, self._after
        if not math.isfinite(before) or not abs(before - after) > _SAME_NORM * before:
            return {}
        # A power of two is what a scaler has multiplied them by that watching was not told of.
        power = math.log2(before / after) if 0 < after < math.inf else math.inf
        if math.isfinite(power) and abs(power - round(power)) < _SAME_NORM:
            self._saw_scale = True
            return {}
        return {"grad_norm_before_clipping": before, "grad_norm": after}

    def _norms(self) -> dict[int, float]:
        """Return the norm of each parameter's gradient, by its `id`; nothing where they are not all on the host."""
        import torch

        found = {id(one): _plain(one.grad) for one in self._model.parameters() if one.grad is not None}
        if not found or not self._is_on_host():
            return {}
        norms = dict(zip(found, torch.stack(torch._foreach_norm(list(found.values()))).tolist(), strict=True))
        for one, norm in norms.items():
            if norm == math.inf:  # perhaps only the sum of the squares is
                norms[one] = float(found[one].double().norm())
        return norms


def _together(norms: Mapping[int, float], without: Set[int] = frozenset()) -> float:
    """Return the norm of several gradients together; NaN of none."""
    kept = [norm for one, norm in norms.items() if one not in without] if without else norms.values()
    return math.sqrt(sum(norm * norm for norm in kept)) if kept else math.nan


def _plain(gradient: torch.Tensor) -> torch.Tensor:
    """Return values of the same norm, in a precision that holds it."""
    import torch

    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    values = torch.view_as_real(values) if values.is_complex() else values
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
