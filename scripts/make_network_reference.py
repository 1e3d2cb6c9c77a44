"""Write docs/reference/network-json.md and network.schema.json from what each layer says of its settings.

``python scripts/make_network_reference.py`` writes both; with ``--check`` it fails if one is stale.
"""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any

from pages import REFERENCE, write_or_check

from neuronwise.network import LAYERS, Layer, network_schema

PAGE = REFERENCE / "network-json.md"
SCHEMA = REFERENCE / "network.schema.json"

HEAD = """\
# A network as JSON

<!-- Made by scripts/make_network_reference.py from the layers. Do not edit: change the layer and run the script. -->

What `Network.to_dict` and `Network.save` (`network.json`) write, and what `neuronwise count --network FILE.json`,
`neuronwise train --network FILE.json` and `Network.from_dict` take. As JSON Schema, for editors that check while you
type: [network.schema.json](network.schema.json). How to write one:
[describe a network](../how-to/describe-a-network.md).

```json
{
  "format": "neuronwise-network",
  "version": 1,
  "input_shape": [28, 28],
  "layers": [
    {"type": "Conv2D", "filters": 8, "kernel_size": 5},
    {"type": "MaxPool2D"},
    {"type": "Flatten"},
    {"type": "Dense", "units": 10, "activation": "softmax"}
  ]
}
```

## The keys

| key | value | default |
| --- | --- | --- |
| `format` | `"neuronwise-network"` | needed |
| `version` | `1` | needed |
| `input_shape` | of one input: `[784]`, `[28, 28]`, `[28, 28, 3]` | needed, but `train` takes that of the data |
| `layers` | the layers in order; each has a `type` | needed |
| `dtype` | `"float32"` or `"float64"` | `"float32"` |
| `seed` | of the first weights, from 0 | `0`; `train`: its `--seed` |
| `input_names` | a name for each input, or null | null; `train`: those of the data |
| `class_names` | a name for each output, or null | null; `train`: those of the data |

Every layer takes a `name` too: default `hidden1`, `conv1` … by its kind, and `output` for the last one. An unknown key
is refused, with the layer and the nearest known one; so is a value of another type.
"""


def render() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for kind, layer in LAYERS.items():
        first = (inspect.getdoc(layer) or "").splitlines()[0]
        parts.append(f"## {kind}\\n\\n{first}\\n".replace("\\n", "\n"))
        if layer.properties:
            rows = [_row(layer, key, schema) for key, schema in layer.properties.items()]
            head = "| setting | meaning | value | default |\n| --- | --- | --- | --- |\n"
            parts.append(head + "\n".join(rows) + "\n")
        else:
            parts.append("No settings.\n")
    return "\n".join(parts)


def _row(layer: type[Layer], key: str, schema: dict[str, Any]) -> str:
    parameter = inspect.signature(layer).parameters[key]
    default = "needed" if parameter.default is parameter.empty else f"`{json.dumps(parameter.default)}`"
    return f"| `{key}` | {schema.get('description', '')} | {_values(schema)} | {default} |"


def _values(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    kinds = schema.get("type", [])
    words = {
        "integer": "a whole number",
        "number": "a number",
        "array": "two of them",
        "null": "null",
        "string": "a word",
        "object": '`{"name": …, "value": …}`',
    }
    text = " or ".join(words[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))
    for limit, word in (
        ("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"), ("exclusiveMaximum", "below")
    ):  # fmt: skip
        if limit in schema:
            text += f", {word} {schema[limit]}"
    return text


def render_schema() -> str:
    """Return the text of the schema."""
    return json.dumps(network_schema(), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write or check both."""
    return write_or_check({PAGE: render(), SCHEMA: render_schema()}, "make_network_reference")


if __name__ == "__main__":
    sys.exit(main())
