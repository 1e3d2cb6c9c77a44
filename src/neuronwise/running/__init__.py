"""The only place that composes: training on data with recording and tracking, and finding and loading runs."""

from typing import TYPE_CHECKING, Any

from neuronwise.running.architecture import choose_lengths, choose_network, parse_layers
from neuronwise.running.cleaning import Cleaned, clean, clean_cache
from neuronwise.running.console import (
    ConsoleReporter,
    columns_table,
    duration,
    metric,
    scores_table,
    summary_table,
)
from neuronwise.running.counting import count_network_file, count_parameters
from neuronwise.running.courses import courses_table, sparkline
from neuronwise.running.drawing import draw_activation
from neuronwise.running.encoding import EncodedCell, EncodedRow, encode_row
from neuronwise.running.find import Listed, find_folder, find_run, list_runs, load
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.locating import find_any, recording_folder
from neuronwise.running.opening import open_recording
from neuronwise.running.prepare import DataOptions, Prepared, prepare
from neuronwise.running.reporter import Plan, Reporter
from neuronwise.running.resuming import resume
from neuronwise.running.run import Run
from neuronwise.running.scores import METRICS, Score, baselines, score
from neuronwise.running.syncing import Synced, sync
from neuronwise.running.training import TrainOptions, train
from neuronwise.running.try_layers import Trial, parse_trials, try_layers
from neuronwise.running.watched_layers import WatchedLayerRow, layer_rows, noticed, overhead
from neuronwise.running.watched_run import WatchedRun
from neuronwise.running.watching import WatchedTraining, watch

if TYPE_CHECKING:
    from neuronwise.running.estimators import NeuralNetworkClassifier, NeuralNetworkRegressor
    from neuronwise.running.why import explain, important_features, smallest_change_of_run, what_if_run

__all__ = [
    "METRICS",
    "Cleaned",
    "ConsoleReporter",
    "DataOptions",
    "EncodedCell",
    "EncodedRow",
    "FittedNetwork",
    "Listed",
    "NeuralNetworkClassifier",
    "NeuralNetworkRegressor",
    "Plan",
    "Prepared",
    "Reporter",
    "Run",
    "Score",
    "Synced",
    "TrainOptions",
    "Trial",
    "WatchedLayerRow",
    "WatchedRun",
    "WatchedTraining",
    "baselines",
    "choose_lengths",
    "choose_network",
    "clean",
    "clean_cache",
    "columns_table",
    "count_network_file",
    "count_parameters",
    "courses_table",
    "draw_activation",
    "duration",
    "encode_row",
    "explain",
    "find_any",
    "find_folder",
    "find_run",
    "important_features",
    "layer_rows",
    "list_runs",
    "load",
    "metric",
    "noticed",
    "open_recording",
    "overhead",
    "parse_layers",
    "parse_trials",
    "prepare",
    "recording_folder",
    "resume",
    "score",
    "scores_table",
    "smallest_change_of_run",
    "sparkline",
    "summary_table",
    "sync",
    "train",
    "try_layers",
    "watch",
    "what_if_run",
]


def __getattr__(name: str) -> Any:
    """Find when first asked for (PEP 562): the estimators, made of scikit-learn's, and explanations, many modules."""
    if name in ("NeuralNetworkClassifier", "NeuralNetworkRegressor"):
        from neuronwise.running import estimators

        return getattr(estimators, name)
    if name in ("explain", "important_features", "smallest_change_of_run", "what_if_run"):
        from neuronwise.running import why

        return getattr(why, name)
    raise AttributeError(f"module 'neuronwise.running' has no attribute {name!r}")
