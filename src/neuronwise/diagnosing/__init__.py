"""Diagnosis: why a training does not go well, with evidence and one root cause.

From numbers (`quantities`) to symptoms, from symptoms to suspects (`setup_rules`, `data_rules`, `training_rules`), and
from these to one root cause (`reasoning`). What is told is a `Diagnosis`.
"""

from neuronwise.diagnosing.causes import CAUSES, SYMPTOMS, Cause
from neuronwise.diagnosing.diagnose import diagnose, measure
from neuronwise.diagnosing.diagnosis import Diagnosis, Evidence, Finding, Symptom, Treatment

__all__ = [
    "CAUSES",
    "SYMPTOMS",
    "Cause",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Symptom",
    "Treatment",
    "diagnose",
    "measure",
]
