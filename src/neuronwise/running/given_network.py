"""A network that the user describes, by a file or in Python, brought together with the data it is to learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuronwise.data import TargetSpec
from neuronwise.errors import FormatError, NotFoundError, UsageError
from neuronwise.network import Network, get_loss, read_json, read_layers
from neuronwise.running.architecture import Choice, check_training_memory, describe_loss

_OUTPUTS = {"binary": "sigmoid", "multiclass": "softmax"}


def choose_given_network(
    given: str | Path | dict[str, Any] | Network,
    target: TargetSpec,
    input_shape: tuple[int, ...],
    input_names: Sequence[str],
    *,
    seed: int,
    loss: str | None = None,
) -> Choice:
    """Return the network that was given, fitted with the names of the data, with its loss, and why it goes with it.

    Args:
        given: Path of a JSON file, its content (as `Network.to_dict` gives it; ``input_shape`` may be left out), or a
            `Network`, which is copied with its weights.
        target: What is to be learned.
        input_shape: Shape of one input of the data.
        input_names: A name for each of them.
        seed: Of the first weights, where the description has none.
        loss: Default by the output activation.

    Raises:
        NotFoundError: There is no such file.
        FormatError: A description that cannot be used; names the file and the key.
        UsageError: The network does not go with the data.
    """
    if isinstance(given, Network):
        network, where = given.copy(), "argument network"
    else:
        description, where = read_description(given)
        network = _build(description, where, input_shape, seed)
    if math.prod(network.input_shape) != math.prod(input_shape):
        raise UsageError(
            f"the network takes {_times(network.input_shape)} inputs, the data has {_times(input_shape)}",
            where=where,
            hint=f'"input_shape": {list(input_shape)}, or leave the key out',
        )
    if _are_scrambled(network.input_shape, input_shape):
        raise UsageError(
            f"the network takes pictures of {_times(network.input_shape)}, those of the data are "
            f"{_times(input_shape)}: its pixels would be taken for others",
            where=where,
            hint=f'"input_shape": {list(input_shape)}, with layers of "data_format": "channels_last"',
        )
    names = list(input_names)
    for key, own, wanted in (
        ("input_names", network.input_names, names),
        ("class_names", network.class_names, list(target.classes) if target.task == "multiclass" else None),
    ):
        if own is not None and own != wanted:
            raise UsageError(
                f"the key {key!r} names other things than the data: {_difference(own, wanted)}",
                where=where,
                hint=f"leave {key!r} out: the names are those of the data",
            )
    _check_output(network, target, where)
    network.set_names(names, list(target.classes) if target.task == "multiclass" else None)
    activation = network.layers[-1].activation
    assert activation is not None  # checked with the output
    chosen = get_loss(loss, activation.name)
    chosen.check_activation(activation)
    reasons = [
        f"layers: {network.sizes}, as given",
        f"output: {activation.name}, as given",
        describe_loss(chosen, target),
    ]
    return Choice(network, chosen, reasons)


def read_description(given: str | Path | dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the content of a description, and what errors call it.

    Raises:
        NotFoundError: There is no such file.
        FormatError: It is not JSON.
        UsageError: It is neither.
    """
    if isinstance(given, dict):
        return given, "argument network"
    if not isinstance(given, (str, Path)):
        raise UsageError(
            f"expected a JSON file, its content or a Network, got {given!r:.100}", where="argument network"
        )
    path = Path(given).expanduser()
    if not path.is_file():
        raise NotFoundError(f"there is no file {str(path)!r}", where="argument network")
    description = read_json(path, "network")
    if not isinstance(description, dict):
        raise FormatError(f"expected a JSON object, got {type(description).__name__}", where=str(path))
    return description, str(path)


def _build(description: dict[str, Any], where: str, input_shape: tuple[int, ...], seed: int) -> Network:
    complete = {"input_shape": list(input_shape), "seed": seed} | description
    check_training_memory(sum(layer.parameter_count for layer in read_layers(complete, where)), where)
    return Network.from_dict(complete, where=where)


def _check_output(network: Network, target: TargetSpec, where: str) -> None:
    layer = network.layers[-1]
    place = f"{where}, layer {layer.name}"
    if layer.output_shape != (target.n_outputs,):
        what = f"{len(target.classes)} classes" if target.task == "multiclass" else f"one output for {target.name}"
        raise UsageError(
            f"the last layer has outputs of shape {_times(layer.output_shape)}, the data needs {what}",
            where=place,
            hint=f'end with {{"type": "Dense", "units": {target.n_outputs}, "activation": '
            f'"{_OUTPUTS.get(target.task, "identity")}"}}',
        )
    wanted = _OUTPUTS.get(target.task)
    found = layer.activation.name if layer.activation else None
    if found is None or (wanted is not None and found != wanted) or (wanted is None and found == "softmax"):
        answers = {"binary": "a probability", "multiclass": "a probability for each class"}.get(target.task, "a number")
        raise UsageError(
            f"the last layer's activation is {found!r}, but what is learned is {answers}",
            where=place,
            hint=f'"activation": "{wanted or "identity"}"',
        )


def _are_scrambled(wanted: tuple[int, ...], given: tuple[int, ...]) -> bool:
    """Return whether inputs that are only laid out anew would mix rows, columns and channels up."""
    axes = [tuple(n for n in shape if n != 1) for shape in (wanted, given)]
    return min(map(len, axes)) > 1 and axes[0] != axes[1]


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{n:,}" for n in shape)


def _difference(own: list[str], wanted: list[str] | None) -> str:
    if wanted is None:
        return f"{own[0]!r:.50} there, none here"
    if len(own) != len(wanted):
        return f"{len(own):,} there, {len(wanted):,} here"
    place = next(i for i, pair in enumerate(zip(own, wanted, strict=True)) if pair[0] != pair[1])
    return f"the first that differs is {own[place]!r:.50} there, {wanted[place]!r:.50} here"
