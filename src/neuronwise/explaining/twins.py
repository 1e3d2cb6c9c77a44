"""Twins: neurons of a layer that look for the same, found by their weights and by their answers.

Weights that are multiples of each other (also negative ones) look for the same pattern. How near to such a multiple
two neurons must be to be called twins depends on chance: of few inputs, or on inputs that hardly vary, random neurons
are often alike. So a pair is called twins only if so close a pair is not to be expected among random weights:

- by weights: among directions drawn evenly in k dimensions, 1 - cos² of two of them has the distribution
  Beta((k - 1) / 2, 1 / 2) (Muirhead 1982, Aspects of Multivariate Statistical Theory, theorem 1.5.7);
- by answers: among neurons with normally distributed weights on the very same inputs, 1,024 of which are tried.

The limit is set so that in a layer of random neurons one in a thousand is expected to have a twin by either. Besides,
|cosine| or |correlation| must be at least 0.95.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LEAST = 0.95
"""The least |cosine| of weights, or |correlation| of answers, of neurons that are called twins."""
_CHANCE = 0.001
_TRIED = 1_024
_TAIL = 512
_BLOCK = 1_024
# 1 - r² below this is rounding of float64.
_FINEST = 1e-15


@dataclass(frozen=True)
class Twin:
    """Two neurons of a layer that look for the same.

    Attributes:
        neuron, twin: Their names.
        cosine: Of their weights; below 0: the one is the other with its sign flipped.
        scale: The weights of the twin are about so many times those of the neuron: cosine · ‖w_twin‖ / ‖w_neuron‖.
        correlation: Of their pre-activations z on the examples (Pearson); NaN where one does not vary.
        levels: Of their activation levels a; NaN likewise.
        by: What shows them to be twins: ``"weights"``, ``"answers"`` or ``"both"``.
    """

    neuron: str
    twin: str
    cosine: float
    scale: float
    correlation: float
    levels: float
    by: Literal["weights", "answers", "both"]


def find_twins(
    names: Sequence[str],
    weights: NDArray[np.float64],
    biases: NDArray[np.float64],
    seen: NDArray[np.float64],
    levels: NDArray[np.float64],
    *,
    rounding: float = 0.0,
    only: int | None = None,
    seed: int = 0,
) -> tuple[Twin, ...]:
    """Return the twins in a layer, those most alike first.

    Args:
        names: Of the neurons, (N,).
        weights: (N, k), biases (N,).
        biases: Likewise.
        seen: Of some examples what the neurons see, (m, k). Rows that are not finite are left out.
        levels: Of the same examples the activation levels, (m, N).
        rounding: Relative error of a weight, by its dtype: copies are found although they were rounded.
        only: Only pairs with this neuron, by its place.
        seed: Of the random neurons tried.
    """
    n, k = weights.shape
    if n < 2:
        return ()
    kept = np.isfinite(seen).all(axis=1) & np.isfinite(levels).all(axis=1)
    seen, levels = seen[kept], levels[kept]
    norms = np.sqrt(np.einsum("ij,ij->i", weights, weights))
    usable = np.isfinite(norms) & (norms > 0)
    with np.errstate(all="ignore"):
        units = np.where(usable[:, None], weights / norms[:, None], 0.0)
        z, a = _standard(seen @ np.where(usable[:, None], weights, 0.0).T), _standard(levels)
    near = _weights_limit(n, k, rounding)
    alike = _answers_limit(n, seen, seed)
    found: list[tuple[float, Twin]] = []
    rows = range(0, n, _BLOCK) if only is None else [only]
    for start in rows:
        block = slice(start, min(start + _BLOCK, n) if only is None else start + 1)
        cosines, correlations = units[block] @ units.T, z[:, block].T @ z
        same_levels = a[:, block].T @ a
        apart = 1.0 - cosines**2
        with np.errstate(all="ignore"):
            candidates = (cosines**2 >= LEAST**2) | (correlations**2 >= LEAST**2)
        for i, j in np.argwhere(candidates).tolist():
            first = start + i
            if (first >= j and only is None) or first == j:
                continue
            if apart[i, j] < 1e-6:  # where 1 - cos² is mostly rounding
                apart[i, j] = _apart(units[first], units[j])
            by_weights = cosines[i, j] ** 2 >= LEAST**2 and (apart[i, j] <= near or _is_copy(weights, biases, first, j))
            by_answers = correlations[i, j] ** 2 >= LEAST**2 and 1.0 - correlations[i, j] ** 2 <= alike
            if not (by_weights or by_answers):
                continue
            by: Literal["weights", "answers", "both"] = (
                "both" if by_weights and by_answers else "weights" if by_weights else "answers"
            )
            cosine = float(np.clip(cosines[i, j], -1.0, 1.0))
            twin = Twin(
                names[first], names[j], cosine, cosine * float(norms[j] / norms[first]),
                _clipped(correlations[i, j]), _clipped(same_levels[i, j]), by,
            )  # fmt: skip
            found.append((min(float(apart[i, j]), float(np.nan_to_num(1 - correlations[i, j] ** 2, nan=2.0))), twin))
    return tuple(twin for _, twin in sorted(found, key=lambda one: one[0]))


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return columns with mean 0 and length 1, whose products are correlations; NaN where one does not vary."""
    if not len(values):
        return np.full(values.shape, np.nan)
    middle = values.mean(axis=0)
    centred = values - middle
    length = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    # What is left of a column of equal numbers is rounding.
    still = length <= 1e-12 * (np.abs(values).max(axis=0) * np.sqrt(len(values)) + np.finfo(np.float64).tiny)
    return np.where(still, np.nan, centred / np.where(still, 1.0, length))


def _weights_limit(n: int, k: int, rounding: float) -> float:
    """Return how large 1 - cos² of two of n neurons with k weights may be without being chance; below 0: always."""
    if k < 2:
        return -1.0
    from scipy.special import betaincinv

    limit = float(betaincinv((k - 1) / 2, 0.5, _CHANCE / (n - 1)))
    return max(limit, (4 * rounding) ** 2)


def _answers_limit(n: int, seen: NDArray[np.float64], seed: int) -> float:
    """Return the same for 1 - r² of the answers of two of n neurons to these inputs, by trying random neurons.

    The tail of -log(1 - r²) is exponential for inputs that vary evenly in some directions (it is that Beta
    distribution again); beyond the pairs tried it is taken as such.
    """
    if len(seen) < 3:
        return -1.0
    random = np.random.default_rng(seed).standard_normal((seen.shape[1], _TRIED))
    answers = _standard((seen - seen.mean(axis=0)) @ random)
    with np.errstate(all="ignore"):
        squares = (answers.T @ answers)[np.triu_indices(_TRIED, 1)] ** 2
    squares = squares[np.isfinite(squares)]
    if len(squares) < 2 * _TAIL:
        return -1.0
    heights = -np.log(np.maximum(1.0 - squares, _FINEST))
    top = np.partition(heights, len(heights) - _TAIL)[-_TAIL:]
    start, excess = float(top.min()), float(top.mean() - top.min())
    wanted = _CHANCE / (n - 1)
    beyond = _TAIL / len(heights) / wanted
    limit = float(np.quantile(heights, 1 - wanted)) if beyond <= 1 else start + excess * float(np.log(beyond))
    apart = float(np.exp(-limit))
    return apart if apart > 2 * _FINEST else -1.0


def _apart(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return 1 - cos² of two unit vectors that are nearly alike: the squared length of what they do not share."""
    left = first - (first @ second) * second
    return float(left @ left)


def _is_copy(weights: NDArray[np.float64], biases: NDArray[np.float64], i: int, j: int) -> bool:
    """Whether one neuron is the other, bit by bit, maybe with its sign flipped: no chance, of however few inputs."""
    same = bool((weights[i] == weights[j]).all() and biases[i] == biases[j])
    return same or bool((weights[i] == -weights[j]).all() and biases[i] == -biases[j])


def _clipped(value: float) -> float:
    return float(np.clip(value, -1.0, 1.0))
