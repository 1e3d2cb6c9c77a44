"""What MLflow is told about the data of a run: name, digest, columns, size and source; never the rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from neuronwise.tracking.names import shorten

# Limits of MLflow's tables.
_MAX_NAME, _MAX_DIGEST, _MAX_SOURCE, _MAX_SCHEMA = 500, 36, 60_000, 1_000_000
_MAX_COLUMNS = 5_000

_TYPES = {
    "b": "boolean",
    "i": "long",
    "u": "long",
    "f": "double",
    "M": "datetime",
}


@dataclass(frozen=True)
class DatasetInfo:
    """A data set as shown in MLflow.

    Attributes:
        name: As the user knows it: ``"houses.csv"``.
        digest: Fingerprint of the content; the first 36 characters are kept.
        source: Where it comes from, a path or address; ``""`` for data made in memory.
        context: What it was used for: ``"training"``, ``"validation"``.
        rows: Number of rows, None if unknown.
        columns: Name and type of each column: MLflow's ``"double"``, ``"long"``, ``"string"``, ``"boolean"``,
            ``"datetime"``.
        target: Name of the column that is predicted, None if there is none.
    """

    name: str
    digest: str
    source: str = ""
    context: str = "training"
    rows: int | None = None
    columns: tuple[tuple[str, str], ...] = ()
    target: str | None = None

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        name: str,
        digest: str,
        source: str = "",
        context: str = "training",
        rows: int | None = None,
        target: str | None = None,
    ) -> DatasetInfo:
        """Return the description of a pandas frame; its head is enough if `rows` is given."""
        columns = tuple(
            (str(column), _TYPES.get(getattr(dtype, "kind", "O"), "string"))
            for column, dtype in zip(frame.columns, frame.dtypes, strict=True)
        )
        return cls(name, digest, source, context, len(frame) if rows is None else rows, columns, target)

    @classmethod
    def from_arrays(
        cls, X: Any, y: Any = None, *, name: str, digest: str, source: str = "", context: str = "training"
    ) -> DatasetInfo:
        """Return the description of NumPy arrays X (rows, …) and y."""
        shape = " × ".join(map(str, X.shape[1:])) or "1"
        columns = [(f"X ({shape})", _TYPES.get(X.dtype.kind, "string"))]
        if y is not None:
            columns.append(("y", _TYPES.get(y.dtype.kind, "string")))
        target = None if y is None else "y"
        return cls(name, digest, source, context, len(X), tuple(columns), target)

    def to_mlflow(self) -> Any:
        """Return an `mlflow.entities.DatasetInput`.

        Built from plain values: `mlflow.data.from_pandas` would hash the rows again, and needs all of them.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        columns = [
            {"type": kind, "name": name, "required": name != self.target} for name, kind in self.columns[:_MAX_COLUMNS]
        ]
        schema = json.dumps({"mlflow_colspec": columns})
        profile: dict[str, Any] = {"num_columns": len(self.columns)}
        if self.rows is not None:
            profile |= {"num_rows": self.rows, "num_elements": self.rows * len(self.columns)}
        if self.target is not None:
            profile["target"] = self.target
        dataset = Dataset(
            name=shorten(self.name or "data", _MAX_NAME),
            digest=self.digest[:_MAX_DIGEST] or "unknown",
            source_type="local" if self.source else "code",
            source=json.dumps({"uri": shorten(self.source, _MAX_SOURCE)} if self.source else {"tags": {}}),
            schema=schema if columns and len(schema) <= _MAX_SCHEMA else None,
            profile=json.dumps(profile),
        )
        return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", self.context)])
