"""Recording: what happened in a training, on disk. Format version 0, without promise yet."""

from __future__ import annotations

from neuronwise.recording.batches import TrainingData, describe_pass
from neuronwise.recording.checkpoints import from_checkpoints
from neuronwise.recording.courses import Course, Histogram
from neuronwise.recording.description import Attempt, holds_recording
from neuronwise.recording.handed_in import prepare_given_to_fit
from neuronwise.recording.layout import LayerLayout, Layout, Place
from neuronwise.recording.passes import PassRecorder
from neuronwise.recording.quantities import layer_summaries
from neuronwise.recording.reader import RecordedHistory, read_recording
from neuronwise.recording.recording import Recording
from neuronwise.recording.replay import Difference, Replay
from neuronwise.recording.replayed_step import ReplayedStep
from neuronwise.recording.rows import HISTOGRAMS, NEURON_FIELDS
from neuronwise.recording.schedule import Plan, Schedule, expected_bytes, plan_recording
from neuronwise.recording.statistics import SATURATED_WITHIN, Measured, Statistics
from neuronwise.recording.writer import RecordingWriter

__all__ = [
    "HISTOGRAMS",
    "NEURON_FIELDS",
    "SATURATED_WITHIN",
    "Attempt",
    "Course",
    "Difference",
    "Histogram",
    "LayerLayout",
    "Layout",
    "Measured",
    "PassRecorder",
    "Place",
    "Plan",
    "RecordedHistory",
    "Recording",
    "RecordingWriter",
    "Replay",
    "ReplayedStep",
    "Schedule",
    "Statistics",
    "TrainingData",
    "describe_pass",
    "expected_bytes",
    "from_checkpoints",
    "holds_recording",
    "layer_summaries",
    "plan_recording",
    "prepare_given_to_fit",
    "read_recording",
]
