"""Optimizers that have gradients computed within a step, by a closure."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import Optimizer

Closure = Callable[..., Any]


class Evaluated:
    """A closure that does the same, and tells when it was called for the first time.

    Weights are those before the step then, and what it computed is what the optimizer gets. LBFGS calls it again, at
    other weights.

    Args:
        closure: The closure.
        first: Called after its first call.
        broke: Called if it fails.
    """

    def __init__(self, closure: Closure, first: Callable[[], None], broke: Callable[[], None]) -> None:
        functools.update_wrapper(self, closure)
        self._closure, self._first, self._broke = closure, first, broke
        self._is_new = True

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the closure."""
        try:
            value = self._closure(*arguments, **named)
        except BaseException:
            self._broke()
            raise
        if self._is_new:
            self._is_new = False
            self._first()
        return value


def needs_closure(optimizer: Optimizer) -> bool:
    """Return whether an optimizer takes no step without a closure, as LBFGS, which calls it several times."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def closure_of(given: tuple[Any, ...], named: Mapping[str, Any] | None) -> Closure | None:
    """Return the closure among the arguments of a step, of which the first is the optimizer; None if there is none."""
    found = (named or {}).get("closure", given[1] if len(given) > 1 else None)
    return found if callable(found) else None


def with_closure(
    given: tuple[Any, ...], named: Mapping[str, Any] | None, closure: Closure
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a step with another closure."""
    named = dict(named or {})
    if "closure" in named:
        return given, named | {"closure": closure}
    return (given[0], closure, *given[2:]), named
