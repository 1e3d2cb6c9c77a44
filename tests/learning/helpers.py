"""The same network in torch, and small data to learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neuronwise.network import Dense, Network

# Every loss with every output activation that it goes with.
REGRESSION = ("squared_error", "absolute_error", "huber")
OUTPUTS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "softplus", "softmax")
COMBINATIONS = [
    *((loss, output) for loss in REGRESSION for output in OUTPUTS),
    ("binary_cross_entropy", "sigmoid"),
    ("binary_cross_entropy", "identity"),
    ("categorical_cross_entropy", "softmax"),
    ("categorical_cross_entropy", "identity"),
]


def targets_for(loss: str, rng: np.random.Generator, rows: int, n_out: int) -> np.ndarray:
    """Return targets that the loss takes."""
    if loss == "categorical_cross_entropy":
        return rng.integers(0, n_out, rows)
    if loss == "binary_cross_entropy":
        return rng.integers(0, 2, (rows, n_out)).astype(float)
    return rng.normal(size=(rows, n_out))


def torch_twin(network: Network) -> tuple[Any, Any, list[Any]]:
    """Return torch, a function from inputs to (logits, activations), and the parameters as leaf tensors."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    functions = {
        "identity": lambda t: t, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
        "leaky_relu": functional.leaky_relu, "elu": functional.elu, "gelu": functional.gelu,
        "softplus": functional.softplus, "softmax": lambda t: torch.softmax(t, dim=-1),
    }  # fmt: skip
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    parameters = [torch.tensor(p.copy(), requires_grad=True) for layer in dense for p in (layer.W, layer.b)]

    def forward(x: Any) -> tuple[Any, Any]:
        a = torch.as_tensor(x).reshape(len(x), -1)
        z = a
        for position, layer in enumerate(dense):
            z = a @ parameters[2 * position].T + parameters[2 * position + 1]
            a = functions[layer.activation.name](z)
        return z, a

    return torch, forward, parameters


def torch_loss(torch: Any, loss: str, z: Any, a: Any, y: np.ndarray) -> Any:
    """Return the loss as torch computes it."""
    functional = torch.nn.functional
    target = torch.as_tensor(y if y.dtype.kind == "i" else y.astype(str(z.dtype).removeprefix("torch.")))
    return {
        "squared_error": lambda: functional.mse_loss(a, target),
        "absolute_error": lambda: functional.l1_loss(a, target),
        "huber": lambda: functional.huber_loss(a, target),
        "binary_cross_entropy": lambda: functional.binary_cross_entropy_with_logits(z, target),
        "categorical_cross_entropy": lambda: functional.cross_entropy(z, target),
    }[loss]()


def flat(tensors: list[Any]) -> np.ndarray:
    """Return torch tensors as one array, laid out as `Network.parameters`."""
    return np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors])


def spirals(rows: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return two spirals: X (rows, 2) and class numbers."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 2
    t = rng.uniform(0.4, 2.2, rows)
    angle = 2.5 * t + np.pi * y
    return np.stack([t * np.cos(angle), t * np.sin(angle)], axis=1), y
