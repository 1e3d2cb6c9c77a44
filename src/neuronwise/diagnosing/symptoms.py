"""From numbers to symptoms: what can be seen of a training, whether it does harm or not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neuronwise.diagnosing.diagnosis import Symptom
from neuronwise.diagnosing.facts import Facts
from neuronwise.diagnosing.suspects import OURS, over, told, under

_MOST_NAMES = 20


def symptoms_of(facts: Facts) -> list[Symptom]:
    """Return all symptoms that a training shows."""
    return [*_dead(facts), *_saturated(facts), *_gradients(facts), *_loss(facts), *_answers(facts)]


def _neurons(facts: Facts, name: str, limit: float, *, hidden: bool) -> tuple[list[str], list[str], int | None, int]:
    """Return layers and neurons whose share is above a limit at the end, since when, and how many there are in all."""
    layers, neurons, since, every = [], [], [], 0
    for layer in facts.layers[:-1] if hidden else facts.layers:
        steps, values = facts.statistic(layer, name)
        values, steps = values[steps > 0], steps[steps > 0]
        if not len(values) or not np.isfinite(values).any():
            continue
        last = values[-max(3, len(values) // 20) :]
        with np.errstate(all="ignore"):
            is_out = np.asarray(np.nanmean(last, axis=0) > limit)
        if is_out.any():
            layers.append(layer.name)
            every += int(is_out.sum())
            neurons += [f"{layer.name}[{layer.rows[int(place)]}]" for place in np.flatnonzero(is_out)]
            within = np.asarray((values[:, is_out] <= limit).any(axis=1))
            since.append(int(steps[np.flatnonzero(within)[-1] + 1]) if within.any() and not within[-1]
                         else int(steps[0]))  # fmt: skip
    return layers, neurons[:_MOST_NAMES], min(since, default=None), every


def _dead(facts: Facts) -> Iterator[Symptom]:
    seen = over(facts, "dead_share", 0.0, "a neuron that never answers")
    if seen is None:
        return
    layers, neurons, since, count = _neurons(facts, "inactive", 0.999, hidden=False)
    if neurons:
        worst = max(layers, key=lambda name: _dead_in(facts, name)[0])
        dead, every = _dead_in(facts, worst)
        when = "from the first step on" if since is not None and since <= 1 else f"since step {since:,}"
        others = f", and {count - dead} in other layers" if count > dead else ""
        yield Symptom(
            "dead_relu", tuple(layers), tuple(neurons), since, (seen,),
            f"Layer {worst}: {dead} of {every} neurons are dead (0 for every row), some {when}, such as "
            f"{neurons[0]}{others}.",
        )  # fmt: skip


def _dead_in(facts: Facts, name: str) -> tuple[int, int]:
    """Return how many neurons of a layer are dead at the end, and how many it has."""
    layer = next(one for one in facts.layers if one.name == name)
    steps, values = facts.statistic(layer, "inactive")
    values = values[steps > 0]
    last = np.nanmean(values[-max(3, len(values) // 20) :], axis=0)
    return int(np.count_nonzero(last > 0.999)), layer.neurons


def _saturated(facts: Facts) -> Iterator[Symptom]:
    seen = over(facts, "saturated_share", 0.6, "Glorot, Bengio (2010), section 3")
    if seen is None:
        return
    layers, neurons, since, _ = _neurons(facts, "saturated", 0.6, hidden=True)
    yield Symptom("saturated_activation", tuple(layers), tuple(neurons), since, (seen,),
                  f"{seen.value:.0%} of a sigmoid or tanh layer's answers are at an end of its range.")  # fmt: skip


def _gradients(facts: Facts) -> Iterator[Symptom]:
    if seen := over(facts, "nonfinite_step", 0, "all is finite"):
        found = facts.nonfinite or {}
        layer, neuron = found.get("layer"), found.get("neuron")
        where = (str(layer),) if layer else ()
        what = f"{found.get('quantity', 'value')} of {layer}[{neuron}]" if layer else "loss"
        yield Symptom(
            "nonfinite", where, (f"{layer}[{neuron}]",) if layer else (), int(seen.value), (seen,),
            f"The {what} is NaN or infinite at step {int(seen.value):,}.",
        )  # fmt: skip
    if large := over(facts, "gradient_largest", 1e3, "torchmortem: 1e3"):
        yield Symptom("exploding_gradient", (), (), None, (large,), f"Gradients grow to a norm of {large.value:.3g}.")
    ratio = under(facts, "first_last_gradient", 1e-3, "AutoTrainer: 1e-3")
    small = under(facts, "gradient_norm", 1e-6, "SageMaker Debugger: 1e-7")
    if ratio or small:
        yield Symptom("vanishing_gradient", tuple(one.name for one in facts.weighted[:1]), (), None,
                      told(ratio, small), "Hardly any gradient reaches the first layers.")  # fmt: skip


def _loss(facts: Facts) -> Iterator[Symptom]:
    if seen := over(facts, "loss_rises", 0.3, OURS):
        yield Symptom(
            "oscillating_loss",
            (),
            (),
            None,
            (seen,),
            f"The loss rises by over 5 % in {seen.value:.0%} of the training.",
        )
    if seen := over(facts, "loss_ratio", 0.9, OURS):
        yield Symptom(
            "loss_plateau",
            (),
            (),
            None,
            (seen,),
            f"The loss at the end is {seen.value:.2f} times that at the beginning.",
        )


def _answers(facts: Facts) -> Iterator[Symptom]:
    seen = over(facts, "gap", 0.25)
    if seen and facts.above("train_skill", 0.25):
        yield Symptom("overfit_gap", (), (), None, (seen,),
                      f"Skill is {facts['train_skill']:.0%} in training and {facts['validation_skill']:.0%} held out."
                      )  # fmt: skip
    constant = under(facts, "output_constant", 1e-3)
    if constant:
        yield Symptom("constant_output", (), (), None, (constant,), "The network gives the same answer to every row.")
