"""Learning-rate schedules: by which factor of the optimizer's learning rate each step is taken.

A schedule knows no optimizer: it yields a factor for every step, so that one schedule fits any learning rate.
Formulas and defaults are those of torch.optim.lr_scheduler where there is one, so that a training can be repeated
there; torch counts its scheduler's steps from 0, here t = step - 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from neuronwise.errors import UsageError, did_you_mean
from neuronwise.learning.arguments import fraction, positive, share, whole_number

# What a setting of a schedule is called where schedules, optimizers and trainings share one list of settings.
_PREFIX = "schedule_"


class Schedule(ABC):
    """How the learning rate changes while a network learns.

    Attributes:
        name: The word used in code, files and on the command line.
    """

    name: str
    _settings: tuple[str, ...] = ()

    def start(self, steps: int, steps_per_epoch: int) -> None:  # noqa: B027 - most need to know neither
        """Begin a training of so many steps, forgetting any training before it.

        Args:
            steps: Steps planned for the whole training.
            steps_per_epoch: Steps of each epoch.
        """

    @abstractmethod
    def factor(self, step: int) -> float:
        """Return what the optimizer's learning rate is multiplied by at this step, counted from 1."""

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:  # noqa: B027 - most look at no metrics
        """Take note of the metrics at the end of an epoch, counted from 1: ``loss`` and perhaps ``val_loss``."""

    def settings(self) -> dict[str, Any]:
        """Return the name as ``schedule`` and each setting as ``schedule_…``, for tracking."""
        return {"schedule": self.name} | {_PREFIX + key: getattr(self, key) for key in self._settings}

    def snapshot(self) -> dict[str, Any]:
        """Return, as JSON values, what the schedule has noted since `start`."""
        return {}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot of a schedule with the same settings, after `start`."""
        if snapshot != {}:
            raise UsageError(f"the schedule {self.name!r} notes nothing, got {snapshot!r:.100}", where="snapshot")

    @property
    def is_constant(self) -> bool:
        """Whether the factor is 1 at every step."""
        return False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={getattr(self, key)!r}' for key in self._settings)})"


class Constant(Schedule):
    """The learning rate stays as it is."""

    name = "constant"

    def factor(self, step: int) -> float:
        """1, at every step."""
        return 1.0

    @property
    def is_constant(self) -> bool:
        """True."""
        return True


class Step(Schedule):
    """η · γ^⌊t / (every · steps per epoch)⌋: after every so many epochs times γ (torch's StepLR).

    Args:
        every: Epochs between two changes (default 10; torch has no default).
        gamma: γ, above 0 (default 0.1).
    """

    name = "step"
    _settings = ("every", "gamma")

    def __init__(self, every: int = 10, gamma: float = 0.1) -> None:
        self.every, self.gamma = whole_number(every, "every", 1), positive(gamma, "gamma")
        self._interval = self.every

    def start(self, steps: int, steps_per_epoch: int) -> None:
        """See `Schedule.start`."""
        self._interval = self.every * steps_per_epoch

    def factor(self, step: int) -> float:
        """See `Schedule.factor`."""
        return _power(self.gamma, (step - 1) // self._interval)


class Cosine(Schedule):
    """η · (m + (1 - m) (1 + cos(π t / T)) / 2): half a cosine from the learning rate down to m times it.

    Loshchilov and Hutter 2017, equation 5, as torch's CosineAnnealingLR has it; but after T steps the rate stays at its
    minimum, where torch's rises again.

    Args:
        steps: T, the steps it takes; default all steps that the training was planned to have when it first began.
        minimum: m, the last rate as a share of the first, from 0 (default) to below 1.
    """

    name = "cosine"
    _settings = ("steps", "minimum")

    def __init__(self, steps: int | None = None, minimum: float = 0.0) -> None:
        self.steps = None if steps is None else whole_number(steps, "steps", 1)
        self.minimum = fraction(minimum, "minimum")
        self._horizon = self.steps or 1

    def start(self, steps: int, steps_per_epoch: int) -> None:
        """See `Schedule.start`."""
        self._horizon = steps if self.steps is None else self.steps

    def factor(self, step: int) -> float:
        """See `Schedule.factor`."""
        t = min(step - 1, self._horizon)
        return self.minimum + (1.0 - self.minimum) * (1.0 + math.cos(math.pi * t / self._horizon)) / 2.0


class ReduceOnPlateau(Schedule):
    """η · γ each time the loss has not become lower for more than `patience` epochs (torch's ReduceLROnPlateau).

    It looks at ``val_loss`` where there is validation, else at the training loss. Unlike torch it knows no smallest
    change of the rate (torch's `eps` of 1e-8).

    Args:
        gamma: γ, above 0 and below 1 (default 0.1).
        patience: Epochs without a lower loss that are let pass (default 10).
        threshold: A loss is lower if it is below the lowest so far times 1 - threshold, from 0 (default 0.0001).
        minimum: The smallest rate, as a share of the first, from 0 (default) to below 1.
        cooldown: Epochs after a change that are not counted (default 0).
    """

    name = "plateau"
    _settings = ("gamma", "patience", "threshold", "minimum", "cooldown")

    def __init__(
        self,
        gamma: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        minimum: float = 0.0,
        cooldown: int = 0,
    ) -> None:
        self.gamma = share(gamma, "gamma")
        self.patience, self.cooldown = whole_number(patience, "patience", 0), whole_number(cooldown, "cooldown", 0)
        self.threshold, self.minimum = fraction(threshold, "threshold"), fraction(minimum, "minimum")
        self._reset()

    def _reset(self) -> None:
        self._factor, self._lowest, self._bad_epochs, self._waiting = 1.0, math.inf, 0, 0

    def start(self, steps: int, steps_per_epoch: int) -> None:
        """See `Schedule.start`."""
        self._reset()

    def factor(self, step: int) -> float:
        """See `Schedule.factor`."""
        return self._factor

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """See `Schedule.end_epoch`."""
        loss = metrics["val_loss"] if "val_loss" in metrics else metrics["loss"]
        if loss < self._lowest * (1.0 - self.threshold):
            self._lowest, self._bad_epochs = loss, 0
        else:
            self._bad_epochs += 1
        if self._waiting:
            self._waiting -= 1
            self._bad_epochs = 0
        if self._bad_epochs > self.patience:
            self._factor = max(self._factor * self.gamma, self.minimum)
            self._waiting, self._bad_epochs = self.cooldown, 0

    def snapshot(self) -> dict[str, Any]:
        """See `Schedule.snapshot`."""
        lowest = None if self._lowest == math.inf else float(self._lowest)
        return {"factor": self._factor, "lowest": lowest, "bad_epochs": self._bad_epochs, "waiting": self._waiting}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """See `Schedule.restore`."""
        if set(snapshot) != {"factor", "lowest", "bad_epochs", "waiting"}:
            raise UsageError(f"no snapshot of a plateau: {snapshot!r:.100}", where="snapshot")
        self._factor = fraction(snapshot["factor"], "factor") if snapshot["factor"] != 1 else 1.0
        self._lowest = math.inf if snapshot["lowest"] is None else _finite(snapshot["lowest"])
        self._bad_epochs = whole_number(snapshot["bad_epochs"], "bad_epochs", 0)
        self._waiting = whole_number(snapshot["waiting"], "waiting", 0)


class WarmUp(Schedule):
    """η · (s + (1 - s) t / N) for N steps, then another schedule, for which those steps do not count.

    It is torch's SequentialLR of a LinearLR and another one (Goyal et al. 2017, section 2.2): large first
    steps from weights that nothing was learned in yet can spoil them.

    Args:
        steps: N, the steps it takes.
        then: The schedule after it (default constant): by name or a `Schedule`.
        first: s, the first rate as a share of the optimizer's, above 0 and below 1 (default 1/3, as torch has it).
    """

    name = "warm_up"

    def __init__(self, steps: int, then: str | Schedule | None = None, first: float = 1 / 3) -> None:
        self.steps, self.first = whole_number(steps, "warm_up", 1), share(first, "first")
        self.then = get_schedule(then)
        if isinstance(self.then, WarmUp):
            raise UsageError("a warm-up cannot follow a warm-up", where="argument then", hint="give one of more steps")
        self._steps_per_epoch = 1

    def start(self, steps: int, steps_per_epoch: int) -> None:
        """See `Schedule.start`."""
        self._steps_per_epoch = steps_per_epoch
        self.then.start(max(1, steps - self.steps), steps_per_epoch)

    def factor(self, step: int) -> float:
        """See `Schedule.factor`."""
        if step > self.steps:
            return self.then.factor(step - self.steps)
        return self.first + (1.0 - self.first) * (step - 1) / self.steps

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Pass the metrics on, unless the warm-up lasted to the end of that epoch."""
        if epoch * self._steps_per_epoch > self.steps:
            self.then.end_epoch(epoch, metrics)

    def settings(self) -> dict[str, Any]:
        """Return the settings of the schedule after it, and ``warm_up`` (steps) and ``warm_up_first``."""
        return self.then.settings() | {"warm_up": self.steps, "warm_up_first": self.first}

    def snapshot(self) -> dict[str, Any]:
        """See `Schedule.snapshot`."""
        return self.then.snapshot()

    def restore(self, snapshot: dict[str, Any]) -> None:
        """See `Schedule.restore`."""
        self.then.restore(snapshot)

    def __repr__(self) -> str:
        return f"WarmUp({self.steps}, then={self.then!r}, first={self.first:g})"


SCHEDULES: dict[str, type[Schedule]] = {
    schedule.name: schedule for schedule in (Constant, Step, Cosine, ReduceOnPlateau)
}
"""Every schedule by its name; a warm-up goes before any of them. To add one, write its class above and put it here."""


def get_schedule(schedule: str | Schedule | None, *, warm_up: int | None = None) -> Schedule:
    """Return a new schedule of that name with its defaults (a `Schedule` as it is); None is a constant rate.

    Args:
        schedule: ``"constant"``, ``"step"``, ``"cosine"``, ``"plateau"``, a `Schedule`, or None.
        warm_up: Steps of a linear warm-up before it; None or 0 for none.

    Raises:
        UsageError: There is none of that name, or a warm-up is asked for twice.
    """
    if warm_up is not None and whole_number(warm_up, "warm_up", 0):
        return WarmUp(warm_up, schedule)
    if isinstance(schedule, Schedule):
        return schedule
    if schedule is None:
        return Constant()
    if not isinstance(schedule, str) or schedule not in SCHEDULES:
        raise UsageError(
            f"unknown schedule {schedule!r}.{did_you_mean(str(schedule), SCHEDULES)}",
            where="argument schedule",
            hint=f"known are {', '.join(SCHEDULES)}; or pass one with settings of its own: Step(every=5)",
        )
    return SCHEDULES[schedule]()


def schedule_from_settings(settings: Mapping[str, Any]) -> Schedule:
    """Return a new schedule with these `Schedule.settings`; other keys are ignored.

    Raises:
        UsageError: They are not those of a schedule.
    """
    name = settings.get("schedule", Constant.name)
    if not isinstance(name, str) or name not in SCHEDULES:
        get_schedule(name)  # raises
    own = {key.removeprefix(_PREFIX): value for key, value in settings.items() if key.startswith(_PREFIX)}
    if unknown := set(own) - set(SCHEDULES[name]._settings):
        raise UsageError(f"the schedule {name!r} has no setting {min(unknown)!r}", where="argument schedule")
    schedule = SCHEDULES[name](**own)
    warm_up = settings.get("warm_up")
    return WarmUp(warm_up, schedule, settings.get("warm_up_first", 1 / 3)) if warm_up is not None else schedule


def _power(base: float, exponent: int) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UsageError(f"expected a number, got {value!r:.100}", where="snapshot")
    return float(value)
