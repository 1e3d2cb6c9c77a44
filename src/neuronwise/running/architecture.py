"""Which network for which data: the defaults, and why, in words."""

from __future__ import annotations

import itertools
import math
import operator
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from neuronwise.data import TargetSpec
from neuronwise.errors import UsageError
from neuronwise.files import format_bytes
from neuronwise.learning import Optimizer, get_optimizer, get_schedule
from neuronwise.network import Dense, Flatten, Layer, Loss, Network, get_activation, get_loss


@dataclass(frozen=True)
class Choice:
    """A network with its loss, and why these.

    Attributes:
        network: The network, with its first weights.
        loss: The loss.
        reasons: A sentence for the hidden activation, the output activation and the loss.
    """

    network: Network
    loss: Loss
    reasons: list[str]

    @property
    def hidden_sizes(self) -> list[int]:
        """Neurons of each layer with weights, the last one left out; of a convolution its outputs for one input."""
        return [layer.neuron_count for layer in self.network.layers[:-1] if layer.parameters]

    @property
    def hidden(self) -> str:
        """The activation of the first layer that is not the last; ``"identity"`` where there is none."""
        return next((layer.activation.name for layer in self.network.layers[:-1] if layer.activation), "identity")


def parse_layers(layers: str | Sequence[int]) -> list[int]:
    """Return the sizes of the hidden layers: ``"64,32"`` or ``[64, 32]``; ``"none"`` or ``[]`` is a linear model.

    Raises:
        UsageError: A size is not a whole number from 1.
    """
    if isinstance(layers, str):
        text = layers.strip().lower()
        parts: list[str | int] = [] if text in ("none", "") else [part.strip() for part in text.split(",")]
        if text == "":
            raise UsageError("no sizes given", where="argument layers", hint='"64,32", or "none" for no hidden layer')
    else:
        # One number is one layer; None, which says nothing, falls to the message below.
        parts = list(layers) if isinstance(layers, Iterable) else [layers]
    sizes = []
    for part in parts:
        text = str(part)
        if isinstance(part, bool) or not (text.isascii() and text.isdigit()) or int(text[:20]) < 1:
            raise UsageError(
                f"{text[:40]!r} is not a whole number of neurons from 1",
                where="argument layers",
                hint='give the neurons of each hidden layer, such as "64,32", or "none" for no hidden layer',
            )
        if int(text[:20]) > 1_000_000:
            raise UsageError(f"{text[:20]} neurons in one layer are more than 1,000,000", where="argument layers")
        sizes.append(int(part))
    return sizes


def choose_network(
    target: TargetSpec,
    input_shape: tuple[int, ...],
    input_names: Sequence[str],
    *,
    layers: str | Sequence[int],
    hidden: str,
    seed: int,
    loss: str | None = None,
    dtype: str = "float32",
) -> Choice:
    """Return a network of dense layers for a target, and why it is built so.

    Raises:
        UsageError: A layer size or activation that does not exist.
    """
    sizes = parse_layers(layers)
    activation = _hidden_activation(hidden)
    check_memory([math.prod(input_shape), *sizes, target.n_outputs])
    output, why_output = _output(target)
    chosen = get_loss(loss, output)
    chosen.check_activation(get_activation(output))
    stack: list[Layer] = [Flatten()] if len(input_shape) > 1 else []
    stack += [Dense(n, activation) for n in sizes]
    network = Network(
        [*stack, Dense(target.n_outputs, output)],
        input_shape=input_shape,
        seed=seed,
        dtype=dtype,
        input_names=list(input_names),
        class_names=list(target.classes) if target.task == "multiclass" else None,
    )
    reasons = [
        f"hidden layers: {activation.name}: {activation.use}" if sizes else "no hidden layer: a linear model",
        f"output: {output}: {why_output}",
        describe_loss(chosen, target),
    ]
    return Choice(network, chosen, reasons)


def _hidden_activation(name: str) -> Any:
    activation = get_activation(name)
    if activation.name == "softmax":
        raise UsageError("softmax is for outputs, not for hidden layers", where="argument hidden", hint="--hidden relu")
    return activation


def check_memory(sizes: Sequence[int]) -> None:
    """Refuse a network of dense layers whose training would pass the machine's memory."""
    count = sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(sizes))
    check_training_memory(count, "argument layers", f"a {'-'.join(map(str, sizes))} network")


def check_training_memory(count: int, where: str, what: str = "the network") -> None:
    """Refuse a network whose weights alone, with all that training keeps beside them, pass the machine's memory."""
    needed = 8 * 4 * count  # parameters, best ones, epoch's start, gradients, update, scratch, Adam's two
    if needed > (memory := _machine_bytes()):
        raise UsageError(
            f"{what} has {count:,} weights and biases; to train it takes "
            f"{format_bytes(needed)} of memory, this machine has {format_bytes(memory)}",
            where=where,
            hint="give fewer neurons, or two smaller layers instead of one large one",
        )


def check_batch_memory(network: Network, batch_size: int) -> None:
    """Refuse a network whose layers pass the machine's memory with one batch, as wide convolutions do.

    Raises:
        UsageError: Naming the largest layer.
    """
    held = sum(layer.neuron_count for layer in network.layers)
    needed = 3 * network.dtype.itemsize * batch_size * held  # z, a, delta
    if needed > (memory := _machine_bytes()):
        largest = max(network.layers, key=lambda layer: layer.neuron_count)
        raise UsageError(
            f"a batch of {batch_size} rows takes {format_bytes(needed)} of memory in the layers, "
            f"{largest.neuron_count:,} values for each row in this one alone; this machine has {format_bytes(memory)}",
            where=f"layer {largest.name}",
            hint="give fewer filters or neurons, or a smaller batch size",
        )


def _machine_bytes() -> float:
    """Return the machine's memory; infinity where the platform does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _output(target: TargetSpec) -> tuple[str, str]:
    if target.task == "regression":
        return "identity", f"{target.name} can be any number{', here its logarithm' if target.log else ''}"
    if target.task == "binary":
        return "sigmoid", f"the probability of {target.classes[1]!r} against {target.classes[0]!r}"
    return "softmax", f"one probability for each of {len(target.classes)} classes, summing to 1"


def describe_loss(loss: Loss, target: TargetSpec) -> str:
    """Return what the loss is and why, in a sentence."""
    return f"loss: {loss.name}, {loss.formula}: {_why_loss(loss, target)}"


def _why_loss(loss: Loss, target: TargetSpec) -> str:
    if loss.on_logits:
        return "minus the log of the probability given to the right class"
    what = "log of the target" if target.log else "target"
    return f"how far the standardised {what} is missed"


@dataclass(frozen=True)
class Lengths:
    """How long and in what portions to learn."""

    batch_size: int
    epochs: int
    patience: int


def choose_lengths(rows: int, *, batch_size: int | None, epochs: int | None, patience: int | None) -> Lengths:
    """Return batch size, epochs and patience for so many training rows; what is given stays."""
    batch = batch_size if batch_size is not None else (32 if rows < 5_000 else 64)
    # Small data needs many passes; early stopping ends most trainings long before.
    planned = epochs if epochs is not None else max(20, min(200, 4_000_000 // max(rows, 1)))
    return Lengths(batch, planned, patience if patience is not None else max(5, min(20, planned // 5)))


def check_settings(options: Any) -> None:
    """Refuse settings that cannot be right whatever the data, before anything is read or written.

    Args:
        options: `TrainOptions`.

    Raises:
        UsageError: Naming the argument.
    """
    make_optimizer(options.optimizer, options.learning_rate, options.weight_decay)
    get_schedule(options.schedule, warm_up=options.warm_up)
    parse_layers(options.layers)
    _hidden_activation(options.hidden)
    for name in ("batch_size", "epochs", "patience", "keyframe_every", "statistics_every"):
        if getattr(options, name) is not None:
            _check_whole(getattr(options, name), name, 1, 2**31)
    if options.threads is not None:
        _check_whole(options.threads, "threads", 1, 1024)
    _check_whole(options.seed, "seed", 0, 2**32 - 1)
    clip = options.clip_norm
    if clip is not None and not (isinstance(clip, (int, float)) and math.isfinite(clip) and clip > 0):
        raise UsageError(f"expected a number above 0, got {clip!r}", where="argument clip_norm")


def _check_whole(value: Any, name: str, least: int, most: int) -> None:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        raise UsageError(
            f"expected a whole number from {least:,} to {most:,}, got {value!r:.40}", where=f"argument {name}"
        )


def make_optimizer(
    name: str, learning_rate: float | None, weight_decay: float | None, kind: str | None = None
) -> Optimizer:
    """Return the optimizer by name with these settings (None for the defaults).

    Tables have few rows for their many inputs, and a network soon knows them by heart. A little weight decay made
    R² or log loss better, or left it as good, on the six tables tried (accuracy on the smallest, of 178 rows, was a row
    or two lower). So it is 0.001 for tables; none for images and arrays, where it gained nothing; and with AdamW,
    whose decay means something else, that optimizer's own.
    """
    if weight_decay is None and kind == "table" and name != "adamw":
        weight_decay = 0.001
    return get_optimizer(name, learning_rate, weight_decay)
