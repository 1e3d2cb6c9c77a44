"""What is measured of a training for its diagnosis: 79 numbers by name. Each function's docstring is its definition.

Importing this registers them all in `facts.QUANTITIES`.
"""

from neuronwise.diagnosing import course_quantities, data_quantities, neuron_quantities, setup_quantities

__all__ = ["course_quantities", "data_quantities", "neuron_quantities", "setup_quantities"]
