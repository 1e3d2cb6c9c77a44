"""How a training goes about it: what it is fed with, its settings, modes, and whether gradients are cleared.

A diagnosis needs this beside the statistics of the neurons. All is written as events: ``setting`` at the beginning and
where it changes, ``batches`` with a column for each quantity, ``data`` and ``validated`` with each state.
"""

from __future__ import annotations

import copy
import functools
import logging
import math
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from neuronwise.watching.columns import surest_right
from neuronwise.watching.torch_batches import InputsSeen, TargetsSeen, predictions_of, targets_of
from neuronwise.watching.torch_graph import graph_of
from neuronwise.watching.torch_hooks import current_backward
from neuronwise.watching.torch_loss_kinds import loss_kinds
from neuronwise.watching.torch_statistics import on_host
from neuronwise.watching.torch_table import TableSeen
from neuronwise.watching.torch_twin import same_random_state
from neuronwise.watching.torch_unregistered import unregistered
from neuronwise.watching.torch_values import is_wrapped, tensors_in

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer

_log = logging.getLogger("neuronwise")
_Method = TypeVar("_Method", bound=Callable[..., None])

# The kind of loss is asked for at so many steps.
_KINDS_ASKED = 6
# Modules that do something else in evaluation mode.
_MODAL = ("Dropout", "BatchNorm", "InstanceNorm", "RReLU")
_MAX_MODULES = 500
# Of so many first steps the predictions of every so many are looked at.
_FIRST, _FIRST_EVERY = 40, 5
_MAX_NAMES = 200


def _tried(method: _Method) -> _Method:
    """Have a method that fails end what is observed here, and nothing else, unless `strict`."""

    @functools.wraps(method)
    def tried(self: TrainingSeen, *arguments: Any, **named: Any) -> None:
        if self.is_broken:
            return
        try:
            method(self, *arguments, **named)
        except Exception as error:
            if self.strict:
                raise
            self.is_broken = True
            _log.debug("observing the training failed", exc_info=error)
            self._event("unobserved", reason=f"{type(error).__name__}: {error!s:.300}")

    return cast(_Method, tried)


class TrainingSeen:
    """Collects, at steps that are recorded, how the training goes about it. Nothing of it is changed.

    Args:
        model: The model.
        loss: The loss module, or None.
        validation: (inputs, targets), or None.
        event: Writes an event: kind and content.
        strict: Whether what goes wrong is raised; else it ends what is observed here.

    Attributes:
        is_broken: Whether something went wrong.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module | None,
        validation: tuple[Any, Any] | None,
        event: Callable[..., None],
        *,
        strict: bool = False,
    ) -> None:
        self.strict, self.is_broken = strict, False
        self._model, self._loss, self._validation, self._event = model, loss, validation, event
        self._inputs, self._targets, self._table = InputsSeen(), TargetsSeen(), TableSeen()
        self._graph: dict[str, Any] | None = None
        self._row: dict[str, Any] = {}
        self._columns: dict[str, list[Any]] = {}
        self._asked = self._count = 0
        self._setting: dict[str, Any] | None = None
        self._modes = {"evaluated_in_train_mode": 0, "evaluated_in_eval_mode": 0}
        self._batch: tuple[Any, Any] | None = None
        self._answered: tuple[nn.Module, Any, float] | None = None
        self._held_targets: dict[str, Any] | None = None
        self._kinds: list[str] = []
        self._shapes: dict[str, list[int]] = {}
        self._passes, self._written = 0, -1
        self._has_come_back, self._kept = False, dict[tuple[int, int], bool]()
        # Parameters that are cleared together, an optimizer's.
        self._held = [[one for one in model.parameters() if one.requires_grad]]

    # ------------------------------------------------------------------ within a step

    @_tried
    def called(self, given: Any, output: Any) -> None:
        """Take in a forward pass of the whole model, before its backward pass."""
        import torch

        inputs = next(tensors_in(given), None)
        if inputs is None:
            return
        if not torch.is_grad_enabled():
            self._evaluated()
            return
        if is_wrapped(inputs):
            return
        first = next((one for one in tensors_in(output) if one.grad_fn is not None), None)
        if first is None:
            return
        if self._graph is None:
            self._graph = graph_of(self._model, [first])
        if self._passes and not self._has_come_back:
            self.forget()
        if self._passes == 0:
            self._row = {"rows": len(inputs) if inputs.ndim else 1, "train_mode": self._model.training}
            self._row |= self._inputs.take(inputs)
            self._batch = (given if isinstance(given, tuple) else (given,), None)
        if not first.is_leaf and first.requires_grad:
            first.register_hook(_Once(self))  # type: ignore[no-untyped-call]
        self._passes += 1

    @_tried
    def evaluated(self, given: Any) -> None:
        """Take in a forward pass of a step of which nothing else is looked at, if it is none of the training."""
        import torch

        if not torch.is_grad_enabled() and next(tensors_in(given), None) is not None:
            self._evaluated()

    def _evaluated(self) -> None:
        self._modes["evaluated_in_train_mode" if self._model.training else "evaluated_in_eval_mode"] += 1

    def came_back(self) -> None:
        """Note that a backward pass came of a forward pass."""
        self._has_come_back = True

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those whose gradients are looked at before others are added to them."""
        return [one for own in self._held for one in own[-4:]]

    @_tried
    def will_add(self, parameter: nn.Parameter) -> None:
        """Note whether a gradient is there still, now that another is to be added to it.

        Of several backward passes within a step (gradients that are accumulated, or another optimizer's step through
        this model, as in a GAN) it is enough that they were cleared before one, and of several optimizers that those of
        one were.
        """
        for place, own in enumerate(self._held):
            if any(parameter is one for one in own[-4:]):
                left, key = parameter.grad, (current_backward(), place)
                is_left = left is not None and not left.is_sparse and bool(left.any())
                self._kept[key] = self._kept.get(key, False) or is_left

    @_tried
    def lost(self, arguments: tuple[Any, ...], value: Any) -> None:
        """Take in a call of the loss within a training step."""
        import torch

        if not torch.is_grad_enabled() or not isinstance(value, torch.Tensor) or self._passes > 1:
            return
        found = list(tensors_in(arguments))[:2]
        if len(found) < 2:
            return
        prediction, target = found
        row = self._row
        # Of the first steps not every one, as what comes out of them says little of how it goes.
        self._count += 1
        if self._count > _FIRST or self._count % _FIRST_EVERY == 1:
            row |= predictions_of(prediction, target)
        row |= targets_of(target)
        self._targets.take(target)
        if self._batch is not None:
            self._table.take(next(tensors_in(self._batch[0]), None), target)
        row["broadcast"] = tuple(prediction.shape) != tuple(target.shape) and target.is_floating_point()
        # Of a loss that is not finite its value tells nothing.
        if self._asked < _KINDS_ASKED and value.numel() == 1 and bool(value.isfinite()):
            kinds = loss_kinds(prediction, target, float(value.detach()))
            if self._asked == 0:
                self._kinds = kinds
            else:
                self._kinds = [kind for kind in self._kinds if kind in kinds]
            self._asked += 1
        self._shapes = {"prediction": list(prediction.shape), "target": list(target.shape)}
        if self._batch is not None:
            self._batch = (self._batch[0], target.detach())

    # ------------------------------------------------------------------ around a step

    @_tried
    def stepped(self, step: int, optimizers: Iterable[Optimizer], *, is_state: bool) -> None:
        """Close a recorded step, and write what is known with a state."""
        if self._row:
            kept = {"kept": all(self._kept.values())} if self._kept else {}
            row, columns = {"step": step, **self._row, **kept}, self._columns
            count = len(columns.get("step", ()))
            for key in row.keys() | columns.keys():
                columns.setdefault(key, [None] * count).append(_json(row.get(key)))
        self.forget()
        optimizers = list(optimizers)
        if self._setting is None and optimizers:  # what no optimizer holds, its zero_grad does not clear
            every = [one for own in self._held for one in own]
            held = [
                {id(one) for group in optimizer.param_groups for one in group["params"]} for optimizer in optimizers
            ]
            self._held = [found for ids in held if (found := [one for one in every if id(one) in ids])] or [[]]
        if is_state or self._setting is None:
            setting = self._settings(optimizers)
            if setting != self._setting:
                self._setting = setting
                self._event("setting", step=step, **setting)
        if is_state:
            self.write(step)

    def forget(self) -> None:
        """Forget the step under way."""
        self._row, self._passes = {}, 0
        self._has_come_back, self._kept = False, {}

    @_tried
    def write(self, step: int) -> None:
        """Write the columns of the steps since the last time, and what the data is like so far."""
        columns, self._columns = self._columns, {}
        if step == self._written and not columns:
            return
        self._written = step
        if columns:
            self._event("batches", step=step, columns=columns)
        self._event(
            "data", step=step, inputs=_clean(self._inputs.describe()), targets=_clean(self._targets.describe()),
            table=_clean(self._table.describe() or {}),
            loss_kinds=self._kinds, **self._shapes, **self._modes,
        )  # fmt: skip
        if self._graph:
            self._event("graph", step=step, **self._graph)
            self._graph = {}
        self._validate(step)

    @_tried
    def answered(self, twin: nn.Module, out: Any, loss: float) -> None:
        """Keep what a copy of the model answers to the rows held out, until it is written with the state."""
        self._answered = twin, out, loss

    def _validate(self, step: int) -> None:
        """Write what the copy in evaluation mode answered to the rows held out, and have it answer the last batch."""
        import torch

        batch, self._batch = self._batch, None
        answered, self._answered = self._answered, None
        found: dict[str, Any] = {}
        with torch.no_grad(), same_random_state(self._model):
            if answered is None and self._validation is not None and self._loss is not None:  # after the last step
                asked = copy.deepcopy(self._model).eval()
                out = asked(self._validation[0])
                answered = asked, out, float(self._loss.forward(out, self._validation[1]))
            if batch is not None and batch[1] is not None and _has_modal(self._model):
                twin = copy.deepcopy(self._model).eval() if answered is None else answered[0]
                try:
                    first = next(tensors_in(twin(*batch[0])), None)
                except TypeError:  # it wants arguments by name, of which a hook is not told
                    first = None
                if first is not None:
                    found["batch"] = _clean(predictions_of(first, batch[1]))
            if self._validation is not None and answered is not None:
                found |= self._of_held(answered[1]) | {"loss": answered[2]}
        if found:
            self._event("validated", step=step, **_clean(found))

    def _of_held(self, out: Any) -> dict[str, Any]:
        assert self._validation is not None
        inputs, targets = self._validation
        found: dict[str, Any] = {}
        first = next(tensors_in(out), None)
        if first is not None and isinstance(targets, torch_tensor()):
            found |= predictions_of(first, targets)
            if self._held_targets is None:
                seen = TargetsSeen()
                seen.take(targets)
                self._held_targets = seen.describe()
            found["targets"] = self._held_targets
            if first.ndim == 2 and targets.ndim == 1 and not targets.is_floating_point():
                found["recall"] = _recalls(first, targets)
            found["surest_right"] = self._surest(first, targets)
        if isinstance(inputs, torch_tensor()):
            found |= {"rows": len(inputs), "beside": self._inputs.compare(inputs),
                      "known": self._inputs.known_share(inputs)}  # fmt: skip
        return found

    def _surest(self, prediction: torch.Tensor, target: torch.Tensor) -> float | None:
        """Return how many of the surest answers are right, where the targets are classes."""
        counts = self._held_targets.get("counts") if self._held_targets is not None else None
        if not isinstance(counts, dict) or prediction.ndim != 2:
            return None
        if prediction.shape[1] == 1 and not set(counts) <= {"0", "1"}:
            return None
        goal = on_host(target.detach().cpu()).astype(float)
        if prediction.shape[1] == 1 and goal.size == len(prediction):
            goal = goal.reshape(-1)
        is_sum = "bce_logits" in self._kinds and "bce" not in self._kinds
        return surest_right(on_host(prediction.detach().cpu()).astype(float), goal, 0.0 if is_sum else 0.5)

    def _settings(self, optimizers: list[Optimizer]) -> dict[str, Any]:
        model = self._model
        names = {id(one): name for name, one in model.named_parameters()}
        held = {id(one) for optimizer in optimizers for group in optimizer.param_groups for one in group["params"]}
        return {
            "optimizers": [
                {
                    "kind": type(one).__name__,
                    "groups": [
                        {key: _number(value) for key, value in group.items() if key not in ("params", "lr")}
                        | {"parameters": len(group["params"])}
                        for group in one.param_groups
                    ],
                }
                for one in optimizers
            ],
            "frozen": [name for name, one in model.named_parameters() if not one.requires_grad][:_MAX_NAMES],
            "not_held": [name for one, name in names.items() if one not in held][:_MAX_NAMES] if optimizers else [],
            "unregistered": unregistered(model)[:_MAX_NAMES],
            "modules": _modules(model),
            "training": model.training,
        }


class _Once:
    """A hook on a tensor: called when its gradient is known."""

    def __init__(self, seen: TrainingSeen) -> None:
        self._seen = weakref.ref(seen)

    def __call__(self, gradient: torch.Tensor) -> None:
        if (seen := self._seen()) is not None:
            seen.came_back()


def torch_tensor() -> type[torch.Tensor]:
    """Return the class of tensors."""
    import torch

    return torch.Tensor


def _modules(model: nn.Module) -> list[dict[str, Any]]:
    """Return the modules that have none inside, in their order, with what matters of their settings."""
    found = []
    for path, module in model.named_modules():
        if next(module.children(), None) is not None:
            continue
        one: dict[str, Any] = {"path": path, "kind": type(module).__name__}
        for key in ("in_features", "out_features", "in_channels", "out_channels", "num_features", "p", "hidden_size",
                    "num_layers", "num_embeddings", "embedding_dim", "dropout", "momentum", "eps", "nonlinearity",
                    "num_heads", "negative_slope", "kernel_size"):  # fmt: skip
            value = getattr(module, key, None)
            if isinstance(value, (int, float, str)) and not isinstance(value, bool):
                one[key] = value
        if any(word in one["kind"] for word in _MODAL):
            one["training"] = module.training
        found.append(one)
        if len(found) == _MAX_MODULES:
            break
    return found


def _has_modal(model: nn.Module) -> bool:
    return any(any(word in type(one).__name__ for word in _MODAL) for one in model.modules())


def _recalls(prediction: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """Return the share of each class that is recognised, of at most 100 classes."""
    import torch

    hit = prediction.argmax(-1) == target
    found = {}
    for one in torch.unique(target)[:100].tolist():
        found[str(one)] = float(hit[target == one].double().mean())
    return found


def _number(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if isinstance(value, (tuple, list)):
        return [_number(one) for one in value]
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)[:50]


def _json(value: Any) -> Any:
    """Return a number rounded to seven digits, as the events are read by eye too."""
    return float(f"{value:.7g}") if isinstance(value, float) and math.isfinite(value) else value


def _clean(content: dict[str, Any]) -> dict[str, Any]:
    return {key: _clean(value) if isinstance(value, dict) else _json(value) for key, value in content.items()}
