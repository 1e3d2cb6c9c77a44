"""What a checkpoint must hold to be one of a model: every tensor by its name, with its place in a recording."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.network import Network
from neuronwise.network.exchange import WRAPPERS, from_torch_with_names, import_torch
from neuronwise.recording.checkpoint_files import CheckpointFile, State, StoredTensor
from neuronwise.recording.layout import LayerLayout, Layout, Place

if TYPE_CHECKING:
    from torch import nn

# What wrappers put between the names of what they wrap: torch.compile, FSDP, activation checkpointing.
_WRAPPED = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# A part of a checkpoint: model-00001-of-00002.safetensors.
_PART = re.compile(r"[0-9]{3,}-of-[0-9]{3,}")
# torch's word for what our layers call otherwise.
_WORDS = {"weight": ("W", "gamma"), "bias": ("b", "beta"), "running_mean": (), "running_var": ()}
# Beside the values, and no part of a state that is recorded.
_UNRECORDED = ("num_batches_tracked", "_extra_state")


@dataclass(frozen=True)
class Slot:
    """Where a tensor goes: its place among all parameters, or among all buffers."""

    place: Place
    is_buffer: bool


@dataclass(frozen=True)
class Naming:
    """The tensors of a model under the names that one kind of file gives them.

    Attributes:
        slots: Where each goes, by name.
        ignored: Names that may be there and are not recorded: whole numbers, masks.
        shared: Other names of the same tensor, of which a file may have only one.
    """

    slots: Mapping[str, Slot]
    ignored: frozenset[str] = frozenset()
    shared: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def match(self, state: State) -> tuple[list[tuple[Slot, StoredTensor]], list[str]]:
        """Return what goes where, and what is wrong: nothing, or sentences."""
        found, missing, wrong = [], [], []
        used = set()
        for name, slot in self.slots.items():
            names = [name, *self.shared.get(name, ())]
            name = next((one for one in names if one in state), name)
            tensor = state.get(name)
            if tensor is None:
                missing.append(name)
                continue
            used.add(name)
            if tensor.shape != slot.place.shape or not tensor.is_floating:
                wrong.append(f"{name} should be {slot.place.shape}, is {tensor.dtype} {tensor.shape}")
            found.append((slot, tensor))
        unknown = [
            name for name in state if name not in used and name not in self.ignored and not name.endswith(_UNRECORDED)
        ]
        told = [f"{_listed(names)} {what}" for names, what in ((missing, "missing"), (unknown, "unexpected")) if names]
        return found, told + wrong[:3] + ([f"{len(wrong) - 3:,} more of another shape"] if len(wrong) > 3 else [])


@dataclass(frozen=True)
class Model:
    """What is recorded of a model.

    Attributes:
        layout: Of all its tensors.
        network: As a network of ours; None where it cannot be one.
        namings: The kinds of files that are known.
        parameters: What is the same in all checkpoints, flat: a bias of 0 that the module lacks.
        note: Why it is no network of ours; None if it is one.
        is_module: Whether it was handed in as a module of PyTorch, whose names are known; else those in a file are
            compared with the layers.
    """

    layout: Layout
    network: Network | None
    namings: Sequence[Naming]
    parameters: NDArray[Any]
    note: str | None = None
    is_module: bool = True

    def naming_of(self, file: CheckpointFile) -> Naming:
        """Return the naming of a file, which is that of all files of one training.

        Raises:
            UsageError: The file is of another model; the message says what differs.
        """
        return self._fit(file, self._namings(file))[0]

    def tensors(self, file: CheckpointFile, naming: Naming) -> tuple[str, list[tuple[Slot, StoredTensor]]]:
        """Return where in the file the tensors stand, and each with its place; shapes are checked.

        Raises:
            UsageError: The file is of another model; the message says what differs.
        """
        return self._fit(file, [naming])[1:]

    def _namings(self, file: CheckpointFile) -> list[Naming]:
        found = list(self.namings)
        if self.network is not None and not self.is_module:
            for _, state in _variants(file.states):
                naming = _torch_naming(self.network, self.layout, list(state), file.is_ordered)
                found += [] if naming is None else [naming]
        return found

    def _fit(
        self, file: CheckpointFile, namings: Sequence[Naming]
    ) -> tuple[Naming, str, list[tuple[Slot, StoredTensor]]]:
        nearest: tuple[int, list[str], str] | None = None
        for place, state in _variants(file.states):
            for naming in namings:
                found, wrong = naming.match(state)
                if not wrong:
                    return naming, place, found
                if nearest is None or len(found) > nearest[0]:
                    nearest = len(found), wrong, place
        if nearest is None:
            raise UsageError("the file holds no tensors by name", where=str(file.path))
        _, wrong, place = nearest
        if _PART.search(file.path.name):
            raise UsageError(
                "the name says that it is a part of a checkpoint in several files, which are not read together: "
                + "; ".join(wrong),
                where=str(file.path),
                hint="save the weights as one file",
            )
        raise UsageError(
            f"it is no checkpoint of this model: {'; '.join(wrong)}",
            where=f"{file.path}, {place}" if place else str(file.path),
            hint="hand in the model whose training wrote it"
            + ("" if self.is_module else ", as the nn.Module if PyTorch trained it"),
        )


def model_of(model: nn.Module | Network, input_shape: int | Sequence[int] | None) -> Model:
    """Return what is recorded of a model.

    Raises:
        UsageError: It is none, or has no parameters.
    """
    if isinstance(model, Network):
        return _of_network(model)
    torch = import_torch()
    while (inside := WRAPPERS.get(type(model).__name__)) is not None and hasattr(model, inside):
        model = getattr(model, inside)
    if not isinstance(model, torch.nn.Module):
        raise UsageError(
            f"an nn.Module or a Network is needed, got {type(model).__name__}",
            where="argument model",
            hint="the model as it was made before training; its weights do not matter",
        )
    own = _of_module(model)
    try:
        network, names = from_torch_with_names(model, input_shape=input_shape)
    except UsageError as error:
        if input_shape is not None:
            raise
        why = f"{error.where}: {error.message}" if error.where else error.message
        return replace(own, note=f"the model is no Network of Neuronwise, its arrays are known by name only: {why}")
    ours = _of_network(network)
    torchs = Naming({name: _slot(ours.layout, *where) for name, where in names.items()}, own.namings[0].ignored)
    return replace(ours, namings=[torchs, *ours.namings], parameters=network.parameters, is_module=True)


def _of_network(network: Network) -> Model:
    layout = Layout.of(network)
    if not layout.parameter_count:
        raise UsageError("the network has no weights", where="argument model")
    slots = {
        f"{layer.name}.{key}": _slot(layout, layer.name, key)
        for layer in layout.layers.values()
        for key in (*layer.parameters, *layer.buffers)
    }
    flat = {
        "parameters": Slot(Place(0, (layout.parameter_count,)), is_buffer=False),
        "buffers": Slot(Place(0, (layout.buffer_count,)), is_buffer=True),
    }
    # What a module of torch may lack: a bias is 0, the scale of a normalisation 1.
    constants = np.zeros(layout.parameter_count, layout.dtype)
    for layer in layout.layers.values():
        if "gamma" in layer.parameters:
            layer.parameters["gamma"].of(constants)[...] = 1
    return Model(layout, network, [Naming(slots), Naming(flat)], constants, is_module=False)


def _slot(layout: Layout, layer: str, key: str) -> Slot:
    found = layout.layers[layer]
    is_buffer = key in found.buffers
    return Slot((found.buffers if is_buffer else found.parameters)[key], is_buffer)


def _torch_naming(network: Network, layout: Layout, names: list[str], is_ordered: bool) -> Naming | None:
    """Return the naming of a state dict of the Sequential that a network was made of; None if these are not its names.

    Modules go with layers by name, or where these are numbers by their order.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        module, _, word = name.rpartition(".")
        if word in _WORDS:
            groups.setdefault(module, []).append(word)
    layers = [layer for layer in network.layers if layer.parameters or layer.buffers]
    if len(groups) != len(layers) or not all(groups):
        return None
    paths = list(groups)
    words = [path.split(".") for path in paths]
    if all(part.isdigit() for path in words for part in path):
        paths.sort(key=lambda path: [int(part) for part in path.split(".")])
        pairs = dict(zip(paths, layers, strict=True))
    else:
        by_name = {layer.name: layer for layer in layers}
        wanted = [".".join(part for part in path if not part.isdigit()) for path in words]
        if set(wanted) == set(by_name):
            pairs = {path: by_name[name] for path, name in zip(paths, wanted, strict=True)}
        elif is_ordered and all(path[-1].isdigit() for path in words):
            pairs = dict(zip(paths, layers, strict=True))
        else:
            return None
    slots = {}
    for path, layer in pairs.items():
        for word in groups[path]:
            keys = _WORDS[word] or (word,)
            key = next((one for one in keys if one in layer.parameters or one in layer.buffers), None)
            if key is None:
                return None
            slots[f"{path}.{word}"] = _slot(layout, layer.name, key)
        needed = {"weight"} if "W" in layer.parameters else set(layer.buffers)
        if not needed <= set(groups[path]):  # anything else a module may lack: it is 0 or 1
            return None
    return Naming(slots)


@dataclass(frozen=True)
class ModuleTensors:
    """The tensors of a module of PyTorch with their places in a recording.

    Attributes:
        layout: A layer for each module that has parameters of its own, by its path.
        slots: Where each tensor goes, by its name in the state dict.
        ignored: Names of tensors that are not recorded: whole numbers, masks.
        shared: Of each name those of the same tensor.
        left_out: Sentences about others that are not recorded either.
    """

    layout: Layout
    slots: dict[str, Slot]
    ignored: frozenset[str]
    shared: dict[str, list[str]]
    left_out: Sequence[str] = ()


def tensors_of_module(
    model: nn.Module,
    *,
    once: bool = False,
    wanted: Callable[[str], bool] = lambda path: True,
    needs_values: bool = False,
) -> ModuleTensors:
    """Return the tensors of any module.

    Args:
        model: The module.
        once: Whether a module that stands at several places is taken at the first only.
        wanted: Which modules, by their path; default all.
        needs_values: Whether values are recorded of the module itself: tensors that have none, on the meta device, and
            complex numbers are left out, as long as there are others. Else complex numbers are refused.

    Raises:
        UsageError: None of them has parameters, one has no shape yet, or is of complex numbers.
    """
    layers: list[LayerLayout] = []
    slots: dict[str, Slot] = {}
    ignored: set[str] = set()
    left_out: dict[str, str] = {}
    owners: dict[int, list[str]] = {}
    offsets, first_neuron, is_double = [0, 0], 0, False
    paths = {path for path, _ in model.named_modules(remove_duplicate=False)}
    for path, module in model.named_modules(remove_duplicate=once):
        if not wanted(path):
            continue
        places: tuple[dict[str, Place], dict[str, Place]] = ({}, {})
        for is_buffer, tensors in enumerate((module._parameters, module._buffers)):
            for key, tensor in tensors.items():
                if tensor is None or (is_buffer and key in module._non_persistent_buffers_set):
                    continue
                name = f"{path}.{key}" if path else key
                if tensor.dtype.is_complex:
                    left_out[name] = "complex numbers are not recorded"
                elif needs_values and tensor.is_meta:
                    left_out[name] = "on the meta device there are no values to record"
                if name in left_out or not _is_recorded(name, tensor):
                    ignored.add(name)
                    continue
                is_double = is_double or str(tensor.dtype) == "torch.float64"
                place = places[is_buffer][key] = Place(offsets[is_buffer], tuple(tensor.shape))
                offsets[is_buffer] += place.size
                slots[name] = Slot(place, bool(is_buffer))
                owners.setdefault(id(tensor), []).append(name)
        if any(places):
            name = path or _free(type(model).__name__, paths)
            layer = LayerLayout(name, type(module).__name__, *places, 0, first_neuron, None)
            rows = layer.parameters[layer.weights] if layer.weights is not None else None
            layer = replace(layer, neurons=rows.shape[0] if rows is not None and rows.size and rows.shape else 0)
            first_neuron += layer.neurons
            layers.append(layer)
    if left_out and not (needs_values and offsets[0]):
        raise UsageError("; ".join(_told(left_out)), where="argument model")
    if not offsets[0]:
        raise UsageError("the model has no parameters", where="argument model")
    shared = {name: [one for one in names if one != name] for names in owners.values() for name in names}
    layout = Layout(layers, np.dtype("float64" if is_double else "float32"))
    return ModuleTensors(layout, slots, frozenset(ignored), shared, _told(left_out))


def _told(reasons: Mapping[str, str]) -> list[str]:
    """Return a sentence for each reason, with the names that have it."""
    found = []
    for reason in dict.fromkeys(reasons.values()):
        names = [name for name, own in reasons.items() if own == reason]
        found.append(f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}: {reason}")
    return found


def _of_module(model: nn.Module) -> Model:
    found = tensors_of_module(model)
    constants = np.zeros(0, found.layout.dtype)  # every parameter is in every file
    return Model(found.layout, None, [Naming(found.slots, found.ignored, found.shared)], constants)


def _is_recorded(name: str, tensor: Any) -> bool:
    from torch.nn.parameter import is_lazy

    if is_lazy(tensor):
        raise UsageError(
            f"the shape of {name} is not known yet", where="argument model", hint="run the module once on a batch"
        )
    return bool(tensor.dtype.is_floating_point)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _variants(states: Mapping[str, State]) -> Iterator[tuple[str, State]]:
    """Yield every group of tensors, as it is and then without the words that stand before all its names.

    Such as ``module`` of a parallel training, or what a class that trains it calls the model.
    """
    for place, state in states.items():
        yield place, state
        if any(_WRAPPED.search(name) for name in state):
            state = {_WRAPPED.sub("", name): tensor for name, tensor in state.items()}
            yield place, state
        while len({name.partition(".")[0] for name in state}) == 1 and all("." in name for name in state):
            state = {name.partition(".")[2]: tensor for name, tensor in state.items()}
            yield place, state


def _listed(names: list[str]) -> str:
    return ", ".join(f"{name:.100}" for name in names[:4]) + (
        f" and {len(names) - 4:,} more are" if len(names) > 4 else (" is" if len(names) == 1 else " are")
    )
