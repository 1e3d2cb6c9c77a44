"""How many weights and biases a network has, without taking memory for them."""

from __future__ import annotations

from collections.abc import Sequence

from neuronwise.network import Dense, Summary, SummaryRow


def count_parameters(sizes: Sequence[int], hidden: str = "relu", output: str = "identity") -> Summary:
    """Return the summary of a network of dense layers: ``count_parameters([784, 16, 16, 10])``.

    Args:
        sizes: Inputs, neurons of each hidden layer, outputs.
        hidden: Activation of the hidden layers.
        output: Activation of the output layer.
    """
    rows = [SummaryRow("input", "", str(sizes[0]), sizes[0], "", 0, "x")]
    n_in = sizes[0]
    for position, units in enumerate(sizes[1:], start=1):
        last = position == len(sizes) - 1
        layer = Dense(units, output if last else hidden)
        layer.build((n_in,), "output" if last else f"hidden{position}")
        rows.append(
            SummaryRow(layer.name, "Dense", str(units), units, layer.formula(), layer.parameter_count, layer.algebra())
        )
        n_in = units
    return Summary(tuple(rows))
