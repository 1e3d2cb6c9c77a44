"""The layers of a PyTorch model as they are watched: their tensors, where their neurons are, what follows them."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from neuronwise.errors import UsageError
from neuronwise.recording import Layout
from neuronwise.recording.checkpoint_models import tensors_of_module
from neuronwise.recording.layout import LayerLayout, Place
from neuronwise.watching.torch_parts import Part, Source, parts_of

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(eq=False)
class WatchedLayer:
    """A layer of the recording: a module with parameters of its own, or some of them.

    Attributes:
        layout: Its place in the recording.
        module: The module.
        path: Of the module in the model.
        sources: Where each of its parameters is in the module, by its name in the recording.
        activation: The function that follows it, applied to its outputs before they are measured; None where none is
            known.
        answers: Whether what the module returns are its neurons' activations.
        is_masked: Whether a weight is computed from what is measured, since it was pruned or parametrized.
        unseen: Whether its forward pass is never called: the one around it uses its weights.
    """

    layout: LayerLayout
    module: nn.Module
    path: str
    sources: Mapping[str, Source]
    activation: Callable[[torch.Tensor], torch.Tensor] | None = None
    answers: bool = True
    unseen: bool = False
    is_masked: bool = False

    def __post_init__(self) -> None:
        # Asked for at every recorded step.
        weights, biases = self.layout.weights, self.layout.biases
        self.has_weights = weights is not None
        self.place = slice(self.layout.first_neuron, self.layout.first_neuron + self.layout.neurons)
        self._weight = self.sources[weights] if weights is not None else Source("")
        self._bias = None if biases is None else self.sources[biases]
        self._is_whole = self._weight.rows is None and self.layout.every == 1
        self._hides_weight = self._hides_bias = False

    def _parameter(self, key: str) -> torch.Tensor:
        try:
            found: torch.Tensor | None = self.module._parameters[key]
        except KeyError:
            found = _computed_from(self.module, key)
            self.is_masked = True
        if found is None:
            raise UsageError(
                f"{self.layout.name} has no parameter {key!r} any more",
                where="argument model",
                hint="watch a model after its layers were replaced, or their weights taken apart",
            )
        return found

    def _rows_of(self, values: torch.Tensor) -> torch.Tensor:
        """Return the rows that are measured, as a view; of a sparse gradient as a dense copy."""
        if self._is_whole:
            return values
        values = values.detach()
        if values.is_sparse:
            return values.coalesce().index_select(0, _whole_numbers(self.layout.rows, values)).to_dense()
        return self._weight.cut(values)[:: self.layout.every]

    def hide_gradients_of(self, parameters: Set[int]) -> None:
        """Have gradients of these parameters, by their `id`, count as not there, until it is called again."""
        self._hides_weight = self.has_weights and id(self._parameter(self._weight.key)) in parameters
        self._hides_bias = self._bias is not None and id(self._parameter(self._bias.key)) in parameters

    @property
    def weight(self) -> torch.Tensor:
        """The parameter with a row for each neuron: those rows that are measured. Only if it has weights."""
        return self._rows_of(self._parameter(self._weight.key))

    @property
    def weight_gradient(self) -> torch.Tensor | None:
        """The gradient of `weight`, perhaps a sparse one, or None."""
        gradient = self._parameter(self._weight.key).grad
        return None if gradient is None or self._hides_weight else self._rows_of(gradient)

    @property
    def bias(self) -> torch.Tensor | None:
        """The parameter with a bias for each neuron."""
        return None if self._bias is None else self._bias.cut(self._parameter(self._bias.key))

    @property
    def bias_gradient(self) -> torch.Tensor | None:
        """The gradient of `bias`, or None."""
        if self._bias is None or self._hides_bias or (gradient := self._parameter(self._bias.key).grad) is None:
            return None
        return self._bias.cut(gradient)

    @property
    def parameters(self) -> list[torch.Tensor]:
        """All parameters that are recorded, in the order of the recording."""
        return [source.cut(self._parameter(source.key)) for source in self.sources.values()]

    @property
    def buffers(self) -> dict[str, torch.Tensor]:
        """All buffers that are recorded, likewise, by name; without those that have another shape by now."""
        own = self.module._buffers
        places = self.layout.buffers.items()
        return {
            key: one for key, place in places if (one := own.get(key)) is not None and tuple(one.shape) == place.shape
        }

    @property
    def looks_at_inputs(self) -> bool:
        """Whether its neurons are what comes in: the first axis of a transposed convolution's weights."""
        return "ConvTranspose" in type(self.module).__name__

    def stay_with_module(self, path: str) -> None:
        """Note that its module stands elsewhere by now, such as in an adapter: what follows it there is not known."""
        self.path, self.answers = path, False

    def fits(self, module: nn.Module | None) -> bool:
        """Return whether a module has its parameters and buffers, in their shapes."""
        if module is None:
            return False
        found = [module._parameters.get(source.key) for source in self.sources.values()]
        buffers = [module._buffers.get(key) for key in self.layout.buffers]
        if any(one is None for one in (*found, *buffers)):
            return False
        cut = [source.cut(one) for source, one in zip(self.sources.values(), found, strict=True) if one is not None]
        shapes = [tuple(one.shape) for one in (*cut, *buffers) if one is not None]
        return shapes == [place.shape for place in (*self.layout.parameters.values(), *self.layout.buffers.values())]

    def move_to(self, module: nn.Module | None) -> None:
        """Take another module, which was put in the place of its own.

        Raises:
            UsageError: There is none any more, or its parameters are of other shapes.
        """
        if module is not None and self.fits(module):
            self.module = module
            return
        what = "is no longer in the model" if module is None else "has other shapes than it had"
        raise UsageError(
            f"{self.layout.name} {what}",
            where="argument model",
            hint="watch a model after its layers were replaced",
        )

    def follow_with(self, name: str, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Note which activation function follows it."""
        self.activation = function
        self.layout = replace(self.layout, activation=name)

    def neurons_of(self, values: torch.Tensor) -> torch.Tensor | None:
        """Return a view of outputs (or inputs) as (…, neurons, places), with the axis of the neurons last but one.

        None where no axis goes with the neurons.
        """
        count = self.layout.neurons
        if values.ndim < 1 or not values.is_floating_point() or not values.numel():
            return None
        axis = self._axis_of(values)
        if axis is None or not 0 <= axis < values.ndim or values.shape[axis] != count:
            return None
        if axis == values.ndim - 1:
            return values.reshape(-1, count, 1)
        if axis == 0:
            return values.reshape(1, count, -1)
        if values.is_contiguous():
            return values.reshape(-1, count, values[(0,) * (axis + 1)].numel())
        return values.movedim(axis, -1).reshape(-1, count, 1)  # channels last: a view

    def _axis_of(self, values: torch.Tensor) -> int | None:
        """Return which axis of outputs (or inputs) its neurons are; None if none is, whatever its length."""
        from torch import nn

        module, count = self.module, self.layout.neurons
        if isinstance(module, nn.modules.conv._ConvNd):
            return values.ndim - 1 - len(module.kernel_size)
        if isinstance(module, (nn.modules.batchnorm._NormBase, nn.GroupNorm)):
            return min(1, values.ndim - 1)
        if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
            return values.ndim - len(module.normalized_shape)
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag, nn.MultiheadAttention)):
            return None  # what comes out is no row of the weights
        if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
            return values.ndim - 1
        if values.shape[-1] == count:
            return values.ndim - 1
        return 1 if values.ndim > 1 and values.shape[1] == count else None


def watched_layers(
    model: nn.Module, layers: Sequence[str] | None, exclude: Sequence[str] | None
) -> tuple[list[WatchedLayer], Layout, list[str]]:
    """Return the layers that are recorded, the layout of their recording, and sentences about what is not.

    Those without neurons are among them: only their values are recorded.

    Args:
        model: The model.
        layers: Patterns of paths (``"encoder.*"``) of which one must fit; None for all.
        exclude: Patterns of which none may fit.

    Raises:
        UsageError: No module with parameters fits, or a pattern fits none.
    """
    modules = dict(model.named_modules())
    paths = [path for path, module in modules.items() if any(one is not None for one in module._parameters.values())]
    for argument, patterns in (("layers", layers), ("exclude", exclude)):
        for pattern in patterns or ():
            if not any(_fits(path, pattern) for path in paths):
                raise UsageError(
                    f"{pattern!r:.200} fits no module with parameters",
                    where=f"argument {argument}",
                    hint=f"there are {', '.join(paths[:20])}{' …' if len(paths) > 20 else ''}",
                )

    def wanted(path: str) -> bool:
        is_in = layers is None or any(_fits(path, pattern) for pattern in layers)
        return is_in and not any(_fits(path, pattern) for pattern in exclude or ())

    if paths and not any(map(wanted, paths)):
        raise UsageError(
            f"nothing is left to watch of {len(paths)} modules with parameters",
            where="argument layers" if not exclude else "argument exclude",
            hint=f"there are {', '.join(paths[:20])}{' …' if len(paths) > 20 else ''}",
        )
    found = tensors_of_module(model, once=True, wanted=wanted, needs_values=True)
    notes = list(found.left_out)
    watched: list[WatchedLayer] = []
    ends = _Ends()
    for recorded in found.layout.layers.values():
        path = recorded.name if recorded.name in modules else ""  # the model itself has no path
        for part in parts_of(modules[path], recorded):
            layout = ends.lay(recorded, part)
            if layout.every > 1:
                notes.append(
                    f"{layout.name}: of {layout.row_count:,} embeddings every {layout.every:,} rows one is measured, "
                    f"[0], [{layout.every}], [{2 * layout.every}] …: {layout.neurons:,} in all; the values of all are "
                    "recorded with every state"
                )
            one = WatchedLayer(layout, modules[path], path, part.parameters, answers=not part.name)
            one.unseen = _is_unseen(modules, path)
            if part.activation is not None:
                one.follow_with(part.activation, _as_it_is)
            watched.append(one)
    return watched, Layout([one.layout for one in watched], found.layout.dtype), notes


class _Ends:
    """Lays layers one behind the other."""

    def __init__(self) -> None:
        self._parameters = self._buffers = self._neurons = 0

    def lay(self, recorded: LayerLayout, part: Part) -> LayerLayout:
        """Return the layout of a part of a module, behind those before."""
        parameters, buffers = {}, {}
        for key, source in part.parameters.items():
            shape = recorded.parameters[source.key].shape
            if source.rows is not None:
                shape = (source.rows.stop - source.rows.start, *shape[1:])
            parameters[key] = Place(self._parameters, shape)
            self._parameters += parameters[key].size
        for key, place in recorded.buffers.items() if part.takes_buffers else ():
            buffers[key] = Place(self._buffers, place.shape)
            self._buffers += place.size
        name = f"{recorded.name}.{part.name}" if part.name else recorded.name
        layout = LayerLayout(name, recorded.kind, parameters, buffers, 0, self._neurons, None, part.every)
        rows = parameters[layout.weights].shape if layout.weights is not None else ()
        is_filled = layout.weights is not None and parameters[layout.weights].size > 0
        neurons = part.neurons if part.neurons is not None else -(-rows[0] // part.every) if is_filled and rows else 0
        self._neurons += neurons
        return replace(layout, neurons=neurons)


def _as_it_is(values: torch.Tensor) -> torch.Tensor:
    return values


def _whole_numbers(values: Iterable[int], like: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.tensor(list(values), device=like.device)


def _computed_from(module: nn.Module, key: str) -> torch.Tensor | None:
    """Return the parameter that another is computed from since: by a mask (`torch.nn.utils.prune`), or parametrized."""
    if (masked := module._parameters.get(f"{key}_orig")) is not None:
        return masked
    functions = module._modules.get("parametrizations")
    function = None if functions is None else functions._modules.get(key)
    return None if function is None else function._parameters.get("original")


class Links:
    """Which modules stand on the ways from a model to its layers.

    Args:
        model: The model.
        layers: Layers of it.
    """

    def __init__(self, model: nn.Module, layers: Iterable[WatchedLayer]) -> None:
        found: dict[tuple[int, str], tuple[dict[str, nn.Module | None], str, nn.Module]] = {}
        for layer in layers:
            module = model
            for key in layer.path.split(".") if layer.path else ():
                inside, child = module._modules, module._modules[key]
                assert child is not None
                found[id(module), key] = inside, key, child
                module = child
        self._links = list(found.values())

    def are_as_they_were(self) -> bool:
        """Return whether none was replaced or removed."""
        return all(inside.get(key) is child for inside, key, child in self._links)


def module_at(model: nn.Module, path: str) -> nn.Module | None:
    """Return the module of a path; None where there is none."""
    module: nn.Module | None = model
    for key in path.split(".") if path else ():
        module = None if module is None else module._modules.get(key)
    return module


def _fits(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or path.startswith(f"{pattern}.")


def _is_unseen(modules: dict[str, nn.Module], path: str) -> bool:
    """Return whether a module is the output projection of an attention, whose weights that uses itself."""
    around, _, own = path.rpartition(".")
    return own == "out_proj" and type(modules.get(around)).__name__ == "MultiheadAttention"
