"""From symptoms to one root cause: rules suspect, and what explains the others stands first."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import replace
from typing import Any

import numpy as np

import neuronwise.diagnosing.quantities  # noqa: F401 - registers the quantities
from neuronwise.diagnosing.causes import CAUSES
from neuronwise.diagnosing.data_rules import DATA_RULES
from neuronwise.diagnosing.diagnosis import Diagnosis, Finding, Symptom, Treatment
from neuronwise.diagnosing.facts import Facts
from neuronwise.diagnosing.own_lines import own_line
from neuronwise.diagnosing.series import drawn
from neuronwise.diagnosing.setup_rules import SETUP_RULES
from neuronwise.diagnosing.suspects import SOME_SKILL, Suspect, harm, over, told, under
from neuronwise.diagnosing.symptoms import symptoms_of
from neuronwise.diagnosing.table_rules import TABLE_RULES, table_of, table_remarks
from neuronwise.diagnosing.torch_lines import DROPOUT, torch_line
from neuronwise.diagnosing.training_rules import HURT_SHARE, TRAINING_RULES, USUAL_RATES

# A suspicion is told from this confidence on; a second one beside it, if it is as sure as this and nearly as the first.
TOLD_FROM, SECOND_FROM, SECOND_WITHIN = 0.35, 0.85, 0.06
# Below this much harm a training went well: only what harms later is told.
HARMLESS = 0.1
# A wrong setting or bad data that is as certain as this explains how the training went, which counts less then.
ROOT_FROM, FOLLOWS = 0.7, 0.88
# How a training went is told of one that did not get so far: 0 is a constant guess, 1 all right.
ENOUGH_SKILL = 0.6
_COURSE = frozenset({"lr_too_high", "lr_too_low", "too_few_epochs", "batch_too_large", "batch_too_small",
                     "network_too_small"})  # fmt: skip
_OF_LEARNING = frozenset({"lr_too_low", "too_few_epochs", "batch_too_large", "network_too_small", "network_too_deep",
                          "wrong_hidden_activation", "missing_hidden_activation"})  # fmt: skip
GAP_ROOT_FROM = 0.65
_BATCHES = frozenset({"batch_too_small"})
_GENERAL = frozenset({"overfitting", "too_few_data"})
_SETTINGS = frozenset({"wrong_optimizer", "excessive_regularisation", "network_too_deep", "batch_too_small"})
# Rows that are learned by heart are told where that costs so much: a skill below, or a gap above.
_OVERFIT_SKILL, _OVERFIT_GAP = 0.65, 0.4
# A network with this skill in training has learned its rows.
_BY_HEART_SKILL = 0.9
_MOST_STEPS = 20
_BESIDE_CAUSES = frozenset(
    {"missing_zero_grad", "wrong_train_eval_mode", "label_shape_mismatch", "preprocessing_mismatch"}
)


def suspects_of(facts: Facts) -> list[Suspect]:
    """Return what the rules suspect, the most certain first."""
    roots = [one for rule in (*SETUP_RULES, *DATA_RULES, *TABLE_RULES) if (one := rule(facts)) is not None]
    course = [one for rule in TRAINING_RULES if (one := rule(facts)) is not None]
    if any(one.certainty >= ROOT_FROM for one in roots):
        # How a training went is what follows: of a wrong output, say, the loss jumps too.
        course = [one if one.cause in _SETTINGS else replace(one, certainty=one.certainty * FOLLOWS) for one in course]
    others = [*(one for one in roots if one.cause not in _GENERAL), *(one for one in course if one.cause in _BATCHES)]
    if any(one.certainty >= GAP_ROOT_FROM for one in others):
        # A gap between training and the rows held out has other reasons, too.
        roots = [replace(one, certainty=one.certainty * FOLLOWS) if one.cause in _GENERAL else one for one in roots]
    return sorted([*roots, *course], key=lambda one: -one.certainty)


def reason(facts: Facts) -> Diagnosis:
    """Return the diagnosis of a training."""
    every = symptoms_of(facts)
    symptoms = [one for one in every if _harms(one)]
    hurt = harm(facts)
    told_causes: list[tuple[Suspect, float]] = []
    for one in suspects_of(facts):
        confidence = one.certainty if one.always else one.certainty * min(1.0, 0.35 + hurt)
        is_course = one.cause in _COURSE and facts["nonfinite_step"] is None
        is_unknown = facts["skill"] is None and facts["loss_ratio"] is None
        is_enough = is_course and (is_unknown or facts.above("skill", ENOUGH_SKILL))
        if one.cause == "overfitting":
            is_enough = facts.above("skill", _OVERFIT_SKILL) and not facts.above("gap", _OVERFIT_GAP)
        # What keeps a network from learning is not at fault where it learned its own rows.
        is_learned = one.cause in _OF_LEARNING and facts.above("train_skill", _BY_HEART_SKILL)
        if not one.always and (hurt < HARMLESS or is_enough or is_learned):
            continue
        if confidence >= TOLD_FROM:
            told_causes.append((one, confidence))
    told_causes.sort(key=lambda pair: -pair[1])
    chosen = told_causes[:1]
    for one, confidence in told_causes[1:]:
        if confidence >= SECOND_FROM and confidence >= chosen[0][1] - SECOND_WITHIN and len(chosen) < 2:
            chosen.append((one, confidence))
    # One that stopped as it got no better, where no rule suspects anything, may be as good as the data lets it be.
    if not chosen and hurt >= 0.8 and facts.stored.status != "early_stopped" and (last := _last_resort(facts)):
        chosen = [(last, last.certainty)]
    findings = tuple(_finding(facts, one, confidence, symptoms) for one, confidence in chosen)
    shown = tuple(symptoms) if findings else ()
    remarks = (*(one for one in every if not findings or one not in symptoms), *table_remarks(facts))
    numbers = [each for found in findings for each in found.evidence]
    numbers += [each for seen in (*shown, *remarks) for each in seen.evidence]
    named = dict.fromkeys(each.series for each in numbers if each.series)
    return Diagnosis(
        findings,
        shown,
        remarks,
        tuple(_checked(facts)),
        tuple(_missing(facts)),
        facts["skill"],
        facts.last_step,
        {name: series for name in ("loss", *named) if (series := drawn(facts, name)) is not None},
    )


def _harms(one: Symptom) -> bool:
    """Return whether a symptom is of a size that can do harm: some dead ReLUs do none."""
    return one.name != "dead_relu" or any(each.value > HURT_SHARE for each in one.evidence)


def _last_resort(facts: Facts) -> Suspect | None:
    """Name what is most probable where a training did not learn and no rule says why.

    None where it learned some of it, and then no more: that may be all there is to be learned.
    """
    if facts.above("loss_still_falling", 0.02):
        return Suspect("too_few_epochs", 0.4, told(over(facts, "loss_still_falling", 0.02)))
    if facts.below("moved", 0.3):
        return Suspect("lr_too_low", 0.4, told(under(facts, "moved", 0.3)))
    if facts.above("gap", 0.2):
        return Suspect("overfitting", 0.4, told(over(facts, "gap", 0.2)))
    if facts.above("skill", SOME_SKILL):
        return None
    if facts.above("update_ratio", 0.01):
        return Suspect("lr_too_high", 0.4, told(over(facts, "update_ratio", 0.01)))
    return Suspect("network_too_small", 0.4, told(under(facts, "loss_still_falling", 0.02)))


def _finding(facts: Facts, one: Suspect, confidence: float, symptoms: list[Symptom]) -> Finding:
    cause = CAUSES[one.cause]
    words = _words(facts) | {"column": _column(facts, one)}
    is_own = facts.stored.network_dict is not None
    said = facts.stored.description.get("data")
    line = own_line(one.cause, words, said) if is_own else torch_line(facts, one, words)
    if line is None:
        line = cause.line.format(**words | {"column": shlex.quote(words["column"])})
    is_dropout = one.cause == "excessive_regularisation" and any(each.quantity == "dropout" for each in one.evidence)
    change = ("dropout", f"{DROPOUT}") if is_dropout else cause.change
    neurons = next((symptom.neurons for symptom in symptoms if symptom.neurons), ())
    first = one.first_step
    if first is None:
        first = next((symptom.first_step for symptom in symptoms if symptom.first_step is not None), None)
    return Finding(
        cause=one.cause,
        symptoms=tuple(dict.fromkeys(symptom.name for symptom in symptoms)),
        confidence=round(confidence, 3),
        layers=one.layers or next((symptom.layers for symptom in symptoms if symptom.layers), ()),
        neurons=neurons,
        first_step=first,
        steps=_steps(facts, first),
        evidence=one.evidence,
        student=" ".join([cause.why, *_detail(facts, one), *(symptom.sentence for symptom in symptoms[:2])]),
        expert=cause.mechanism,
        reference=cause.reference,
        treatment=Treatment(*change, cause.mend.format(**words), line),
    )


def _steps(facts: Facts, first: int | None) -> tuple[int, ...]:
    """Return recorded steps to look at, from the first on."""
    frames = np.asarray(facts.recording.frames)
    frames = frames if first is None else frames[frames >= first]
    if not len(frames):
        return ()
    places = np.unique(np.linspace(0, len(frames) - 1, _MOST_STEPS).round().astype(int))
    return tuple(frames[places].tolist())


def _detail(facts: Facts, one: Suspect) -> list[str]:
    """Say in a sentence what of this training it is about; nothing where the cause says it all."""
    kind, _ = facts.optimizer
    rate, prediction, target = facts["learning_rate"], facts.shape("prediction"), facts.shape("target")
    behind = " and ".join(reversed(facts.output_functions)) or "nothing"
    fallen = f", and below {rate / 100:g} for most of the training" if rate and facts.below("rate_fallen", 0.01) else ""
    turned = " It is below 0: its sign is turned." if facts.below("loss_last", 0) else ""
    within = f", which computes {facts.loss_kind}" if "_of_s" in (facts.loss_kind or "") else ""
    at = f" at a learning rate of {rate:g}" if rate else ""
    climbs = ", and climbs: maximize=True" if facts.optimizer[1].get("maximize") is True else ""
    found = {
        "lr_too_high": f"The learning rate of {kind} is {rate:g}." if rate else "",
        "lr_too_low": f"The learning rate of {kind} is {rate:g}{fallen}." if rate else "",
        "wrong_loss": f"The loss is {facts.loss_function} (computed: {facts.loss_kind or 'none that is known'}), the "
        f"task {facts.task}.{turned}",
        "wrong_output_activation": f"Behind the last layer stands {behind}, before {facts.loss_function}{within}.",
        "wrong_output_size": f"The loss gets predictions of shape {prediction} and targets of shape {target}.",
        "label_shape_mismatch": f"The loss gets predictions of shape {prediction} and targets of shape {target}.",
        "class_imbalance": f"Rows of each class: {facts.target_counts}." if len(facts.target_counts) <= 20 else "",
        "wrong_optimizer": f"The optimizer is {kind}{at}{climbs}.",
    }.get(one.cause, "")
    return [found] if found else []


def _words(facts: Facts) -> dict[str, Any]:
    """Return what stands in the lines to type."""
    rate = facts["learning_rate"] or 1e-3
    kind = facts.optimizer[0] or "Adam"
    low, high = USUAL_RATES.get(kind, (rate, rate))
    middle = math.sqrt(low * high)
    if kind == "SGD":  # where a training of our own engine begins, too
        middle = 0.01 if facts.optimizer[1].get("momentum") else 0.1
    usual = rate if low <= rate <= high else middle
    classes = max(2, len(facts.target_values)) if facts.task == "classes" else int(facts["outputs"] or 1)
    last = facts.weighted[-1] if facts.weighted else None
    fan_in = last.parameters[last.weights].shape[1] if last is not None and last.weights is not None else 0
    bare = "No function behind the last layer: {} wants its plain sums."
    line, output = {
        "classes": ("nn.CrossEntropyLoss()", bare.format("CrossEntropyLoss")),
        "binary": ("nn.BCEWithLogitsLoss()", bare.format("BCEWithLogitsLoss")),
    }.get(facts.task or "", ("nn.MSELoss()", "No function behind the last layer, as numbers may be anything."))
    counts = facts.target_counts
    total = sum(counts.values())
    weights = [round(total / (len(counts) * count), 2) for count in counts.values()][:20] if counts else []
    epochs, decay = facts["epochs_seen"], facts["weight_decay"]
    return {
        "optimizer": kind, "lr": rate, "lower_lr": _one_digit(min(rate / 10, usual)),
        "higher_lr": _one_digit(max(rate * 10, usual)),
        "more_decay": _one_digit(10 * decay) if decay else 1e-3,
        "more_epochs": math.ceil(3 * epochs) if epochs else "3 * epochs", "fan_in": fan_in, "outputs": classes,
        "wider": max(16, 4 * int(facts["narrowest"] or 4)), "loss_line": line, "output_mend": output,
        "output_line": f"model = nn.Sequential(…, nn.Linear({fan_in}, {classes})); loss = {line}",
        "weights": f"torch.tensor({weights})", "run": _run(facts),
    }  # fmt: skip


def _column(facts: Facts, one: Suspect) -> str:
    """Return the column of the table that is meant: of one of its values, ``zipcode=98103``, the whole column."""
    if not one.layers:
        return "COLUMN"
    features = facts.stored.description.get("features")
    every = [str(name) for name in features] if isinstance(features, list) else []
    beginning = one.layers[0].partition("=")[0] + "="
    is_value = beginning in one.layers[0] and sum(name.startswith(beginning) for name in every) > 1
    return beginning[:-1] if is_value else one.layers[0]


def _run(facts: Facts) -> str:
    """Return what names the run in a command: its id, where its recording lies in a folder of that name."""
    name = facts.stored.folder.absolute().parent.name
    return name if re.fullmatch("[0-9a-f]{32}", name) else "RUN"


def _one_digit(value: float) -> float:
    return float(f"{value:.1g}")


def _checked(facts: Facts) -> list[str]:
    """Say what was looked at."""
    found = []
    if len(facts.losses[0]):
        found.append(f"the loss of {len(facts.losses[0]):,} steps")
    if len(facts.recording.frames):
        found.append(f"weights, gradients, updates and activations of {sum(one.neurons for one in facts.layers):,} "
                     f"neurons at {len(facts.recording.frames):,} steps")  # fmt: skip
    if facts.graph_layers:
        found.append(f"the graph of {len(facts.graph_layers)} layers")
    if facts.data.get("inputs"):
        found.append(f"inputs and targets of {len(facts.column('step')):,} batches")
    if table := table_of(facts):
        found.append(f"{len(table['target_from']):,} columns of the table")
    if facts.optimizer[0]:
        found.append(f"the settings of {facts.optimizer[0]}, modes, and whether gradients are cleared")
    if facts.validated:
        found.append(f"the rows held out at {len(facts.validated)} steps")
    return found


def _missing(facts: Facts) -> list[str]:
    """Say what could not be looked at."""
    found = []
    if not len(facts.losses[0]):
        found.append("the loss (hand it to watch: loss=)")
    if not facts.validated or facts["validation_skill"] is None:
        found.append("rows held out (hand them to watch: validation=)")
    if not facts.graph_layers:
        found.append("the graph of the model")
    if not facts.data.get("inputs"):
        found.append("inputs and targets")
    if facts.unobserved is not None:
        found.append(f"inputs, targets and settings to the end, as observing them failed: {facts.unobserved}")
    reason = getattr(facts, "no_data", None)
    return [*found, *([f"the data: {reason}"] if reason else []), *facts.recording.problems]
