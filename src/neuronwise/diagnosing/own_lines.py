"""The line to type after a training of our own engine: the command that trained it, with what should be another."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

# What to set, by cause: options of `neuronwise train`, which estimators have as parameters.
OPTIONS: dict[str, dict[str, str]] = {
    "lr_too_high": {"learning_rate": "{lower_lr:g}"},
    "lr_too_low": {"learning_rate": "{higher_lr:g}"},
    "too_few_epochs": {"epochs": "{more_epochs}"},
    "batch_too_large": {"batch_size": "32"},
    "batch_too_small": {"batch_size": "32"},
    "wrong_optimizer": {"optimizer": "adam", "learning_rate": "0.001"},
    "network_too_small": {"layers": "{wider},{wider}"},
    "network_too_deep": {"layers": "64,64"},
    "overfitting": {"patience": "10", "weight_decay": "{more_decay:g}"},
    "too_few_data": {"weight_decay": "{more_decay:g}"},
    "excessive_regularisation": {"weight_decay": "0.0001"},
    "class_imbalance": {"class_weights": "balanced"},
    "leaking_target": {"drop": "{column}"},
    "identifier_feature": {"drop": "{column}"},
    "code_as_number": {"category": "{column}"},
}

_MAY_REPEAT = ("drop", "category")
_OF_COLUMNS = ("--drop", "--category", "--numeric")
# What cannot stand beside it: a network that is given has its layers, one that is gone on from its columns too.
_INSTEAD_OF = {"layers": ("network", "from"), "drop": ("from",), "category": ("from",)}


def own_line(cause: str, words: Mapping[str, Any], data: Any) -> str | None:
    """Return the line to type of a cause; None where no option mends it.

    Args:
        cause: Its word.
        words: What stands in its options.
        data: What the recording says of the data: ``arguments`` as ``neuronwise train`` was given them, or
            ``estimator``; all of it may be missing.
    """
    if cause not in OPTIONS:
        return None
    said = data if isinstance(data, dict) else {}
    changes = {name: value.format(**words) for name, value in OPTIONS[cause].items()}
    if "estimator" in said:
        return _parameters(changes)
    given = said.get("arguments")
    if not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
        given = ["DATA"]
    return shlex.join(["neuronwise", "train", *_changed(given, changes)])


def _changed(given: Sequence[str], changes: Mapping[str, str]) -> list[str]:
    """Return arguments with options set: in their place where they stand already, else behind all others."""
    data, options = given[0], _options(given[1:])
    for name, value in changes.items():
        if name in _MAY_REPEAT:
            options = _without_column(options, value)
        gone = {"--" + other for other in _INSTEAD_OF.get(name, ())}
        options = [one for one in options if one[0] not in gone]
        option = "--" + name.replace("_", "-")
        places = [] if name in _MAY_REPEAT else [place for place, one in enumerate(options) if one[0] == option]
        if places:
            options[places[0]] = [option, value]
        else:
            options.append([option, value])
    return [data, *(word for one in options for word in one)]


def _without_column(options: list[list[str]], column: str) -> list[list[str]]:
    """Return options that say nothing of how a column is taken, as it is said anew: twice would be an error."""
    found = []
    for option in options:
        if option[0] in _OF_COLUMNS and len(option) > 1:
            names = [option[1]] if option[1] == column else option[1].split(",")
            if not (kept := [one for one in names if one.strip() != column]):
                continue
            option = [option[0], ",".join(kept)]
        found.append(option)
    return found


def _options(words: Sequence[str]) -> list[list[str]]:
    """Return options with their values; each begins with ``--``."""
    found: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not found or len(found[-1]) > 1:
            found.append([word])
        else:
            found[-1].append(word)
    return found


def _parameters(changes: Mapping[str, str]) -> str:
    """Return the line for an estimator."""
    if "drop" in changes:
        return f"X = X.drop(columns=[{changes['drop']!r}])"
    parameters = []
    for name, value in changes.items():
        if name == "class_weights":
            parameters.append(f"class_weight={value!r}")
        elif name == "category":
            others = f"[one for one in estimator.numeric if one != {value!r}]"
            parameters.append(f"category=[{value!r}], numeric={others}")
        elif name == "layers":
            parameters.append(f"layers=({value.replace(',', ', ')})")
        else:
            parameters.append(f"{name}={value if re.fullmatch(r'[-+.0-9e]+', value) else repr(value)}")
    return f"estimator.set_params({', '.join(parameters)})"
