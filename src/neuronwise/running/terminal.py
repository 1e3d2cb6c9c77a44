"""What of rich, which draws on a terminal, is used here: it takes a random number when it is imported."""

from __future__ import annotations

from neuronwise.tracking.quiet import own_randomness

with own_randomness():
    from rich.console import Console
    from rich.markup import escape as without_markup
    from rich.table import Table

__all__ = ["Console", "Table", "without_markup"]
