"""Tracking: MLflow runs. Takes finished files and small dicts; draws nothing, decides nothing."""

from __future__ import annotations

from neuronwise.tracking.datasets import DatasetInfo
from neuronwise.tracking.experiments import DEFAULT_EXPERIMENT
from neuronwise.tracking.model import save_pyfunc
from neuronwise.tracking.runs import RunInfo, download_artifacts, find_run, list_runs
from neuronwise.tracking.store import Store, open_store, resolve_store
from neuronwise.tracking.tracker import MAX_METRIC_KEYS, Tracker

__all__ = [
    "DEFAULT_EXPERIMENT",
    "MAX_METRIC_KEYS",
    "DatasetInfo",
    "RunInfo",
    "Store",
    "Tracker",
    "download_artifacts",
    "find_run",
    "list_runs",
    "open_store",
    "resolve_store",
    "save_pyfunc",
]
