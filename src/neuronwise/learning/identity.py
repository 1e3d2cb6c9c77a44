"""What makes two trainings the same one, and the refusal of a checkpoint of another.

Data are told apart by their fingerprints. Of inputs only rows spread evenly over all of them go into it, about 250 kB,
so that a large training can afford one too; of targets, weights and row numbers all do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.learning.arguments import whole_number
from neuronwise.learning.checkpoint import Checkpoint
from neuronwise.learning.optimizers import Optimizer
from neuronwise.learning.schedules import Schedule
from neuronwise.learning.settings import Settings
from neuronwise.network import Network

_SPREAD_BYTES = 250_000
_HINT = "or leave resume out to begin a new training"


def settings_identity(settings: Settings, optimizer: Optimizer, schedule: Schedule) -> dict[str, Any]:
    """Return what was asked for, by the name of the argument of `fit`, as JSON values."""
    return {
        "network": _network_identity(settings.network),
        "loss": settings.loss.name,
        "optimizer": {"name": optimizer.name} | optimizer.settings(),
        "schedule": schedule.settings(),
        "batch_size": settings.batch_size,
        "clip_norm": settings.clip_norm,
        "min_delta": settings.min_delta,
        "shuffle": settings.shuffle,
        "seed": settings.seed,
    }


def data_identity(
    X: NDArray[Any],
    y: NDArray[Any],
    weights: NDArray[Any] | None,
    training: NDArray[np.int64],
    validation: tuple[NDArray[Any], NDArray[Any], NDArray[np.int64] | None] | None,
) -> dict[str, Any]:
    """Return sizes and fingerprints of the data, likewise."""
    held_out = None
    if validation is not None:
        X_val, y_val, rows = validation
        print_of = fingerprint(X_val, _SPREAD_BYTES) + fingerprint(y_val) if rows is None else fingerprint(rows)
        held_out = {"rows": len(X_val if rows is None else rows), "fingerprint": print_of}
    return {
        "X": {"rows": len(X), "fingerprint": fingerprint(X, _SPREAD_BYTES)},
        "y": {"rows": len(y), "fingerprint": fingerprint(y)},
        "training_rows": {"rows": len(training), "fingerprint": fingerprint(training)},
        "validation": held_out,
        "sample_weight": None if weights is None else {"rows": len(weights), "fingerprint": fingerprint(weights)},
    }


def fingerprint(values: NDArray[Any], most_bytes: int | None = None) -> str:
    """Return 16 hexadecimal digits that stand for an array's dtype, shape and values.

    With `most_bytes`, of an array larger than that only rows spread evenly over it are looked at.
    """
    digest = hashlib.blake2b(f"{values.dtype.str} {values.shape}".encode(), digest_size=8)
    if most_bytes is not None and values.nbytes > most_bytes:
        count = max(1, most_bytes * len(values) // values.nbytes)
        values = values[np.linspace(0, len(values) - 1, count).astype(np.int64)]
    digest.update(np.ascontiguousarray(values).data if values.size else b"")
    return digest.hexdigest()


def check_resumable(
    checkpoint: Any, settings: Settings, identity: Mapping[str, Any], optimizer: Optimizer, steps_per_epoch: int
) -> None:
    """Refuse a checkpoint of another training than the one that these arguments describe.

    Raises:
        UsageError: Naming the argument, what it was, what it is now, and how to mend it.
    """
    if not isinstance(checkpoint, Checkpoint):
        raise UsageError(
            f"expected a Checkpoint, got {checkpoint!r:.100}",
            where="argument resume",
            hint="pass FitResult.checkpoint or Checkpoint.load(path)",
        )
    for key, now in identity.items():
        before = checkpoint.settings.get(key)
        if before != now:
            raise _difference(key, before, now)
    _check_state(checkpoint, settings.network, optimizer, steps_per_epoch)
    check_lengths(checkpoint, settings.epochs, settings.patience, settings.min_delta)


def _check_state(checkpoint: Checkpoint, network: Network, optimizer: Optimizer, steps_per_epoch: int) -> None:
    """Refuse arrays and counts that cannot be those of this training; only a damaged file has such ones."""
    sizes = (checkpoint.parameters.shape, checkpoint.buffers.shape, checkpoint.parameters.dtype)
    expected = (network.parameters.shape, network.buffers.shape, network.dtype)
    if sizes != expected:
        raise UsageError(
            f"the checkpoint holds {sizes[2]} parameters {sizes[0]} and buffers {sizes[1]}, "
            f"the network has {expected[2]} ones, {expected[0]} and {expected[1]}",
            where="argument resume",
        )
    if set(checkpoint.optimizer_state) != set(optimizer.state_names()):
        raise UsageError(
            f"the checkpoint holds {sorted(checkpoint.optimizer_state)} of the optimizer, "
            f"{optimizer.name} remembers {sorted(optimizer.state_names())}",
            where="argument resume",
        )
    if checkpoint.planned_steps < steps_per_epoch:
        raise UsageError(
            f"the checkpoint was planned for {checkpoint.planned_steps} steps, an epoch has {steps_per_epoch}",
            where="argument resume",
        )
    last = checkpoint.epoch * steps_per_epoch
    first = last if checkpoint.is_epoch_ended else last - steps_per_epoch
    if not first <= checkpoint.step <= last:
        raise UsageError(
            f"step {checkpoint.step} of the checkpoint is not one of epoch {checkpoint.epoch}, "
            f"which ends at step {last}",
            where="argument resume",
        )


def check_lengths(checkpoint: Checkpoint, epochs: int, patience: int | None, min_delta: float = 0.0) -> None:
    """Refuse numbers of epochs, or a patience, with which the training would have ended before.

    Raises:
        UsageError: It would.
    """
    epochs = whole_number(epochs, "epochs", 1)
    if epochs < checkpoint.epoch:
        raise UsageError(
            f"the training to go on with is in epoch {checkpoint.epoch} already, got {epochs}",
            where="argument epochs",
            hint=f"pass epochs={max(checkpoint.epoch, checkpoint.epochs)} or more, {_HINT}",
        )
    if patience is None:
        return
    patience = whole_number(patience, "patience", 1)
    best, lowest = 0, np.inf
    for row in checkpoint.history:
        epoch = int(row["epoch"])
        if epoch - 1 - best >= patience and epoch > 1:
            raise UsageError(
                f"with a patience of {patience} the training to go on with would have ended after epoch "
                f"{epoch - 1}, but it is in epoch {checkpoint.epoch}; its patience was {checkpoint.patience}",
                where="argument patience",
                hint=f"pass patience={checkpoint.patience} or more, {_HINT}",
            )
        if row.get("val_loss", np.inf) < lowest - min_delta:
            best, lowest = epoch, row["val_loss"]


def _difference(key: str, before: Any, now: Any) -> UsageError:
    if key == "network":
        was, own, hint = *_networks_differ(before, now), "pass the network that was trained"
    elif isinstance(before, dict) and isinstance(now, dict) and "fingerprint" not in now:
        different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        was, own = (
            ", ".join(f"{name} {one[name]!r:.100}" for name in different if name in one) for one in (before, now)
        )
        hint = f"pass the {key} as it was"
    elif key in ("X", "y", "training_rows", "validation", "sample_weight"):
        was, own, hint = _rows(before), _rows(now), "pass the same data"
    else:
        was, own, hint = f"{before!r:.100}", f"{now!r:.100}", f"pass {key}={before!r:.100}"
    arguments = "arguments class_weights, sample_weight" if key == "sample_weight" else f"argument {key}"
    return UsageError(
        f"the training to go on with had {was or 'nothing'}, this one has {own or 'nothing'}",
        where=arguments,
        hint=f"{hint}, {_HINT}",
    )


def _rows(value: Any) -> str:
    if not isinstance(value, dict):
        return "none"
    return f"{value.get('rows')!r:.20} rows (fingerprint {value.get('fingerprint')!s:.40})"


def _network_identity(network: Network) -> dict[str, Any]:
    """Return what of a network's description decides how it learns from given weights."""
    layers = [
        {key: value for key, value in layer.items() if key != "initializer"} for layer in network.to_dict()["layers"]
    ]
    return {"dtype": str(network.dtype), "input_shape": list(network.input_shape), "layers": layers}


def _networks_differ(before: Any, now: dict[str, Any]) -> tuple[str, str]:
    """Return the first difference between two networks in words."""
    if not isinstance(before, dict) or not isinstance(before.get("layers"), list):
        return "no network", "one"
    for key, what in (("dtype", "a network of {}"), ("input_shape", "inputs of shape {}")):
        if before.get(key) != now[key]:
            return what.format(f"{before.get(key)!s:.100}"), what.format(now[key])
    for old, new in zip(before["layers"], now["layers"], strict=False):
        if old != new:
            return f"the layer {old!r:.300}", f"{new!r:.300}"
    return f"{len(before['layers'])} layers", f"{len(now['layers'])}"
