"""Pictures of a run for MLflow's page: weights over time, with a slider over the steps."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.explaining import histograms_over_time, png, weight_histograms, weight_images
from neuronwise.files import write_atomically
from neuronwise.network import Conv2D, Flatten, Network
from neuronwise.tracking import Tracker

if TYPE_CHECKING:
    from neuronwise.recording import RecordedHistory
    from neuronwise.running.run import Run

# Pictures per layer: enough for a slider, few enough that MLflow's page stays quick.
_PICTURES = 10
_LAYERS_WITH_PICTURES = 8


def send_pictures(tracker: Tracker, run: Run) -> None:
    """Send histograms of weights over time and, for images, first-layer weights, each with its step.

    The histograms are also written as one picture into the recording.
    """
    try:
        history = run.history_on_disk
    except (FormatError, NotFoundError):  # its folder was deleted or the disk was full, which the recorder has told
        return
    layers = [layer for layer in run.network.layers if "W" in layer.parameters][:_LAYERS_WITH_PICTURES]
    steps = spread(history.steps, _PICTURES)
    if not steps:
        return
    of_layers = {layer.name: [np.array(history.layer(step, layer.name)["W"]) for step in steps] for layer in layers}
    for name, matrices in of_layers.items():
        for step, picture in zip(steps, weight_histograms(name, steps, matrices), strict=True):
            tracker.log_image(picture, f"{name}/weights", step)
    if (shape := image_shape(run.network)) is not None:
        first = layers[0].name
        largest = float(max(np.abs(W[np.isfinite(W)]).max(initial=0.0) for W in of_layers[first]))
        for step, W in zip(steps, of_layers[first], strict=True):
            picture = weight_images(_as_rows(W), shape, largest=largest)
            tracker.log_image(picture, f"{first}/weights_as_images", step)
    course = _course(history, [layer.name for layer in layers])
    path = run.folder / "recording" / "weights_over_time.png"
    with contextlib.suppress(OSError):  # a full disk: the same is in the pictures
        write_atomically(path, png(course))


def _course(history: RecordedHistory, names: list[str]) -> NDArray[np.uint8]:
    steps = spread(history.steps, 60)
    return histograms_over_time(steps, {name: [history.layer(step, name)["W"] for step in steps] for name in names})


def image_shape(network: Network) -> tuple[int, ...] | None:
    """Return the shape of the weights of one neuron of the first layer with weights, if they can be seen as a picture.

    A dense layer must look at the picture itself; the patch of a convolution must have one channel, or three.
    """
    shape, first = network.input_shape, next((layer for layer in network.layers if "W" in layer.parameters), None)
    if isinstance(first, Conv2D):
        channels, *patch = first.W.shape[1:]
        return {1: (*patch,), 3: (*patch, 3)}.get(channels)
    return shape if len(shape) in (2, 3) and isinstance(network.layers[0], Flatten) else None


def _as_rows(W: NDArray[Any]) -> NDArray[Any]:
    """Return weights as a row for each neuron, a convolution's in the order rows, columns, channels."""
    return W if W.ndim == 2 else np.moveaxis(W, 1, -1).reshape(len(W), -1)


def spread(steps: Any, count: int) -> list[int]:
    """Return at most `count` of the steps, the first and last among them, evenly over their order."""
    every = [int(step) for step in steps]
    if len(every) <= count:
        return every
    return [every[i] for i in np.unique(np.linspace(0, len(every) - 1, count).round().astype(int))]
