"""What happens at each step of a watched training: the hooks on its optimizer, its modules and its loss."""

from __future__ import annotations

import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuronwise.errors import NeuronwiseError, TrainingDiverged
from neuronwise.watching.listener import WatchListener
from neuronwise.watching.moments import DENSE_STEPS
from neuronwise.watching.torch_closures import Evaluated, closure_of, needs_closure, with_closure
from neuronwise.watching.torch_frames import FrameWriter
from neuronwise.watching.torch_hooks import Handles
from neuronwise.watching.torch_losses import OWN_LOSS, LossSeen, OwnLoss
from neuronwise.watching.torch_optimizers import Owners, changed_by_others, may_skip, scale_of, skips
from neuronwise.watching.torch_skips import SkippedSteps
from neuronwise.watching.torch_training import TrainingSeen
from neuronwise.watching.torch_values import is_wrapped

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer

_log = logging.getLogger("neuronwise")

# What watching may cost whatever the share of the time: a step, and in all before anything is recorded less often.
_ALLOWED_PER_STEP_S, _FREE_S = 20e-6, 0.5
# Losses are written so many at a time; those on a GPU, for which it is waited then, more.
_LOSSES_AT_ONCE, _LOSSES_ON_GPU = 64, 512
# After something that is not finite was found, so many steps are looked at whole.
_STEPS_AFTER_NONFINITE = 3


class StepHooks:
    """Follows a loop step by step, and has what is due measured and written.

    Between recorded steps there is one hook on the optimizer and one on the loss module, of which as little as possible
    is done: what is run once a step finds nothing of it in the processor's caches. One before the optimizer's step
    stays only where it has to: of optimizers that call a closure, or skip steps themselves.

    Args:
        model: The model.
        optimizers: Those whose steps count; none: any that changes parameters of the model.
        loss: The loss module, or None.
        scaler: The gradient scaler, or None.
        is_compiled: Whether the model is, so that there are no hooks on its modules.
        time_budget: See `TorchWatcher`.
        strict: Whether what goes wrong is raised.
        listeners: Who is told what was recorded; may grow.
        problems: Where sentences go about what could not be recorded.

    Attributes:
        step: Steps taken so far.
        is_active: Whether anything is done still.
        began: When it began, of `time.perf_counter`.
        overhead_s: Seconds that watching has taken so far.
        skips: Steps that were skipped.
        loss: What is seen of the loss.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        loss: nn.Module | None,
        scaler: Any,
        *,
        is_compiled: bool,
        time_budget: float,
        strict: bool,
        listeners: list[WatchListener],
        problems: list[str],
    ) -> None:
        self._model, self._optimizers, self._loss_module = model, optimizers, loss
        self._is_compiled = is_compiled
        self.strict, self._listeners, self._problems = strict, listeners, problems
        self.step, self.overhead_s, self.is_active = 0, 0.0, True
        self._time_budget, self._checked_cost = time_budget, _FREE_S
        self._process = os.getpid()
        self.skips = SkippedSteps(scaler, lambda kind, **content: self._frames.event(kind, **content))
        self.loss, self._own_loss = LossSeen(), OwnLoss(is_wanted=loss is None)
        self._owners = Owners(model, optimizers)
        self._handles, self._module_handles, self._before_handles = Handles(), Handles(), Handles()
        self._gradient_handles = Handles()
        self._sees_layers = self._skips = self._has_said_odd = False
        self.began = time.perf_counter()
        self._due: float = 1
        self._extra_steps, self._next_batch = 0, 1
        self._losses: list[tuple[int, float | torch.Tensor, float]] = []
        self._metrics: list[tuple[int, dict[str, float]]] = []
        self._keeps_before = not optimizers or any(may_skip(one) or needs_closure(one) for one in optimizers)

    def begin(self, frames: FrameWriter, training: TrainingSeen, owner: object) -> None:
        """Put the hooks on.

        Args:
            frames: Measures and writes.
            training: Observes how the training goes about it.
            owner: Lives as long as the hooks are on: the watcher, which nobody else may hold.
        """
        self._frames, self._training, self._owner = frames, training, owner
        for one in self._optimizers:
            self._handles.after_steps(one, self._after)
        if not self._optimizers:
            self._handles.after_every_step(self._after)
        if self._loss_module is not None:
            self._handles.forward([self._loss_module], self._saw_loss)
        self._look_at_modules()

    def end(self) -> None:
        """Remove all hooks."""
        for handles in (self._handles, self._module_handles, self._gradient_handles, self._before_handles):
            handles.remove()
        self._owner = None

    def is_ours(self) -> bool:
        """Return whether anything is to be done: not in the copy of a process that was forked."""
        if self.is_active and os.getpid() != self._process:
            self.is_active = False
        return self.is_active

    def note_metrics(self, found: dict[str, float]) -> None:
        """Note metrics of the present step; they are written with the losses."""
        self._metrics.append((self.step, found))
        if "loss" in found:
            self.leave_own_loss()

    def leave_own_loss(self) -> None:
        """Take no loss from what the model returns: the loop tells of it otherwise."""
        if self._own_loss.is_wanted:
            self._own_loss.is_wanted = False
            self.loss.forget()

    def observe(self, name: str, given: tuple[Any, ...], value: Any) -> None:
        """Take in a call of a loss function.

        Args:
            name: Of the function.
            given: What it was called with.
            value: What it returned.
        """
        if self._frames.passes.trains and not self._model.training:
            return  # of an evaluation
        is_due = self._is_due
        self.guard(self.loss.see, name, given, value, is_due and self._frames.wants_state, is_due)
        if not is_due:
            self._look_at_bad_loss(given)
        if self._looks_at_batches and not is_wrapped(value):
            self.guard(self._training.lost, given, value)

    def guard(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do something; what goes wrong never ends the training, unless `strict`."""
        began = time.perf_counter()
        try:
            action(*arguments)
        except Exception as error:
            if self.strict:
                raise
            self._failed(error)
        finally:
            self.overhead_s += time.perf_counter() - began

    def tell(self, sentence: str, error: Exception) -> None:
        """Say once that something is left out from now on, and write it down."""
        _log.debug("left out", exc_info=error)
        self._problems.append(f"{sentence}: {type(error).__name__}: {error!s:.300}")
        self._frames.event("left_out", step=self.step, sentence=self._problems[-1])
        warnings.warn(f"{self._problems[-1]}. All else is recorded.", RuntimeWarning, stacklevel=6)

    def _failed(self, error: Exception) -> None:
        _log.debug("watching failed", exc_info=error)
        reason = str(error) if isinstance(error, (NeuronwiseError, OSError)) else f"{type(error).__name__}: {error}"
        self._problems.append(f"nothing is recorded after step {self.step:,}: {reason}")
        self.is_active = False  # hooks do nothing then; taken off now, they would be while torch goes through them
        try:
            self._frames.close("failed", {"reason": reason, "steps": self.step})
        except Exception:  # noqa: BLE001 - a failure was told already
            _log.debug("closing the recording failed", exc_info=True)
        warnings.warn(
            f"{self._problems[-1]}. The training goes on; pass strict=True to stop at such an error.",
            RuntimeWarning,
            stacklevel=4,
        )

    def _look_at_modules(self) -> None:
        """Put hooks on the modules: the next step is recorded."""
        self._frames.begin_step(self.step + 1)
        self._look_before_steps()
        self._look_into_modules()

    def _look_before_steps(self) -> None:
        if not self._before_handles or not self._before_handles.are_last:  # gradients as the optimizer gets them
            self._before_handles.remove()
            for one in self._optimizers:
                self._before_handles.before_steps(one, self._before)
            if not self._optimizers:
                self._before_handles.before_every_step(self._before)

    def _look_into_modules(self) -> None:
        if self._is_compiled or (self._module_handles and self._sees_layers and self._module_handles.are_last):
            return
        self._remove_from_modules()
        modules = self._frames.passes.modules()
        self._sees_layers = bool(modules)  # of lazy modules there are none before they have shapes
        self._module_handles.forward(modules, self._saw_output)
        self._module_handles.before_forward(self._model, self._will_see)
        self._module_handles.forward([self._model], self._saw_result)
        self._gradient_handles.before_accumulated(self._training.parameters, self._will_add)
        self._gradient_handles.accumulated(self._model.parameters(), self._saw_gradient)

    def _remove_from_modules(self) -> None:
        self._module_handles.remove()
        self._gradient_handles.remove()

    def _follow(self) -> None:
        """Look at the modules that were put in the place of others since."""
        if self._frames.follow(self.step + 1):
            self._remove_from_modules()
            self._frames.begin_step(self.step + 1)
            self._look_into_modules()
            self._owners.forget()

    def _will_see(self, module: Any, given: Any) -> None:
        if self.is_ours():
            self.guard(self._follow)
            self.guard(self._frames.passes.begin_pass)

    def _saw_output(self, module: Any, given: Any, output: Any) -> None:
        if self.is_ours():
            self.guard(self._frames.passes.saw_output, module, given, output)

    def _saw_result(self, module: Any, given: Any, output: Any) -> None:
        if self.is_ours():
            self.guard(self._frames.passes.saw_result, given, output)
            if self._own_loss.is_wanted and (self._model.training or not self._frames.passes.trains):
                self.guard(self._see_own_loss, output)
            if self._looks_at_batches:
                self.guard(self._training.called, given, output)
            else:
                self.guard(self._training.evaluated, given)

    def _see_own_loss(self, output: Any) -> None:
        found = self._own_loss.find(output)
        if found is not None:
            self.loss.see(OWN_LOSS, (), found, keep=False, follow=True)

    def _will_add(self, parameter: Any) -> None:
        if self.is_ours() and self._looks_at_batches:
            self.guard(self._training.will_add, parameter)

    def _saw_gradient(self, parameter: Any) -> None:
        if self.is_ours():
            self.guard(self._frames.gradients.came, self._saw_gradients)

    def _saw_gradients(self) -> None:
        if self.is_ours():
            self.guard(self._frames.gradients.backward_ended)

    def _saw_loss(self, module: Any, given: Any, output: Any) -> None:
        if self.step + 1 >= self._due or self._extra_steps:
            if self.is_ours():
                self.observe(type(module).__name__, given, output)
        elif self.is_active and (self._model.training or not self._frames.passes.trains):
            try:  # as at most steps, of which as little as possible is done
                self.loss.see(type(module).__name__, given, output, False)
            except Exception as error:
                if self.strict:
                    raise
                self._failed(error)
            self._look_at_bad_loss(given)

    def _look_at_bad_loss(self, given: Any) -> None:
        """Find where it comes from that the loss of a step that is not recorded is not finite, before the update."""
        last, is_known = self.loss.last, self._frames.nonfinite.found is not None
        if isinstance(last, float) and not math.isfinite(last) and not is_known and self.is_ours():
            self.guard(self._frames.suspect, given)

    @property
    def _is_due(self) -> bool:
        """Whether the step under way is recorded."""
        return self.step + 1 >= self._due or self._extra_steps > 0

    @property
    def _looks_at_batches(self) -> bool:
        """Whether inputs, targets and predictions of the step under way are looked at.

        Of what is recorded they are looked at ever less often, and where it would be waited for a GPU only with states.
        """
        if not self._is_due or self.loss.is_final:
            return False
        return self._frames.wants_state or (self.step + 1 >= self._next_batch and self._frames.is_on_host)

    def _before(self, optimizer: Optimizer, given: Any = (), named: Any = None) -> Any:
        """Look at gradients; of an optimizer that computes them itself, have that done when it has."""
        if not self.is_ours() or not self._owners.begins(optimizer):
            return None
        is_due = self._is_due
        self._skips = skips(optimizer, waits=is_due)
        if self._skips:
            return None
        if (closure := closure_of(given, named)) is not None:
            self._keeps_before = True  # of a loss that is called several times within a step, the first is to count
            return with_closure(
                given, named, Evaluated(closure, lambda: self._evaluated(optimizer, is_due), self._broke)
            )
        if is_due and (self._frames.has_begun or not _changes_nothing(optimizer)):
            self.guard(self._look_at_gradients, optimizer)
        return None

    def _look_at_gradients(self, optimizer: Optimizer, *, evaluates: bool = False) -> None:
        self._follow()
        others = changed_by_others(optimizer, self._owners.known)
        self._frames.before_step(optimizer, scale_of(optimizer), self.skips.scaler, others, evaluates=evaluates)

    def _evaluated(self, optimizer: Optimizer, is_due: bool) -> None:
        """Take loss and gradients as they are after the first call of a closure, by the weights before the step."""
        if self.is_ours():
            self.loss.is_final = True
            if is_due:
                self.guard(lambda: self._look_at_gradients(optimizer, evaluates=True))

    def _broke(self) -> None:
        """Forget a step within which the closure has failed."""
        if self.is_ours():
            self.loss.take()
            self._training.forget()
            self.guard(self._frames.skip_step)

    def _after(self, optimizer: Optimizer, *_: Any) -> None:
        if not self.is_ours() or not self._owners.ends(optimizer):
            return
        loss = self.loss.take()
        if self._skips:
            self._skips = False
            self.guard(self._skip)
            return
        if not self._frames.has_begun:  # it changed nothing
            return
        if self.loss.unused:
            self.guard(self._note_unused)
        self.step += 1
        if self.step < self._due and not self._extra_steps:
            if self.step + 1 >= self._due:
                self._look_at_modules()
            if loss is None:
                return
            on_host = isinstance(loss, float)
            if not on_host or math.isfinite(loss):  # as nearly always: it is written later, with others
                self._losses.append((self.step, loss, _kept(_rate_of(optimizer))))
                if len(self._losses) >= (_LOSSES_AT_ONCE if on_host else _LOSSES_ON_GPU):
                    self.guard(self.write_losses)
                return
        self.guard(self._attend, optimizer, loss)

    def infer_skip(self) -> None:
        """Forget the loss of a step that seems to have been skipped, and tell of it, unless a scaler does."""
        self.loss.take()
        self._training.forget()
        self.skips.inferred(self.step, 1)

    def _note_unused(self) -> None:
        """Tell of the steps that a scaler has skipped since the last one: only their losses were seen."""
        self.skips.look_at_scale(self.step)
        if self._frames.gradients.are_scaled and not self._is_due:
            self.skips.inferred(self.step, self.loss.unused)

    def _skip(self) -> None:
        """Forget a step that changed nothing."""
        self._training.forget()
        self._frames.skip_step()
        self.skips.by_optimizer(self.step)

    def _attend(self, optimizer: Optimizer, loss: float | torch.Tensor | None) -> None:
        step, frames = self.step, self._frames
        rate = float(_rate_of(optimizer))
        is_due = step >= self._due or self._extra_steps > 0
        on_host = isinstance(loss, float)
        bad_loss = isinstance(loss, float) and not math.isfinite(loss)
        if loss is not None:
            self._losses.append((step, loss, rate))
        if bad_loss and not is_due and frames.nonfinite.found is None:
            frames.miss_step()  # nobody looked at its activations; its weights and gradients are still there
            is_due = True
        if is_due:
            is_state = frames.wants_state
            if on_host or frames.is_on_host or is_state:  # else it would wait for the GPU
                self.skips.look_at_scale(step)
            if self.loss.odd is not None and not self._has_said_odd:
                self._has_said_odd = True
                self.tell("the loss is not recorded", TypeError(f"it returned a {self.loss.odd}, no tensor"))
            frames.after_step(step, self.loss, bad_loss=bad_loss, metrics=self._log_frame)
            self._training.stepped(step, self._owners.known, is_state=frames.has_state_of(step))
            if step == 1:
                self._remove_from_modules()  # what the optimizers hold is known now
            if step >= self._next_batch:
                self._next_batch = frames.moments.next_batch(step)
            if frames.validated:
                for listener in self._listeners:
                    listener.on_metrics(step, frames.validated)
                frames.validated = {}
            if on_host or frames.is_on_host or is_state:
                self.write_losses()
            self._choose_next(step)
            if self.strict and (found := frames.nonfinite.found) is not None:
                raise TrainingDiverged(found.sentence, step=step, layer=found.layer or "loss", quantity=found.quantity)

    def _choose_next(self, step: int) -> None:
        """Choose the next recorded step, and put hooks on the modules or take them off."""
        moments, frames = self._frames.moments, self._frames
        if frames.has_found(step):
            self._extra_steps = _STEPS_AFTER_NONFINITE
        elif self._extra_steps:
            self._extra_steps -= 1
        elapsed = time.perf_counter() - self.began
        allowed = self._time_budget * elapsed + _ALLOWED_PER_STEP_S * step
        if step <= DENSE_STEPS:  # which are all recorded, whatever they cost
            self._checked_cost = self.overhead_s + _FREE_S
        elif moments.every is None and self.overhead_s > max(self._checked_cost, allowed):
            frames.thin(step, f"watching has taken {self.overhead_s:.2f} of {elapsed:.2f} s")
            self._checked_cost = self.overhead_s + _FREE_S
        self._due = moments.next_frame(step)
        if step + 1 >= self._due or self._extra_steps:
            self._look_at_modules()
        else:
            self._remove_from_modules()
            if not self._keeps_before:
                self._before_handles.remove()

    def write_losses(self) -> None:
        """Write the losses of the steps since the last time; on a GPU this waits for it."""
        for step, loss, rate in self._losses:
            value = float(loss)
            self._frames.scalar(step, value, float(rate))
            if not math.isfinite(value):
                self._frames.nonfinite.found_bad_loss(step)
            for listener in self._listeners:
                listener.on_loss(step, value, float(rate))
        self._losses.clear()
        for step, found in self._metrics:
            self._frames.event("metrics", step=step, metrics=found)
        self._metrics.clear()

    def _log_frame(self, step: int, row: Any, metrics: Mapping[str, float]) -> None:
        for listener in self._listeners:
            listener.on_frame(step, row, metrics)


def _changes_nothing(optimizer: Optimizer) -> bool:
    """Return whether a step that begins changes nothing, as there is no gradient: known of optimizers of torch."""
    is_known = type(optimizer).__module__.partition(".")[0] == "torch"
    return is_known and all(one.grad is None for group in optimizer.param_groups for one in group["params"])


def _rate_of(optimizer: Optimizer) -> Any:
    """Return the learning rate of an optimizer; NaN of one that has none, or chooses it itself."""
    rate = optimizer.param_groups[0].get("lr")
    return math.nan if rate is None else rate


def _kept(rate: Any) -> Any:
    """Return a learning rate as it is now: a schedule changes one that is a tensor in place."""
    return rate.detach().clone() if hasattr(rate, "detach") else rate
