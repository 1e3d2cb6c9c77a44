"""A fitted network with its encoder: what a training leaves and `neuronwise.load` returns."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import (
    ArrayEncoder,
    FeatureEncoder,
    PixelEncoder,
    StreamedTable,
    TargetSpec,
    is_image_source,
    open_table,
    read_images,
)
from neuronwise.data.inputs import Unusual
from neuronwise.data.scratch import large_array
from neuronwise.data.stream_encoding import transform_parts
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
            table = open_table(data)
            if isinstance(table, StreamedTable):
                return self._encode_long(table, self.encoder)
            return self.encoder.transform(table), self.encoder.check(table)
        if isinstance(self.encoder, PixelEncoder):
            images = self._stack(data)
            return self.encoder.transform(images), self.encoder.check(images)
        if np.ndim(data) > 2:
            data = np.reshape(data, (len(data), -1))
        return self.encoder.transform(data), self.encoder.check(data)

    def _encode_long(self, table: StreamedTable, encoder: FeatureEncoder) -> tuple[NDArray[np.float32], list[str]]:
        X, _ = large_array((table.n_rows, encoder.n_inputs), table.options.budget)
        unusual: list[Unusual] = []
        for first, part in transform_parts(table, encoder, unusual):
            X[first : first + len(part)] = part
        return X, [str(found) for found in unusual]

    def _outputs(self, data: Any, unseen: list[str]) -> Iterator[NDArray[Any]]:
        """Yield the activations of the output layer for raw data, part by part; `unseen` takes what was never seen."""
        self._check_source(data)
        table = open_table(data) if isinstance(self.encoder, FeatureEncoder) else None
        if not isinstance(table, StreamedTable) or not isinstance(self.encoder, FeatureEncoder):
            x, said = self.encode(data if table is None else table)
            unseen += said
            yield self.network.predict(x)
            return
        unusual: list[Unusual] = []
        for _, X in transform_parts(table, self.encoder, unusual):
            yield self.network.predict(X)
        unseen += map(str, unusual)

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
            return _images(values, (shape[0], shape[1]), 1 if len(shape) == 2 else shape[2], self.encoder.maximum)
        if values.ndim <= 2 and values.shape and values.shape[-1] == self.encoder.n_inputs:
            return values.reshape(-1, *shape)
        return values[None] if values.shape == shape else values

    def raw(self, data: Any) -> NDArray[Any]:
        """Return the activations of the output layer, (rows, outputs), for raw data."""
        return np.concatenate(list(self._outputs(data, [])))

    def predict(self, data: Any) -> NDArray[Any]:
        """Return an answer per row: numbers in the original unit, or class names (of arrays, the labels as given).

        Categories and values that training has never seen are told by an `UnseenDataWarning`.

        Args:
            data: As for `encode`.

        Raises:
            DataError: The data cannot be read, or lacks a column.
        """
        unseen: list[str] = []
        y_hat = np.concatenate(list(self._outputs(data, unseen)))
        if unseen:
            more = f"; and {len(unseen) - _MAX_TOLD} more" if len(unseen) > _MAX_TOLD else ""
            warnings.warn("; ".join(unseen[:_MAX_TOLD]) + more, UnseenDataWarning, stacklevel=2)
        answers = self.target.decode(y_hat)
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

        unseen: list[str] = []
        frames = list(self._frames(data, unseen))
        return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True), unseen

    def predict_file(self, data: Any, path: str | Path) -> tuple[int, list[str]]:
        """Write predictions to `path`, CSV or Parquet by its ending, whole or not at all.

        A table too large to be read whole is answered part by part, and its answers are never all in memory.

        Returns:
            How many there are, and sentences about what was never seen in training.

        Raises:
            DataError: As for `encode`.
            OSError: The file cannot be written.
        """
        from neuronwise.files import atomic_file

        unseen: list[str] = []
        rows = 0
        with atomic_file(path) as file:
            if Path(path).suffix.lower() == ".parquet":
                rows = _write_parquet(file, self._frames(data, unseen))
            else:
                for frame in self._frames(data, unseen):
                    frame.to_csv(file, index=False, header=not rows)
                    rows += len(frame)
        return rows, unseen

    def _frames(self, data: Any, unseen: list[str]) -> Iterator[pd.DataFrame]:
        import pandas as pd

        lost = rows = 0
        for y_hat in self._outputs(data, unseen):
            answers = self.target.decode(y_hat)
            rows += len(answers)
            frame = pd.DataFrame({"prediction": answers})
            if self.target.task == "regression":
                lost += int((~np.isfinite(answers)).sum())
            else:
                for name, column in zip(self.target.classes, self._probabilities(y_hat).T, strict=True):
                    frame[f"P({name})"] = column
            yield frame
        if lost:
            unseen.append(
                f"{lost:,} of {rows:,} predictions are not finite: the network's weights are far too large, "
                "as they are after a training that diverged"
            )

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


def _write_parquet(file: Any, frames: Iterator[pd.DataFrame]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    rows, writer = 0, None
    try:
        for frame in frames:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            writer = writer or parquet.ParquetWriter(file, table.schema)
            writer.write_table(table.cast(writer.schema))
            rows += len(frame)
    finally:
        if writer is not None:
            writer.close()
    return rows


def _images(source: Any, size: tuple[int, int], channels: int, maximum: float) -> NDArray[Any]:
    """Read pictures for prediction: files of pictures are resized to what the network takes."""
    from neuronwise.data import is_picture_source

    resize = size if is_picture_source(source) else None
    data = read_images(source, image_size=resize, channels=channels if resize else None, labelled=False)
    if resize and data.maximum != maximum:  # fully bright is 255 in a file, 16 in scikit-learn's digits
        return data.images * np.float32(maximum / data.maximum)
    return data.images
