"""Rules on the data: scale, order, balance, labels, how much there is, and the rows held out."""

from __future__ import annotations

import math

from neuronwise.diagnosing.facts import Facts
from neuronwise.diagnosing.suspects import Suspect, has_converged, over, told, under
from neuronwise.diagnosing.training_rules import FEW_STEPS, NOISY_GAP

# Of so many rows something holds for others too, if there is anything to be learned.
MANY_ROWS = 300
_LECUN = "LeCun et al. (1998): mean 0, deviation 1"


def not_shuffled(facts: Facts) -> Suspect | None:
    """Suspect rows in the order of their targets."""
    seen = over(facts, "batch_order", 6, "1 in random order")
    if seen is None:
        return None
    return Suspect("data_not_shuffled", 0.93 if seen.value > 10 else 0.8, (seen,))


def nonfinite(facts: Facts) -> Suspect | None:
    """Suspect inputs or targets that are no numbers."""
    seen = told(over(facts, "input_nonfinite", 0, "all is finite"), over(facts, "target_nonfinite", 0, "all is finite"))
    return Suspect("nonfinite_data", 0.98, seen, always=True) if seen else None


def preprocessing(facts: Facts) -> Suspect | None:
    """Suspect rows held out that are scaled otherwise."""
    scale = over(facts, "validation_scale", 0.4, "about 0 where both are treated alike")
    shift = over(facts, "validation_shift", 1.5, "about 0 where both are treated alike")
    # One column, whose largest values may be in one part by chance: five times the deviation is none.
    targets = told(
        over(facts, "validation_target_scale", 0.7, "about 0 where both are treated alike"),
        over(facts, "validation_target_shift", 3, "about 0 where both are treated alike"),
    )
    found = (*told(scale, shift), *targets)
    return Suspect("preprocessing_mismatch", 0.96, found) if found else None


def inputs_not_scaled(facts: Facts) -> Suspect | None:
    """Suspect inputs far from unit scale."""
    large = over(facts, "input_size", 8, _LECUN)
    spread = over(facts, "input_spread", 100, _LECUN)
    small = under(facts, "input_size", 0.05, _LECUN)
    offset = over(facts, "input_offset", 8, _LECUN)
    if any(word in str(one.get("kind")) for one in facts.modules[:1] for word in ("BatchNorm", "LayerNorm")):
        return None
    value = 0.0
    if large:
        value = 0.6 + 0.12 * math.log10(large.value / 8)
    if spread:
        value = max(value, 0.5 + 0.1 * math.log10(spread.value / 100))
        value += 0.1 if large else 0
    if small:
        value = max(value, 0.6 + 0.12 * math.log10(0.05 / max(small.value, 1e-30)))
    if offset:
        value = max(value, 0.65 + 0.15 * math.log10(offset.value / 8)) + (0.05 if large else 0)
    return Suspect("input_not_normalised", min(0.9, value), told(large, spread, small, offset)) if value else None


def targets_not_scaled(facts: Facts) -> Suspect | None:
    """Suspect numbers to be predicted that are far from unit scale."""
    large = over(facts, "target_size", 15, "Bishop (1995), 8.2: about 1")
    small = under(facts, "target_spread", 0.01, "Bishop (1995), 8.2: about 1")
    if large:
        return Suspect("target_not_normalised", min(0.92, 0.65 + 0.12 * math.log10(large.value / 15)), (large,))
    return Suspect("target_not_normalised", 0.6, (small,)) if small else None


def labels(facts: Facts) -> Suspect | None:
    """Suspect labels that disagree between training and the rows held out."""
    apart = over(facts, "classes_apart", 0.35, "0 where both are drawn alike")
    wrong = under(facts, "validation_skill", -0.1, "0 is a constant guess")
    learned = over(facts, "train_skill", 0.5, "0 is a constant guess")
    held = facts.validated[-1].get("targets") if facts.validated else None
    counts = held.get("counts") if isinstance(held, dict) else None
    if isinstance(counts, dict) and facts.target_counts and facts.task in ("classes", "binary"):
        missing = [key for key in counts if key not in facts.target_counts]
        # Of some few rows a class may lack by chance.
        if missing and apart and not facts.above("imbalance", 6) and not facts.below("rows_seen", 100):
            return Suspect("wrong_labels", 0.9, (apart,))
    if wrong and learned and facts.task != "number":
        return Suspect("wrong_labels", 0.9, (wrong, learned))
    # What was learned of many rows holds for none that is held out: what belongs to which is mixed up.
    nothing = under(facts, "validation_skill", 0.05, "0 is a constant guess")
    heart = over(facts, "gap", 0.3)
    is_by_heart = (
        facts.above("train_skill", 0.25) and facts.above("rows_seen", MANY_ROWS) and facts.above("epochs_seen", 5)
    )
    if nothing and heart and is_by_heart and not facts.above("imbalance", 6):
        return Suspect("wrong_labels", 0.8, (nothing, heart))
    # Rows held out whose labels are right are answered better than those of the training, of which many are wrong.
    noisy = under(facts, "gap", -NOISY_GAP)
    is_fair = (
        has_converged(facts)
        and facts.below("modal_modules", 1)
        and facts.above("epochs_seen", 5)
        and facts.above("steps", FEW_STEPS)
        and not facts.above("imbalance", 4)
    )
    if noisy and is_fair and facts.above("validation_skill", 0.15):
        return Suspect("wrong_labels", 0.72 + min(0.15, -noisy.value - NOISY_GAP), (noisy,))
    # What is hard to tell apart is answered without being sure. Labels that are wrong at random are missed as often
    # where the network is sure.
    sure = over(facts, "surest_error", 0.08)
    alike = over(facts, "surest_beside_all", 0.6, "0 where hard rows are missed")
    is_learned = facts.above("validation_skill", 0.1) and not facts.above("gap", 0.3) and facts.above("epochs_seen", 5)
    is_trained = (
        facts.above("steps", FEW_STEPS) and facts.task in ("classes", "binary") and facts.above("skill_gained", 0.1)
    )
    if sure and alike and is_learned and is_trained:
        return Suspect("wrong_labels", 0.62, (sure, alike))
    return None


def imbalanced(facts: Facts) -> Suspect | None:
    """Suspect a class that is rare and not learned."""
    ratio = over(facts, "imbalance", 6, "10: rule ClassImbalance of SageMaker Debugger")
    if ratio is None:
        return None
    missed = under(facts, "rarest_recall", 0.6)
    apart = over(facts, "classes_apart", 0.2, "0 where both are drawn alike")
    # Where the answers of each class are not known: to name the most frequent one must be right mostly.
    is_modal = facts.below("skill", 0.3) and facts.above("modal_share", 0.5)
    if missed or apart or is_modal:
        return Suspect("class_imbalance", 0.88, told(ratio, missed, apart), always=bool(missed))
    return None


def generalisation(facts: Facts) -> Suspect | None:
    """Suspect that the rows were learned by heart, or are too few."""
    gap = over(facts, "gap", 0.25)
    rise = over(facts, "validation_loss_rise", 1.2, "Prechelt (1998): rising validation loss")
    few = under(facts, "rows_seen", 120)
    rows, per_row = facts["rows_seen"], facts["parameters_per_row"]
    if few and rows is not None and rows < 60:
        return Suspect("too_few_data", 0.8 if gap else 0.72, told(gap, few))
    if gap is None:  # the loss may tell of it before the answers do
        apart, much = over(facts, "gap", 0.1), over(facts, "validation_loss_rise", 1.5, "Prechelt (1998)")
        return Suspect("overfitting", 0.7, (apart, much)) if apart and much and facts.below("loss_ratio", 0.5) else None
    if facts.below("train_skill", 0.35):
        return None
    if few and rows is not None:
        return Suspect("too_few_data", 0.8 if rows < 80 else 0.7, told(gap, few))
    certainty = 0.7 + (0.1 if rise else 0) + (0.05 if per_row is not None and per_row > 5 else 0)
    return Suspect("overfitting", certainty, told(gap, rise))


DATA_RULES = (
    nonfinite, not_shuffled, preprocessing, inputs_not_scaled, targets_not_scaled, labels, imbalanced, generalisation,
)  # fmt: skip
