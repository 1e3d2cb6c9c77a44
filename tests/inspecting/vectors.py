"""Numbers that Python and the front end must agree on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neuronwise.data import FeatureEncoder, describe_columns, make_houses, read_table
from neuronwise.explaining import Meaning, explain_prediction
from neuronwise.inspecting import ShownExamples, build_payload
from neuronwise.inspecting.blobs import blob
from neuronwise.inspecting.meaning_data import describe_inputs
from neuronwise.inspecting.network_data import describe_network
from neuronwise.network import (
    ActivationLayer,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    Network,
)


def networks() -> dict[str, Network]:
    """Return networks with every layer type, every activation and both orders of the axes of pictures."""
    dense = {
        f"{hidden} to {output}": Network.dense([7, 9, 5, 4], hidden, output, seed=seed)
        for seed, (hidden, output) in enumerate(
            [("relu", "softmax"), ("tanh", "identity"), ("sigmoid", "sigmoid"), ("leaky_relu", "softplus"),
             ("elu", "gelu"), ("gelu", "tanh"), ("softplus", "elu"), ("identity", "leaky_relu")]
        )
    }  # fmt: skip
    first = [
        Conv2D(5, 3, padding="same", stride=2), BatchNorm(activation="relu"), MaxPool2D(2, stride=1, padding=1),
        Conv2D(4, (2, 3), "tanh", padding=(1, 0)), AveragePool2D(2, padding=1), Flatten(), Dropout(0.3),
        Dense(6, "gelu"), BatchNorm(), ActivationLayer("elu"), Dense(3, "softmax"),
    ]  # fmt: skip
    second = [
        Conv2D(4, 3, data_format="channels_first", padding=1),
        AveragePool2D((3, 2), data_format="channels_first"),
        BatchNorm(data_format="channels_first", activation="softplus"),
        ActivationLayer("tanh"),
        MaxPool2D(2, data_format="channels_first"),
        Flatten(),
        Dense(5),
        Dense(2, "softmax"),
    ]
    third = [Conv2D(3, 3), MaxPool2D(2), BatchNorm(), Flatten(), Dense(4, "relu"), Dense(2, "sigmoid")]
    return dense | {
        "pictures, channels last": Network(first, input_shape=(11, 9, 2), seed=3),
        "pictures, channels first": Network(second, input_shape=(3, 9, 8), seed=4),
        "pictures without channels": Network(third, input_shape=(8, 8), seed=5),
        "wide": Network.dense([3, 700, 5000, 2], seed=9),
    }


def _described(name: str, network: Network) -> dict[str, Any]:
    rng = np.random.default_rng(len(name))
    network.parameters += rng.normal(0, 0.1, network.parameters.shape).astype(network.dtype)
    network.buffers += rng.uniform(0, 0.5, network.buffers.shape).astype(network.dtype)
    X = rng.normal(0, 1.5, (3, *network.input_shape)).astype(np.float32)
    X[1] = 0.0
    if name.endswith("softmax"):
        X[2].flat[0] = np.nan
    inputs = []
    for x in X:
        trace = network.trace(x)
        layers = [
            {"z": None if one.z is None else blob(one.z[0], "float32"), "a": blob(one.a[0], "float32")}
            for one in trace.layers
        ]
        inputs.append({"x": blob(x, "float32"), "layers": layers})
    return {
        "name": name,
        "net": describe_network(network),
        "parameters": blob(network.parameters, "float32"),
        "buffers": blob(network.buffers, "float32"),
        "inputs": inputs,
        "explained": _explained(network, X[0]),
        "smooth": any(word in name for word in ("tanh to", "gelu to", "softplus to", "pictures")),
    }


def _explained(network: Network, x: Any) -> list[dict[str, Any]]:
    """Return what Python says each input and each hidden neuron adds to z of an output; empty where it says it of a."""
    last = network.layers[-1].activation
    if last is None or last.name not in ("softmax", "sigmoid", "identity"):
        return []
    found = []
    for baseline in (np.zeros(network.input_shape), np.linspace(-0.5, 0.5, x.size).reshape(network.input_shape)):
        why = explain_prediction(network, x, 1, baseline=baseline)
        found.append(
            {
                "baseline": blob(baseline, "float32"),
                "method": why.method,
                "start": why.start,
                "value": why.value,
                "inputs": blob(why.input_contributions, "float64"),
                "layers": {one.layer: [blob(one.contributions, "float64"), one.start] for one in why.layers},
            }
        )
    return found


def _table() -> dict[str, Any]:
    frame = make_houses(rows=200, seed=2, missing=0.05)
    rng = np.random.default_rng(0)
    frame["lat"], frame["long"] = rng.uniform(47.1, 47.8, 200), rng.uniform(-122.5, -121.3, 200)
    frame["sold_at"] = [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d} {i % 24:02d}:30:00" for i in range(200)]
    frame = frame.drop(columns=[name for name in ("sale_id",) if name in frame])
    table = read_table(frame)
    columns = describe_columns(table, target="price")
    encoder = FeatureEncoder.fit(table, columns)
    described = describe_inputs(Meaning.of(Network.dense([encoder.n_inputs, 2]), encoder))
    kinds = {column["kind"] for column in described["columns"]}
    assert kinds == {"numeric", "category", "yes/no", "date"}, kinds
    assert any(one["part"] == "cosine 2" for column in described["columns"] for one in column["inputs"])
    assert any(one["part"] == "missing" for column in described["columns"] for one in column["inputs"])
    rows = []
    for row, x in enumerate(encoder.transform(table)[:60]):
        cells = [_cell(column, frame[column["name"]].iloc[row]) for column in described["columns"]]
        rows.append({"cells": cells, "x": blob(x, "float32")})
    return {"columns": described["columns"], "rows": rows}


def _cell(column: dict[str, Any], raw: Any) -> dict[str, Any]:
    if pd.isna(raw) or raw == "":
        return {"missing": any(one["part"] == "missing" for one in column["inputs"]), "value": None}
    value: Any = str(raw)
    if column["kind"] == "yes/no":
        value = 1 if str(raw).lower() in ("yes", "true", "1") else 0
    elif column["kind"] == "numeric":
        value = float(raw)
    elif column["kind"] == "date":
        parts = [one["part"] for one in column["inputs"]]
        value = str(raw)[:16].replace(" ", "T") if "hour" in parts else str(raw)[:10]
    return {"missing": False, "value": value}


def write_vectors(path: Path, network: Network, meaning: Meaning, X: Any, y: Any) -> None:
    """Write all of them as JSON, with the payload of a trained network of pictures."""
    payload = build_payload(
        network,
        meaning,
        run={"name": "made"},
        examples=ShownExamples(X, y, np.arange(len(X)), "test", len(X)),
        learned=X,
    )
    arrays = [
        {"packed": blob(values, dtype), "values": [None if np.isnan(v) else float(v) for v in values]}
        for dtype, values in (
            ("float16", [0.1, -2.5, 65504.0, np.nan]),
            ("float32", [0.1, 3e38, np.nan]),
            ("float64", [1e-300, 2.0]),
            ("int32", [-5.0, 2.0**31 - 1]),
            ("uint8", [0.0, 255.0]),
        )
    ]
    content = {
        "networks": [_described(name, one) for name, one in networks().items()],
        "arrays": arrays,
        "tables": [_table()],
        "payload": payload,
        "answers": blob(network.predict(X[:1])[0], "float32"),
    }
    path.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
