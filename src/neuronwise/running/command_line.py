"""The command line of a training: what would have to be typed for the same again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronwise.running.prepare import DataOptions, Prepared

if TYPE_CHECKING:
    from neuronwise.running.training import TrainOptions

# What names a run, or how it is kept, and nothing that it learns; and the loss, which no option chooses.
_LEFT_OUT = frozenset(
    {"experiment", "name", "track", "keyframe_every", "statistics_every", "redact", "explain", "diagnose", "loss"}
)
_ALSO_DEFAULT = ("schedule", "constant")


def train_arguments(data: Prepared, of_data: DataOptions, options: TrainOptions, from_run: str | None) -> list[str]:
    """Return the arguments of ``neuronwise train`` that train so again, the data first.

    Only what differs from the defaults stands there. What has no name on a command line has a placeholder: ``DATA`` for
    a frame, ``FILE.json`` for a network made in Python.

    Args:
        data: The data, as it was prepared.
        of_data: How it was asked to be understood and split.
        options: How it was asked to be trained.
        from_run: What names the run it started from, or None.
    """
    arguments = [_named(data)]
    for chosen in (of_data, options):
        for name, field in chosen.__dataclass_fields__.items():
            value = getattr(chosen, name)
            is_default = value is None or value == field.default or (name, value) == _ALSO_DEFAULT
            if not is_default and name not in _LEFT_OUT:
                arguments += _option(name, value)
    return arguments if from_run is None else [*arguments, "--from", from_run]


def _named(data: Prepared) -> str:
    if data.name in ("digits", "mnist"):
        return data.name
    source = str(data.source)
    return source if Path(source).expanduser().exists() else "DATA"


def _option(name: str, value: Any) -> list[str]:
    """Return an option and its value as they are typed."""
    option = "--" + name.replace("_", "-")
    if name == "log":
        return ["--log" if value else "--no-log"]
    if name in ("category", "numeric", "drop"):
        columns = [value] if isinstance(value, str) else list(value)
        return [word for column in columns for word in (option, str(column))]
    if name == "layers" and not isinstance(value, str):
        return [option, ",".join(str(size) for size in value) or "none"]
    if name == "network" and not isinstance(value, (str, Path)):
        return [option, "FILE.json"]
    if name == "image_size":
        return [option, "x".join(str(side) for side in value)]
    if isinstance(value, float):
        return [option, repr(float(value)).removesuffix(".0")]  # all of its digits: it is to train so again
    return [option, str(getattr(value, "name", value))]
