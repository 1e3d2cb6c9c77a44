"""Starting from an earlier run: its network and encoder, and the rows that it never saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from neuronwise.errors import UsageError
from neuronwise.running.find import find_folder, load
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.prepare import DataOptions, Prepared
from neuronwise.running.run import Run


def start_from(from_run: str | Path | Run, options: DataOptions) -> tuple[FittedNetwork, Run | None]:
    """Return the network to start from, and its run if it has one (a folder may hold a model alone).

    Raises:
        NotFoundError: There is no such run.
        UsageError: An option says how to understand the data, which the run has settled.
    """
    for name in ("task", "log", "category", "numeric", "drop"):
        given = getattr(options, name)
        if given is not None and given != () and given != []:
            raise UsageError(
                f"a run that starts from another one understands the data as that one did, got {given!r}",
                where=f"argument {name}",
                hint="leave it out, or train anew without --from",
            )
    if isinstance(from_run, Run):
        return from_run.model, from_run
    folder = find_folder(from_run)
    if (folder / "run.json").is_file():
        run = Run.load(folder)
        return run.model, run
    return load(folder), None


def held_out_alike(data: Prepared, earlier: Run | None) -> Prepared:
    """Return the data split as in the run that is started from, so that no row it learned from is held out now.

    Where that cannot be, the data is returned as it is, with a note that the result may not be one on rows never
    seen.
    """
    if earlier is None or earlier.data.get("fingerprint") != data.fingerprint:
        known = (
            "the network started from" if earlier is None else f"the run {earlier.name} learned from other data, and"
        )
        data.notes.append(f"{known} may know some of these rows: as far as it does, they are not really held out")
        return data
    try:
        history = earlier.history_on_disk
        train, validation, test = (history.split(part) for part in ("train", "validation", "test"))
    except UsageError as error:
        data.notes.append(f"the split of the run {earlier.name} is lost ({error.message}): the rows are split anew")
        return data
    if not np.array_equal(np.sort(np.concatenate([train, validation, test])), np.arange(len(data.X))):
        data.notes.append(f"the split of the run {earlier.name} does not fit these rows: they are split anew")
        return data
    data.notes.append(f"the same rows are held out as in the run {earlier.name}, which the network starts from")
    return replace(data, train=train, validation=validation, test=test)
