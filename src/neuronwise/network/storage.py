"""A network on disk: network.json (what it is) and network.safetensors (its weights).

Both are data only: nothing in them can run. Sizes are compared with the description before memory is taken.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.files import format_bytes, write_atomically
from neuronwise.network.buffers import zeros_buffer
from neuronwise.network.description import FORMAT, network_from_dict, network_to_dict, read_layers
from neuronwise.network.network import Network

# Far beyond any network described by hand or by us: a million names of inputs still fit.
_MAX_JSON_BYTES = 64_000_000
_TENSOR_DTYPES = {"F32": "float32", "F64": "float64"}


def save_network(network: Network, folder: Path) -> None:
    """Write network.json and network.safetensors; the weights first, so that a description never lacks them."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.ascontiguousarray(values) for name, values in network_tensors(network).items()}
    write_atomically(folder / "network.safetensors", save(tensors, metadata={"format": FORMAT}))
    text = json.dumps(network_to_dict(network), ensure_ascii=False, indent=1)
    try:
        text.encode()
    except UnicodeEncodeError:  # a name with a lone surrogate, from a file that was not UTF-8
        text = json.dumps(network_to_dict(network), indent=1)
    write_atomically(folder / "network.json", text + "\n")


def network_tensors(network: Network) -> dict[str, NDArray[Any]]:
    """Return every parameter and buffer as a view, by its name in files: ``"hidden1.W"``."""
    return {
        f"{layer.name}.{key}": values
        for layer in network.layers
        for key, values in [*layer.parameters.items(), *layer.buffers.items()]
    }


def load_network(folder: Path) -> Network:
    """Return the network saved in `folder`; see `Network.load`."""
    description = read_json(folder / "network.json", "network")
    path = folder / "network.safetensors"
    if not path.is_file():
        raise NotFoundError(f"there is no file {path.name!r} with the weights in {folder}", where=str(folder))
    where = str(folder / "network.json")
    layers = read_layers(description, where)
    n_parameters = sum(layer.parameter_count for layer in layers)
    n_buffers = sum(layer.buffer_count for layer in layers)
    dtype = np.dtype(description.get("dtype", "float32"))
    size_bytes = path.stat().st_size
    needed = (n_parameters + n_buffers) * dtype.itemsize
    if not needed <= size_bytes <= needed + _MAX_JSON_BYTES:
        what = f"{n_parameters:,} parameters" + (f" and {n_buffers:,} values of buffers" if n_buffers else "")
        raise FormatError(
            f"{what} need {format_bytes(needed)}, the file has {format_bytes(size_bytes)}",
            where=str(path),
            hint="the file is truncated or belongs to another network",
        )
    parameters, buffers = zeros_buffer((n_parameters,), dtype), zeros_buffer((n_buffers,), dtype)
    network = network_from_dict(description, where=where, parameters=parameters, buffers=buffers)
    _read_tensors(path, network)
    return network


def _read_tensors(path: Path, network: Network) -> None:
    """Fill the network's parameters from a safetensors file whose names, shapes and dtypes must all fit."""
    from safetensors import SafetensorError, safe_open

    expected = network_tensors(network)
    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            if names != set(expected):
                wrong = sorted(names ^ set(expected))[:5]
                raise FormatError(f"the tensors do not fit network.json; they differ in {wrong}", where=str(path))
            for name, target in expected.items():
                tensor = file.get_slice(name)
                shape, dtype = tuple(tensor.get_shape()), _TENSOR_DTYPES.get(tensor.get_dtype())
                if shape != target.shape or dtype != str(target.dtype):
                    raise FormatError(
                        f"the tensor {name!r} should be {target.dtype} {target.shape}, is {tensor.get_dtype()} {shape}",
                        where=str(path),
                    )
                target[...] = file.get_tensor(name)
    except SafetensorError as error:
        raise FormatError(f"not a whole safetensors file: {error}", where=str(path)) from None


def read_json(path: Path, what: str) -> Any:
    """Return the content of a JSON file of ours, refusing what is too large, too deep or not JSON.

    Raises:
        NotFoundError: The file does not exist.
        FormatError: It is not JSON, or larger than any file of ours.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no {what} in {path.parent}: the file {path.name!r} is missing", where=str(path))
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise FormatError(f"{format_bytes(path.stat().st_size)} is larger than any {what} file", where=str(path))
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not valid JSON: {error}", where=str(path)) from None
