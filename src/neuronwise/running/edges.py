"""Edges of a run: its detectors, how they came to be, feature maps of any picture, what deeper neurons look for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from neuronwise.data.picture_files import read_header, read_pixels
from neuronwise.errors import UsageError
from neuronwise.explaining.deep_patterns import DeepPatterns, deep_patterns
from neuronwise.explaining.edges import Edges, find_edges
from neuronwise.explaining.edges_over_time import EdgesOverTime, edges_over_time
from neuronwise.explaining.feature_maps import FeatureMaps, channels_seen, feature_maps, fitting_size
from neuronwise.explaining.kernels import KernelReader, first_layer
from neuronwise.explaining.meaning import Meaning
from neuronwise.network import Network
from neuronwise.running.locating import find_here
from neuronwise.running.opening import open_recording
from neuronwise.running.run import Run
from neuronwise.running.subject import Part, Subject
from neuronwise.running.watched_run import is_watched

EXAMPLES = 2000
"""Most examples among which patches are looked for that a deeper neuron answers."""


def edges_of_run(run: str | Path | Run, layer: str | None = None, *, step: int | None = None) -> Edges:
    """Return how the first layer of a run's network answers to edges, bars and gratings.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        layer: As for `explaining.find_edges`.
        step: The network after this step; default as it was delivered.

    Raises:
        NotFoundError: There is no such run, layer or step.
        UsageError: The network's inputs are no pictures.
    """
    network, meaning = _looked_at(run, step)
    return find_edges(network, layer, meaning=meaning)


def edges_of_run_over_time(
    run: str | Path | Run, layer: str | None = None, *, steps: Iterable[int] | None = None, data: Any = None
) -> EdgesOverTime:
    """Return orientations of a run's first layer over its training, and when each had settled.

    Args:
        run: As for `edges_of_run`.
        layer: As for `explaining.find_edges`.
        steps: As for `explaining.edges_over_time`.
        data: What it learned from, where a step must be taken again and the run cannot find it by itself.

    Raises:
        NotFoundError: There is no such run, layer or step, or nothing was recorded.
        UsageError: The network's inputs are no pictures.
    """
    network, meaning = _looked_at(run, None)
    KernelReader.of(network, layer, meaning)  # said before the recording is read
    return edges_over_time(open_recording(run, data), layer, steps=steps, meaning=meaning)


def patterns_of_run(
    run: str | Path | Run,
    name: str,
    *,
    part: Part = "held-out",
    step: int | None = None,
    data: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> DeepPatterns:
    """Return what deeper neurons of a run's network look for, on rows of its data.

    Args:
        run: As for `edges_of_run`.
        name: A layer or one neuron of it, as for `explaining.deep_patterns`.
        part: Rows among which patches are looked for; of more than 2,000 a sample is taken.
        step: The network after this step; default as it was delivered.
        data: What it learned from, where the run cannot find it by itself.
        progress: Called with the number of neurons done and of all.

    Raises:
        NotFoundError: There is no such run, layer or neuron, or its data is not to be found.
        UsageError: It is the first layer, or the network's inputs are no pictures.
    """
    subject = Subject(run, data, step=step)
    subject.network[name]  # said before the data is read
    KernelReader.of(subject.network, None, subject.meaning)
    rows = subject.examples(part, most=EXAMPLES)
    return deep_patterns(subject.network, name, rows.X, meaning=subject.meaning, progress=progress)


def feature_maps_of_run(
    run: str | Path | Run, image: str | Path, layer: str | None = None, *, step: int | None = None
) -> FeatureMaps:
    """Return the feature maps that a run's network makes of any picture, at the picture's own size.

    The picture is brought to the network's channels (grey, or red, green and blue) and to values from 0 to 1. One that
    is too large for its maps to stay in memory is scaled down, which the result says.

    Args:
        run: As for `edges_of_run`.
        image: A picture: PNG, JPEG, GIF, BMP or WebP.
        layer: As for `explaining.feature_maps`.
        step: The network after this step; default as it was delivered.

    Raises:
        NotFoundError: There is no such run, layer or step.
        DataError: There is no such picture, or it cannot be read.
        UsageError: The network's inputs are no pictures, or the layer has no maps.
    """
    network, meaning = _looked_at(run, step)
    channels = channels_seen(network, meaning)
    if channels not in (1, 3):
        raise UsageError(
            f"the network takes pictures of {channels} channels, and a picture file has 1 (grey) or 3 (colour)",
            where="argument image",
            hint="from Python: neuronwise.explaining.feature_maps(network, picture)",
        )
    size, is_colour, _ = read_header(Path(image))
    fitted = fitting_size(network, layer, size, meaning=meaning)
    notes = []
    if fitted != size:
        notes.append(
            f"The picture of {size[0]:,} × {size[1]:,} pixels was scaled down to {fitted[0]:,} × {fitted[1]:,}, so "
            "that its maps stay in memory."
        )
    if is_colour and channels == 1:
        notes.append("The picture has colour and was turned to grey, as the network takes it.")
    elif not is_colour and channels == 3:
        notes.append("The picture is grey: red, green and blue are the same.")
    pixels, transparent = read_pixels(Path(image), fitted, channels)
    if transparent:
        notes.append("The picture is partly transparent and was laid on white.")
    picture: NDArray[Any] = pixels.astype(network.dtype) / network.dtype.type(255)
    return feature_maps(network, picture, layer, meaning=meaning, notes=notes)


def _looked_at(run: str | Path | Run, step: int | None) -> tuple[Network, Meaning]:
    """Return a run's network and what is known of its inputs; of a watched run that which its recording holds."""
    folder = None if isinstance(run, Run) else find_here(str(run))
    if folder is None or not is_watched(folder):
        subject = Subject(run, step=step)
        return subject.network, subject.meaning
    recording = open_recording(folder)
    network = recording.network if step is None else recording.at(step)
    return network, Meaning.of(network)


def is_first_layer(run: str | Path | Run, layer: str) -> bool:
    """Return whether this is the first layer with weights of a run's network.

    Raises:
        NotFoundError: There is no such run or layer.
    """
    network, _ = _looked_at(run, None)
    network[layer]
    return layer == first_layer(network)
