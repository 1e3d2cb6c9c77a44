"""What differs between the versions of scikit-learn that are supported (1.5 and newer)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import validation


def check_columns(estimator: Any, X: Any, *, reset: bool) -> None:
    """Note the number and names of the columns of a frame, or compare them with those noted (unless `reset`).

    Raises:
        ValueError: Other columns than in fit, in scikit-learn's words.
    """
    if hasattr(validation, "validate_data"):
        validation.validate_data(estimator, X, reset=reset, skip_check_array=True)
    else:
        estimator._validate_data(X, reset=reset, cast_to_ndarray=False)


def check_numbers(estimator: Any, X: Any, *, reset: bool, least: int) -> NDArray[Any]:
    """Return a plain array (rows, features) of finite float32 or float64 numbers; features as in `check_columns`.

    Raises:
        ValueError: It is none, or has fewer than `least` rows, or other columns than in fit.
        TypeError: It is sparse.
    """
    arguments: dict[str, Any] = {"dtype": [np.float64, np.float32], "reset": reset, "ensure_min_samples": least}
    if hasattr(validation, "validate_data"):
        return validation.validate_data(estimator, X, **arguments)  # type: ignore[no-any-return]
    return estimator._validate_data(X, **arguments)  # type: ignore[no-any-return]
