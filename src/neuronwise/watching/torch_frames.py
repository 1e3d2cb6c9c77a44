"""What a watched PyTorch model looks like at a step, measured and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.recording import HISTOGRAMS, NEURON_FIELDS, Layout
from neuronwise.recording.description import npy_bytes
from neuronwise.recording.histogram import histogram
from neuronwise.recording.rows import field_bytes, layers_dtype, neurons_dtype, part_of
from neuronwise.watching.moments import Moments
from neuronwise.watching.sink import FrameSink
from neuronwise.watching.torch_activations import learn_from_sequence
from neuronwise.watching.torch_beginning import described, has_lazy, notes_on
from neuronwise.watching.torch_gradients import Gradients
from neuronwise.watching.torch_layers import Links, WatchedLayer, module_at, watched_layers
from neuronwise.watching.torch_losses import LossSeen
from neuronwise.watching.torch_network import KeptNetwork
from neuronwise.watching.torch_nonfinite import NonfiniteFinder
from neuronwise.watching.torch_passes import ForwardPasses, shape_of_one
from neuronwise.watching.torch_states import States
from neuronwise.watching.torch_statistics import on_host, statistics_of
from neuronwise.watching.torch_twin import Answered, Twins

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer

LogFrame = Callable[[int, NDArray[np.void], Mapping[str, float]], None]


@dataclass(frozen=True)
class _Frame:
    """A recorded step: its number, norms of its gradients, and in which order its layers were called."""

    step: int
    norms: dict[str, float]
    has_histograms: bool
    order: list[WatchedLayer]
    bad_loss: bool


class FrameWriter:
    """Measures the model at recorded steps and writes what it finds.

    Args:
        model: The model.
        folder: Of the recording, made with the first step.
        moments: What is recorded when.
        bytes_budget: Bytes allowed.
        layers: Patterns of paths to watch, or None.
        exclude: Patterns not to watch, or None.
        probe: Inputs for a copy of the model, or None.
        validation: (inputs, targets), or None.
        loss: The loss module, or None.
        sees_outputs: Whether the model's own forward pass shows activations.
        skipped: Called where a step seems to have been skipped, as its gradients were not finite.
        tell: Called with a sentence and an error where something is left out from now on.
        strict: Whether that error is raised instead.

    Attributes:
        has_begun: Whether anything is recorded yet.
        gradients: The norm of all gradients of the step under way.
        passes: What is seen of forward passes.
        nonfinite: Where it was first not finite.
        validated: What the rows held out gave last, until somebody takes it.
    """

    def __init__(
        self,
        model: nn.Module,
        folder: Path,
        moments: Moments,
        bytes_budget: int,
        layers: Sequence[str] | None,
        exclude: Sequence[str] | None,
        *,
        probe: Any,
        validation: tuple[Any, Any] | None,
        loss: nn.Module | None,
        sees_outputs: bool,
        skipped: Callable[[], None],
        tell: Callable[[str, Exception], None],
        strict: bool,
    ) -> None:
        self._model, self._folder, self.moments, self._bytes_budget = model, folder, moments, bytes_budget
        self._patterns, self._probe = (layers, exclude), probe
        self._sees_outputs, self._skipped = sees_outputs, skipped
        self._twins = Twins(model, probe, validation, loss, tell=tell, strict=strict)
        self._layers: list[WatchedLayer] = []
        self._sink: FrameSink | None = None
        self._early_events: list[tuple[str, dict[str, Any]]] = []
        self.nonfinite = NonfiniteFinder(self.event)
        self._step = 1  # the one under way
        self._next_state, self._last_state = 1, -1
        self._is_measured = False
        self.gradients = Gradients(model, lambda: self.is_on_host)
        self._pending: tuple[_Frame, Any] | None = None
        self.validated: dict[str, float] = {}
        self._log: LogFrame | None = None
        self._network: KeptNetwork | None = None
        self._others: Set[int] | None = frozenset()
        self._masked = set[str]()
        self._tell = tell
        self.passes = ForwardPasses(model, self.gradients, self._see, self._infer_skip, self._begin_pass)
        self.passes.input_shape = shape_of_one(probe)
        if not has_lazy(model):
            self._prepare()

    def _prepare(self) -> None:
        """Find the layers, and make the buffers for their statistics."""
        self._recorded, self._layout, self._notes = watched_layers(self._model, *self._patterns)
        self._layers = [layer for layer in self._recorded if layer.layout.neurons]
        learn_from_sequence(self._model, [layer for layer in self._layers if layer.answers])
        self._find_modules()
        dtype = neurons_dtype(self._layout.neuron_count, self._layout.dtype)
        self._row: NDArray[np.void] = np.zeros(1, dtype)
        number = self._layout.dtype.newbyteorder("<")
        shape = (len(NEURON_FIELDS), self._layout.neuron_count)
        values: NDArray[Any] = part_of(self._row, field_bytes(dtype, NEURON_FIELDS[0])[0], (number, shape))[0]
        self._histograms: NDArray[np.void] = np.zeros(1, layers_dtype(len(self._layers), self._layout.dtype))
        self._statistics = statistics_of(self._layers, values)
        self._places = {layer: place for place, layer in enumerate(self._layers)}
        self._states = States(self._model, self._recorded, self._layout, self._tell)

    def _find_modules(self) -> None:
        self.passes.look_at(self._layers)
        self._links = Links(self._model, self._recorded)

    def follow(self, step: int) -> bool:
        """Take modules that were put in the place of watched ones for these; return whether there were any.

        One that does not fit may hold the watched one by now.

        Args:
            step: The one under way.

        Raises:
            UsageError: One is gone, or has parameters of other shapes.
        """
        if not self._layers or self._links.are_as_they_were():
            return False
        replaced, moved = [], []
        paths = {id(module): path for path, module in self._model.named_modules()}
        for layer in self._recorded:
            module, elsewhere = module_at(self._model, layer.path), paths.get(id(layer.module))
            if module is layer.module:
                continue
            if elsewhere is not None and not layer.fits(module):
                layer.stay_with_module(elsewhere)
                moved.append(f"{layer.layout.name} to {elsewhere}")
            else:
                layer.move_to(module)
                replaced.append(layer.layout.name)
        self._find_modules()
        self._others = None  # their parameters are other ones
        for kind, layers in (("layers_replaced", replaced), ("layers_moved", moved)):
            if layers:
                self.event(kind, step=step, layers=layers)
        return True

    @property
    def has_begun(self) -> bool:
        """See the class."""
        return self._sink is not None

    def have_answers_seen(self, answered: Answered) -> None:
        """Have what copies answer to the rows held out looked at, whenever they are asked."""
        self._twins.answered = answered

    # ------------------------------------------------------------------ before and within a step

    def _infer_skip(self) -> None:
        self.skip_step()
        self._skipped()

    def _begin_pass(self, number: int) -> None:
        if self._layers:
            self._statistics.begin_pass(number)

    def _see(self, layer: WatchedLayer, values: torch.Tensor, given: Any) -> None:
        self._statistics.see(layer, values, given)
        if self.wants_state:
            z = values.detach()
            self._histogram(layer, "z", z)
            self._histogram(layer, "a", z if layer.activation is None else layer.activation(z))

    def begin_step(self, step: int) -> None:
        """Prepare for a step that is recorded: whether its state is stored decides what is looked at."""
        self._step = step

    def has_state_of(self, step: int) -> bool:
        """Return whether the state after a step was stored last."""
        return self._last_state == step

    def has_found(self, step: int) -> bool:
        """Return whether it was first not finite at a step."""
        return self.nonfinite.found is not None and self.nonfinite.found.step == step

    @property
    def wants_state(self) -> bool:
        """Whether the state after the step under way is stored, and with it histograms."""
        return self._step >= self._next_state

    @property
    def is_on_host(self) -> bool:
        """Whether all weights are on the CPU, so that nothing waits for a GPU."""
        return not self._layers or self._statistics.is_on_host

    def before_step(
        self, optimizer: Optimizer, scale: Any, scaler: Any, others: Set[int], *, evaluates: bool = False
    ) -> None:
        """Measure the gradients that the optimizer is about to use.

        Args:
            optimizer: The optimizer.
            others: Parameters, by their `id`, that are changed by other optimizers only: what gradients they have are
                of another step, or for one.
            evaluates: Whether the optimizer may compute more within the step, at weights between, which is not looked
                at.
            scale: What they are multiplied by still, as a fused optimizer divides them itself; None if they are not.
            scaler: The gradient scaler, where it is known.
        """
        if self._sink is None:
            self._begin()
        if others != self._others:
            self._others = others
            for layer in self._layers:
                layer.hide_gradients_of(others)
        if not self._sees_outputs and self._twins.have_probe:
            self._twins.ask(self._layers, self._see)
        self._statistics.before_step(scale)
        if self.wants_state:
            for layer in self._statistics.weighted:
                gradient = layer.weight_gradient
                self._histogram(
                    layer, "dW", None if gradient is None or gradient.is_sparse else _unscaled(gradient, scale)
                )
        self.gradients.before_step(optimizer, scale, scaler, others)
        self._is_measured, self.gradients.is_final = True, evaluates

    def _begin(self) -> None:
        """Write the recording's beginning: the model before its first update."""
        if not self._layers:
            self._prepare()
        is_blind = self._sees_outputs and not self.passes.are_seen and bool(self._layers)
        if is_blind and self._twins.have_probe:  # compiled after it was watched
            self._sees_outputs = False
        if not self._sees_outputs and self._twins.have_probe:
            self._twins.learn(self._layers)
        self.passes.end_learning()
        self._layout = Layout([layer.layout for layer in self._recorded], self._layout.dtype)
        notes = self._notes + notes_on(
            self._layers, sees_outputs=self._sees_outputs, is_blind=is_blind, has_probe=self._twins.have_probe
        )
        self._network = KeptNetwork(self._model, self._layout, self.passes.input_shape)
        if self._network.note is not None:
            notes.append(self._network.note)
        files = {}
        if hasattr(self._probe, "detach") and self._probe.dtype.is_floating_point:
            files["probe.npy"] = npy_bytes(on_host(self._probe.cpu()).astype("<f4"))
        told = described(self._model, is_compiled=not self._sees_outputs)
        self._sink = FrameSink(
            self._folder, self._layout, extra={"watched": told | self._network.to_dict()}, files=files,
            moments=self.moments, bytes_budget=self._bytes_budget, notes=notes,
        )  # fmt: skip
        for kind, content in self._early_events:
            self._sink.event(kind, **content)
        self._statistics.after_step(with_update=False, with_activations=False)
        self._statistics.take(self._statistics.fetch())
        bad, self._statistics.bad = self._statistics.bad, None  # it is of the first step
        self._write(_Frame(0, {}, False, [], False))
        self._statistics.bad = bad
        self._store_state(0)

    # ------------------------------------------------------------------ after a step

    def miss_step(self) -> None:
        """Prepare for a step that turned out to matter when it was taken: gradients and weights are left of it."""
        self._statistics.begin()
        self._is_measured = False

    def skip_step(self) -> None:
        """Forget what was seen of a step that changes nothing."""
        if self._layers:
            self._statistics.begin()
            self._histograms[...] = 0
        self.passes.forget()
        self.gradients.begin()
        self._is_measured = False

    def after_step(self, step: int, loss: LossSeen, *, bad_loss: bool, metrics: LogFrame) -> None:
        """Measure weights and updates, and write the step."""
        assert self._sink is not None
        self._log, self.passes.trains = metrics, self._model.training
        self._statistics.end_passes(self.passes.dropped)
        self._statistics.after_step(with_update=self._is_measured)
        norms = self.gradients.norms()
        is_state = step >= self._next_state
        if is_state:
            for layer in self._statistics.weighted:
                self._histogram(layer, "W", layer.weight)
        self._complete()
        waiting, frame = self._statistics.fetch(), _Frame(step, norms, is_state, self._statistics.order, bad_loss)
        if waiting is None:
            self._write(frame)
        else:
            self._pending = frame, waiting
            if is_state:  # whose histograms have waited for the GPU already
                self._complete()
        if is_state or self.has_found(step):
            self._store_state(step)
            self._next_state = self.moments.next_keyframe(step)
            if loss.kind is not None:
                self._sink.event("loss", step=step, **loss.describe())
            if (value := self._twins.validate()) is not None:
                self.validated = {"val_loss": value}
                self.event("metrics", step=step, metrics=self.validated)
            self._look_for_new_layers(step)
        if masked := {layer.layout.name for layer in self._recorded if layer.is_masked} - self._masked:
            self._masked |= masked
            self.event("layers_masked", step=step, layers=sorted(masked))
        self._statistics.begin()
        self._histograms[...] = 0
        self.nonfinite.begin()
        self.passes.end_step()
        self.gradients.begin()
        self._is_measured, self._step = False, step + 1

    def _complete(self) -> None:
        """Write the frame that was on its way from a GPU."""
        if self._pending is None:
            return
        (frame, waiting), self._pending = self._pending, None
        self._statistics.take(waiting)
        self._write(frame)

    def _write(self, frame: _Frame) -> None:
        assert self._sink is not None
        step, norms = frame.step, frame.norms
        self.nonfinite.look_at(step, self._statistics, frame.order, bad_loss=frame.bad_loss)
        self._sink.frame(step, self._row, self._histograms if frame.has_histograms else None)
        if norms:
            self._sink.event("metrics", step=step, metrics=norms)
        if self._log is not None:
            self._log(step, self._row, norms)

    def _histogram(self, layer: WatchedLayer, name: str, values: torch.Tensor | None) -> None:
        assert name in HISTOGRAMS
        place = self._places[layer]
        row = self._histograms[0]
        array = None if values is None else on_host(values.cpu())
        with np.errstate(all="ignore"):
            histogram(array, row[f"{name}_counts"][place], row[f"{name}_range"][place])

    def suspect(self, outputs: Any) -> None:
        """Find where a forward pass that was not looked at is not finite, as its loss is not.

        Args:
            outputs: What the loss was given.
        """
        self.nonfinite.suspect(outputs, self._recorded)

    def _store_state(self, step: int) -> None:
        assert self._sink is not None
        if self._sink.state(step, *self._states.read()):
            self._last_state = step

    def last_state(self, step: int) -> None:
        """Store the state after the last step."""
        if self._last_state != step:
            self._look_for_new_layers(step)
            self._store_state(step)

    def _look_for_new_layers(self, step: int) -> None:
        """Tell of modules that were added or changed since the recording began."""
        if self._network is not None and self._network.has_changed(self._model):
            self.event("network_changed", step=step)
        if (added := self._states.added()) and not any(self._patterns):
            self.event("layers_added", step=step, layers=added)

    # ------------------------------------------------------------------ the sink

    def event(self, kind: str, **content: Any) -> None:
        """Write an event; of one before the first step, when there is a recording."""
        if self._sink is None:
            self._early_events.append((kind, content))
        else:
            self._sink.event(kind, **content)

    def scalar(self, step: int, loss: float, rate: float) -> None:
        """Note loss and learning rate of a step."""
        if self._sink is not None:
            self._sink.scalar(step, loss, rate)

    def thin(self, step: int, reason: str) -> None:
        """Record less often from now on."""
        if self._sink is not None:
            self._sink.thin(step, reason)

    def flush(self) -> None:
        """Write what is still in memory."""
        self._complete()
        if self._sink is not None:
            self._sink.flush()

    def close(self, status: str, summary: Mapping[str, Any]) -> None:
        """Complete the recording."""
        if self._sink is not None:
            try:
                self._complete()
            finally:
                self._sink.close(status, **summary)


def _unscaled(gradient: torch.Tensor, scale: Any) -> torch.Tensor:
    return gradient if scale is None else gradient / scale.to(gradient.device)
