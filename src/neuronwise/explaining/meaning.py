"""What the inputs and outputs of a network mean to its user: columns, original units, classes, money."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data import ArrayEncoder, FeatureEncoder, Input, PixelEncoder, TargetSpec
from neuronwise.data.columns import figure
from neuronwise.errors import NotFoundError, did_you_mean
from neuronwise.network import Network

Encoder = FeatureEncoder | PixelEncoder | ArrayEncoder

# About ten thousand years: what is further from the first date of a column is told in days.
_MOST_DAYS = 3_650_000


@dataclass(frozen=True)
class Meaning:
    """Names and units of a network's inputs and outputs. Without an encoder the names are the network's own.

    Attributes:
        input_names: One for each input, in the order of the flattened input.
        output_names: One for each output neuron.
        encoder: What made the inputs; None where that is not known.
        target: What the outputs mean; None where that is not known.
        picture_shape: (height, width) or (height, width, channels) of inputs that are pictures; None for others.
        groups: Indices of the inputs that each column became, by column; each input its own where there are none.
    """

    input_names: Sequence[str]
    output_names: Sequence[str]
    encoder: Encoder | None = None
    target: TargetSpec | None = None
    picture_shape: tuple[int, ...] | None = None
    groups: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def of(cls, network: Network, encoder: Encoder | None = None, target: TargetSpec | None = None) -> Meaning:
        """Return what is known of a network's inputs and outputs."""
        names: Sequence[str]
        if isinstance(encoder, FeatureEncoder):
            names = encoder.input_names
            groups = {column: np.array(places, np.int64) for column, places in encoder.groups.items()}
        else:
            names = encoder.input_names if encoder is not None else (network.input_names or _numbered(network))
            groups = {}
        outputs: Sequence[str] = network.class_names or ()
        if target is not None:
            outputs = target.classes if target.task == "multiclass" else ()
            outputs = outputs or [target.name if target.task == "regression" else str(target.classes[1])]
        outputs = outputs or [f"{network.layers[-1].name}[{place}]" for place in range(network.output_size)]
        shape = network.input_shape if len(network.input_shape) in (2, 3) else None
        if shape is None and isinstance(encoder, PixelEncoder):
            shape = encoder.input_shape
        return cls(names, list(outputs), encoder, target, shape, groups)

    @property
    def columns(self) -> list[str]:
        """Columns of the table the inputs come from; the inputs themselves where there is no table."""
        return list(self.groups) if self.groups else list(self.input_names)

    def by_column(self, contributions: NDArray[Any]) -> NDArray[Any]:
        """Return values of the inputs, (…, inputs), summed over the inputs of each column: (…, columns)."""
        if not self.groups:
            return contributions
        return np.stack([contributions[..., places].sum(axis=-1) for places in self.groups.values()], axis=-1)

    def _input(self, place: int) -> Input | None:
        return self.encoder.inputs[place] if isinstance(self.encoder, FeatureEncoder) else None

    def original_words(self, place: int, value: float) -> str | None:
        """Return an input's value in its original unit, ``2,570``; None where it is seen as it is (a pixel, a flag)."""
        known = self._input(place)
        if known is not None:
            return figure(decoded(known, value)) if known.is_scaled else None
        if (
            isinstance(self.encoder, ArrayEncoder)
            and self.encoder.means is not None
            and self.encoder.scales is not None
        ):
            mean, scale = float(self.encoder.means[place]), float(self.encoder.scales[place])
            return None if (mean, scale) == (0.0, 1.0) else figure(_rounded(value * scale + mean))
        return None

    def value_words(self, place: int, value: float) -> str:
        """Return an input's value in its original unit, with the scaled one: ``2,570 (scaled 0.54)``."""
        original = self.original_words(place, value)
        return f"{value:.4g}" if original is None else f"{original} (scaled {value:.3g})"

    def is_date(self, column: str) -> bool:
        """Whether a column of the table is a date, which became several inputs."""
        return bool(self.groups) and getattr(self._input(int(self.groups[column][0])), "kind", "") == "date"

    def column_words(self, column: str, x: NDArray[Any]) -> str:
        """Return what one row, (inputs,), has in a column, in its original unit: ``98103``, ``2,570``, ``yes``."""
        if not self.groups or not isinstance(self.encoder, FeatureEncoder):
            return f"{float(x[list(self.input_names).index(column)]):.4g}"
        inputs = [(self.encoder.inputs[place], float(x[place])) for place in self.groups[column].tolist()]
        if any(known.part == "missing" and value == 1.0 for known, value in inputs):
            return "missing"
        first, value = inputs[0]
        if first.kind == "category":
            chosen = [known.category for known, value in inputs if value == 1.0 and known.category is not None]
            return chosen[0] if chosen else "never seen in training"
        if first.kind == "yes/no":
            return "yes" if value == 1.0 else "no" if value == 0.0 else f"{value:.4g}"
        if first.kind == "date":
            days = next(decoded(known, value) for known, value in inputs if known.part == "days since first")
            return self.date_words(column, days)
        return figure(decoded(first, value))

    def date_words(self, column: str, days: float) -> str:
        """Return the date that is so many days after the first of its column: ``2014-05-29``, with a time if any."""
        assert isinstance(self.encoder, FeatureEncoder)
        origin = next(one.origin for one in self.encoder.encodings if one.column.name == column)
        if not math.isfinite(days) or abs(days) > _MOST_DAYS:
            return f"{figure(days)} days after {str(origin)[:10]}"
        # Inputs are float32, which holds a year to about three seconds.
        moment = np.datetime64(origin or "1970-01-01", "s") + np.timedelta64(round(days * 1440), "m")
        day, _, time = str(moment).partition("T")
        return day if time == "00:00:00" else f"{day} {time[:5]}"

    def output(self, name: str | int | None, y_hat: ArrayLike | None = None) -> int:
        """Return the index of an output by its name, class or index; by default that of the largest answer.

        Raises:
            NotFoundError: There is no such output.
        """
        if name is None:
            return 0 if len(self.output_names) == 1 or y_hat is None else int(np.argmax(np.asarray(y_hat)))
        names = [str(known) for known in self.output_names]
        if str(name) in names:
            return names.index(str(name))
        if isinstance(name, int) and 0 <= name < len(names):
            return name
        shown = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
        raise NotFoundError(
            f"there is no output {str(name)!r:.100}.{did_you_mean(str(name), names)}",
            where="argument output",
            hint=f"the outputs are {shown}",
        )

    def target_words(self, value: float) -> str:
        """Return a value of the target, in its own unit, as a person would write it: ``512,300``."""
        return figure(_rounded(float(value)))

    def answer_words(self, y_hat: NDArray[Any]) -> str:
        """Return one answer of the network, (outputs,), in words: ``price 512,300`` or ``7 (93.1 %)``."""
        y = np.asarray(y_hat, np.float64).reshape(-1)
        target = self.target
        if target is not None and target.task == "regression":
            return f"{target.name} {figure(_rounded(float(target.decode(y[None])[0]), 5))}"
        if target is not None and target.task == "binary":
            chosen = int(y[0] >= 0.5)
            return f"{target.classes[chosen]} ({100 * (y[0] if chosen else 1 - y[0]):.1f} %)"
        if len(y) == 1:
            return f"{self.output_names[0]} {y[0]:.4g}"
        best = int(y.argmax())
        if target is None:
            return f"{self.output_names[best]} ({y[best]:.4g})"
        return f"{self.output_names[best]} ({100 * y[best]:.1f} %)"


def _numbered(network: Network) -> Sequence[str]:
    return [f"x[{place}]" for place in range(math.prod(network.input_shape))]


def decoded(known: Input, value: float) -> float:
    """Return a scaled input's value in its original unit, rounded to what float32 holds: 2,570, not 2570.0001."""
    raw = float(known.decode(value))
    error = 2.0**-23 * abs(value) * known.scale * (1.0 + abs(raw) if known.transform == "log" else 1.0)
    if not math.isfinite(raw) or not error > 0.0:
        return raw if not math.isfinite(raw) else round(raw, 9)
    return float(round(raw, min(math.floor(-math.log10(2.0 * error)), 12))) + 0.0  # without a minus before 0


def _rounded(value: float, digits: int = 6) -> float:
    """Return a value of as many digits as float32 holds: 2,570.0001 is 2,570."""
    if not math.isfinite(value) or value == 0.0:
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))
