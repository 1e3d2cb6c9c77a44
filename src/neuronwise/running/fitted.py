"""A fitted network with its encoder: what a training leaves and `neuronwise.load` returns."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import (
    ArrayEncoder,
    FeatureEncoder,
    PixelEncoder,
    TargetSpec,
    is_image_source,
    read_images,
    read_table,
)
from neuronwise.errors import FormatError, UnseenDataWarning, UsageError
from neuronwise.files import write_atomically
from neuronwise.network import Network, read_json

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "neuronwise-encoder"
VERSION = 1

Kind = Literal["table", "image", "array"]
# Sentences about unseen data in one warning; `predict_frame` returns all.
_MAX_TOLD = 5

Encoder = FeatureEncoder | PixelEncoder | ArrayEncoder
_ENCODERS: dict[str, Any] = {"table": FeatureEncoder, "image": PixelEncoder, "array": ArrayEncoder}


class FittedNetwork:
    """A network, and the way from raw data to its inputs and from its outputs to answers.

    Attributes:
        network: The network.
        encoder: Turns raw rows or pictures into input neurons.
        target: What is predicted, and the way back to original units.
        kind: ``"table"``, ``"image"`` or ``"array"``.
    """

    def __init__(self, network: Network, encoder: Encoder, target: TargetSpec, kind: Kind) -> None:
        self.network, self.encoder, self.target, self.kind = network, encoder, target, kind

    def encode(self, data: Any) -> tuple[NDArray[np.float32], list[str]]:
        """Return the input neurons (rows, inputs), and sentences about what was never seen in training.

        Args:
            data: For a table: path, pandas or polars frame. For images: path, ``"digits"``, ``"mnist"``, a picture, or
                an array of images. For arrays: an array (rows, inputs).

        Raises:
            DataError: The data cannot be read, or lacks a column.
        """
        self._check_source(data)
        if isinstance(self.encoder, FeatureEncoder):
            table = read_table(data)
            return self.encoder.transform(table), self.encoder.check(table)
        if isinstance(self.encoder, PixelEncoder):
            images = self._stack(data)
            return self.encoder.transform(images), self.encoder.check(images)
        if np.ndim(data) > 2:
            data = np.reshape(data, (len(data), -1))
        return self.encoder.transform(data), self.encoder.check(data)

    def _check_source(self, data: Any) -> None:
        """Refuse what is named of another kind than the network learned from."""
        if not isinstance(data, (str, Path)):
            return
        if self.kind == "array":
            raise UsageError(
                f"the network learned from an array, so it takes an array, not a name, got {str(data)!r:.200}",
                where="argument data",
            )
        if is_image_source(data) != (self.kind == "image"):
            known = "pictures" if self.kind == "image" else "a table"
            raise UsageError(
                f"the network learned from {known}, and {str(data)!r:.200} names "
                f"{'a table' if self.kind == 'image' else 'pictures'}",
                where="argument data",
            )

    def _stack(self, data: Any) -> NDArray[Any]:
        """Return images as an array (n, *input_shape), as far as it has that shape."""
        assert isinstance(self.encoder, PixelEncoder)
        shape = self.encoder.input_shape
        # A saved model receives a frame of pixels from MLflow: its values are the images.
        values = data.to_numpy() if hasattr(data, "to_numpy") else data
        if not isinstance(values, np.ndarray):
            return _images(values, (shape[0], shape[1]), 1 if len(shape) == 2 else shape[2])
        if values.ndim <= 2 and values.shape and values.shape[-1] == self.encoder.n_inputs:
            return values.reshape(-1, *shape)
        return values[None] if values.shape == shape else values

    def raw(self, data: Any) -> NDArray[Any]:
        """Return the activations of the output layer, (rows, outputs), for raw data."""
        return self.network.predict(self.encode(data)[0])

    def predict(self, data: Any) -> NDArray[Any]:
        """Return an answer per row: numbers in the original unit, or class names (of arrays, the labels as given).

        Categories and values that training has never seen are told by an `UnseenDataWarning`.

        Args:
            data: As for `encode`.

        Raises:
            DataError: The data cannot be read, or lacks a column.
        """
        x, unseen = self.encode(data)
        if unseen:
            more = f"; and {len(unseen) - _MAX_TOLD} more" if len(unseen) > _MAX_TOLD else ""
            warnings.warn("; ".join(unseen[:_MAX_TOLD]) + more, UnseenDataWarning, stacklevel=2)
        answers = self.target.decode(self.network.predict(x))
        if isinstance(self.encoder, ArrayEncoder) and self.target.task != "regression":
            return self.encoder.as_given(answers)
        return answers

    def predict_proba(self, data: Any) -> NDArray[np.float64]:
        """Return the probability of each class, (rows, classes), in the order of `target.classes`.

        Raises:
            UsageError: The network predicts a number, not a class.
        """
        return self._probabilities(self.raw(data))

    def _probabilities(self, y_hat: NDArray[Any]) -> NDArray[np.float64]:
        if self.target.task == "regression":
            raise UsageError("this network predicts a number, so there are no class probabilities")
        values = y_hat.astype(np.float64)
        return np.hstack([1.0 - values, values]) if values.shape[1] == 1 else values

    def predict_frame(self, data: Any) -> tuple[pd.DataFrame, list[str]]:
        """Return predictions as a frame, and sentences about what was never seen in training.

        The column ``prediction`` holds the answer; for classes a column ``P(class)`` for each follows.
        """
        import pandas as pd

        x, unseen = self.encode(data)
        y_hat = self.network.predict(x)
        answers = self.target.decode(y_hat)
        if self.target.task == "regression" and (lost := int((~np.isfinite(answers)).sum())):
            unseen.append(
                f"{lost:,} of {len(answers):,} predictions are not finite: the network's weights are far too large, "
                "as they are after a training that diverged"
            )
        frame = pd.DataFrame({"prediction": answers})
        if self.target.task != "regression":
            for name, column in zip(self.target.classes, self._probabilities(y_hat).T, strict=True):
                frame[f"P({name})"] = column
        return frame, unseen

    def save(self, folder: str | Path) -> None:
        """Write network.json, network.safetensors and encoder.json into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "encoder": self.encoder.to_dict(),
            "target": self.target.to_dict(),
        }
        write_atomically(folder / "encoder.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        self.network.save(folder)

    @classmethod
    def load(cls, folder: str | Path) -> FittedNetwork:
        """Return what `save` wrote; nothing in the files is executed.

        Raises:
            NotFoundError: There is no model in `folder`.
            FormatError: A file is truncated, corrupt or hostile, or the files do not belong together.
        """
        folder = Path(folder)
        where = str(folder / "encoder.json")
        content = read_json(folder / "encoder.json", "model")
        if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
            raise FormatError(f"not an encoder of version {VERSION}", where=where)
        kind = content.get("kind")
        if kind not in tuple(_ENCODERS):  # compared, not hashed: it may be a list
            raise FormatError(f"the key 'kind' should be one of {', '.join(_ENCODERS)}, got {kind!r:.100}", where=where)
        try:
            encoder = _ENCODERS[kind].from_dict(content.get("encoder"))
            target = TargetSpec.from_dict(content.get("target"))
        except FormatError as error:  # which knows its place in the file, not the file
            raise FormatError(error.message, where=f"{where}, {error.where}", hint=error.hint) from None
        network = Network.load(folder)
        if len(encoder.input_names) != int(np.prod(network.input_shape)) or target.n_outputs != network.output_size:
            raise FormatError(
                f"encoder and network do not belong together: {len(encoder.input_names)} inputs and "
                f"{target.n_outputs} outputs here, {network!r} beside it",
                where=where,
            )
        return cls(network, encoder, target, cast(Kind, kind))

    def __repr__(self) -> str:
        return f"<FittedNetwork {self.target.name} ({self.target.task}) from {self.network!r}>"


def _images(source: Any, size: tuple[int, int], channels: int) -> NDArray[Any]:
    """Read pictures for prediction: files of pictures are resized to what the network takes."""
    from neuronwise.data import is_picture_source

    resize = size if is_picture_source(source) else None
    data = read_images(source, image_size=resize, channels=channels if resize else None, labelled=False)
    return data.images
