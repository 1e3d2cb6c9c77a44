"""Targets as a loss wants them, and weights of classes."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.learning import example_weights, prepare_targets
from neuronwise.network import LOSSES, Network

CLASSES, SQUARED, BINARY = (
    LOSSES["categorical_cross_entropy"], LOSSES["squared_error"], LOSSES["binary_cross_entropy"],
)  # fmt: skip
THREE, ONE, TWO = Network.dense([2, 3]), Network.dense([2, 1]), Network.dense([2, 2])


@pytest.mark.parametrize("y", [[2, 0, 1], [2.0, 0.0, 1.0], [[2], [0], [1]], np.array([2, 0, 1], np.uint8),
                               [[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.eye(3)[[2, 0, 1]].astype(bool)])  # fmt: skip
def test_class_numbers_of_any_form(y: object) -> None:
    found = prepare_targets(THREE, y, CLASSES, 3)  # type: ignore[arg-type]
    assert found.dtype == np.int64
    assert found.tolist() == [2, 0, 1]


def test_values_of_any_form() -> None:
    for y in ([1, 2, 3], [[1], [2], [3]], np.array([1, 2, 3], dtype=bool) * 2 - 1):
        found = prepare_targets(ONE, y, SQUARED, 3)
        assert found.shape == (3, 1)
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
    assert prepare_targets(TWO, [1.0, 2.0], SQUARED, 1).tolist() == [[1.0, 2.0]]
    assert prepare_targets(ONE, 5, SQUARED, 1).tolist() == [[5.0]]
    assert prepare_targets(THREE, 2, CLASSES, 1).tolist() == [2]


@pytest.mark.parametrize(
    ("network", "loss", "y", "rows", "text"),
    [
        (THREE, CLASSES, [0, 1, 3], 3, "class numbers go from 0 to 2 (the network has 3 outputs), got 3"),
        (THREE, CLASSES, [0, -1, 1], 3, "got -1"),
        (THREE, CLASSES, [0.5, 1, 2], 3, "got 0.5"),
        (THREE, CLASSES, [0.0, np.nan, 2], 3, "got nan"),
        (THREE, CLASSES, [0.0, np.inf, 2], 3, "got inf"),
        (THREE, CLASSES, [1e300, 0, 0], 3, "got 1e+300"),
        (THREE, CLASSES, [0, 1], 3, "3 inputs need as many targets, got 2"),
        (THREE, CLASSES, [0, 1, 2], 1, "1 inputs need as many targets, got 3"),
        (THREE, CLASSES, [[0, 1, 2]], 1, "each row of one-hot targets must hold a single 1 and else 0"),
        (THREE, CLASSES, [[1, 1, 0]], 1, "each row of one-hot targets must hold a single 1 and else 0"),
        (THREE, CLASSES, [[-1, 0, 1]], 1, "each row of one-hot targets must hold a single 1 and else 0"),
        (THREE, CLASSES, [[0, 1], [1, 0]], 2, "expected class numbers of shape (2,), got (2, 2)"),
        (ONE, SQUARED, [1, 2], 3, "3 inputs need as many targets, got 2"),
        (ONE, SQUARED, [[1, 2]], 1, "expected targets of shape (1, 1) or (1,), got (1, 2)"),
        (TWO, SQUARED, [1, 2, 3], 3, "expected targets of shape (3, 2), got (3,)"),
        (TWO, SQUARED, [1, 2, 3], 1, "expected targets of shape (1, 2), got (3,)"),
        (ONE, SQUARED, [1.0, np.nan, np.inf], 3, "targets contain NaN or infinity: 2 values, the first at row 1"),
        (ONE, SQUARED, [1.0, 1e300], 2, "targets contain NaN or infinity: 1 values, the first at row 1"),
        (ONE, SQUARED, ["a", "b"], 2, "targets must be numbers, got dtype <U1"),
        (ONE, SQUARED, None, 1, "targets must be numbers, got dtype object"),
        (ONE, BINARY, [0, 2], 2, "the targets of binary cross-entropy lie between 0 and 1"),
        (ONE, BINARY, [0, -0.1], 2, "the targets of binary cross-entropy lie between 0 and 1"),
    ],
)
def test_targets_that_do_not_fit_are_refused(network: Network, loss: object, y: object, rows: int, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        prepare_targets(network, y, loss, rows)  # type: ignore[arg-type]
    assert text in str(caught.value)
    assert str(caught.value).startswith("argument y: ")


# --- class weights


def _weights(class_weights: object, y: list[int], n_out: int = 3) -> np.ndarray | None:
    return example_weights(class_weights, np.array(y), CLASSES, n_out, np.dtype("float64"))  # type: ignore[arg-type]


def test_no_weights() -> None:
    assert _weights(None, [0, 1]) is None


def test_balanced_weights_are_scikit_learns_and_average_to_one() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    y = [0] * 7 + [1] * 2 + [2]
    found = _weights("balanced", y)
    np.testing.assert_allclose(found, compute_sample_weight("balanced", y), rtol=1e-15)
    assert found.mean() == pytest.approx(1.0)
    assert [found[np.array(y) == c].sum() for c in range(3)] == pytest.approx([10 / 3] * 3)


def test_a_class_without_rows_takes_nothing_from_the_others() -> None:
    found = _weights("balanced", [0, 0, 0, 2])
    assert found.mean() == pytest.approx(1.0)
    assert found.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2.0])


@pytest.mark.parametrize("given", [{0: 1.0, 1: 2.5, 2: 3}, [1.0, 2.5, 3], (1, 2.5, 3), np.array([1, 2.5, 3]),
                                   {np.int64(2): 3, 1: 2.5, 0: 1}])  # fmt: skip
def test_weights_by_class_number(given: object) -> None:
    assert _weights(given, [2, 0, 1, 1]).tolist() == [3, 1, 2.5, 2.5]


def test_two_classes_with_one_output_have_weights_too() -> None:
    y = np.array([[0.0], [1.0], [1.0]])
    assert example_weights([1, 4], y, BINARY, 1, np.dtype("float32")).tolist() == [1, 4, 4]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("balance", "expected 'balanced' or weights by class, got 'balance'"),
        ({0: 1, 1: 1}, "class 2 needs a positive weight, got none"),
        ([1, 1], "class 2 needs a positive weight, got none"),
        ([1, 0, 1], "class 1 needs a positive weight, got 0"),
        ([1, -2, 1], "class 1 needs a positive weight, got -2"),
        ([1, np.nan, 1], "class 1 needs a positive weight, got nan"),
        ([1, np.inf, 1], "class 1 needs a positive weight, got inf"),
        ([1, "2", 1], "class 1 needs a positive weight, got '2'"),
        ([1, None, 1], "class 1 needs a positive weight, got None"),
        ([1, 1, 1, 1], "there is no class 3, they go from 0 to 2"),
        ({"cat": 1}, "there is no class 'cat', they go from 0 to 2"),
        ({0.5: 1}, "there is no class 0.5, they go from 0 to 2"),
        (3.0, "expected 'balanced' or weights by class, got 3.0"),
    ],
)
def test_weights_that_cannot_be_are_refused(given: object, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        _weights(given, [0, 1, 2])
    assert str(caught.value) == f"argument class_weights: {text}"


@pytest.mark.parametrize(("loss", "n_out"), [(SQUARED, 1), (BINARY, 2)])
def test_weights_need_classes(loss: object, n_out: int) -> None:
    with pytest.raises(UsageError, match="class weights need classes, the loss is '"):
        example_weights("balanced", np.zeros((3, n_out)), loss, n_out, np.dtype("float32"))  # type: ignore[arg-type]
