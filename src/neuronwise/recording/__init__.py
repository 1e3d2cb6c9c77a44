"""Recording: what happened in a training, on disk. Format version 0, without promise yet."""

from __future__ import annotations

from neuronwise.recording.quantities import layer_summaries
from neuronwise.recording.reader import RecordedHistory, read_recording
from neuronwise.recording.recording import Course, Recording
from neuronwise.recording.replay import Replay, ReplayedStep, TrainingData
from neuronwise.recording.schedule import Plan, Schedule, expected_bytes, plan_recording
from neuronwise.recording.writer import RecordingWriter

__all__ = [
    "Course",
    "Plan",
    "RecordedHistory",
    "Recording",
    "RecordingWriter",
    "Replay",
    "ReplayedStep",
    "Schedule",
    "TrainingData",
    "expected_bytes",
    "layer_summaries",
    "plan_recording",
    "read_recording",
]
