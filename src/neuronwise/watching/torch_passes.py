"""What the modules of a watched model return within a step; in the first it is learned what follows each layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any

from neuronwise.watching.torch_activations import Output, learn_activations, learn_from_changes
from neuronwise.watching.torch_gradients import Gradients
from neuronwise.watching.torch_hooks import BackwardMark, current_backward
from neuronwise.watching.torch_layers import WatchedLayer, module_at
from neuronwise.watching.torch_values import is_wrapped, tensors_in

if TYPE_CHECKING:
    import torch
    from torch import nn

See = Callable[[WatchedLayer, "torch.Tensor", Any], None]


class ForwardPasses:
    """Takes in forward passes that belong to the training.

    Args:
        model: The model.
        gradients: Of the step under way.
        see: Called with layer, output and what the module was given, when it is known what follows the layer.
        skipped: Called where a step seems to have been skipped, as its gradients were not finite.
        began: Called with a number when a pass of the whole model begins.

    Attributes:
        trains: Whether the model was in training mode when a step was taken last.
        input_shape: Shape of one input, without the batch; None where none was seen.
    """

    def __init__(
        self,
        model: nn.Module,
        gradients: Gradients,
        see: See,
        skipped: Callable[[], None],
        began: Callable[[int], None],
    ) -> None:
        self._model, self._gradients, self._see, self._skipped = model, gradients, see, skipped
        self._began, self._number = began, 0
        self._begun, self._used = set[int](), dict[int, int]()
        self.trains = model.training
        self.input_shape: tuple[int, ...] | None = None
        self._by_module: dict[int, WatchedLayer] = {}
        self._around: dict[int, WatchedLayer] = {}
        self._called = set[WatchedLayer]()
        self._has_learned = False
        self._produced: dict[Any, WatchedLayer] = {}
        self._waiting: list[Output] = []

    def look_at(self, layers: Sequence[WatchedLayer]) -> None:
        """Look at the modules of these layers from now on."""
        answering = [layer for layer in layers if layer.answers]
        self._by_module = {id(layer.module): layer for layer in answering}
        around = ((module_at(self._model, one.path.rpartition(".")[0]), one) for one in answering if one.unseen)
        self._around = {id(module): layer for module, layer in around}

    def modules(self) -> list[nn.Module]:
        """Return the modules whose outputs are wanted."""
        seen = [layer.module for layer in self._by_module.values() if not layer.unseen]
        return seen + [module for module in self._model.modules() if id(module) in self._around]

    @property
    def are_seen(self) -> bool:
        """Whether any was seen in the step under way."""
        return bool(self._waiting or self._called)

    def end_step(self) -> None:
        """Begin the next step."""
        self._called.clear()
        self._number, self._begun, self._used = 0, set(), {}
        self._began(0)

    def forget(self) -> None:
        """Forget what was seen of a step that changes nothing."""
        self._waiting.clear()
        self.end_step()

    def begin_pass(self) -> None:
        """Begin a pass of the whole model."""
        if self._counts():
            self._number += 1
            self._begun.add(self._number)
            self._began(self._number)

    @property
    def dropped(self) -> Set[int]:
        """The passes of this step that no backward pass came of: broken off, or for something else than learning.

        None where that is not seen of any of them.
        """
        return self._begun - self._used.keys() if self._used else frozenset()

    def _counts(self) -> bool:
        """Return whether a forward pass now is one of the training."""
        import torch

        if not torch.is_grad_enabled() or (self.trains and not self._model.training):
            return False  # an evaluation between two steps
        return not self._gradients.is_final  # else at other weights within a step

    def saw_output(self, module: nn.Module, given: Any, output: Any) -> None:
        """Take in one forward pass of a module, if it belongs to the training."""
        import torch

        if not self._counts():
            return
        for layer in (self._by_module.get(id(module)), self._around.get(id(module))):
            if layer is None or (layer.unseen and layer is not self._around.get(id(module))):
                continue
            # Within a backward pass it is the second time (activation checkpointing), unless the first was without
            # gradients.
            is_again = current_backward() != -1
            if is_again and layer in self._called:
                continue
            if not is_again:
                if self._gradients.looks_skipped:
                    self._skipped()
                self._called.add(layer)
            values = next(tensors_in(given if layer.looks_at_inputs else output), None)
            if values is None or is_wrapped(values):
                continue
            device = values.device.type
            if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16:
                self._gradients.is_half = True
            if self._has_learned:
                self._see(layer, values, given)
                continue
            if values.grad_fn is not None and not is_again:
                self._produced[values.grad_fn] = layer
            # What follows it is known when the pass is over, and may have changed the tensor by then.
            self._waiting.append(Output.of(layer, values, given))

    def saw_result(self, given: Any, output: Any) -> None:
        """Learn from the first result which activation function follows which layer, and what an input looks like."""
        import torch

        if self._counts():
            results = [one for one in tensors_in(output) if one.requires_grad and not is_wrapped(one)]
            for one in results:
                one.register_hook(BackwardMark(self._used, self._number))  # type: ignore[no-untyped-call]
            if not results:
                self._used[self._number] = -1  # it cannot be seen
        if not self._has_learned:
            self.input_shape = shape_of_one(next(tensors_in(given), None)) or self.input_shape
        if self._has_learned or not torch.is_grad_enabled() or not self._produced:
            return
        self.end_learning(output)

    def end_learning(self, output: Any = None) -> None:
        """Take in what the first passes showed, now that it is known what follows each layer.

        Args:
            output: What the model returned; None where that was not seen.
        """
        self._has_learned = True
        learn_activations(tensors_in(output), self._produced)
        self._produced.clear()
        waiting, self._waiting = self._waiting, []
        learn_from_changes(waiting)
        for one in waiting:
            self._see(one.layer, one.z, one.given)


def shape_of_one(inputs: Any) -> tuple[int, ...] | None:
    """Return the shape of one input of a batch; None where there is none."""
    return tuple(inputs.shape[1:]) if hasattr(inputs, "shape") else None
