"""A training without its mathematics: a real network whose weights are moved at random, seen by observers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from neuronwise.learning.observers import Observer, TrainingState
from neuronwise.network import Network


def small_network(seed: int = 0, dtype: str = "float32") -> Network:
    return Network.dense([5, 4, 3], hidden="relu", output="softmax", seed=seed, dtype=dtype)


def pretend_training(
    network: Network,
    observers: list[Observer],
    *,
    epochs: int = 3,
    steps_per_epoch: int = 10,
    best_epoch: int | None = None,
    each_step: Callable[[TrainingState], None] | None = None,
    seed: int = 0,
) -> dict[int, np.ndarray]:
    """Call the observers as a training would; return the true parameters after every step."""
    generator = np.random.default_rng(seed)
    state = TrainingState(network, epochs, steps_per_epoch)
    state.gradients = np.zeros_like(network.parameters)
    state.update = np.zeros_like(network.parameters)
    truth = {0: network.parameters.copy()}
    for observer in observers:
        observer.on_fit_begin(state)
    workspace = network.workspace(8)
    state.passes = workspace.passes
    for epoch in range(1, epochs + 1):
        state.epoch = epoch
        for _ in range(steps_per_epoch):
            workspace.x[:] = generator.normal(size=workspace.x.shape)
            workspace.forward()
            state.step += 1
            state.loss, state.learning_rate = 1 / state.step, 0.1
            state.gradients[:] = generator.normal(size=state.gradients.shape)
            np.multiply(state.gradients, network.dtype.type(0.1), out=state.update)
            network.parameters[:] -= state.update
            truth[state.step] = network.parameters.copy()
            if each_step:
                each_step(state)
            for observer in observers:
                observer.on_step_end(state)
        if best_epoch is None or epoch <= best_epoch:
            state.best_epoch, state.best_step = epoch, state.step
        state.elapsed_s = float(epoch)
        state.metrics = {"loss": state.loss, "val_loss": 2 * state.loss}
        for observer in observers:
            observer.on_epoch_end(state)
    if best_epoch is not None:
        network.parameters[:] = truth[best_epoch * steps_per_epoch]
    state.status = "finished" if best_epoch is None else "early_stopped"
    for observer in observers:
        observer.on_fit_end(state)
    return truth


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
