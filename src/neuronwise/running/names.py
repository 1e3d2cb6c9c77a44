"""Ids and names for runs that MLflow does not know."""

from __future__ import annotations

import secrets


def new_local_id() -> str:
    """Return an id of the same form as MLflow's: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def new_local_name(run_id: str) -> str:
    """Return a name that can be typed, made of the id."""
    return f"local-{run_id[:8]}"
