"""Networks of other libraries as ours. The libraries themselves are not imported here."""

from neuronwise.network.exchange.from_sklearn import from_sklearn
from neuronwise.network.exchange.from_torch import WRAPPERS, from_torch, from_torch_with_names
from neuronwise.network.exchange.to_torch import import_torch, to_torch

__all__ = ["WRAPPERS", "from_sklearn", "from_torch", "from_torch_with_names", "import_torch", "to_torch"]
