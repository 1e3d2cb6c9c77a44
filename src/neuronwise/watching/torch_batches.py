"""What a training is fed with and what comes out: inputs, targets and predictions of the steps that are recorded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.watching.torch_statistics import on_host

if TYPE_CHECKING:
    import torch

# Of a batch at most so many rows and values of a row are looked at, of features so many; so many rows are remembered.
_MAX_ROWS, _MAX_FEATURES, _MAX_REMEMBERED = 512, 4096, 200_000
# Rows are compared where a feature of the first so many has more values than this.
_MAX_LOOKED_AT, _MANY_VALUES = 200, 100
# Of more classes only how many there are is told.
_MAX_CLASSES = 100


class InputsSeen:
    """The inputs of a training, over the steps that were looked at: each feature's range, and which rows come again.

    Attributes:
        shape: Of one input.
        dtype: ``"float32"``, ``"int64"`` …
        rows: How many rows were looked at, without batches of which every row was known.
    """

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype = ""
        self.rows = self.nonfinite = 0
        self._sum: NDArray[np.float64] = np.zeros(0)
        self._squares: NDArray[np.float64] = np.zeros(0)
        self._low: NDArray[np.float64] = np.zeros(0)
        self._high: NDArray[np.float64] = np.zeros(0)
        self._known: set[int] = set()
        self._key = np.zeros(0)
        self._is_numeric: bool | None = None

    def take(self, inputs: torch.Tensor) -> dict[str, float]:
        """Take in a batch; return how many of its rows were ``seen_before``, of how many ``looked_at``; its mean."""
        self.shape, self.dtype = tuple(inputs.shape[1:]), str(inputs.dtype).removeprefix("torch.")
        rows = _flat(inputs)
        if not rows.size:
            return {}
        with np.errstate(all="ignore"):
            if len(self._sum) != rows.shape[1]:
                self._sum, self._squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
                self._low, self._high = np.full(rows.shape[1], np.inf), np.full(rows.shape[1], -np.inf)
                self.rows = 0
                self._key = np.random.default_rng(1).standard_normal((rows.shape[1],))
            products = rows @ self._key
            if not math.isfinite(products.sum()):
                is_finite = np.isfinite(rows)
                self.nonfinite += int(rows.size - np.count_nonzero(is_finite))
                rows = np.where(is_finite, rows, 0)
                products = rows @ self._key
            marks = products.view(np.int64).tolist()
            before = sum(mark in self._known for mark in marks)
            if before < len(marks) or not self.rows:  # what came before tells nothing new
                self.rows += len(rows)
                self._sum += rows.sum(0)
                self._squares += np.einsum("ij,ij->j", rows, rows)
                np.minimum(self._low, rows.min(0), out=self._low)
                np.maximum(self._high, rows.max(0), out=self._high)
        if len(self._known) < _MAX_REMEMBERED:
            self._known.update(marks)
        return {"looked_at": len(marks), "seen_before": before, "input_mean": float(rows.mean())}

    @property
    def distinct(self) -> int:
        """How many different rows were seen."""
        return len(self._known)

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of each feature."""
        mean = self._sum / max(1, self.rows)
        return mean, np.sqrt(np.maximum(self._squares / max(1, self.rows) - mean * mean, 0))

    def describe(self) -> dict[str, Any]:
        """Return what is known, as JSON values."""
        found: dict[str, Any] = {
            "shape": list(self.shape), "dtype": self.dtype, "rows": self.rows, "distinct": self.distinct,
            "features": len(self._sum), "nonfinite": self.nonfinite,
        }  # fmt: skip
        if self.rows:
            mean, std = self.moments()
            moving = std > 1e-6 * np.maximum(np.abs(mean), 1e-12)
            found |= {
                "min": float(self._low.min()), "max": float(self._high.max()), "mean": float(mean.mean()),
                "rms": float(np.sqrt(np.mean(self._squares / self.rows))), "constant": int(np.count_nonzero(~moving)),
                "mean_largest": float(np.abs(mean).max()), "std_largest": float(std.max()),
                "std_least": float(std[moving].min()) if moving.any() else 0.0,
                "std_median": float(np.median(std[moving])) if moving.any() else 0.0,
                "offset": float(np.median(np.abs(mean[moving]) / std[moving])) if moving.any() else 0.0,
            }  # fmt: skip
            if moving.any():
                # A pixel that is lit in one row of a thousand hardly deviates, and is as large as the others all the
                # same: a feature is as large as its deviation, or an eighth of its range, which normal values take.
                # Of many features some few may be tiny, as those at the edge of a picture are.
                scale = np.maximum(std, (self._high - self._low) / 8)[moving]
                least = float(np.quantile(scale, 0.05, method="lower"))
                found |= {"scale_largest": float(scale.max()), "scale_least": least}
        return found

    def known_share(self, inputs: torch.Tensor) -> float | None:
        """Return the share of other inputs that are among these, number by number; None where that is not known.

        Only where there is a feature of many values: of few values rows are the same by chance.
        """
        if not inputs.is_floating_point() or len(self._known) >= _MAX_REMEMBERED:
            return None
        rows = _flat(inputs, whole=True)
        if not self.rows or rows.shape[1:] != self._key.shape:
            return None
        if self._is_numeric is None:  # the same rows are held out each time
            self._is_numeric = any(len(np.unique(column)) > _MANY_VALUES for column in rows.T[:_MAX_LOOKED_AT])
        if not self._is_numeric:
            return None
        with np.errstate(all="ignore"):
            products = rows @ self._key
        known = np.fromiter(self._known, np.int64, len(self._known)).view(np.float64)
        return float(np.isin(_coarse(products), _coarse(known)).mean())

    def compare(self, inputs: torch.Tensor) -> dict[str, float]:
        """Return how other inputs lie beside these: the medians over features of shift and scale, and the largest.

        ``shift`` is |mean - own mean| / own deviation, ``scale`` the ratio of the deviations as log10.
        """
        rows = _flat(inputs, whole=True)
        if not self.rows or rows.shape[1:] != self._sum.shape or len(rows) < 2:
            return {}
        mean, std = self.moments()
        with np.errstate(all="ignore"):
            moving = (std > 1e-6 * np.maximum(np.abs(mean), 1e-12)) & (rows.std(0) > 0)
            if not moving.any():
                return {}
            shift = (np.abs(rows.mean(0) - mean) / std)[moving]
            scale = np.log10(rows.std(0) / std)[moving]
        return {
            "shift_median": float(np.median(shift)), "shift_largest": float(shift.max()),
            "scale_median": float(np.median(scale)), "scale_largest": float(scale[np.argmax(np.abs(scale))]),
        }  # fmt: skip


def _coarse(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers to 40 bits: the last bits of a sum depend on how many rows there are beside."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, 40)), exponent - 40), np.float64)


def _flat(values: torch.Tensor, *, whole: bool = False) -> NDArray[np.float64]:
    """Return some rows as (rows, features) in float64, of more than 512 rows or 4,096 features an even sample."""
    values = values.detach()
    if values.ndim < 1 or values.is_complex():
        return np.zeros((0, 0))
    if values.shape[0] > _MAX_ROWS and not whole:
        values = values[:: -(-values.shape[0] // _MAX_ROWS)]
    values = values.reshape(values.shape[0], -1)
    if values.shape[1] > _MAX_FEATURES:
        values = values[:, :: -(-values.shape[1] // _MAX_FEATURES)]
    return on_host(values.cpu()).astype(np.float64)


def targets_of(target: torch.Tensor) -> dict[str, float]:
    """Return mean, deviation and range of the targets of a batch."""
    flat = on_host(target.detach().cpu()).astype(np.float64).reshape(-1)
    if not flat.size:
        return {}
    with np.errstate(all="ignore"):
        mean = float(flat.mean())
        return {
            "target_mean": mean, "target_std": math.sqrt(max(0.0, float(np.mean((flat - mean) ** 2)))),
            "target_min": float(flat.min()), "target_max": float(flat.max()),
        }  # fmt: skip


class TargetsSeen:
    """The targets of a training, over the steps that were looked at."""

    def __init__(self) -> None:
        self.values = self.nonfinite = 0
        self.counts: dict[float, int] | None = {}
        self.whole = True
        self._sum = self._squares = 0.0
        self._low, self._high = math.inf, -math.inf
        self.shape: tuple[int, ...] = ()
        self.dtype = ""
        self._columns: list[float] = []

    def take(self, target: torch.Tensor) -> None:
        """Take in the targets of a batch."""
        array = on_host(target.detach().cpu()).astype(np.float64)
        self.shape, self.dtype = tuple(target.shape[1:]), str(target.dtype).removeprefix("torch.")
        flat = array.reshape(-1)
        if not flat.size:
            return
        with np.errstate(all="ignore"):
            if not math.isfinite(flat.sum()):
                is_finite = np.isfinite(flat)
                self.nonfinite += int(flat.size - np.count_nonzero(is_finite))
                flat = flat[is_finite]
                if not flat.size:
                    return
            self.values += flat.size
            self._sum += float(flat.sum())
            self._squares += float(flat @ flat)
            self._low, self._high = min(self._low, float(flat.min())), max(self._high, float(flat.max()))
            if self.whole and not bool((flat == np.rint(flat)).all()):
                self.whole, self.counts = False, None
        if self.counts is not None:
            for value, count in zip(*(one.tolist() for one in np.unique(flat, return_counts=True)), strict=True):
                self.counts[value] = self.counts.get(value, 0) + count
            if len(self.counts) > _MAX_CLASSES:
                self.counts = None

    def describe(self) -> dict[str, Any]:
        """Return what is known, as JSON values."""
        found: dict[str, Any] = {"shape": list(self.shape), "dtype": self.dtype, "values": self.values,
                                 "nonfinite": self.nonfinite}  # fmt: skip
        if self.values:
            mean = self._sum / self.values
            found |= {
                "min": self._low, "max": self._high, "mean": mean, "whole": self.whole,
                "std": math.sqrt(max(0.0, self._squares / self.values - mean * mean)),
            }  # fmt: skip
            if self.counts is not None and self.whole:
                found["counts"] = {f"{key:g}": self.counts[key] for key in sorted(self.counts)}
        return found


def predictions_of(prediction: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """Return what predictions look like, and how many are right where the targets are classes.

    ``correct`` is the share of rows (of sequences and pictures that have a class at each place, of places) whose
    largest output stands at the target's class (or, of a single output beside targets 0 and 1, that lie on its side of
    ``0.5`` and of ``0``: ``correct_half``, ``correct_zero``); ``sse`` and ``sst`` the mean squared distance of the
    targets from the predictions and from their own mean.
    """
    with np.errstate(all="ignore"):
        out = on_host(prediction.detach().cpu()).astype(np.float64)
        goal = on_host(target.detach().cpu()).astype(np.float64)
        if not out.size or not goal.size or out.ndim < 1:
            return {}
        flat = out.reshape(len(out), -1) if out.ndim > 1 else out[:, None]
        found = {
            "output_mean": float(out.mean()), "output_min": float(out.min()), "output_max": float(out.max()),
            "output_spread": float(flat.std(0).mean()), "output_std": float(out.std()),
            "output_nonfinite": int(out.size - np.count_nonzero(np.isfinite(out))),
        }  # fmt: skip
        if out.ndim == 2 and out.shape[1] > 1:
            sums = out.sum(1)
            found["row_sum_off"] = float(np.abs(sums - 1).max())
        is_by_class = out.ndim == goal.ndim + 1 and out.shape[:1] + out.shape[2:] == goal.shape
        if is_by_class and out.shape[1] > 1 and not target.is_floating_point():
            guess = out.argmax(1)
            found["correct"] = float(np.mean(guess == goal))
            found["one_answer"] = float(np.bincount(guess.reshape(-1)).max() / guess.size)
        elif out.size == goal.size:
            goal = goal.reshape(-1)
            own = out.reshape(-1)
            found["sse"], found["sst"] = float(np.mean((goal - own) ** 2)), float(goal.var())
            if bool(np.isin(goal, (0, 1)).all()):
                found["correct_half"] = float(np.mean((own > 0.5) == (goal > 0.5)))
                found["correct_zero"] = float(np.mean((own > 0) == (goal > 0.5)))
                side = np.mean(own > 0.5)
                found["one_answer"] = float(max(side, 1 - side))
            elif bool((goal == np.rint(goal)).all()):
                found["correct_rounded"] = float(np.mean(np.rint(own) == goal))
    return found
