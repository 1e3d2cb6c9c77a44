"""Watching: recorders for training loops of other frameworks."""

from __future__ import annotations

from neuronwise.watching.listener import WatchListener
from neuronwise.watching.moments import Moments
from neuronwise.watching.torch import TorchWatcher

__all__ = ["Moments", "TorchWatcher", "WatchListener"]
