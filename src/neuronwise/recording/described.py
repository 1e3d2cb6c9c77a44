"""What a recording says of its network and of how its steps were taken, made again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError, UsageError
from neuronwise.learning.optimizers import OPTIMIZERS, Optimizer
from neuronwise.learning.schedules import SCHEDULES
from neuronwise.network import LOSSES, Network
from neuronwise.network.description import network_from_dict
from neuronwise.recording.layout import Layout
from neuronwise.recording.reader import RecordedHistory

Array = NDArray[np.floating[Any]]


def settings_of(history: RecordedHistory) -> dict[str, Any]:
    """Return how the steps of a recorded training were taken.

    Raises:
        NotFoundError: It was watched: its steps are another framework's.
        FormatError: The recording does not say it.
    """
    settings = history.description.get("training")
    if isinstance(history.description.get("watched"), dict):
        raise NotFoundError(
            "the training was watched while another framework did it, so its steps cannot be taken again",
            where=str(history.folder),
            hint="Recording.frames says of which steps the statistics are stored",
        )
    if history.status == "checkpoints":
        raise NotFoundError(
            "the recording was made of checkpoints, which say nothing of the steps between them",
            where=str(history.folder),
            hint="Recording.keyframes says of which steps there is one",
        )
    if not isinstance(settings, dict):
        raise FormatError(
            "the recording does not say how its steps were taken, so they cannot be repeated",
            where=str(history.folder),
            hint="its stored weights can be read: Recording.keyframes",
        )
    for what, registry, known, of in (
        ("optimizer", "neuronwise.learning.OPTIMIZERS", OPTIMIZERS, "name"),
        ("schedule", "neuronwise.learning.SCHEDULES", SCHEDULES, "schedule"),
        ("loss", "neuronwise.network.LOSSES", LOSSES, None),
    ):
        said = settings.get(what)
        name = said.get(of) if of is not None and isinstance(said, dict) else said
        if isinstance(name, str) and name not in known:
            raise NotFoundError(
                f"its steps were taken with the {what} {name!r:.100}, which is not known here",
                where=str(history.folder),
                hint=f"one of your own is registered first: {registry}[{name!r:.100}] = …",
            )
    return settings


def network_of(history: RecordedHistory, parameters: Array | None = None, buffers: Array | None = None) -> Network:
    """Return the network of a recording with these parameters and buffers; default zeros.

    Raises:
        NotFoundError: The recording is of a model of another framework that is no such network, or holds no state.
        FormatError: The description does not go with what is stored.
    """
    layout, where = history.layout, str(history.folder / "recording.json")
    if not len(history.steps):  # so that no more memory is taken than the files have bytes
        raise NotFoundError("the recording holds no weights", where=str(history.folder))
    if parameters is None:
        parameters = np.zeros(layout.parameter_count, layout.dtype)
    if buffers is None:
        buffers = np.zeros(layout.buffer_count, layout.dtype)
    if history.network_dict is None:
        if (found := history.module_network) is not None:
            return found.make(layout, parameters, buffers, where)
        watched = history.description.get("watched")
        why = watched.get("why_no_network") if isinstance(watched, dict) else None
        raise NotFoundError(
            "the recording is of a model of another framework, of which only the arrays are known"
            + (f" ({why:.500})" if isinstance(why, str) else ""),
            where=where,
            hint="Recording.stored.layer(step, name) returns them by name",
        )
    network = network_from_dict(history.network_dict, where=where, parameters=parameters, buffers=buffers)
    if Layout.of(network, layout.optimizer_names).to_dict() != layout.to_dict():
        raise FormatError("the network is not that whose layers are described", where=where)
    return network


def optimizer_of(settings: dict[str, Any]) -> Optimizer:
    """Return the optimizer of a training with these settings.

    Raises:
        KeyError: They name none.
        UsageError: It is not known, or its settings are none.
    """
    given = dict(settings["optimizer"])
    name = given.pop("name")
    if name not in OPTIMIZERS:
        raise UsageError(f"unknown optimizer {name!r:.100}", where="recording.json")
    return OPTIMIZERS[name](**given)
