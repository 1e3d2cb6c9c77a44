"""Neuronwise: see inside a neural network.

`import neuronwise` loads NumPy and nothing heavier: the other names are found when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuronwise.network import Network, Neuron

if TYPE_CHECKING:
    from neuronwise.diagnosing.diagnose import diagnose
    from neuronwise.network.exchange import from_sklearn, from_torch
    from neuronwise.recording import from_checkpoints
    from neuronwise.running import (
        FittedNetwork,
        NeuralNetworkClassifier,
        NeuralNetworkRegressor,
        Run,
        explain,
        load,
        resume,
        train,
        watch,
    )
    from neuronwise.running import open_recording as open

__version__ = "0.1.0"

__all__ = [
    "FittedNetwork",
    "Network",
    "NeuralNetworkClassifier",
    "NeuralNetworkRegressor",
    "Neuron",
    "Run",
    "__version__",
    "diagnose",
    "explain",
    "from_checkpoints",
    "from_sklearn",
    "from_torch",
    "load",
    "open",
    "resume",
    "train",
    "watch",
]

_LAZY = dict.fromkeys(
    ("FittedNetwork", "NeuralNetworkClassifier", "NeuralNetworkRegressor", "Run", "load", "resume", "train", "watch"),
    "neuronwise.running",
) | dict.fromkeys(("from_sklearn", "from_torch"), "neuronwise.network.exchange")
_LAZY["explain"] = "neuronwise.running"
_LAZY["diagnose"] = "neuronwise.diagnosing"
_LAZY["from_checkpoints"] = "neuronwise.recording"


def __getattr__(name: str) -> Any:
    """Find a lazily loaded public name (PEP 562)."""
    if name == "open":  # its own name in the package: `open` there would hide Python's
        from neuronwise.running import open_recording

        return open_recording
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'neuronwise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
