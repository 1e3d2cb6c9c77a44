"""Watching a PyTorch model: every neuron at some steps of somebody else's loop, which is not changed."""

from __future__ import annotations

import atexit
import functools
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.network.exchange import import_torch
from neuronwise.recording import Recording, read_recording
from neuronwise.recording.schedule import DEFAULT_MAX_BYTES
from neuronwise.watching.listener import WatchListener
from neuronwise.watching.moments import Moments
from neuronwise.watching.sink import refuse_recorded
from neuronwise.watching.torch_arguments import check_loss, check_model, check_settings, is_compiled, unwrapped
from neuronwise.watching.torch_frames import FrameWriter
from neuronwise.watching.torch_steps import StepHooks
from neuronwise.watching.torch_training import TrainingSeen

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


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
        time_budget: Share of the time that watching may take, beyond 20 µs a step, steps 0 to 50 and half a second;
            what exceeds it doubles the distance of what is recorded.
        bytes_budget: Bytes that the recording may take.
        statistics_every: Steps between statistics, whatever they cost; default the series of `watching.moments`.
        strict: Raise instead of going on: when a measurement fails, or something is not finite.
        listeners: Who is told what was recorded.

    Attributes:
        folder: Where the recording lies.
        problems: Sentences about what could not be recorded.

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
        compiled = is_compiled(model)
        model = unwrapped(model)
        optimizers = check_model(model, optimizer)
        check_loss(loss, validation, scaler)
        check_settings(folder, layers, exclude, time_budget, bytes_budget, statistics_every)
        self.folder, self.strict = Path(folder), strict
        refuse_recorded(self.folder)
        self.problems: list[str] = []
        self._model, self._loss_module, self._listeners = model, loss, list(listeners)
        self._steps = StepHooks(
            model, optimizers, loss, scaler, is_compiled=compiled, time_budget=time_budget, strict=strict,
            listeners=self._listeners, problems=self.problems,
        )  # fmt: skip
        self._frames = FrameWriter(
            model, self.folder, Moments(every=statistics_every), bytes_budget, layers, exclude,
            probe=probe, validation=validation, loss=loss, sees_outputs=not compiled,
            skipped=self._steps.infer_skip, tell=self._steps.tell, strict=strict,
        )  # fmt: skip
        self._training = TrainingSeen(model, loss, validation, self._frames.event, strict=strict)
        self._frames.have_answers_seen(self._training.answered)
        self._steps.begin(self._frames, self._training, self)
        self._at_exit = functools.partial(_close_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)

    # ------------------------------------------------------------------ for the user

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self._steps.step

    @property
    def overhead_s(self) -> float:
        """Seconds that watching has taken so far."""
        return self._steps.overhead_s

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
        if self._steps.is_ours():
            self._steps.guard(self._steps.write_losses)
            self._steps.guard(self._frames.flush)
        return Recording(read_recording(self.folder))

    def log(self, **metrics: float) -> None:
        """Note metrics of the present step, of any name: ``watcher.log(accuracy=0.93)``; tensors of one number too."""
        if not self._steps.is_ours():
            return
        found = {}
        for name, value in metrics.items():
            try:
                found[name] = float(value.detach() if hasattr(value, "detach") else value)
            except (TypeError, ValueError):
                raise UsageError(
                    f"expected a number, got {type(value).__name__}", where=f"argument {name} of log"
                ) from None
        self._steps.note_metrics(found)
        for listener in self._listeners:
            listener.on_metrics(self.step, found)

    def observe(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a loss function that does the same, and whose values are recorded: ``observe(F.cross_entropy)``."""
        if not callable(function):
            raise UsageError(f"expected a function, got {function!r:.100}", where="argument function")
        name = getattr(function, "__name__", type(function).__name__)
        self._steps.leave_own_loss()

        @functools.wraps(function)
        def observed(*arguments: Any, **named: Any) -> Any:
            value = function(*arguments, **named)
            if self._steps.is_ours():
                self._steps.observe(name, (*arguments, *named.values()), value)
            return value

        return observed

    def close(self, status: str = "finished") -> None:
        """Complete the recording and remove all hooks; a second call does nothing.

        Args:
            status: How the training ended.
        """
        atexit.unregister(self._at_exit)
        self._steps.end()
        if not self._steps.is_ours():
            return
        self._steps.guard(self._finish, status)
        self._steps.is_active = False
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

    def _finish(self, status: str) -> None:
        steps, frames = self._steps, self._frames
        if not frames.has_begun:
            if not steps.step:
                self.problems.append("nothing was recorded: no step of the optimizer was taken")
            return
        steps.write_losses()
        elapsed = time.perf_counter() - steps.began
        frames.last_state(steps.step)
        self._training.write(steps.step)
        frames.close(
            status,
            {
                "steps": steps.step, "overhead_s": steps.overhead_s, "elapsed_s": elapsed,
                "skipped_steps": steps.skips.count,
            },
        )  # fmt: skip


def _close_at_exit(reference: weakref.ref[TorchWatcher]) -> None:
    watcher = reference()
    if watcher is not None:
        watcher.close()
