"""Recording: what happened in a training, on disk. Format version 0, without promise yet."""

from __future__ import annotations

from neuronwise.recording.quantities import layer_summaries
from neuronwise.recording.reader import RecordedHistory, read_recording
from neuronwise.recording.schedule import Plan, Schedule, expected_bytes, plan_recording
from neuronwise.recording.writer import RecordingWriter

__all__ = [
    "Plan",
    "RecordedHistory",
    "RecordingWriter",
    "Schedule",
    "expected_bytes",
    "layer_summaries",
    "plan_recording",
    "read_recording",
]
