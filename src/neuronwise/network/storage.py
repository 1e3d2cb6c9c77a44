"""A network on disk: network.json (what it is) and network.safetensors (its weights).

Both are data only: nothing in them can run. Sizes are compared with the description before memory is taken.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError, UsageError, did_you_mean
from neuronwise.files import format_bytes, write_atomically
from neuronwise.network.buffers import zeros_buffer
from neuronwise.network.layers import LAYERS, Layer
from neuronwise.network.network import Network

FORMAT = "neuronwise-network"
VERSION = 1

# Far beyond any network described by hand or by us: a million names of inputs still fit.
_MAX_JSON_BYTES = 64_000_000
_MAX_LAYERS = 10_000
_MAX_PARAMETERS = 10**10
_MAX_AXES = 32
_MAX_SETTING = 200  # characters of one setting of a layer
_KEYS = {"format", "version", "dtype", "seed", "input_shape", "input_names", "class_names", "layers"}
_NAME_PROPERTY = {"type": ["string", "null"]}
_JSON_TYPES = {int: "integer", float: "number", str: "string", list: "array", dict: "object", type(None): "null"}
_TENSOR_DTYPES = {"F32": "float32", "F64": "float64"}


def network_to_dict(network: Network) -> dict[str, Any]:
    """Return the description of a network as JSON values."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "dtype": str(network.dtype),
        "seed": network.seed,
        "input_shape": list(network.input_shape),
        "input_names": network.input_names,
        "class_names": network.class_names,
        "layers": [layer.to_dict() for layer in network.layers],
    }


def network_from_dict(
    description: Any,
    *,
    where: str = "network description",
    parameters: NDArray[Any] | None = None,
    buffers: NDArray[Any] | None = None,
) -> Network:
    """Return a network from its description, with these parameters and buffers or, if None, freshly drawn ones.

    Raises:
        FormatError: Naming the key that is missing or wrong.
    """
    if not isinstance(description, dict):
        raise FormatError(f"expected a JSON object, got {type(description).__name__}", where=where)
    if description.get("format") != FORMAT:
        raise FormatError(f"the key 'format' should be {FORMAT!r}, got {description.get('format')!r:.100}", where=where)
    if description.get("version") != VERSION or type(description["version"]) is not int:
        raise FormatError(
            f"the key 'version' should be {VERSION}, got {description.get('version')!r:.100}",
            where=where,
            hint="a newer neuronwise may have written it: pip install --upgrade neuronwise",
        )
    if unknown := set(description) - _KEYS:
        raise FormatError(
            f"unknown key {min(map(str, unknown))!r:.100}", where=where, hint=f"known are {sorted(_KEYS)}"
        )
    entries = _get(description, "layers", list, where)
    if not 1 <= len(entries) <= _MAX_LAYERS:
        raise FormatError(
            f"the key 'layers' should hold 1 to {_MAX_LAYERS:,} layers, has {len(entries):,}", where=where
        )
    shape = _get(description, "input_shape", list, where)
    layers = [_layer(entry, f"{where}, layers[{i}]") for i, entry in enumerate(entries)]
    _check_size(layers, shape, where)
    try:
        return Network(
            layers,
            input_shape=shape,
            seed=_get({"seed": 0} | description, "seed", int, where),
            dtype=_get({"dtype": "float32"} | description, "dtype", str, where),
            input_names=_names(description, "input_names", where),
            class_names=_names(description, "class_names", where),
            _parameters=parameters,
            _buffers=buffers,
        )
    except FormatError:
        raise
    except UsageError as error:
        raise FormatError(error.message, where=f"{where}, {error.where}", hint=error.hint) from None


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
    # A network with no parameters of its own yet: only its shapes are needed to check the file of weights.
    layers = [_layer(entry, f"{where}, layers[{i}]") for i, entry in enumerate(_get_layers(description, where))]
    shape = description.get("input_shape")
    n_parameters, n_buffers = _check_size(layers, shape if isinstance(shape, list) else [], where)
    dtype = description.get("dtype", "float32")
    if dtype not in ("float32", "float64"):
        raise FormatError(f"the key 'dtype' should be 'float32' or 'float64', got {dtype!r:.100}", where=where)
    size_bytes = path.stat().st_size
    needed = (n_parameters + n_buffers) * np.dtype(dtype).itemsize
    if not needed <= size_bytes <= needed + _MAX_JSON_BYTES:
        what = f"{n_parameters:,} parameters" + (f" and {n_buffers:,} values of buffers" if n_buffers else "")
        raise FormatError(
            f"{what} need {format_bytes(needed)}, the file has {format_bytes(size_bytes)}",
            where=str(path),
            hint="the file is truncated or belongs to another network",
        )
    parameters, buffers = zeros_buffer((n_parameters,), np.dtype(dtype)), zeros_buffer((n_buffers,), np.dtype(dtype))
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


def _get(description: dict[str, Any], key: str, kind: type, where: str) -> Any:
    value = description.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        found = "it is missing" if key not in description else f"got {value!r:.100}"
        raise FormatError(f"the key {key!r} should be of type {kind.__name__}, {found}", where=where)
    return value


def _get_layers(description: Any, where: str) -> list[Any]:
    if not isinstance(description, dict):
        raise FormatError(f"expected a JSON object, got {type(description).__name__}", where=where)
    entries: list[Any] = _get(description, "layers", list, where)
    return entries[: _MAX_LAYERS + 1]


def _names(description: dict[str, Any], key: str, where: str) -> list[str] | None:
    names = description.get(key)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FormatError(f"the key {key!r} should be a list of names or null, got {names!r:.100}", where=where)
    return names


def _layer(entry: Any, where: str) -> Layer:
    """Return the unbuilt layer of one entry of the key ``layers``."""
    if not isinstance(entry, dict):
        raise FormatError(f"expected a JSON object, got {entry!r:.100}", where=where)
    kind = _get(entry, "type", str, where)
    if kind not in LAYERS:
        meant = did_you_mean(kind[:100], LAYERS)
        raise FormatError(
            f"the key 'type' should be one of {', '.join(LAYERS)}, got {kind!r:.100}.{meant}", where=where
        )
    layer = LAYERS[kind]
    allowed = {"type", "name", *layer.properties}
    if unknown := set(entry) - allowed:
        key = min(map(str, unknown))
        raise FormatError(
            f"unknown key {key!r:.100}.{did_you_mean(key[:100], allowed)}",
            where=where,
            hint=f"known are {sorted(allowed)}",
        )
    for key, value in entry.items():  # before anything repeats it in a message
        if len(repr(value)) > _MAX_SETTING:
            raise FormatError(f"the key {key!r} is too long, got {value!r:.100}", where=where)
        _check_type(key, value, _NAME_PROPERTY if key in ("type", "name") else layer.properties[key], where)
    for key in layer.required:
        if key not in entry:
            raise FormatError(f"the key {key!r} is missing", where=where, hint=f"{kind} needs it")
    try:
        return layer.from_dict(entry)
    except FormatError:
        raise
    except UsageError as error:
        raise FormatError(error.message, where=f"{where}, {error.where}", hint=error.hint) from None


def _check_type(key: str, value: Any, schema: dict[str, Any], where: str) -> None:
    """Refuse a value of another JSON type than the schema has; what it may be beyond that, the layer says."""
    allowed = schema.get("type", [])
    names = [allowed] if isinstance(allowed, str) else list(allowed)
    found = "boolean" if isinstance(value, bool) else _JSON_TYPES.get(type(value), type(value).__name__)
    if names and found not in names and not (found == "integer" and "number" in names):
        raise FormatError(f"the key {key!r} should be of type {' or '.join(names)}, got {value!r:.100}", where=where)


def _check_size(layers: list[Layer], input_shape: list[Any], where: str) -> tuple[int, int]:
    """Return the number of parameters and of values in buffers, before any memory is taken; refuse impossible ones."""
    # The number of axes first: the product of a long list of numbers is a number of endless digits.
    if not 1 <= len(input_shape) <= _MAX_AXES or not all(
        type(n) is int and 1 <= n <= _MAX_PARAMETERS for n in input_shape
    ):
        raise FormatError(
            f"the key 'input_shape' should hold 1 to {_MAX_AXES} whole numbers from 1 to {_MAX_PARAMETERS:,}, "
            f"got {input_shape!r:.100}",
            where=where,
        )
    shape, parameters, buffers = tuple(input_shape), 0, 0
    for position, layer in enumerate(layers):
        if math.prod(shape) > _MAX_PARAMETERS:
            raise FormatError(f"{_shape_text(shape)} values go into one layer", where=f"{where}, layers[{position}]")
        try:
            layer.build(shape, layer.given_name or f"layers[{position}]")
            shape = layer.output_shape
            parameters += layer.parameter_count
            buffers += layer.buffer_count
        except UsageError as error:
            raise FormatError(error.message, where=f"{where}, layers[{position}]", hint=error.hint) from None
        finally:
            layer.release()
        if parameters + buffers > _MAX_PARAMETERS or math.prod(shape) > _MAX_PARAMETERS:
            raise FormatError(
                f"more than {_MAX_PARAMETERS:,} parameters are described up to here, or as many neurons",
                where=f"{where}, layers[{position}]",
            )
    return parameters, buffers


def _shape_text(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{n:,}" for n in shape)
