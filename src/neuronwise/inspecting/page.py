"""One HTML page out of the modules in ``static/``: nothing is loaded, and nothing but one script may run."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from functools import cache
from importlib.resources import files
from typing import Any

from neuronwise.inspecting.blobs import inert_json

# In the order in which they stand in the page: each uses those before it.
MODULES = (
    "decode", "numbers", "scales", "correlation", "quantities", "dom", "activations", "forward", "backward",
    "contributions", "sums", "encode", "drawing", "memory", "run_data", "naming", "model", "without",
    "layout", "modules_layout", "state", "pictures", "cells", "charts", "past_view", "network_links",
    "network_painter", "network_view", "module_side", "modules_view", "module_neuron_view", "neuron_view",
    "layer_spread", "layer_lists", "layer_view", "input_view", "prediction_view", "changes_view", "diagnosis_view",
    "time_view", "tour", "runs_view", "about_view", "first_look", "served", "main", "start",
)  # fmt: skip
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|class|const|let)", re.MULTILINE)


def module_source(name: str) -> str:
    """Return the source of one module of the front end."""
    return (files("neuronwise.inspecting") / "static" / f"{name}.js").read_text(encoding="utf-8")


def style_source() -> str:
    """Return the style sheet of the front end."""
    return (files("neuronwise.inspecting") / "static" / "style.css").read_text(encoding="utf-8")


@cache
def joined_script() -> str:
    """Return all modules as one, which exports `render` under the name ``neuronwiseInspector`` of its scope.

    Imports between modules are taken out, since all stand in one scope; a test holds that no name is used twice, and
    that nothing else is imported or exported.
    """
    parts = [f"// {name}.js\n" + _EXPORT.sub("", _IMPORT.sub("", module_source(name))) for name in MODULES]
    return "\n".join(parts)


def page(payload: dict[str, Any], *, title: str, connect: str = "'none'") -> str:
    """Return the page that shows a payload of `build_payload`.

    Its Content-Security-Policy allows one script and one style sheet, by their hashes, and no request (or, with
    `connect`, those to its own server).

    Args:
        payload: What it shows.
        title: Of the page; any text.
        connect: The policy for requests, ``"'none'"`` or ``"'self'"``.
    """
    script = joined_script() + "\nstartPage();\n"
    style = style_source()
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data: blob:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{html.escape(_clean(title))}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<div id="neuronwise" class="nw-root">'
        "<noscript>This page is drawn by a script in it; nothing is loaded. Please allow scripts, or read the run with "
        "<code>neuronwise show</code>.</noscript></div>\n"
        f'<script type="application/json" id="neuronwise-data">{inert_json(payload)}</script>\n'
        f'<script type="module">{script}</script>\n</body>\n</html>\n'
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _clean(text: str) -> str:
    """Return a title that can be written as UTF-8, on one line, of a reasonable length."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())[:200]
