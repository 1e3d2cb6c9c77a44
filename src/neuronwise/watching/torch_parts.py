"""Which layers a module makes in a recording: one, or one for each of its weights, and which rows are measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuronwise.recording.layout import LayerLayout

if TYPE_CHECKING:
    import torch
    from torch import nn

# Of a larger table of embeddings a batch changes few rows, and statistics of all of them would be most of the bytes: of
# it about so many rows are measured, at equal distances.
MAX_EMBEDDINGS, SAMPLED_EMBEDDINGS = 10_000, 1_000


@dataclass(frozen=True)
class Source:
    """Where a recorded parameter is in its module.

    Attributes:
        key: Name of the module's parameter.
        rows: The part of it that is meant, along its first axis; None for all.
    """

    key: str
    rows: slice | None = None

    def cut(self, values: torch.Tensor) -> torch.Tensor:
        """Return the part that is meant, of the parameter or of its gradient."""
        return values if self.rows is None else values.detach()[self.rows]


@dataclass(frozen=True)
class Part:
    """A layer that a module makes in a recording.

    Attributes:
        name: What comes behind the module's path, ``"weight_hh_l0"``; empty for the module itself.
        parameters: Where each recorded parameter is in the module, by its name in the recording.
        neurons: How many neurons it has; None for as many as its weights have rows.
        every: Of how many rows one is measured.
        activation: The function that its outputs have gone through already, or None.
        takes_buffers: Whether the module's buffers are recorded with it.
    """

    name: str
    parameters: Mapping[str, Source]
    neurons: int | None = None
    every: int = 1
    activation: str | None = None
    takes_buffers: bool = False


def parts_of(module: nn.Module, recorded: LayerLayout) -> list[Part]:
    """Return the layers that a module makes.

    A recurrent module makes one for its outputs, without weights, and one for each of its weights, with the bias that
    goes with it: ``lstm``, ``lstm.weight_ih_l0``, ``lstm.weight_hh_l0_reverse``. An attention makes one of each
    projection that has weights of its own. Any other module makes one.

    Args:
        module: The module.
        recorded: Its parameters that are recorded.
    """
    from torch import nn

    keys = list(recorded.parameters)
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        outputs = Part("", {}, _outputs(module), activation=getattr(module, "nonlinearity", None), takes_buffers=True)
        return [outputs, *_one_for_each(keys)]
    if isinstance(module, nn.MultiheadAttention):
        return _attention(module, keys)
    every = 1
    if "Embedding" in type(module).__name__ and recorded.neurons > MAX_EMBEDDINGS:
        every = -(-recorded.neurons // SAMPLED_EMBEDDINGS)
    return [Part("", {key: Source(key) for key in keys}, every=every, takes_buffers=True)]


def _outputs(module: Any) -> int:
    """Return how many numbers a recurrent module returns for each step of a sequence."""
    directions = 2 if getattr(module, "bidirectional", False) else 1
    return directions * (getattr(module, "proj_size", 0) or int(module.hidden_size))


def _one_for_each(keys: Iterable[str]) -> list[Part]:
    """Return a layer for each weight, with its bias, and for what is left."""
    left = dict.fromkeys(keys)
    found = []
    for key in [key for key in left if "weight" in key] + [key for key in left if "weight" not in key]:
        if key not in left:
            continue  # the bias of a weight
        own = [key, key.replace("weight", "bias")] if "weight" in key else [key]
        found.append(Part(key, {one: Source(one) for one in own if one in left}))
        for one in own:
            left.pop(one, None)
    return found


def _attention(module: nn.MultiheadAttention, keys: list[str]) -> list[Part]:
    """Return the layers of an attention: of its projections of queries, keys and values, together or each."""
    own: dict[str, Source] = {key: Source(key) for key in keys}
    whole: dict[str, Source] = {key: own.pop(key) for key in ("in_proj_weight", "in_proj_bias") if key in own}
    if "in_proj_weight" in whole:
        return [Part("", whole, takes_buffers=True), *_one_for_each(own)]
    # Where keys or values have a width of their own there are three weights, and one bias behind the other.
    width, found = module.embed_dim, []
    for place, letter in enumerate("qkv"):
        weight, bias = f"{letter}_proj_weight", f"{letter}_proj_bias"
        sources = {weight: own.pop(weight)} if weight in own else {}
        if "in_proj_bias" in whole:
            sources[bias] = Source("in_proj_bias", slice(place * width, (place + 1) * width))
        if sources:
            found.append(Part(weight, sources, takes_buffers=not place))
    return [*found, *_one_for_each(own)]
