"""A neuron over time: on trainings made up so that it is known when what settled."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neuronwise.errors import NotFoundError
from neuronwise.explaining import neuron_over_time
from neuronwise.explaining.neuron_over_time import Settled
from neuronwise.network import Network
from neuronwise.network.layers import Conv2D, Dense, Flatten


class _Made:
    """A recording of a network whose first neuron has these weights at the steps, one row each."""

    def __init__(self, network: Network, weights: dict[int, Any]) -> None:
        self._network, self._weights = network, weights
        self.keyframes = np.array(sorted(weights))
        self.stored = SimpleNamespace(delivered_step=max(weights, default=None))

    def at(self, step: int) -> Network:
        if step not in self._weights:
            raise NotFoundError(f"the training took no step {step}")
        network = self._network.copy()
        layer = next(layer for layer in network.layers if "W" in layer.parameters)
        layer.parameters["W"][0] = np.reshape(self._weights[step], layer.parameters["W"][0].shape)
        return network


def _settled(told: Any) -> dict[str, Settled]:
    return {one.what: one for one in told.settled}


def test_pattern_signs_and_class_settle_at_the_step_at_which_they_were_turned() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 2))
    X[y == 1, 0] += 10
    X[y == 2, 1] += 10
    network = Network.dense([2, 2, 3], seed=1, class_names=["a", "b", "c"])
    # Along the second input (class c), then turned to the first (class b); its signs are the last ones from 7 on.
    weights = {0: [0.1, 1.0], 3: [0.0, 2.0], 5: [2.0, 1.6], 7: [2.0, -0.3], 9: [3.0, -0.4]}
    told = neuron_over_time(_Made(network, weights), "hidden1[0]", X, y)  # type: ignore[arg-type]
    found = _settled(told)
    assert (found["pattern"].step, found["pattern"].before) == (7, 5)
    assert (found["signs"].step, found["signs"].before) == (7, 5)
    # At step 5 it is high for b and for c alike: what it tells best then is a, for which it is low.
    assert (found["class"].value, found["class"].step, found["class"].before) == ("high for b", 7, 5)
    assert told.steps.tolist() == [0, 3, 5, 7, 9]
    np.testing.assert_allclose(told.patterns, np.array(list(weights.values())), rtol=1e-6)
    w = np.array(list(weights.values()))
    expected = w @ w[-1] / (np.linalg.norm(w, axis=1) * np.linalg.norm(w[-1]))
    np.testing.assert_allclose(told.similarity, expected, rtol=1e-5)
    assert "high for b" in str(told.blocks()[0])


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (Settled("class", "high for b", 7, 6), "step 7"),
        (Settled("class", "high for b", 7, 3), "step 4 to 7"),
        (Settled("class", "high for b", 1_000, None), "from step 1,000 on, the first looked at"),
    ],
)
def test_between_two_steps_that_were_looked_at_nothing_is_claimed(one: Settled, words: str) -> None:
    assert one.words == words


def test_what_comes_back_has_settled_only_after_it_came_back() -> None:
    network = Network.dense([2, 2, 1], seed=1)
    weights = {0: [1, 0], 1: [1, 0], 2: [0, 1], 3: [1, 0], 4: [1, 0]}
    told = neuron_over_time(_Made(network, weights), "hidden1[0]", np.ones((4, 2)))  # type: ignore[arg-type]
    assert _settled(told)["pattern"].step == 3
    assert _settled(told)["pattern"].words == "step 3"


def test_the_relation_to_a_value_settles_with_its_sign() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    network = Network.dense([2, 2, 1], hidden="tanh", seed=1)
    weights = {0: [-1, 0.1], 10: [-0.5, 0.1], 20: [0.5, 0.1], 30: [1, 0.1]}
    told = neuron_over_time(_Made(network, weights), "hidden1[0]", X, X[:, :1])  # type: ignore[arg-type]
    relation = _settled(told)["relation"]
    assert (relation.value, relation.step, relation.before) == ("rises with the target", 20, 10)
    assert told.correlation[-1] == pytest.approx(1.0, abs=0.05)
    assert told.figure() is not None


def test_the_angle_of_a_kernel_settles() -> None:
    # The derivative across, then down: lines at 90°, then at 0°.
    across = np.tile([-1.0, 0.0, 1.0], (3, 1))
    network = Network([Conv2D(2, 3), Flatten(), Dense(2)], input_shape=(8, 8), seed=1)
    made = _Made(network, {0: across, 4: across, 8: across.T, 12: across.T})
    told = neuron_over_time(made, "conv1[0]", np.random.default_rng(0).random((10, 8, 8)))  # type: ignore[arg-type]
    angle = _settled(told)["angle"]
    assert (angle.step, angle.before) == (8, 4)
    assert angle.value.startswith(("0°", "180°"))
    assert told.figure() is not None


def test_deeper_neurons_have_effective_patterns_over_time() -> None:
    network = Network.dense([3, 4, 2], hidden="identity", seed=1)
    weights = {0: [1.0, 0, 0], 1: [0, 0, 1.0]}
    told = neuron_over_time(_Made(network, weights), "output[1]", np.ones((4, 3)))  # type: ignore[arg-type]
    assert not told.is_weights
    for place, step in enumerate(weights):
        at = _Made(network, weights).at(step)
        np.testing.assert_allclose(told.patterns[place], at["output"].W[1] @ at["hidden1"].W, rtol=1e-4, atol=1e-6)


def test_steps_can_be_chosen_progress_is_told_and_json_has_no_nan() -> None:
    network = Network.dense([2, 2, 1], seed=1)
    made = _Made(network, {0: [1, 0], 1: [np.nan, 0], 2: [1, 0], 3: [1, 1]})
    seen: list[tuple[int, int]] = []
    told = neuron_over_time(
        made, "hidden1[0]", np.ones((4, 2)), steps=[2, 1, 0, 2], progress=lambda *now: seen.append(now)  # type: ignore[arg-type]
    )  # fmt: skip
    assert told.steps.tolist() == [0, 1, 2]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert _settled(told)["pattern"].step == 2  # a pattern that is NaN is not as at the end
    json.dumps(told.to_dict(), allow_nan=False)
    assert told.figure() is not None


def test_steps_that_are_none_and_recordings_without_any_are_refused() -> None:
    network = Network.dense([2, 2, 1], seed=1)
    with pytest.raises(NotFoundError, match="no step 9"):
        neuron_over_time(_Made(network, {0: [1, 0]}), "hidden1[0]", np.ones((4, 2)), steps=[9])  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="holds no weights"):
        neuron_over_time(_Made(network, {}), "hidden1[0]", np.ones((4, 2)))  # type: ignore[arg-type]
