"""The settings of a training, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neuronwise.errors import UsageError
from neuronwise.learning.arguments import not_negative, positive, whole_number
from neuronwise.network import Loss, Network, get_loss


@dataclass
class Settings:
    """The checked settings of a training; `validation` tells whether there is any."""

    network: Network
    loss: Any
    epochs: int
    batch_size: int
    patience: int | None
    min_delta: float
    clip_norm: float | None
    validation: Any
    shuffle: bool
    seed: Any

    def __post_init__(self) -> None:
        activation = self.network.layers[-1].activation
        self.loss: Loss = get_loss(self.loss, activation.name if activation else "identity")
        if activation is not None:
            self.loss.check_activation(activation)
        self.epochs = whole_number(self.epochs, "epochs", 1)
        self.batch_size = whole_number(self.batch_size, "batch_size", 1)
        if self.patience is not None:
            self.patience = whole_number(self.patience, "patience", 1)
            if self.validation is None:
                raise UsageError(
                    "early stopping needs rows to validate on",
                    where="argument patience",
                    hint="pass validation=0.1 (a share of the rows) or validation=(X, y)",
                )
        self.min_delta = not_negative(self.min_delta, "min_delta")
        if self.clip_norm is not None:
            self.clip_norm = positive(self.clip_norm, "clip_norm")
        self.shuffle = bool(self.shuffle)
        self.seed: int = self.network.seed if self.seed is None else whole_number(self.seed, "seed", 0)
        if not self.network.parameter_count:
            raise UsageError("the network has no weights: there is nothing to learn", where="argument network")
