"""A network as JSON values: what it is, without its weights.

`read_layers` builds the layers of a description, and checks all sizes, without taking memory for any weight.
`network_schema` gives the same as JSON Schema, for editors and other programs.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from neuronwise.errors import FormatError, UsageError, did_you_mean
from neuronwise.network.assembly import layer_names
from neuronwise.network.layers import LAYERS, Layer
from neuronwise.network.network import Network

FORMAT = "neuronwise-network"
VERSION = 1

_MAX_LAYERS = 10_000
_MAX_PARAMETERS = 10**10
_MAX_AXES = 32
_MAX_SETTING = 200  # characters of one setting of a layer
_KEYS = {"format", "version", "dtype", "seed", "input_shape", "input_names", "class_names", "layers"}
_NAME_PROPERTY = {"type": ["string", "null"]}
_JSON_TYPES = {int: "integer", float: "number", str: "string", list: "array", dict: "object", type(None): "null"}


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
    layers = read_layers(description, where)
    for layer in layers:
        layer.release()
    try:
        return Network(
            layers,
            input_shape=description["input_shape"],
            seed=description.get("seed", 0),
            dtype=description.get("dtype", "float32"),
            input_names=description.get("input_names"),
            class_names=description.get("class_names"),
            _parameters=parameters,
            _buffers=buffers,
        )
    except FormatError:
        raise
    except UsageError as error:
        raise FormatError(error.message, where=f"{where}, {error.where}", hint=error.hint) from None


def read_layers(description: Any, where: str) -> list[Layer]:
    """Return the built layers of a description, all keys of which are checked; no memory is taken for them.

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
    if "input_shape" not in description:
        raise FormatError(
            "the key 'input_shape' is missing",
            where=where,
            hint='"input_shape": [28, 28] for pictures of 28 × 28; only where a network is trained the data gives it',
        )
    shape = _get(description, "input_shape", list, where)
    layers = [_layer(entry, f"{where}, layers[{i}]") for i, entry in enumerate(entries)]
    _build(layers, shape, where)
    _check_options(description, layers, where)
    return layers


def network_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a description, assembled from what each layer says of its settings."""
    name = {"type": ["string", "null"], "description": "null or absent: hidden1, conv1 …, the last one output"}
    layers = [
        {
            "type": "object",
            "title": kind,
            "description": (layer.__doc__ or "").strip().splitlines()[0],
            "properties": {"type": {"const": kind}, "name": name, **layer.properties},
            "required": ["type", *layer.required],
            "additionalProperties": False,
        }
        for kind, layer in LAYERS.items()
    ]
    whole = {"type": "integer", "minimum": 1}
    names = {"type": ["array", "null"], "items": {"type": "string"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A network of Neuronwise",
        "type": "object",
        "properties": {
            "format": {"const": FORMAT},
            "version": {"const": VERSION},
            "dtype": {"enum": ["float32", "float64"], "default": "float32"},
            "seed": {"type": "integer", "minimum": 0, "default": 0, "description": "of the first weights"},
            "input_shape": {
                "type": "array", "items": whole, "minItems": 1, "maxItems": _MAX_AXES,
                "description": "of one input: [784], [28, 28], [28, 28, 3]",
            },
            "input_names": names | {"description": "a name for each input, the last axis running fastest"},
            "class_names": names | {"description": "a name for each output"},
            "layers": {"type": "array", "minItems": 1, "maxItems": _MAX_LAYERS, "items": {"oneOf": layers}},
        },
        "required": ["format", "version", "layers"],  # the shape may be that of the data
        "additionalProperties": False,
    }  # fmt: skip


def _get(description: dict[str, Any], key: str, kind: type, where: str) -> Any:
    value = description.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        found = "it is missing" if key not in description else f"got {value!r:.100}"
        raise FormatError(f"the key {key!r} should be of type {kind.__name__}, {found}", where=where)
    return value


def _check_options(description: dict[str, Any], layers: list[Layer], where: str) -> None:
    """Refuse what cannot be used of the keys that may be left out."""
    dtype = _get({"dtype": "float32"} | description, "dtype", str, where)
    if dtype not in ("float32", "float64"):
        raise FormatError(f"the key 'dtype' should be 'float32' or 'float64', got {dtype!r:.100}", where=where)
    seed = _get({"seed": 0} | description, "seed", int, where)
    if seed < 0:
        raise FormatError(f"the key 'seed' should be a whole number from 0, got {seed!r:.100}", where=where)
    counts = {"input_names": math.prod(layers[0].input_shape), "class_names": layers[-1].neuron_count}
    for key, count in counts.items():
        names = description.get(key)
        if names is None:
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise FormatError(f"the key {key!r} should be a list of names or null, got {names!r:.100}", where=where)
        if len(names) != count:
            raise FormatError(f"the key {key!r} should hold {count:,} names, has {len(names):,}", where=where)


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


def _build(layers: list[Layer], input_shape: list[Any], where: str) -> None:
    """Build the layers, which takes no memory for their weights; refuse impossible sizes."""
    # The number of axes first: the product of a long list of numbers is a number of endless digits.
    if not 1 <= len(input_shape) <= _MAX_AXES or not all(
        type(n) is int and 1 <= n <= _MAX_PARAMETERS for n in input_shape
    ):
        raise FormatError(
            f"the key 'input_shape' should hold 1 to {_MAX_AXES} whole numbers from 1 to {_MAX_PARAMETERS:,}, "
            f"got {input_shape!r:.100}",
            where=where,
        )
    shape, total = tuple(input_shape), 0
    if math.prod(shape) > _MAX_PARAMETERS:
        raise FormatError(f"the key 'input_shape' describes more than {_MAX_PARAMETERS:,} inputs", where=where)
    try:
        names = layer_names(layers)
    except UsageError as error:
        place = str(error.where).removeprefix("layer ")
        raise FormatError(error.message, where=f"{where}, layers[{place}]", hint=error.hint) from None
    for position, (layer, name) in enumerate(zip(layers, names, strict=True)):
        layer.name = name
        try:
            layer.build(shape, name)
        except UsageError as error:
            raise FormatError(error.message, where=f"{where}, layers[{position}]", hint=error.hint) from None
        shape = layer.output_shape
        total += layer.parameter_count + layer.buffer_count
        if total > _MAX_PARAMETERS or layer.neuron_count > _MAX_PARAMETERS:
            raise FormatError(
                f"more than {_MAX_PARAMETERS:,} parameters are described up to here, or as many neurons",
                where=f"{where}, layers[{position}]",
            )
