"""What a training explains of itself when it ends: some held-out answers, right and wrong, and its first neurons.

It is written into the run's folder, from where it is sent to MLflow like all other files. It must never cost more than
a few seconds, nor end a training: what fails or comes too late is told and left out.
"""

from __future__ import annotations

import html
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.judging import Judge
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.prediction import Baseline, explain_prediction
from neuronwise.explaining.prediction_result import PredictionExplanation
from neuronwise.explaining.unlearned import value_errors
from neuronwise.files import format_bytes, write_atomically
from neuronwise.network import Network
from neuronwise.running.prepare import Prepared
from neuronwise.running.run import Run
from neuronwise.running.shown_files import ATLAS, FOLDER, PREDICTIONS

SECONDS, BYTES = 8.0, 10_000_000
"""What the explanations of a run may take, at most: what would begin after that is left out. Seconds are of the
processor; where others keep it busy three times as many may pass."""
# Held-out rows that are looked through, rows that the average is made of, and how many are explained of each kind.
_LOOKED_AT, _AVERAGED, _EACH = 5_000, 5_000, 2


@dataclass(frozen=True)
class Chosen:
    """A held-out row that is explained.

    Attributes:
        place: Its place in the encoded data.
        row: Its number in the data.
        words: Why it was chosen: ``"right, and surest"``.
        right: What is right, in words.
        against: The right class, which a wrong answer among several is compared with; None for others.
    """

    place: int
    row: int
    words: str
    right: str
    against: str | None = None


def explain_run(
    run: Run,
    data: Prepared,
    *,
    redact: bool = False,
    seconds: float = SECONDS,
    size_bytes: int = BYTES,
    told: Callable[[str], None] = lambda message: None,
) -> list[Path]:
    """Write explanations of a run into its folder and return the files; nothing that goes wrong is raised.

    Args:
        run: The run, saved and evaluated.
        data: What it learned from.
        redact: Whether no row of the data may be shown: then there are no answers, only the atlas.
        seconds: What is not begun by then is left out.
        size_bytes: What would go beyond is left out.
        told: Hears what could not be made.
    """
    clock = _Clock(seconds)
    folder = run.folder / FOLDER
    files = _Files(folder, size_bytes)

    def attempt(what: str, make: Callable[[], None]) -> None:
        if clock.left() <= 0:
            told(f"{what} were left out: the {seconds:g} seconds for explanations were used up")
            return
        try:
            make()
        except Exception as error:  # noqa: BLE001 - the training is over and kept; nothing here may end it
            told(f"{what} could not be made: {type(error).__name__}: {error!s:.300}")

    if folder.exists():  # of a training that went on
        shutil.rmtree(folder, ignore_errors=True)
    meaning = Meaning.of(run.network, data.encoder, data.target)
    attempt("the atlas of the first layer", lambda: _atlas(run.network, data, meaning, files, redact))
    if not redact:
        attempt("the explanations of some answers", lambda: _predictions(run, data, meaning, files, clock, told))
    return files.written


class _Clock:
    """Seconds of this thread's processor time, or three times as many that passed, whichever is used up first."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._cpu, self._wall = seconds, time.thread_time(), time.perf_counter()

    def left(self) -> float:
        """Return the seconds that are left."""
        used = max(time.thread_time() - self._cpu, (time.perf_counter() - self._wall) / 3)
        return self._seconds - used


class _Files:
    """Files of one folder, up to a number of bytes."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self._folder, self._left = folder, size_bytes
        self.written: list[Path] = []

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file, if it is not too large."""
        content = content.encode("utf-8") if isinstance(content, str) else content
        if len(content) > self._left:
            raise ValueError(f"{name} has {format_bytes(len(content))}, and {format_bytes(self._left)} are left")
        self._folder.mkdir(exist_ok=True)  # the run's is not made again: it was moved, or deleted on purpose
        write_atomically(self._folder / name, content)
        self._left -= len(content)
        self.written.append(self._folder / name)


def _atlas(network: Network, data: Prepared, meaning: Meaning, files: _Files, redact: bool) -> None:
    from neuronwise.errors import UsageError
    from neuronwise.explaining.atlas import atlas
    from neuronwise.explaining.figures import figure_bytes

    rows = data.test if len(data.test) else data.train
    rows = rows[:: max(1, len(rows) // 1_000)]
    X = np.asarray(data.X[rows], network.dtype).reshape(-1, *network.input_shape)
    try:
        found = atlas(network, X, data.y[rows], meaning=meaning)
    except UsageError:  # nothing with weights looks at the inputs: there is no atlas, which is no fault
        return
    figure = found.figure()
    if figure is not None:
        files.write(ATLAS, figure_bytes(figure, "png"))
    files.write("atlas.json", json.dumps(found.to_dict(), ensure_ascii=False) + "\n")


def _predictions(
    run: Run, data: Prepared, meaning: Meaning, files: _Files, clock: _Clock, told: Callable[[str], None]
) -> None:
    network = run.network
    chosen = choose_rows(network, data, meaning)
    baseline = average_row(network, data, meaning)
    explained: list[tuple[Chosen, PredictionExplanation]] = []
    parts: list[str] = []
    slowest = 0.0
    for one in chosen:
        before = clock.left()
        if parts and slowest > before:
            told(f"{len(chosen) - len(parts)} of {len(chosen)} answers are not explained: the time for it was used up")
            break
        x = np.asarray(data.X[one.place], network.dtype).reshape(network.input_shape)
        found = explain_prediction(network, x, against=one.against, baseline=baseline, meaning=meaning)
        explained.append((one, found))
        parts.append(_section(one, found))
        slowest = max(slowest, before - clock.left())
    if explained:
        files.write(PREDICTIONS, _page(run, parts))
        content = [{"row": one.row, "chosen": one.words, "right": one.right} | {"explanation": told_.to_dict()}
                   for one, told_ in explained]  # fmt: skip
        files.write("predictions.json", json.dumps(content, ensure_ascii=False) + "\n")


def choose_rows(network: Network, data: Prepared, meaning: Meaning) -> list[Chosen]:
    """Return held-out rows worth looking at: two wrong and two right; of numbers, two far off and two that are close.

    Of the wrong ones those with the largest loss; of the right ones the surest and the least sure.
    """
    rows = data.test if len(data.test) else data.validation if len(data.validation) else data.train
    rows = rows[:: max(1, len(rows) // _LOOKED_AT)]
    X = np.asarray(data.X[rows], network.dtype).reshape(-1, *network.input_shape)
    judge = Judge(network, data.y[rows], None, meaning)
    trace_z, a = _answers(network, X)
    if judge.ids is not None:
        losses, right = judge.losses(trace_z, a), judge.right(trace_z, a)
        order = np.argsort(np.nan_to_num(losses, nan=np.inf), kind="stable")
        wrong = [int(i) for i in order[::-1] if not right[i]][:_EACH]
        good = [int(i) for i in order if right[i]]
        picked = [(i, "wrong") for i in wrong]
        picked += [(good[0], "right, and surest")] if good else []
        picked += [(good[-1], "right, but least sure")] if len(good) > 1 else []
        words = [judge.class_names[int(judge.ids[i])] for i, _ in picked]
    else:
        errors = value_errors(judge, a)
        order = np.argsort(np.nan_to_num(errors, nan=np.inf), kind="stable")
        far = [int(i) for i in order[::-1][:_EACH]]
        picked = [(i, "far off") for i in far]
        picked += [(int(i), "close") for i in order[:_EACH] if int(i) not in far]
        words = [meaning.answer_words(judge.targets[i]) for i, _ in picked]
    source = data.source_rows if len(data.source_rows) else np.arange(len(data.X))
    return [
        Chosen(
            int(rows[i]),
            int(source[rows[i]]),
            why,
            right_words,
            right_words if why == "wrong" and network.output_size > 1 else None,
        )
        for (i, why), right_words in zip(picked, words, strict=True)
    ]


def _answers(network: Network, X: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return z and a of the last layer, (rows, outputs)."""
    from neuronwise.explaining.judging import outputs, passes

    found = [tuple(values.copy() for values in outputs(space)) for _, space in passes(network, X)]
    return np.concatenate([z for z, _ in found]), np.concatenate([a for _, a in found])


def average_row(network: Network, data: Prepared, meaning: Meaning) -> Baseline | None:
    """Return the average training row, what contributions of a table are counted from; None for pictures: zeros."""
    if data.kind == "image":
        return None
    rows = data.train[:: max(1, len(data.train) // _AVERAGED)]
    mean = np.asarray(data.X[rows], np.float64).mean(axis=0)
    words = f"the average of the {len(rows):,} training rows"
    if len(rows) < len(data.train):
        words = f"the average of {len(rows):,} of the {len(data.train):,} training rows"
    return Baseline(mean, words)


def _section(one: Chosen, told: PredictionExplanation) -> str:
    heading = html.escape(f"Row {one.row:,} ({one.words}); right: {one.right}")
    return f"<section><h2>{heading}</h2>{told._repr_html_()}</section>"


def _page(run: Run, sections: list[str]) -> str:
    """Return one page with all of them, which loads nothing and runs no script."""
    title = html.escape(f"Why these answers: {run.name}")
    style = "font: 15px/1.5 system-ui, sans-serif; margin: 1.5em auto; max-width: 60em; padding: 0 1em"
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<body style='{style}'><h1>{title}</h1>\n<p>Held-out rows: the network has not learned from them.</p>\n"
        + "\n".join(sections)
        + "</body></html>\n"
    )
