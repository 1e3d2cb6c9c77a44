"""Learning-rate schedules: torch's, step by step, alone and inside a training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.errors import UsageError
from neuronwise.learning import (
    SCHEDULES,
    SGD,
    Adam,
    Constant,
    Cosine,
    Observer,
    ReduceOnPlateau,
    Schedule,
    Step,
    TrainingState,
    WarmUp,
    fit,
    get_schedule,
    schedule_from_settings,
)
from neuronwise.network import Network

BASE = 0.3
PER_EPOCH = 7


def _rates(schedule: Schedule, steps: int, per_epoch: int = PER_EPOCH) -> list[float]:
    """Return the learning rate of each step of a training without metrics."""
    schedule.start(steps, per_epoch)
    return [BASE * schedule.factor(step) for step in range(1, steps + 1)]


def _torch_rates(make: Callable[[Any, Any], Any], steps: int, per_epoch: int = 1) -> list[float]:
    """Return the rates of a torch scheduler that is stepped after every so many steps."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    scheduler, rates = make(torch.optim.lr_scheduler, optimizer), []
    for step in range(1, steps + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % per_epoch == 0:
            scheduler.step()
    return rates


# --- torch's rates


@pytest.mark.parametrize(("every", "gamma"), [(1, 0.1), (3, 0.5), (2, 0.9), (100, 0.1)])
def test_step_is_torchs_step_by_epochs(every: int, gamma: float) -> None:
    expected = _torch_rates(lambda s, o: s.StepLR(o, step_size=every, gamma=gamma), 10 * PER_EPOCH, PER_EPOCH)
    np.testing.assert_allclose(_rates(Step(every, gamma), 10 * PER_EPOCH), expected, rtol=1e-12)


@pytest.mark.parametrize("minimum", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 50])
def test_cosine_is_torchs_over_the_whole_training(steps: int, minimum: float) -> None:
    expected = _torch_rates(lambda s, o: s.CosineAnnealingLR(o, T_max=steps, eta_min=BASE * minimum), steps)
    np.testing.assert_allclose(_rates(Cosine(minimum=minimum), steps), expected, rtol=1e-9, atol=1e-15)


def test_cosine_over_steps_of_its_own_stays_at_its_minimum() -> None:
    expected = _torch_rates(lambda s, o: s.CosineAnnealingLR(o, T_max=20, eta_min=BASE * 0.25), 21)
    found = _rates(Cosine(20, minimum=0.25), 40)
    np.testing.assert_allclose(found[:21], expected, rtol=1e-9)
    assert found[20:] == [BASE * 0.25] * 20
    assert _rates(Cosine(20), 40)[-1] == 0.0


@pytest.mark.parametrize("steps", [1, 5, 12])
def test_a_warm_up_alone_is_torchs_linear_one(steps: int) -> None:
    expected = _torch_rates(lambda s, o: s.LinearLR(o, start_factor=1 / 3, total_iters=steps), 20)
    np.testing.assert_allclose(_rates(WarmUp(steps), 20), expected, rtol=1e-12)


@pytest.mark.parametrize("warm_up", [1, 6])
@pytest.mark.parametrize("name", ["cosine", "step"])
def test_a_warm_up_before_another_one_is_torchs_sequence(name: str, warm_up: int) -> None:
    steps = 6 * PER_EPOCH

    def make(s: Any, o: Any) -> Any:
        linear = s.LinearLR(o, start_factor=0.01, total_iters=warm_up)
        after = (
            s.CosineAnnealingLR(o, T_max=steps - warm_up)
            if name == "cosine"
            else s.StepLR(o, step_size=2 * PER_EPOCH, gamma=0.1)
        )
        return s.SequentialLR(o, [linear, after], milestones=[warm_up])

    schedule = WarmUp(warm_up, Cosine() if name == "cosine" else Step(every=2), first=0.01)
    np.testing.assert_allclose(_rates(schedule, steps), _torch_rates(make, steps), rtol=1e-9, atol=1e-15)


LOSSES = st.lists(st.floats(0, 10) | st.sampled_from([1.0, 0.9999, 0.99991, math.inf, math.nan]), max_size=40)


@given(
    losses=LOSSES,
    gamma=st.sampled_from([0.1, 0.5, 0.99]),
    patience=st.integers(0, 4),
    threshold=st.sampled_from([0.0, 1e-4, 0.3]),
    minimum=st.sampled_from([0.0, 0.01, 0.6]),
    cooldown=st.integers(0, 3),
    validated=st.booleans(),
)
def test_plateau_is_torchs(
    losses: list[float],
    gamma: float,
    patience: int,
    threshold: float,
    minimum: float,
    cooldown: int,
    validated: bool,
) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    twin = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=gamma, patience=patience, threshold=threshold, min_lr=BASE * minimum, cooldown=cooldown, eps=0
    )
    schedule = ReduceOnPlateau(gamma, patience, threshold, minimum, cooldown)
    schedule.start(1000, PER_EPOCH)
    for epoch, loss in enumerate(losses, start=1):
        twin.step(loss)
        schedule.end_epoch(epoch, {"loss": 5.0, "val_loss": loss} if validated else {"loss": loss})
        again = ReduceOnPlateau(gamma, patience, threshold, minimum, cooldown)
        again.start(1000, PER_EPOCH)
        again.restore(json.loads(json.dumps(schedule.snapshot(), allow_nan=False)))
        schedule = again  # what is noted is all that is needed
        found = BASE * schedule.factor(epoch * PER_EPOCH + 1)
        assert found == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


def test_epochs_of_a_warm_up_do_not_count_for_a_plateau() -> None:
    schedule = WarmUp(2 * PER_EPOCH, ReduceOnPlateau(patience=0))
    schedule.start(100, PER_EPOCH)
    for epoch in (1, 2):
        schedule.end_epoch(epoch, {"loss": 1.0})
    assert schedule.snapshot() == {"factor": 1.0, "lowest": None, "bad_epochs": 0, "waiting": 0}
    schedule.end_epoch(3, {"loss": 1.0})
    schedule.end_epoch(4, {"loss": 1.0})
    assert schedule.factor(4 * PER_EPOCH + 1) == 0.1


def test_start_forgets_what_was_before() -> None:
    for schedule in (ReduceOnPlateau(patience=0), WarmUp(1, ReduceOnPlateau(patience=0))):
        for _ in range(2):
            schedule.start(10, PER_EPOCH)
            assert schedule.factor(2) == 1.0
            for epoch in range(1, 4):
                schedule.end_epoch(epoch, {"loss": 1.0})
            assert schedule.factor(2) == pytest.approx(0.01)


# --- by name and by settings


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("warm_up", [None, 0, 3])
def test_a_schedule_is_found_by_name(name: str, warm_up: int | None) -> None:
    found = get_schedule(name, warm_up=warm_up)
    if warm_up:
        assert isinstance(found, WarmUp)
        assert found.steps == 3
        found = found.then
    assert type(found) is SCHEDULES[name]


def test_none_is_constant_and_an_object_is_itself() -> None:
    assert isinstance(get_schedule(None), Constant)
    schedule = Cosine()
    assert get_schedule(schedule) is schedule
    assert get_schedule(schedule, warm_up=2).then is schedule
    assert Constant().is_constant
    assert not any(schedule.is_constant for schedule in (Step(), Cosine(), ReduceOnPlateau(), WarmUp(1)))


@pytest.mark.parametrize(
    "schedule",
    [Constant(), Step(3, 0.5), Cosine(), Cosine(9, 0.1), ReduceOnPlateau(0.2, 1, 0.1, 0.05, 2), WarmUp(4),
     WarmUp(4, Cosine(9, 0.1), 0.2)],
    ids=repr,
)  # fmt: skip
def test_settings_are_flat_json_and_make_the_same_schedule(schedule: Schedule) -> None:
    settings = schedule.settings()
    assert all(isinstance(value, (str, int, float, type(None))) for value in settings.values())
    again = schedule_from_settings(json.loads(json.dumps(settings)) | {"patience": 7, "learning_rate": 0.1})
    assert repr(again) == repr(schedule)
    assert again.settings() == settings
    assert _rates(again, 30) == _rates(schedule, 30)


def test_what_settings_say() -> None:
    assert WarmUp(4, Cosine(minimum=0.1)).settings() == {
        "schedule": "cosine", "schedule_steps": None, "schedule_minimum": 0.1, "warm_up": 4, "warm_up_first": 1 / 3,
    }  # fmt: skip
    assert Constant().settings() == {"schedule": "constant"}
    assert repr(WarmUp(4, "step")) == "WarmUp(4, then=Step(every=10, gamma=0.1), first=0.333333)"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: get_schedule("cosin"), "argument schedule: unknown schedule 'cosin'. Did you mean 'cosine'?"),
        (lambda: get_schedule(3), "argument schedule: unknown schedule 3"),
        (lambda: get_schedule(Cosine), "unknown schedule <class"),
        (lambda: get_schedule("cosine", warm_up=-1), "argument warm_up: expected a whole number from 0, got -1"),
        (lambda: get_schedule("cosine", warm_up=2.5), "argument warm_up: expected a whole number from 0, got 2.5"),
        (lambda: get_schedule(WarmUp(2), warm_up=3), "argument then: a warm-up cannot follow a warm-up"),
        (lambda: Step(0), "argument every: expected a whole number from 1, got 0"),
        (lambda: Step(gamma=0), "argument gamma: expected a number above 0, got 0"),
        (lambda: Cosine(0), "argument steps: expected a whole number from 1, got 0"),
        (lambda: Cosine(minimum=1.0), "argument minimum: expected a number from 0 to below 1, got 1.0"),
        (lambda: ReduceOnPlateau(gamma=1.0), "argument gamma: expected a number above 0 and below 1, got 1.0"),
        (lambda: ReduceOnPlateau(patience=-1), "argument patience: expected a whole number from 0, got -1"),
        (lambda: ReduceOnPlateau(threshold=math.nan), "argument threshold: expected a number from 0 to below 1"),
        (lambda: ReduceOnPlateau(cooldown=1.0), "argument cooldown: expected a whole number from 0, got 1.0"),
        (lambda: WarmUp(0), "argument warm_up: expected a whole number from 1, got 0"),
        (lambda: WarmUp(2, first=0), "argument first: expected a number above 0 and below 1, got 0"),
        (lambda: Cosine().restore({"factor": 1}), "snapshot: the schedule 'cosine' notes nothing"),
        (lambda: ReduceOnPlateau().restore({}), "snapshot: no snapshot of a plateau: {}"),
        (lambda: ReduceOnPlateau().restore({"factor": 2, "lowest": None, "bad_epochs": 0, "waiting": 0}), "factor"),
        (lambda: ReduceOnPlateau().restore({"factor": 1, "lowest": "x", "bad_epochs": 0, "waiting": 0}), "got 'x'"),
        (lambda: schedule_from_settings({"schedule": ["step"]}), "unknown schedule ['step']"),
        (lambda: schedule_from_settings({"schedule": "step", "schedule_T": 1}), "'step' has no setting 'T'"),
        (lambda: schedule_from_settings({"schedule": "step", "schedule_every": "1"}), "argument every: expected"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert text in str(caught.value)


# --- inside a training


class Rates(Observer):
    """Keeps the learning rate of each step, and what was said before the first."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_fit_begin(self, state: TrainingState) -> None:
        self.first = state.learning_rate

    def on_step_end(self, state: TrainingState) -> None:
        self.rates.append(state.learning_rate)


def _data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    return X, (X @ [1.0, -2.0, 0.5] + rng.normal(scale=0.5, size=20))[:, None]


TRAININGS: dict[str, tuple[Schedule, Callable[[Any, Any, int], Any], bool]] = {
    "step": (Step(2, 0.5), lambda s, o, n: s.StepLR(o, 2 * 4, 0.5), False),
    "cosine": (Cosine(minimum=0.1), lambda s, o, n: s.CosineAnnealingLR(o, n, BASE / 10), False),
    "plateau": (
        ReduceOnPlateau(0.5, 0, threshold=0.3),
        lambda s, o, n: s.ReduceLROnPlateau(o, factor=0.5, patience=0, threshold=0.3),
        True,
    ),
    "warm-up and cosine": (
        WarmUp(6, "cosine"),
        lambda s, o, n: s.SequentialLR(o, [s.LinearLR(o, 1 / 3, total_iters=6), s.CosineAnnealingLR(o, n - 6)], [6]),
        False,
    ),
}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("name", list(TRAININGS))
def test_a_training_is_torchs(name: str, validated: bool, optimizer: str) -> None:
    torch = pytest.importorskip("torch")
    (schedule, make, by_metric), (X, y), epochs = TRAININGS[name], _data(), 12
    network = Network.dense([3, 4, 1], hidden="tanh", seed=0, dtype="float64")
    twin = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    with torch.no_grad():
        for layer, own in zip((twin[0], twin[2]), network.layers, strict=True):
            layer.weight.copy_(torch.tensor(own.W))
            layer.bias.copy_(torch.tensor(own.b))
    held_out, rates = np.arange(16, 20), Rates()
    train = np.arange(16)
    fit(
        network, X, y, optimizer=(SGD if optimizer == "sgd" else Adam)(BASE / 10), schedule=schedule, epochs=epochs,
        batch_size=4, shuffle=False, training_rows=train, observers=[rates], validation=held_out if validated else None,
    )  # fmt: skip
    kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
    stepper = kind(twin.parameters(), lr=BASE / 10)
    scheduler = make(torch.optim.lr_scheduler, stepper, 4 * epochs) if name != "cosine" else (
        torch.optim.lr_scheduler.CosineAnnealingLR(stepper, 4 * epochs, BASE / 100)
    )  # fmt: skip
    inputs, targets, expected = torch.tensor(X), torch.tensor(y), []
    best, kept = math.inf, None
    for _ in range(epochs):
        losses = []
        for start in range(0, 16, 4):
            expected.append(stepper.param_groups[0]["lr"])
            stepper.zero_grad()
            loss = torch.nn.functional.mse_loss(twin(inputs[start : start + 4]), targets[start : start + 4])
            loss.backward()
            stepper.step()
            losses.append(loss.item())
            if not by_metric:
                scheduler.step()
        with torch.no_grad():
            val_loss = torch.nn.functional.mse_loss(twin(inputs[16:]), targets[16:]).item()
        if by_metric:
            scheduler.step(val_loss if validated else np.mean(losses))
        if not validated or val_loss < best:
            best, kept = val_loss, [p.detach().numpy().copy().ravel() for p in twin.parameters()]
    np.testing.assert_allclose(rates.rates, expected, rtol=1e-9, atol=1e-15)
    assert len(set(rates.rates)) > 2
    np.testing.assert_allclose(network.parameters, np.concatenate(kept), rtol=1e-7, atol=1e-9)


def test_a_constant_schedule_is_none() -> None:
    ends = []
    for schedule in (None, "constant", Constant()):
        network, (X, y) = Network.dense([3, 4, 1], seed=0), _data()
        rates = Rates()
        fit(network, X, y, epochs=2, learning_rate=0.02, schedule=schedule, observers=[rates])
        assert set(rates.rates) == {0.02}
        ends.append(network.parameters)
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_array_equal(ends[0], ends[2])


def test_the_optimizer_keeps_its_own_rate() -> None:
    optimizer, (X, y) = Adam(0.02), _data()
    rates = Rates()
    fit(Network.dense([3, 1], seed=0), X, y, epochs=3, optimizer=optimizer, schedule=WarmUp(2), observers=[rates])
    assert optimizer.learning_rate == 0.02
    assert rates.first == rates.rates[0] == pytest.approx(0.02 / 3)
    assert rates.rates[-1] == 0.02


def test_the_optimizer_keeps_its_own_rate_also_after_an_error() -> None:
    class Fails(Observer):
        def on_step_end(self, state: TrainingState) -> None:
            raise KeyError("no")

    optimizer, (X, y) = Adam(0.02), _data()
    with pytest.raises(KeyError):
        fit(
            Network.dense([3, 1], seed=0),
            X,
            y,
            optimizer=optimizer,
            schedule=WarmUp(2),
            observers=[Fails()],
            strict=True,
        )
    assert optimizer.learning_rate == 0.02


def test_a_schedule_of_ones_own_is_called_as_documented() -> None:
    class Halves(Schedule):
        name = "halves"

        def __init__(self) -> None:
            self.calls: list[Any] = []

        def start(self, steps: int, steps_per_epoch: int) -> None:
            self.calls.append((steps, steps_per_epoch))

        def factor(self, step: int) -> float:
            return 1.0 if step % 2 else 0.5

        def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
            self.calls.append((epoch, sorted(metrics)))

    schedule, rates, (X, y) = Halves(), Rates(), _data()
    fit(Network.dense([3, 1], seed=0), X, y, learning_rate=0.1, epochs=2, batch_size=8, schedule=schedule,
        observers=[rates], validation=0.2)  # fmt: skip
    assert rates.rates == [0.1, 0.05] * 2
    metrics = ["loss", "val_loss", "val_r2"]
    assert schedule.calls == [(4, 2), (1, metrics), (2, metrics)]
