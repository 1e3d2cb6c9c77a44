"""Tracking: MLflow runs. Takes finished files and small dicts; draws nothing, decides nothing."""

from __future__ import annotations

from neuronwise.tracking.datasets import DatasetInfo
from neuronwise.tracking.experiments import DEFAULT_EXPERIMENT
from neuronwise.tracking.fetching import download_artifacts, verify_artifacts
from neuronwise.tracking.model import save_pyfunc
from neuronwise.tracking.reopening import LOCAL_ID_TAG, StoredRun, find_or_create, stored_run
from neuronwise.tracking.run_log import MAX_METRIC_KEYS
from neuronwise.tracking.runs import RunInfo, find_run, list_runs
from neuronwise.tracking.store import Store, open_store, resolve_store, store_of
from neuronwise.tracking.tracker import Tracker

__all__ = [
    "DEFAULT_EXPERIMENT",
    "LOCAL_ID_TAG",
    "MAX_METRIC_KEYS",
    "DatasetInfo",
    "RunInfo",
    "Store",
    "StoredRun",
    "Tracker",
    "download_artifacts",
    "find_or_create",
    "find_run",
    "list_runs",
    "open_store",
    "resolve_store",
    "save_pyfunc",
    "store_of",
    "stored_run",
    "verify_artifacts",
]
