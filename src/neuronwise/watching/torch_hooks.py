"""Hooks on modules and optimizers that harm nothing: a copy of a watched model, or one loaded elsewhere, has none."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class Hook:
    """A hook that is called in the process, and of the object, that it was made for.

    `copy.deepcopy` and pickle turn it into something that does nothing and comes from Python itself, so that what was
    saved loads where Neuronwise is not installed.
    """

    def __init__(self, action: Callable[..., Any]) -> None:
        self.action = action

    def __call__(self, *arguments: Any) -> Any:
        """Do it."""
        return self.action(*arguments)

    @property
    def __name__(self) -> str:
        """TorchScript asks for it, to compile what hooks do."""
        raise AttributeError(
            "a watched module cannot be scripted: script it before watch(…), or close the watcher first"
        )

    def __reduce__(self) -> Any:
        return getattr, (contextlib.nullcontext(), "__exit__")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return contextlib.nullcontext().__exit__


class ModuleHook(Hook):
    """One that is no part of what `torch.compile` or `torch.jit.trace` make of the module."""

    def __init__(self, action: Callable[..., None]) -> None:
        import torch

        super().__init__(action)
        # Looked up once: that of a loss is called in every step.
        self._is_compiling: Callable[[], bool] = torch.compiler.is_compiling
        self._is_tracing: Callable[[], bool] = torch.jit.is_tracing  # type: ignore[attr-defined]

    def __call__(self, *arguments: Any) -> None:
        """Do it, if the module is called as it is."""
        if not self._is_compiling() and not self._is_tracing():
            self.action(*arguments)


class BackwardMark:
    """A hook on a tensor that notes which backward pass went through it first.

    Args:
        marks: Where it is noted: the number, and the pass.
        number: Stands for the tensor.
    """

    def __init__(self, marks: dict[int, int], number: int) -> None:
        self._marks, self._number = marks, number

    def __call__(self, gradient: Any) -> None:
        """Note it."""
        self._marks.setdefault(self._number, current_backward())


class _BeforeAdding:
    """A hook on a parameter that is called before a gradient is added to its own, and holds neither."""

    __torch_unserializable__ = True  # a process that a parameter is sent to gets none of it

    def __init__(self, parameter: Any, call: Callable[[Any], None]) -> None:
        self._parameter, self._call = weakref.ref(parameter), call

    def __call__(self, gradient: Any) -> None:
        parameter = self._parameter()
        if parameter is not None:
            self._call(parameter)


def current_backward() -> int:
    """Return a number of the backward pass that is under way; -1 where none is."""
    import torch

    return int(getattr(torch._C, "_current_graph_task_id", lambda: -1)())


class Handles:
    """Hooks that are removed together."""

    def __init__(self) -> None:
        self._handles: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self._handles)

    def forward(self, modules: Iterable[nn.Module], action: Callable[[Any, Any, Any], None]) -> None:
        """Have `action` called with module, arguments and output after each forward pass of a module."""
        hook = ModuleHook(action)
        self._handles += [module.register_forward_hook(hook) for module in modules]

    def before_forward(self, module: nn.Module, action: Callable[[Any, Any], None]) -> None:
        """Have `action` called with module and arguments before each forward pass."""
        self._handles.append(module.register_forward_pre_hook(ModuleHook(action)))

    def before_steps(self, optimizer: Optimizer, action: Callable[..., Any]) -> None:
        """Have `action` called before each step of the optimizer: with it, the step's arguments, and those by name.

        What it returns, unless None, are other arguments.
        """
        self._handles.append(optimizer.register_step_pre_hook(Hook(action)))

    def after_steps(self, optimizer: Optimizer, action: Callable[..., None]) -> None:
        """Have `action` called after each step of the optimizer, likewise."""
        self._handles.append(optimizer.register_step_post_hook(Hook(action)))

    def before_every_step(self, action: Callable[..., Any]) -> None:
        """Have `action` called before each step of any optimizer."""
        from torch.optim import optimizer

        self._handles.append(optimizer.register_optimizer_step_pre_hook(Hook(action)))

    def after_every_step(self, action: Callable[..., None]) -> None:
        """Have `action` called after each step of any optimizer."""
        from torch.optim import optimizer

        self._handles.append(optimizer.register_optimizer_step_post_hook(Hook(action)))

    def accumulated(self, parameters: Iterable[Any], action: Callable[[Any], None]) -> None:
        """Have `action` called with a parameter after each time that a gradient was added to its own."""
        from torch.nn.parameter import is_lazy

        hook = Hook(_weakly(action))
        self._handles += [
            parameter.register_post_accumulate_grad_hook(hook)
            for parameter in parameters
            if parameter.requires_grad and parameter.is_leaf and not is_lazy(parameter)
        ]

    def before_accumulated(self, parameters: Iterable[Any], action: Callable[[Any], None]) -> None:
        """Have `action` called with a parameter before each time that a gradient is added to its own."""
        from torch.nn.parameter import is_lazy

        call = _weakly(action)
        self._handles += [
            parameter.register_hook(_BeforeAdding(parameter, call))
            for parameter in parameters
            if parameter.requires_grad and parameter.is_leaf and not is_lazy(parameter)
        ]

    @property
    def are_last(self) -> bool:
        """Whether none was put on behind them, which would be called after them."""
        own = {handle.id for handle in self._handles}
        return all(next(reversed(hooks)) in own for handle in self._handles if (hooks := _hooks_of(handle)))

    def remove(self) -> None:
        """Remove all of them."""
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()


def _hooks_of(handle: Any) -> Any:
    reference = getattr(handle, "hooks_dict_ref", None)
    return None if reference is None else reference()


def _weakly(action: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a method that does not keep its object: what torch itself holds is never collected."""
    reference = weakref.WeakMethod(action)

    def call(given: Any) -> None:
        found = reference()
        if found is not None:
            found(given)

    return call
