"""Recording: any weight, gradient and activation of a training at any step, read back or computed again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError, UsageError, did_you_mean
from neuronwise.network import Conv2D, Network, Trace
from neuronwise.recording.batches import TrainingData
from neuronwise.recording.courses import Course, Histogram, from_first_known, text, whole
from neuronwise.recording.described import network_of, settings_of
from neuronwise.recording.layout import LayerLayout, Place
from neuronwise.recording.quantities import LAYER_NORMS, norm
from neuronwise.recording.reader import RecordedHistory
from neuronwise.recording.replay import Difference, Replay
from neuronwise.recording.replayed_step import ReplayedStep
from neuronwise.recording.rows import HISTOGRAMS, NEURON_FIELDS

if TYPE_CHECKING:
    import pandas as pd

FindData = Callable[[], TrainingData | Sequence[TrainingData]]

# Statistics of steps that were not stored are kept, the last used, up to so many bytes.
_CACHE_BYTES = 64_000_000


class Recording:
    """What happened in a training. Made by `neuronwise.open`.

    States that were stored are read back; any other step is taken again from the nearest stored one before it, for
    which the data is needed.

    Args:
        history: What was stored.
        find_data: Returns what the training learned from, when a step must be repeated; None where that is not known.
        threads: Threads of the matrix products; that of the training.
        verify: Whether each replay is taken as far as the next stored state and compared with it, once.
    """

    def __init__(
        self,
        history: RecordedHistory,
        find_data: FindData | None = None,
        *,
        threads: int | None = 1,
        verify: bool = True,
    ) -> None:
        self.stored = history
        self._find_data, self._threads, self._verify = find_data, threads, verify
        self._cache: OrderedDict[int, dict[str, NDArray[np.void]]] = OrderedDict()

    def refresh(self) -> Recording:
        """Return the recording as it is now: of a training that still runs, with what came since."""
        return Recording(
            RecordedHistory(self.stored.folder), self._find_data, threads=self._threads, verify=self._verify
        )

    @property
    def keyframes(self) -> NDArray[np.int64]:
        """Steps whose state is stored, ascending."""
        return self.stored.steps

    @property
    def frames(self) -> NDArray[np.int64]:
        """Steps whose statistics are stored, ascending."""
        return self.stored.frames

    @property
    def best_step(self) -> int | None:
        """The step with the lowest validation loss; None where there was no validation, or it is not known yet."""
        return self.stored.best_step

    @property
    def status(self) -> str:
        """How the training ended, or ``"unfinished"``; see `RecordedHistory`."""
        return self.stored.status

    @property
    def notes(self) -> list[str]:
        """Sentences about how it was recorded: what of the plan gave way, where the steps of checkpoints come from."""
        return self.stored.notes

    @property
    def problems(self) -> list[str]:
        """Sentences about what is missing or damaged, and how replays differed; empty if all is well."""
        replay = self.__dict__.get("replay")
        return [*self.stored.problems, *map(str, replay.differences if replay else [])]

    @property
    def differences(self) -> list[Difference]:
        """How replays differed from what was stored; empty if they did not, or none was needed."""
        replay = self.__dict__.get("replay")
        return list(replay.differences) if replay else []

    @cached_property
    def network(self) -> Network:
        """The network as it was delivered; of a training that has not ended, the last state stored.

        Raises:
            NotFoundError: No state is stored, or it is a model of another framework.
        """
        step = self.stored.delivered_step
        if step is None and not len(self.keyframes):
            raise NotFoundError("the recording holds no weights", where=str(self.stored.folder))
        return self._read(int(self.keyframes[-1]) if step is None else step)

    @cached_property
    def data(self) -> TrainingData | None:
        """What the training learned from; None where nobody knows, or where it learned in several calls.

        Raises:
            NeuronwiseError: It is not to be found.
        """
        found = None if self._find_data is None else self._find_data()
        return found if isinstance(found, TrainingData) else None

    @cached_property
    def replay(self) -> Replay:
        """What repeats steps.

        Raises:
            NeuronwiseError: The data is gone or is not the same, or the recording does not say how to repeat a step.
        """
        settings_of(self.stored)
        if self._find_data is None:
            raise NotFoundError(
                "steps that are not stored must be taken again, and the data they learned from is not at hand",
                where=str(self.stored.folder),
                hint="hand it in: neuronwise.open(RUN, data=…)",
            )
        return Replay(self.stored, self._find_data(), threads=self._threads, verify=self._verify)

    @property
    def steps(self) -> range | NDArray[np.int64]:
        """All steps that can be answered: every one from the first, or the stored ones where none can be repeated.

        The first is 0; of calls of `partial_fit` that went on from what was learned before, the step they began at.
        Of calls whose data is missing only stored steps are answered, and are among these.
        """
        return self.keyframes if self.why_not_replayed else self.replay.steps

    @property
    def why_not_replayed(self) -> str | None:
        """Why steps that are not stored cannot be answered; None if they can."""
        try:
            self.replay  # noqa: B018 - found and checked now
        except NeuronwiseError as error:
            return str(error)
        return None

    def at(self, step: int) -> Network:
        """Return the network as it was after a step; 0 is before the first.

        Raises:
            NotFoundError: The training took no such step, or it is not stored and cannot be repeated.
        """
        step = whole(step)
        if step in self.keyframes:
            try:
                return self._read(step)
            except FormatError:
                if self.why_not_replayed:
                    raise
        return self._replay_for(step).at(step)

    def trace(self, step: int, x: ArrayLike) -> Trace:
        """Return every z and a of the network after a step for inputs `x`, as `Network.trace`."""
        return self.at(step).trace(x)

    def probe(self, step: int) -> Trace:
        """Return every z and a of the network after a step for the probe, the inputs kept beside the recording.

        Raises:
            NotFoundError: No probe was kept.
        """
        inputs = self.stored.probe
        if inputs is None:
            raise NotFoundError("no probe was kept beside the recording", where=str(self.stored.folder))
        return self.trace(step, inputs)

    def step(self, step: int) -> ReplayedStep:
        """Return everything that an optimizer step computed, from 1: its batch, forward pass, gradients and update.

        Raises:
            NotFoundError: The training took no such step.
            NeuronwiseError: It cannot be repeated: the data is gone or another one.
        """
        step = whole(step)
        return self._replay_for(step).step(step)

    def _replay_for(self, step: int) -> Replay:
        try:
            return self.replay
        except NeuronwiseError as error:
            stored = self.keyframes
            if len(stored):
                nearest = int(stored[np.argmin(np.abs(stored - step))])
                told = f"{len(stored)} stored states can be read all the same, the nearest is that of step {nearest}"
                error.hint = f"{error.hint}; {told}" if error.hint else told
            raise

    def history(self, name: str) -> Course:
        """Return how something went over the steps at which it is stored.

        Weights and biases, at keyframes: ``"hidden1[7].bias"``, ``"hidden1[7].weights"``, ``"….weights[sqft]"`` (a
        weight by its input, or by its place in the neuron's weights laid out flat). A statistic of a neuron, at frames:
        ``"hidden1[7].grad_norm"``. A norm of a layer, likewise: ``"hidden1.grad_norm"``, see `layer_norms`. Of the
        whole training ``"loss"`` and ``"learning_rate"`` at every step, and its metrics, ``"val_loss"``, at the ends of
        epochs.

        Raises:
            NotFoundError: There is nothing of that name; the message lists what there is.
        """
        if "[" not in text(name, "name"):
            return self._training_course(name)
        try:
            layer, neuron, what, given = self.stored.layout.neuron(name)
        except NotFoundError:
            if any(name in metrics for _, metrics in self.stored.metrics):  # a loop may call what it logs anything
                return self._training_course(name)
            raise
        if what == "bias" and given is None:
            steps, values = self.stored.values(self.stored.layout.bias_of(layer, neuron))
            return Course(name, steps, values[:, 0])
        if what == "weights":
            place = self.stored.layout.weights_of(layer, neuron)
            if given is not None:
                place = Place(place.offset + self._input(layer, given, place.size), (1,))
            steps, values = self.stored.values(place)
            return Course(name, steps, values if given is None else values[:, 0])
        if what in NEURON_FIELDS and given is None:
            neuron, course = layer.place_of(neuron), self.neurons(layer.name, what)
            return from_first_known(Course(name, course.steps, course.values[:, neuron]))
        known = ["bias", "weights", *(field for field in NEURON_FIELDS if field != "bias")]
        if what in known:
            raise NotFoundError(
                f"{what!r} of a neuron is one number: there is no {given!r:.100} of it",
                hint=f'such as "{layer.name}[{neuron}].{what}"; only weights are told apart by their inputs',
            )
        raise NotFoundError(
            f"a neuron has no {what!r}.{did_you_mean(str(what), known)}"
            if what
            else f"{name!r:.100} is a whole neuron",
            hint=f'say what of it, such as "{layer.name}[{neuron}].bias": {", ".join(known)}',
        )

    def _training_course(self, name: str) -> Course:
        scalars, logged = self.stored.scalars, self.stored.metrics
        # Of a watched training whose loss was not observed, or not for long, there may be one that its loop has logged.
        last = max((step for step, metrics in logged if name in metrics), default=-1)
        if name in ("loss", "learning_rate") and (last < 0 or (len(scalars) and scalars["step"][-1] >= last)):
            return Course(name, scalars["step"].copy(), scalars[name].copy())
        every = [(epoch["step"] or 0, epoch["metrics"]) for epoch in self.stored.epochs] + logged
        known = sorted({key for _, metrics in every for key in metrics} | {"loss", "learning_rate"})
        if name in known:
            found = [(step, metrics[name]) for step, metrics in every if name in metrics]
            return Course(name, np.array([step for step, _ in found]), np.array([value for _, value in found]))
        layer, _, quantity = name.rpartition(".")
        layers = self.stored.layout.layers
        if layer in layers:
            return from_first_known(self.layer_norms(layer, quantity))
        if name in layers:
            raise NotFoundError(
                f"{name!r:.100} is a whole layer",
                hint=f'say what of it, such as "{name}.grad_norm", or which neuron, such as "{name}[0].bias"',
            )
        observed = self.stored.layout.observed
        norms = [f"{one.name}.{norm}" for one in observed[:1000] for norm in LAYER_NORMS]
        examples = [f"{one.name}[0].bias" for one in observed[:3]]
        raise NotFoundError(
            f"{name!r:.200} names nothing that was recorded."
            f"{did_you_mean(name[:100], [*known, *(one.name for one in observed), *norms])}",
            hint=f"such as {', '.join([*known[:20], *examples])}",
        )

    def neurons(self, layer: str, quantity: str, steps: Iterable[int] | None = None) -> Course:
        """Return a statistic of every neuron of a layer over steps: values (steps, neurons).

        Of a large table of embeddings not every row is measured: which, `LayerLayout.rows` says.

        Args:
            layer: Its name.
            quantity: ``"grad_norm"``, ``"mean"``, ``"inactive"`` …, see docs/reference/quantities.md.
            steps: Which steps; those that are not stored are taken again. Default the stored ones.

        Raises:
            NotFoundError: There is no such layer, quantity or step; the message lists what there is.
        """
        found = self._observed(layer)
        if text(quantity, "quantity") not in NEURON_FIELDS:
            raise NotFoundError(
                f"there is no quantity {quantity!r:.100}.{did_you_mean(quantity[:100], NEURON_FIELDS)}",
                hint=f"quantities of a neuron are {', '.join(NEURON_FIELDS)}",
            )
        name = f"{layer}.{quantity}"
        if steps is None:
            return Course(name, *self.stored.statistics(quantity, Place(found.first_neuron, (found.neurons,))))
        rows = self._measured("neurons", steps)
        place = slice(found.first_neuron, found.first_neuron + found.neurons)
        values = np.array([row[quantity][0][place] for row in rows.values()], self.stored.layout.dtype)
        return Course(name, np.array(list(rows), np.int64), values.reshape(len(rows), found.neurons))

    def layer_norms(self, layer: str, quantity: str, steps: Iterable[int] | None = None) -> Course:
        """Return the norm of all weights of a layer (of their gradients, of their updates) over steps, (steps,).

        Args:
            layer: Its name.
            quantity: ``"weight_norm"``, ``"grad_norm"``, ``"update_norm"`` or ``"update_ratio"``.
            steps: As for `neurons`.

        Raises:
            NotFoundError: There is no such layer, quantity or step.
        """
        known = (*LAYER_NORMS, "update_ratio")
        if text(quantity, "quantity") not in known:
            raise NotFoundError(
                f"a layer has no {quantity!r:.100}.{did_you_mean(quantity[:100], known)}",
                hint=f"norms of a layer are {', '.join(known)}",
            )
        if quantity == "update_ratio":
            update, weights = (self.layer_norms(layer, name, steps) for name in ("update_norm", "weight_norm"))
            with np.errstate(all="ignore"):
                ratios = np.where(update.values == 0, 0.0, update.values / weights.values)
            return Course(f"{layer}.{quantity}", update.steps, ratios)
        course = self.neurons(layer, quantity, steps)
        return Course(course.name, course.steps, norm(course.values))

    def histogram(self, layer: str, what: str, step: int) -> Histogram:
        """Return how the values of a layer are spread at a step; of one that is not stored, it is taken again.

        Args:
            layer: Its name.
            what: ``"W"``, ``"dW"``, ``"z"`` or ``"a"``.
            step: The step.

        Raises:
            NotFoundError: There is no such layer, quantity or step.
        """
        found = self._observed(layer)
        if what not in HISTOGRAMS:
            raise NotFoundError(
                f"there is no histogram of {what!r:.100}", hint=f"there are those of {', '.join(HISTOGRAMS)}"
            )
        place = [one.name for one in self.stored.layout.observed].index(found.name)
        row = self._measured("layers", [step])[int(step)][0]
        low, high = row[f"{what}_range"][place].astype(np.float64)
        counts = row[f"{what}_counts"][place].astype(np.int64)
        return Histogram(counts, np.linspace(low, high, len(counts) + 1))

    def _observed(self, layer: str) -> LayerLayout:
        found = self.stored.layout.layer(text(layer, "layer"))
        if not found.neurons:
            known = ", ".join(one.name for one in self.stored.layout.observed)
            raise NotFoundError(f"the layer {layer!r} has no neurons of its own", hint=f"layers with neurons: {known}")
        return found

    def _measured(self, stream: str, steps: Iterable[int]) -> dict[int, NDArray[np.void]]:
        """Return rows of statistics or histograms by step, ascending: stored, kept from before, or taken again."""
        if isinstance(steps, str) or not isinstance(steps, Iterable):
            raise UsageError(f"expected several steps, got {steps!r:.100}", where="argument steps")
        wanted = sorted({whole(step) for step in steps})
        found: dict[int, NDArray[np.void]] = {}
        for step in wanted:
            if step in self._cache:
                self._cache.move_to_end(step)
                found[step] = self._cache[step][stream]
                continue
            try:
                found[step] = self.stored.neurons(step) if stream == "neurons" else self.stored.histograms(step)
            except (NotFoundError, FormatError):
                continue  # taken again below
        if missing := [step for step in wanted if step not in found]:
            for step, (neurons, layers) in self._replay_for(missing[0]).measure(missing).items():
                self._cache[step] = {"neurons": neurons, "layers": layers}
                found[step] = self._cache[step][stream]
            size = sum(row.nbytes for row in self._cache[missing[0]].values())
            while len(self._cache) > _CACHE_BYTES // size:
                self._cache.popitem(last=False)
        return {step: found[step] for step in wanted}

    def input_names(self, name: str) -> list[str]:
        """Return what each weight of a neuron is called: its inputs, ``"hidden1[7].weights"`` or ``"hidden1[7]"``."""
        layer, neuron, _, _ = self.stored.layout.neuron(name)
        return self._input_names(layer, self.stored.layout.weights_of(layer, neuron).size)

    def _input_names(self, layer: LayerLayout, count: int) -> list[str]:
        if self.stored.network_dict is not None and len(self.keyframes):
            found = self._description[layer.name]
            names = list(found.neurons[0].input_names if isinstance(found, Conv2D) else found.input_names)
            if len(names) == count:
                return names
        return [str(place) for place in range(count)]

    def _input(self, layer: LayerLayout, name: str, count: int) -> int:
        names = self._input_names(layer, count)
        if name in names:
            return names.index(name)
        if name.isascii() and name.isdigit() and len(name) < 12 and int(name) < count:
            return int(name)
        known = ", ".join(names[:8]) + (" …" if count > 8 else "")
        raise NotFoundError(
            f"{layer.name!r} has no input {name!r:.100}.{did_you_mean(name[:100], names[:10_000])}",
            hint=f"inputs are {known}, or their places from 0 to {count - 1}",
        )

    def to_pandas(self, table: str = "neurons") -> pd.DataFrame:
        """Return a table of the recording as a pandas DataFrame.

        Args:
            table: ``"steps"``, ``"epochs"``, ``"metrics"`` (what a watched training logged), ``"neurons"`` (a row per
                frame and neuron), ``"layers"`` (a row per frame and layer) or ``"weights"`` (a row per keyframe and
                neuron).

        Raises:
            NotFoundError: There is no such table.
        """
        from neuronwise.recording.export import to_table

        frame: pd.DataFrame = to_table(self, text(table, "table")).to_pandas()
        return frame

    def to_parquet(self, folder: str | Path, *, weights: bool = False) -> list[Path]:
        """Write the tables of `to_pandas` as Parquet files into a folder, made if absent; return their paths.

        Args:
            folder: Files of the same names are replaced, each whole or not at all.
            weights: Whether all weights of all keyframes are written too, which are most of the bytes.

        Raises:
            OSError: The folder cannot be written.
            UsageError: It is a file.
        """
        from neuronwise.recording.export import write_parquet

        return write_parquet(self, Path(folder), weights=weights)

    @cached_property
    def _description(self) -> Network:
        return network_of(self.stored)

    def _read(self, step: int) -> Network:
        changed = self.stored.network_changed_at
        if changed is not None and step >= changed:
            raise NotFoundError(
                f"the modules of the model were changed before step {changed:,}: at step {step:,} it is no longer the "
                "network that is described",
                where=str(self.stored.folder),
                hint=f"Recording.stored.layer({step}, name) returns its arrays by name",
            )
        return network_of(self.stored, self.stored.parameters(step), self.stored.buffers(step))

    def __repr__(self) -> str:
        count = f"{self.stored.parameter_count:,} parameters"
        return f"<Recording of {count}, {len(self.keyframes)} states stored, {self.stored.status}>"
