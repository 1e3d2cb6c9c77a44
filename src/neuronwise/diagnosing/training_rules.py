"""Rules on how the training went: learning rate, optimizer, batches, length, regularisation, size of the network."""

from __future__ import annotations

import math

from neuronwise.diagnosing.facts import Facts
from neuronwise.diagnosing.suspects import SOME_SKILL, Suspect, has_converged, over, told, under

# Rates that are usual, by optimizer: below the first they are small, above the second large.
USUAL_RATES = {
    "SGD": (3e-3, 0.5), "Adam": (2e-4, 1e-2), "AdamW": (2e-4, 1e-2), "NAdam": (2e-4, 1e-2), "RAdam": (2e-4, 1e-2),
    "Adamax": (5e-4, 2e-2), "RMSprop": (2e-4, 5e-3), "Adagrad": (5e-3, 0.1), "Adadelta": (0.1, 10.0),
}  # fmt: skip
# So much better held out than in training, which is 3 standard errors of some hundred rows: its labels are worse.
NOISY_GAP = 0.15
# After so few steps what the last recorded batches gave is not yet how it ended.
FEW_STEPS = 150
HEAVY_MOMENTUM = 0.985
# From this share of a layer's neurons on, dead or saturated ones may be why it does not learn.
HURT_SHARE = 0.4
_DEFAULTS = "defaults of torch.optim, and a factor of 3 to 10 around"


def usual_rates(facts: Facts) -> tuple[float, float]:
    """Return the usual learning rates of the optimizer, from and to; of SGD less the more momentum there is."""
    kind, settings = facts.optimizer
    low, high = USUAL_RATES.get(kind, (0.0, math.inf))
    if kind == "SGD" and isinstance(momentum := settings.get("momentum"), float) and 0 < momentum < 1:
        # Rounded, so that 0.05 is not above 0.5 * (1 - 0.9).
        low, high = (float(f"{limit * (1 - momentum):.6g}") for limit in (low, high))
    return low, high


def rate_beyond(facts: Facts) -> float:
    """Return how far the learning rate lies outside the usual ones, as log10: positive above, negative below."""
    rate = facts["learning_rate"]
    if facts.optimizer[0] not in USUAL_RATES or not rate:
        return 0.0
    low, high = usual_rates(facts)
    return math.log10(rate / high) if rate > high else math.log10(rate / low) if rate < low else 0.0


def too_high(facts: Facts) -> Suspect | None:
    """Suspect steps that are too long."""
    beyond = rate_beyond(facts)
    first = facts["nonfinite_step"]
    wild = over(facts, "update_ratio", 0.08, "TheDeepChecker: 0.1")
    early = over(facts, "update_ratio_early", 0.5)
    jumps = over(facts, "loss_rises", 0.25)
    worse = over(facts, "loss_beside_best", 1.5)
    grown = over(facts, "loss_ratio", 0.95)
    spike = over(facts, "loss_spike", 5)
    if first is not None:
        value = 0.6 + 0.25 * min(1.0, max(0.0, beyond)) + (0.1 if wild or early else 0)
        seen = over(facts, "nonfinite_step", 0, "all is finite")
        return Suspect("lr_too_high", value, told(seen, wild, early), first_step=int(first))
    value = 0.0
    hurt = facts.above("dead_share", HURT_SHARE) or facts.above("saturated_share", HURT_SHARE)
    # A rate that learns is none too high: not by its number alone, nor as the loss of what cannot be foretold goes up
    # and down with the rows of a batch.
    is_calm = not (wild or early or worse or grown or spike or hurt) and facts.above("skill", SOME_SKILL)
    if beyond > 0 and not (is_calm and not jumps and facts.below("loss_ratio", 0.7)):
        value = 0.45 + 0.25 * min(1.0, beyond)
    if spike:
        value = max(value, 0.35) + 0.1
    if wild:
        value = max(value, 0.35) + 0.15
    if jumps and not (is_calm and beyond <= 0):
        value = max(value, 0.3) + 0.1
    if worse or grown:
        value = max(value, 0.2) + 0.1
    if early:
        value += 0.1
    if beyond < 0:
        value -= 0.3
    at_rate = over(facts, "learning_rate", usual_rates(facts)[1], _DEFAULTS)
    return (
        Suspect("lr_too_high", min(0.93, value), told(at_rate, wild, early, jumps, worse, grown, spike))
        if value > 0.3
        else None
    )


def too_low(facts: Facts) -> Suspect | None:
    """Suspect steps that are too short."""
    kind, _ = facts.optimizer
    if kind in ("Adadelta", "Adagrad"):
        return None  # whose rule is at fault, not its rate
    beyond = rate_beyond(facts)
    still = under(facts, "moved", 0.12)
    falling = over(facts, "loss_still_falling", 0.03)
    small = under(facts, "update_ratio", 3e-4, "about 1e-3 is common")
    fallen = under(facts, "rate_fallen", 0.01, "a schedule that ends at a hundredth is over half of the way above it")
    value = 0.0
    if fallen:  # a schedule that counts steps as epochs
        value = 0.35
    if beyond < 0:
        value = 0.5 + 0.2 * min(1.5, -beyond)
    if small:
        value += 0.3
    if still and (small or beyond < 0):  # few steps of a usual size do not go far either
        value += 0.25
    if falling and (small or beyond < 0):
        value += 0.1
    if facts.above("update_ratio", 3e-3):
        value -= 0.3
    at_rate = under(facts, "learning_rate", usual_rates(facts)[0], _DEFAULTS)
    seen = told(at_rate, still, small, falling, fallen)
    return Suspect("lr_too_low", min(0.93, value), seen) if value > 0.3 else None


def too_short(facts: Facts) -> Suspect | None:
    """Suspect a training that was stopped while it got better; not one that stopped as it no longer did."""
    if facts.stored.status == "early_stopped":
        return None
    falling = over(facts, "loss_still_falling", 0.06)
    few = under(facts, "steps", 400)
    hardly = under(facts, "steps", FEW_STEPS)
    epochs = facts["epochs_seen"]
    seldom = under(facts, "epochs_seen", 6)
    unseen = not len(facts.column("seen_before")) or facts.column("seen_before")[-1] == 0  # no row came twice
    if falling is None and not (hardly and (seldom or (epochs is None and unseen))):
        return None
    value = 0.42 if falling is None else 0.4 + min(0.25, falling.value)
    value += (0.15 if few else 0) + (0.1 if seldom else 0)
    if rate_beyond(facts) < 0:
        value -= 0.25
    if facts.above("validation_loss_rise", 1.2):
        value -= 0.3  # more of it would make it worse
    if facts.below("gap", -NOISY_GAP) and facts.below("modal_modules", 1):
        value -= 0.15  # wrong labels are learned by heart for ever
    return Suspect("too_few_epochs", min(0.85, value), told(falling, few, seldom))


def batch(facts: Facts) -> Suspect | None:
    """Suspect batches of the wrong size."""
    rows, size = facts["rows_seen"], facts["batch_rows"]
    if size is None:
        return None
    if size <= 3 and (small := under(facts, "batch_rows", 4)):
        noisy = over(facts, "loss_rises", 0.25)
        return Suspect("batch_too_small", 0.86 if noisy else 0.78, told(small, noisy))
    is_slow = not has_converged(facts) or facts.above("loss_ratio", 0.5)
    if rows is not None and rows >= 150 and size > 0.3 * rows and size >= 128 and is_slow:
        large = over(facts, "batch_rows", 0.3 * rows)
        few = under(facts, "steps", 400)
        return Suspect("batch_too_large", 0.72 if few else 0.5, told(large, few))
    return None


def optimizer(facts: Facts) -> Suspect | None:
    """Suspect an optimizer whose rule or constants do not fit."""
    kind, settings = facts.optimizer
    beyond = rate_beyond(facts)

    def number(name: str, default: float) -> float:
        value = settings.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default

    if settings.get("maximize") is True:
        return Suspect("wrong_optimizer", 0.97, told(over(facts, "loss_ratio", 1, "a training makes the loss smaller")))
    betas = settings.get("betas")
    first, second = (float(betas[0]), float(betas[1])) if isinstance(betas, list) and len(betas) == 2 else (0.9, 0.999)
    if kind in ("Adadelta", "Adagrad") and beyond < 0:
        return Suspect("wrong_optimizer", 0.85, told(under(facts, "learning_rate", USUAL_RATES[kind][0], _DEFAULTS)))
    if number("momentum", 0) >= HEAVY_MOMENTUM:  # steps that are a hundred times as long as the rate says
        return Suspect("wrong_optimizer", 0.96)
    if first > 0.96 or first < 0.3 or second < 0.9 or (number("eps", 1e-8) >= 1e-3 and kind.startswith("Ada")):
        return Suspect("wrong_optimizer", 0.85)
    if number("momentum", 0) > 0.97:
        return Suspect("wrong_optimizer", 0.8)
    if kind in ("Adadelta", "Adagrad", "Rprop", "ASGD"):
        return Suspect("wrong_optimizer", 0.45)
    if kind == "SGD" and not number("momentum", 0) and facts.above("depth", 3) and beyond <= 0:
        return Suspect("wrong_optimizer", 0.3)
    return None


def regularisation(facts: Facts) -> Suspect | None:
    """Suspect weight decay or dropout that is too strong."""
    kind, _ = facts.optimizer
    usual = 0.1 if kind == "AdamW" else 5e-3
    decay = over(facts, "weight_decay", usual, "1e-4 is common; AdamW 1e-2")
    drop = over(facts, "dropout", 0.55, "Srivastava et al. (2014): at most 0.5")
    shrunk = under(facts, "weights_shrunk", 0.8)
    if decay:
        return Suspect("excessive_regularisation", 0.9 if shrunk else 0.45, told(decay, shrunk))
    if drop:
        return Suspect("excessive_regularisation", 0.65 + 0.5 * (drop.value - 0.55), (drop,))
    return None


def size(facts: Facts) -> Suspect | None:
    """Suspect a network that is too small, or too deep."""
    vanishing = under(facts, "first_last_gradient", 0.05, "Glorot, Bengio (2010)")
    deep = over(facts, "depth", 7.5)
    is_normed = any(kind in ("batchnorm", "layernorm") for kind in facts.hidden_functions)
    has_skips = bool(facts.graph.get("merges"))
    if deep and not is_normed and not has_skips:
        return Suspect("network_too_deep", 0.85 if vanishing or facts.below("output_constant", 0.1) else 0.6,
                       told(deep, vanishing))  # fmt: skip
    few = under(facts, "narrowest", 5)
    if few and not facts.above("gap", 0.25):
        outputs = facts["outputs"] or 1
        value = 0.62 + (0.08 if few.value <= 2 else 0) + (0.1 if outputs > few.value else 0)
        return Suspect("network_too_small", value, told(few))
    # One layer that learned some of it may be all that is needed.
    if (
        facts.weighted
        and len(facts.weighted) == 1
        and not facts.above("gap", 0.25)
        and facts.below("skill", SOME_SKILL)
    ):
        return Suspect("network_too_small", 0.4, told(under(facts, "depth", 1.5, "one layer draws straight lines")))
    return None


TRAINING_RULES = (too_high, too_low, too_short, batch, optimizer, regularisation, size)
