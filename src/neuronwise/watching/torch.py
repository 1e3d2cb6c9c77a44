"""Watching a PyTorch model: every neuron at some steps of somebody else's loop, which is not changed."""

from __future__ import annotations

import atexit
import functools
import logging
import math
import os
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronwise.errors import NeuronwiseError, NotFoundError, TrainingDiverged, UsageError
from neuronwise.network.exchange import import_torch
from neuronwise.recording import Recording, read_recording
from neuronwise.recording.schedule import DEFAULT_MAX_BYTES
from neuronwise.watching.listener import WatchListener
from neuronwise.watching.moments import DENSE_STEPS, Moments
from neuronwise.watching.sink import refuse_recorded
from neuronwise.watching.torch_arguments import check_loss, check_model, check_settings, is_compiled, unwrapped
from neuronwise.watching.torch_closures import Evaluated, changed_by_others, closure_of, with_closure
from neuronwise.watching.torch_frames import FrameWriter
from neuronwise.watching.torch_hooks import Handles
from neuronwise.watching.torch_losses import LossSeen
from neuronwise.watching.torch_training import TrainingSeen

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


class TorchWatcher:
    """Records a PyTorch model while a loop trains it. Made by `neuronwise.watch`.

    A step is one of the optimizer's: gradients that are accumulated over several backward passes are those of one
    step, and a step that a gradient scaler skips is none. Of a step with a closure all is that of its first call; of
    several optimizers each step shows gradients of the parameters that its own one changes, others as NaN. Steps 0
    (the weights before the first update) to 50 are all recorded, then ever fewer (`watching.moments`). Between recorded
    steps there is no hook on any module.

    Nothing of the training is changed: no gradient, no random state, no mode; with and without it weights are the same
    to the last bit.

    Args:
        model: The model, or a part of one; wrapped by `torch.compile` or a parallel wrapper, what is inside.
        optimizer: The optimizer, or several, of which every step counts; None: any that changes these parameters.
        folder: Where the recording is written; must not hold one.
        loss: The loss module, whose calls are looked at; for a function see `observe`.
        scaler: The gradient scaler, by which it is known which steps were skipped.
        validation: (inputs, targets), on which a copy of the model in evaluation mode is tried with `loss` whenever a
            state is stored: metric ``val_loss``.
        layers: Patterns of module paths to watch (``"encoder.*"``); default all with parameters.
        exclude: Patterns not to watch.
        probe: A few inputs; a copy of the model answers them, where its own activations cannot be seen
            (`torch.compile`).
        time_budget: Share of the steps' time that watching may take, beyond 20 µs a step and half a second in all;
            what exceeds it doubles the distance of what is recorded.
        bytes_budget: Bytes that the recording may take.
        statistics_every: Steps between statistics, whatever they cost; default the series of `watching.moments`.
        strict: Raise instead of going on: when a measurement fails, or something is not finite.
        listeners: Who is told what was recorded.

    Attributes:
        step: Steps taken so far.
        folder: Where the recording lies.
        problems: Sentences about what could not be recorded.
        overhead_s: Seconds that watching has taken so far.

    Raises:
        UsageError: An argument does not fit.
        MissingExtraError: PyTorch is not installed.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        folder: str | Path,
        loss: nn.Module | None = None,
        scaler: Any = None,
        validation: tuple[Any, Any] | None = None,
        layers: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        probe: Any = None,
        time_budget: float = 0.02,
        bytes_budget: int = DEFAULT_MAX_BYTES,
        statistics_every: int | None = None,
        strict: bool = False,
        listeners: Sequence[WatchListener] = (),
    ) -> None:
        import_torch()
        self._is_compiled = is_compiled(model)
        self._model = model = unwrapped(model)
        optimizers = check_model(model, optimizer)
        check_loss(loss, validation, scaler)
        check_settings(folder, layers, exclude, time_budget, bytes_budget, statistics_every)
        self.folder, self.strict, self.step = Path(folder), strict, 0
        refuse_recorded(self.folder)
        self.problems: list[str] = []
        self.overhead_s = 0.0
        self._time_budget, self._checked_cost = time_budget, _FREE_S
        self._process, self._listeners = os.getpid(), tuple(listeners)
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._scale = None if self._scaler is None else float(self._scaler.get_scale())
        self._skipped = 0
        self._loss, self._loss_module = LossSeen(), loss
        self._frames = FrameWriter(
            model, self.folder, Moments(every=statistics_every), bytes_budget, layers, exclude,
            probe=probe, validation=validation, loss=loss, sees_outputs=not self._is_compiled,
            skipped=self._infer_skip,
        )  # fmt: skip
        self._training = TrainingSeen(model, loss, validation, self._frames.event, strict=strict)
        self._frames.answered = self._training.answered
        self._owners: weakref.WeakKeyDictionary[Optimizer, bool] = weakref.WeakKeyDictionary()
        self._handles, self._module_handles = Handles(), Handles()
        self._sees_layers = self._skips = False
        self._active, self._began = True, time.perf_counter()
        self._due: float = 1
        self._extra_steps = 0
        self._losses: list[tuple[int, float | torch.Tensor, float]] = []
        self._metrics: list[tuple[int, dict[str, float]]] = []
        self._is_given = bool(optimizers)  # then hooks are on these only
        for one in optimizers:
            self._owners[one] = True
            self._handles.optimizer(one, self._before, self._after)
        if not optimizers:
            self._handles.every_optimizer(self._before, self._after)
        if loss is not None:
            self._handles.forward([loss], self._saw_loss)
        self._look_at_modules()
        self._at_exit = functools.partial(_close_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)

    # ------------------------------------------------------------------ for the user

    @property
    def recording(self) -> Recording:
        """What was recorded so far, as `neuronwise.open` returns it.

        Raises:
            NotFoundError: Nothing was, as no step has been taken yet.
        """
        if not self._frames.has_begun:
            raise NotFoundError(
                "nothing is recorded yet: no step of the optimizer has been taken",
                hint="the optimizer's step() begins the recording; see argument optimizer",
            )
        if self._is_ours():
            self._flush()
        return Recording(read_recording(self.folder))

    def log(self, **metrics: float) -> None:
        """Note metrics of the present step, of any name: ``watcher.log(accuracy=0.93)``; tensors of one number too."""
        if not self._is_ours():
            return
        found = {}
        for name, value in metrics.items():
            try:
                found[name] = float(value.detach() if hasattr(value, "detach") else value)
            except (TypeError, ValueError):
                raise UsageError(
                    f"expected a number, got {type(value).__name__}", where=f"argument {name} of log"
                ) from None
        self._metrics.append((self.step, found))
        for listener in self._listeners:
            listener.on_metrics(self.step, found)

    def observe(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a loss function that does the same, and whose values are recorded: ``observe(F.cross_entropy)``."""
        if not callable(function):
            raise UsageError(f"expected a function, got {function!r:.100}", where="argument function")
        name = getattr(function, "__name__", type(function).__name__)

        @functools.wraps(function)
        def observed(*arguments: Any, **named: Any) -> Any:
            value = function(*arguments, **named)
            if self._is_ours():
                given = (*arguments, *named.values())
                self._guard(self._loss.see, name, given, value, self._frames.wants_state)
                if self._looks_at_batches:
                    self._guard(self._training.lost, given, value)
            return value

        return observed

    def close(self, status: str = "finished") -> None:
        """Complete the recording and remove all hooks; a second call does nothing.

        Args:
            status: How the training ended.
        """
        atexit.unregister(self._at_exit)
        self._handles.remove()
        self._module_handles.remove()
        if not self._is_ours():
            return
        self._guard(self._finish, status)
        self._active = False
        for listener in self._listeners:
            listener.on_close(status)

    def __enter__(self) -> TorchWatcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close("finished" if kind is None else "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed")

    def __repr__(self) -> str:
        return f"<Watcher of {type(self._model).__name__}, {self.step:,} steps, {self.folder}>"

    def __getstate__(self) -> Any:
        raise TypeError("a watcher belongs to the process that it was made in, and is not copied")

    # ------------------------------------------------------------------ what happens

    def _is_ours(self) -> bool:
        if self._active and os.getpid() != self._process:
            self._active = False  # of the copy in a process that was forked
        return self._active

    def _guard(self, action: Callable[..., None], *arguments: Any) -> None:
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

    def _failed(self, error: Exception) -> None:
        _log.debug("watching failed", exc_info=error)
        reason = str(error) if isinstance(error, (NeuronwiseError, OSError)) else f"{type(error).__name__}: {error}"
        self.problems.append(f"nothing is recorded after step {self.step:,}: {reason}")
        self._active = False  # hooks do nothing then; taken off now, they would be while torch goes through them
        try:
            self._frames.close("failed", {})
        except Exception:  # noqa: BLE001 - a failure was told already
            _log.debug("closing the recording failed", exc_info=True)
        warnings.warn(
            f"{self.problems[-1]}. The training goes on; pass strict=True to stop at such an error.",
            RuntimeWarning,
            stacklevel=4,
        )

    def _owns(self, optimizer: Optimizer) -> bool:
        """Return whether an optimizer changes parameters that are watched."""
        found = self._owners.get(optimizer)
        if found is None:
            ids = {id(parameter) for parameter in self._model.parameters()}
            found = any(id(one) in ids for group in optimizer.param_groups for one in group["params"])
            self._owners[optimizer] = found
        return found

    def _look_at_modules(self) -> None:
        """Put hooks on the modules: the next step is recorded."""
        self._frames.begin_step(self.step + 1)
        if self._is_compiled or (self._module_handles and self._sees_layers):
            return
        self._module_handles.remove()
        modules = self._frames.passes.modules()
        self._sees_layers = bool(modules)  # of lazy modules there are none before they have shapes
        self._module_handles.forward(modules, self._saw_output)
        self._module_handles.before_forward(self._model, self._will_see)
        self._module_handles.forward([self._model], self._saw_result)
        self._module_handles.accumulated(self._model.parameters(), self._saw_gradient)

    def _follow(self) -> None:
        """Look at the modules that were put in the place of others since."""
        if self._frames.follow(self.step + 1):
            self._module_handles.remove()
            self._look_at_modules()
            if not self._is_given:
                self._owners.clear()

    def _will_see(self, module: Any, given: Any) -> None:
        if self._is_ours():
            self._guard(self._follow)

    def _saw_output(self, module: Any, given: Any, output: Any) -> None:
        if self._is_ours():
            self._guard(self._frames.passes.saw_output, module, given, output)

    def _saw_result(self, module: Any, given: Any, output: Any) -> None:
        if self._is_ours():
            self._guard(self._frames.passes.saw_result, given, output)
            if self._looks_at_batches:
                self._guard(self._training.called, given, output)

    def _saw_gradient(self, parameter: Any) -> None:
        if self._is_ours():
            self._guard(self._frames.gradients.came, self._saw_gradients)

    def _saw_gradients(self) -> None:
        if self._is_ours():
            self._guard(self._frames.gradients.backward_ended)

    def _saw_loss(self, module: Any, given: Any, output: Any) -> None:
        if self.step + 1 >= self._due or self._extra_steps or self._frames.wants_state:
            if self._is_ours():
                self._guard(self._loss.see, type(module).__name__, given, output, self._frames.wants_state)
                if self._looks_at_batches:
                    self._guard(self._training.lost, given, output)
        elif self._active:  # as at most steps, of which as little as possible is done
            try:
                self._loss.see(type(module).__name__, given, output, False)
            except Exception as error:
                if self.strict:
                    raise
                self._failed(error)

    @property
    def _looks_at_batches(self) -> bool:
        """Whether the step under way is recorded, and its inputs and targets can be looked at without waiting."""
        is_due = self.step + 1 >= self._due or self._extra_steps > 0
        return is_due and not self._loss.is_final and (self._frames.is_on_host or self._frames.wants_state)

    def _before(self, optimizer: Optimizer, given: Any = (), named: Any = None) -> Any:
        """Look at gradients; of an optimizer that computes them itself, have that done when it has."""
        if not self._is_ours() or not (self._is_given or self._owns(optimizer)):
            return None
        is_due = self.step + 1 >= self._due or self._extra_steps > 0
        self._skips = _skips(optimizer, waits=is_due)
        if self._skips:
            return None
        if (closure := closure_of(given, named)) is not None:
            return with_closure(
                given, named, Evaluated(closure, lambda: self._evaluated(optimizer, is_due), self._broke)
            )
        if is_due:
            self._guard(self._look_at_gradients, optimizer)
        return None

    def _look_at_gradients(self, optimizer: Optimizer, *, evaluates: bool = False) -> None:
        self._follow()
        others = changed_by_others(optimizer, [one for one, owns in self._owners.items() if owns])
        self._frames.before_step(optimizer, _scale_of(optimizer), self._scaler, others, evaluates=evaluates)

    def _evaluated(self, optimizer: Optimizer, is_due: bool) -> None:
        """Take loss and gradients as they are after the first call of a closure, by the weights before the step."""
        if self._is_ours():
            self._loss.is_final = True
            if is_due:
                self._guard(lambda: self._look_at_gradients(optimizer, evaluates=True))

    def _broke(self) -> None:
        """Forget a step within which the closure has failed."""
        if self._is_ours():
            self._loss.take()
            self._training.forget()
            self._guard(self._frames.skip_step)

    def _after(self, optimizer: Optimizer, *_: Any) -> None:
        if not self._is_ours() or not (self._is_given or self._owns(optimizer)):
            return
        loss = self._loss.take()
        if self._skips:
            self._guard(self._skip)
            return
        self.step += 1
        if self.step < self._due and not self._extra_steps:
            if self.step + 1 >= self._due:
                self._look_at_modules()
            if loss is None:
                return
            on_host = isinstance(loss, float)
            if not on_host or math.isfinite(loss):  # as nearly always: it is written later, with others
                self._losses.append((self.step, loss, optimizer.param_groups[0]["lr"]))
                if len(self._losses) >= (_LOSSES_AT_ONCE if on_host else _LOSSES_ON_GPU):
                    self._guard(self._note_losses)
                return
        self._guard(self._attend, optimizer, loss)

    def _infer_skip(self) -> None:
        """Forget the loss of a step that seems to have been skipped, and tell of it, unless a scaler does."""
        self._loss.take()
        self._training.forget()
        if self._scaler is None:
            self._skipped += 1
            self._frames.event("skipped", step=self.step, count=1, inferred=True)

    def _skip(self) -> None:
        """Forget a step that changed nothing."""
        self._training.forget()
        self._frames.skip_step()
        if self._scaler is None:  # else its scale tells of it
            self._skipped += 1
            self._frames.event("skipped", step=self.step, count=1)

    def _attend(self, optimizer: Optimizer, loss: float | torch.Tensor | None) -> None:
        step, frames = self.step, self._frames
        rate = float(optimizer.param_groups[0]["lr"])
        is_due = step >= self._due or self._extra_steps > 0
        on_host = isinstance(loss, float)
        bad_loss = isinstance(loss, float) and not math.isfinite(loss)
        if loss is not None:
            self._losses.append((step, loss, rate))
        if bad_loss and not is_due and frames.found is None:
            frames.miss_step()  # nobody looked at its activations; its weights and gradients are still there
            is_due = True
        if is_due:
            is_state = frames.wants_state
            if on_host or frames.is_on_host or is_state:  # else it would wait for the GPU
                self._note_skipped()
            frames.after_step(step, self._loss, bad_loss=bad_loss, metrics=self._log_frame)
            owners = [one for one, owns in self._owners.items() if owns]
            self._training.stepped(step, owners, is_state=frames.has_state_of(step))
            if frames.validated:
                for listener in self._listeners:
                    listener.on_metrics(step, frames.validated)
                frames.validated = {}
            if on_host or frames.is_on_host or is_state:
                self._note_losses()
            self._choose_next(step)
            if self.strict and frames.found is not None:
                found = frames.found
                raise TrainingDiverged(found.sentence, step=step, layer=found.layer or "loss", quantity=found.quantity)

    def _choose_next(self, step: int) -> None:
        """Choose the next recorded step, and put hooks on the modules or take them off."""
        moments, frames = self._frames.moments, self._frames
        if frames.found is not None and frames.found.step == step:
            self._extra_steps = _STEPS_AFTER_NONFINITE
        elif self._extra_steps:
            self._extra_steps -= 1
        elapsed = time.perf_counter() - self._began
        allowed = self._time_budget * elapsed + _ALLOWED_PER_STEP_S * step
        if step > DENSE_STEPS and moments.every is None and self.overhead_s > max(self._checked_cost, allowed):
            frames.thin(step, f"watching has taken {self.overhead_s:.2f} of {elapsed:.2f} s")
            self._checked_cost = self.overhead_s + _FREE_S
        self._due = moments.next_frame(step)
        if step + 1 >= self._due or self._extra_steps:
            self._look_at_modules()
        else:
            self._module_handles.remove()

    def _note_skipped(self) -> None:
        """Tell of steps that the scaler skipped, by how often it has lowered its scale."""
        if self._scaler is None:
            return
        scale, before = float(self._scaler.get_scale()), self._scale
        backoff = float(self._scaler.get_backoff_factor())
        if before is not None and 0 < scale < before and 0 < backoff < 1:
            count = max(1, round(math.log(scale / before) / math.log(backoff)))
            self._skipped += count
            self._frames.event("skipped", step=self.step, count=count, scale=scale)
        self._scale = scale

    def _note_losses(self) -> None:
        """Write the losses of the steps since the last time; on a GPU this waits for it."""
        for step, loss, rate in self._losses:
            value = float(loss)
            self._frames.scalar(step, value, float(rate))
            if not math.isfinite(value):
                self._frames.found_bad_loss(step)
            for listener in self._listeners:
                listener.on_loss(step, value, float(rate))
        self._losses.clear()
        for step, found in self._metrics:
            self._frames.event("metrics", step=step, metrics=found)
        self._metrics.clear()

    def _log_frame(self, step: int, row: Any, metrics: Mapping[str, float]) -> None:
        for listener in self._listeners:
            listener.on_frame(step, row, metrics)

    def _flush(self) -> None:
        self._guard(self._note_losses)
        self._guard(self._frames.flush)

    def _finish(self, status: str) -> None:
        if not self._frames.has_begun:
            if not self.step:
                self.problems.append("nothing was recorded: no step of the optimizer was taken")
            return
        self._note_losses()
        elapsed = time.perf_counter() - self._began
        self._frames.last_state(self.step)
        self._training.write(self.step)
        self._frames.close(
            status,
            {"steps": self.step, "overhead_s": self.overhead_s, "elapsed_s": elapsed, "skipped_steps": self._skipped},
        )


def _close_at_exit(reference: weakref.ref[TorchWatcher]) -> None:
    watcher = reference()
    if watcher is not None:
        watcher.close()


def _scale_of(optimizer: Optimizer) -> Any:
    """Return what gradients are multiplied by while a step is taken: fused optimizers divide by it themselves.

    None if by nothing; else a tensor, of which the value is not asked: that would wait for a GPU.
    """
    return getattr(optimizer, "grad_scale", None)


def _skips(optimizer: Optimizer, *, waits: bool) -> bool:
    """Return whether a fused optimizer is about to change nothing, as its scaler found gradients that are not finite.

    Args:
        optimizer: The optimizer.
        waits: Whether a GPU may be waited for; else it is not known there.
    """
    found = getattr(optimizer, "found_inf", None)
    return found is not None and (waits or found.device.type == "cpu") and bool(found)
