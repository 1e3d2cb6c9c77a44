"""After the learning: save, evaluate beside baselines, send to MLflow. What was learned is saved first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuronwise.errors import NeuronwiseError, TrainingDiverged
from neuronwise.learning import FitResult
from neuronwise.network import Network
from neuronwise.recording import TrainingData
from neuronwise.running.checkpointing import can_resume
from neuronwise.running.findings import forget_diagnosis
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.prepare import Prepared
from neuronwise.running.reporter import Plan, Reporter
from neuronwise.running.run import Run
from neuronwise.running.scores import answers, baselines, score
from neuronwise.running.tracked import Tracking


def conclude(
    plan: Plan,
    result: FitResult,
    folder: Path,
    tracking: Tracking,
    reporter: Reporter,
    failure: TrainingDiverged | None,
    *,
    with_baselines: bool = True,
    with_explanations: bool = False,
    diagnosed_with: Callable[[], TrainingData] | None = None,
    redact: bool = False,
) -> Run:
    """Return the run of a training that has ended, saved, evaluated, diagnosed and sent; a diverged one is kept too.

    Args:
        plan: What was planned; its network is the one that learned.
        result: How it went.
        folder: Where the run is kept.
        tracking: Its MLflow side.
        reporter: Hears of every stage.
        failure: The error of a diverged training: its weights are kept, but not evaluated.
        with_baselines: Whether to compare with simpler ways.
        with_explanations: Whether to explain some held-out answers and the first layer, and make the inspector, which
            is what a diverged one is looked at in.
        diagnosed_with: Returns what it learned from, for saying why it went as it did; None: that is not said.
        redact: Whether no row of the data may be shown in them.
    """
    data, network = plan.data, plan.choice.network
    run = run_of(data, network, plan.settings, result, folder, tracking)
    _save(run)
    if failure is None:
        reporter.working("evaluating on held-out rows")
        run.metrics = score(data.target, data.y[data.test], answers(network, data.X, data.test))
        if with_baselines and result.status != "interrupted":
            known = np.concatenate([data.train, data.validation])
            run.baselines = baselines(data.target, data.X, data.y, known, data.test, network.seed)
        _save(run)
    _diagnose(run, diagnosed_with, reporter)
    if with_explanations and result.status != "interrupted":
        from neuronwise.running.explained import explain_run
        from neuronwise.running.inspector import keep_inspector

        if failure is None:
            reporter.working("explaining some answers")
            run.explained = explain_run(run, data, redact=redact, told=reporter.warned)
        found = None if run.diagnosis is None else run.diagnosis.to_dict()
        page = keep_inspector(run, data, redact=redact, diagnosis=found, told=reporter.warned)
        run.explained += [page] if page is not None else []
    reporter.working("sending to MLflow" if tracking.uri else "saving")
    tracking.complete(run, data, failure)
    run.not_logged = tracking.not_logged
    return run


def _diagnose(run: Run, data: Callable[[], TrainingData] | None, reporter: Reporter) -> None:
    """Keep beside the run why it went as it did; of one that went on since it was diagnosed, nothing stale."""
    if data is None:
        forget_diagnosis(run.folder)
        return
    from neuronwise.running.diagnosed import keep_diagnosis

    reporter.working("diagnosing")
    run.diagnosis = keep_diagnosis(run.folder, run.name, data, told=reporter.warned)


def _save(run: Run) -> None:
    try:
        run.save()
    except OSError as error:
        raise NeuronwiseError(
            f"what was learned could not be saved: {error.strerror or error}",
            where=str(run.folder),
            hint=f"make room, then: neuronwise train --resume {run.id[:8]}" if can_resume(run.folder) else None,
        ) from error


def run_of(
    data: Prepared,
    network: Network,
    settings: Mapping[str, Any],
    result: FitResult,
    folder: Path,
    tracking: Tracking,
) -> Run:
    """Return the run of a training, not yet evaluated or saved."""
    return Run(
        id=tracking.run_id,
        name=tracking.run_name,
        folder=folder,
        status=result.status,
        model=FittedNetwork(network, data.encoder, data.target, data.kind),
        metrics={},
        baselines=[],
        settings=dict(settings),
        data=_describe(data),
        history=result.history,
        best_epoch=result.best_epoch,
        best_step=result.best_step,
        steps=result.steps,
        duration_s=result.duration_s,
        tracking_uri=tracking.uri,
        ui_command=tracking.ui_command,
        run_url=tracking.run_url,
    )


def _describe(data: Prepared) -> dict[str, Any]:
    return {
        "kind": data.kind,
        "name": data.name,
        "source": data.source,
        "fingerprint": data.fingerprint,
        "target": data.target.name,
        "task": data.target.task,
        "train_rows": len(data.train),
        "validation_rows": len(data.validation),
        "test_rows": len(data.test),
        "inputs": data.X.shape[1],
    }
