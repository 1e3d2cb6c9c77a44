"""Which files are checkpoints of a training, and of which step each is."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.recording.checkpoint_files import STEP_KEYS

_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".pt.tar", ".pth.tar")
# What `Network.save` writes into a folder.
_NETWORK = "network.safetensors"
_MAX_STEP = 2**63 - 1
_MOST_NAMES = 10_000

# A whole number: no part of one with a decimal point.
_WHOLE = r"(?<![0-9])(?<![0-9]\.)([0-9]{1,18})(?![0-9]|\.[0-9])"
# What a number in a name may be, the surest first.
_NUMBERS = {
    "the number of steps": re.compile(rf"(?:steps?|iter(?:ation)?s?|updates?)[^0-9a-z]*{_WHOLE}", re.IGNORECASE),
    "the number of epochs": re.compile(rf"(?<![a-z])ep(?:ochs?)?[^0-9a-z]*{_WHOLE}", re.IGNORECASE),
    "the last whole number": re.compile(rf"{_WHOLE}(?!.*{_WHOLE})", re.DOTALL),
}

Given = Sequence[int] | Callable[[Path], int] | None


@dataclass(frozen=True)
class Steps:
    """The step of each file.

    Attributes:
        numbers: In the order of the files.
        told: A sentence about where they come from.
        are_steps: Whether they are known to count optimizer steps, not epochs or files.
    """

    numbers: list[int]
    told: str
    are_steps: bool


def find_checkpoints(pattern: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the checkpoints that a pattern, a folder or a list names: files, and folders of `Network.save`.

    Those of a pattern or folder are in natural order, ``epoch_9`` before ``epoch_10``; what a list names, as it stands.

    Raises:
        NotFoundError: There is none; the message says what is there instead.
    """
    if isinstance(pattern, (str, Path)):
        return _found(Path(pattern).expanduser())
    every = list(pattern) if isinstance(pattern, Iterable) else [pattern]
    if not all(isinstance(one, (str, Path)) for one in every):
        raise UsageError(
            f"expected a pattern, a folder or a list of paths, got {pattern!r:.200}",
            where="argument pattern",
            hint='such as "checkpoints/*.pt"',
        )
    if not every:
        raise UsageError("an empty list", where="argument pattern", hint='such as "checkpoints/*.pt"')
    return [path for one in every for path in _found(Path(one).expanduser())]


def _found(given: Path) -> list[Path]:
    """Return the checkpoints that one pattern, folder or path names, in natural order."""
    if given.is_file() or _is_network(given):
        return [given]
    if given.is_dir():
        every = [path for path in given.iterdir() if path.name.endswith(_SUFFIXES) or _is_network(path)]
    else:
        every = [Path(path) for path in glob.glob(str(given), recursive=True)]
    if (lost := next((path for path in every if path.is_symlink() and not path.exists()), None)) is not None:
        raise NotFoundError(f"the link {str(lost)!r} leads nowhere", where="argument pattern")
    found = [path for path in every if path.is_file() or _is_network(path)]
    if not found:
        raise _nothing(given)
    return sorted(found, key=_natural)


def file_of(checkpoint: Path) -> Path:
    """Return the file that holds the weights of a checkpoint."""
    return checkpoint / _NETWORK if checkpoint.is_dir() else checkpoint


def find_steps(files: Sequence[Path], numbers: Sequence[Mapping[str, int]], given: Sequence[int] | None) -> Steps:
    """Return the step of each file.

    Args:
        files: The checkpoints.
        numbers: What each says of itself, by name.
        given: What the caller says they are.

    Raises:
        UsageError: Two files are of one step.
    """
    if given is not None:
        _refuse_equal(files, given, "by steps=")
        return Steps(list(given), "the steps of the checkpoints are those given as steps=", are_steps=True)
    known = [key for key in STEP_KEYS if all(key in one for one in numbers)]
    # Steps counted anew in each epoch are not all different, the epochs or all steps may be.
    for key in known:
        if len({one[key] for one in numbers}) == len(files):
            told = f"the step of each checkpoint is the number {key!r} in it"
            told += "" if key != "epoch" else ": epochs, not optimizer steps"
            return Steps([one[key] for one in numbers], told, are_steps=key != "epoch")
    named = _numbers_in_names(files)
    if known and not (known == ["epoch"] and named):  # several checkpoints of one epoch may be told apart by name
        _refuse_equal(files, [one[known[0]] for one in numbers], f"by the number {known[0]!r} in them")
    if named:
        where, found = named
        told = f"the step of each checkpoint is {where}, such as {found[0]} of {files[0]}"
        return Steps(found, told, are_steps=False)
    order = {path: place for place, path in enumerate(sorted(files, key=_natural))}
    if len(order) < len(files):
        twice = next(path for place, path in enumerate(files) if path in files[:place])
        raise UsageError("the file is named twice", where=str(twice))
    return Steps(
        [order[path] for path in files],
        "the checkpoints say nothing of their steps: they are counted from 0 in the order of their names",
        are_steps=False,
    )


def given_steps(files: Sequence[Path], steps: Given) -> list[int] | None:
    """Return what a caller says the steps are, checked; None if nothing.

    Raises:
        UsageError: As many numbers as files are needed, whole and from 0.
    """
    if steps is None:
        return None
    if isinstance(steps, str) or not (callable(steps) or isinstance(steps, Iterable)):
        raise UsageError(
            f"expected numbers in the order of the files, or what returns one for a path, got {steps!r:.100}",
            where="argument steps",
        )
    found = [steps(path) for path in files] if callable(steps) else list(steps)
    if len(found) != len(files):
        raise UsageError(
            f"{len(files)} checkpoints need as many steps, got {len(found)}",
            where="argument steps",
            hint=f"in the order of the files: {_listed(path.name for path in files)}",
        )
    for path, number in zip(files, found, strict=True):
        whole = isinstance(number, int) or hasattr(number, "__index__")
        if not whole or isinstance(number, bool) or not 0 <= number <= _MAX_STEP:
            raise UsageError(
                f"a whole number from 0 is needed for {path.name!r:.100}, got {number!r:.100}", where="argument steps"
            )
    return [int(number) for number in found]


def _refuse_equal(files: Sequence[Path], numbers: Sequence[int], how: str) -> None:
    first: dict[int, Path] = {}
    for path, number in zip(files, numbers, strict=True):
        if number in first:
            raise UsageError(
                f"{str(first[number])!r} and {str(path)!r} are both of step {number:,} {how}",
                where="argument steps" if how == "by steps=" else "argument pattern",
                hint="leave one of them out, or say which step each is: steps=[…] or steps=lambda path: …",
            )
        first[number] = path


def _is_network(path: Path) -> bool:
    return (path / _NETWORK).is_file()


def _numbers_in_names(files: Sequence[Path]) -> tuple[str, list[int]] | None:
    """Return a whole number in the name of each file, or of its folder, if all differ; and in words which it is.

    One after a word for steps counts before one after a word for epochs, and these before the last one. What has a
    decimal point is a measure: ``epoch=3-val_loss=0.25``.
    """
    for where, names in (
        ("its name", [_stem(path.name) for path in files]),
        ("the name of its folder", [path.absolute().parent.name for path in files]),
    ):
        for which, pattern in _NUMBERS.items():
            found = [int(match[1]) for name in names if (match := pattern.search(name))]
            if len(set(found)) == len(files):
                return f"{which} in {where}", found
    return None


def _stem(name: str) -> str:
    """Return the name of a file without what says that it is a checkpoint."""
    return next((name.removesuffix(suffix) for suffix in reversed(_SUFFIXES) if name.endswith(suffix)), name)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort by numbers where there are some: 9 before 10."""
    parts = re.split(r"([0-9]{1,18})", str(path))
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts if part]


def _nothing(path: Path) -> NotFoundError:
    folder = path
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    names = sorted(entry.name for entry in folder.iterdir())
    inside = f"holds {_listed(names)}" if names else "is empty"
    deeper = sorted(found.name for found in islice(folder.glob("*/*"), _MOST_NAMES) if found.name.endswith(_SUFFIXES))
    if deeper:
        inside += f', in which there are {_listed(dict.fromkeys(deeper))}: "{folder / "*" / deeper[0]}"'
    what = "this folder holds no checkpoint" if path.is_dir() else f"no file matches {str(path)!r}"
    return NotFoundError(
        what,
        where="argument pattern",
        hint=f"{str(folder)!r} {inside}; checkpoints end in {', '.join(_SUFFIXES)}",
    )


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:8]) + (f" and {len(every) - 8:,} more" if len(every) > 8 else "")
