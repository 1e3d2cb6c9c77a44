"""The inspector: one front end, written by hand as ES modules, and what Python gives it to show.

`build_payload` gathers what is shown of a run within a number of bytes; `page` makes one HTML file of it.
"""

from neuronwise.inspecting.page import page
from neuronwise.inspecting.payload import MOST_BYTES, ShownExamples, build_module_payload, build_payload

__all__ = ["MOST_BYTES", "ShownExamples", "build_module_payload", "build_payload", "page"]
