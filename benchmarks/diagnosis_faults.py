"""What is drawn for `diagnosis_networks`: a training that should go well, and every fault that fits it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from diagnosis_data import CLASSES, NUMBERS


def draw(number: int) -> dict[str, Any]:
    """Return a training that should go well."""
    g = np.random.default_rng([number, 5])
    name = str(g.choice([*CLASSES, *NUMBERS, "smooth", "plane", "clouds", "teacher"]))
    optimizer = str(g.choice(["adam", "adam", "sgd", "momentum", "adamw", "rmsprop", "adamax"]))
    low, high = {"adam": (1e-3, 1e-2), "adamw": (1e-3, 1e-2), "sgd": (0.05, 0.3), "momentum": (0.01, 0.05),
                 "rmsprop": (5e-4, 3e-3), "adamax": (2e-3, 2e-2)}[optimizer]  # fmt: skip
    case: dict[str, Any] = {
        "number": number, "data": name, "rows": int(g.integers(300, 800)),
        "widths": [int(2 ** g.integers(4, 7)) for _ in range(int(g.integers(1, 4)))],
        "activation": str(g.choice(["relu", "relu", "relu", "tanh", "gelu", "leaky", "elu", "silu"])),
        "norm": bool(g.random() < 0.2), "dropout": float(g.choice([0, 0, 0, 0.1, 0.3])),
        "optimizer": optimizer, "rate": float(np.exp(g.uniform(np.log(low), np.log(high)))),
        "batch": int(g.choice([16, 32, 32, 64])), "epochs": int(g.integers(12, 30)),
        "cell": str(g.choice(["gru", "lstm"])),
        "loss": "mse" if name in NUMBERS else str(g.choice(["ce", "ce", "nll"])),
        "decay": float(g.choice([0, 0, 1e-5, 1e-4])), "skip": bool(g.random() < 0.1),
    }  # fmt: skip
    if name in ("corners", "sums") and g.random() < 0.6:
        case["loss"] = str(g.choice(["bce", "bce_logits"]))
    return case


def faults(case: dict[str, Any], g: np.random.Generator) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every fault that fits a training: its cause, and what to change."""
    rate, name, is_number = case["rate"], case["data"], case["data"] in NUMBERS
    yield "lr_too_high", {"rate": rate * 10 ** g.uniform(1.3, 3)}
    yield "lr_too_low", {"rate": rate / 10 ** g.uniform(1.7, 3.5)}
    yield "too_few_epochs", {"epochs": int(g.integers(1, 4))}
    yield "batch_too_large", {"batch": case["rows"]}
    yield "batch_too_small", {"batch": int(g.integers(1, 3)), "epochs": max(2, case["epochs"] // 12)}
    yield "wrong_optimizer", [{"optimizer": "adadelta", "rate": 1e-3}, {"optimizer": "adagrad", "rate": 3e-4},
                              {"optimizer": "adam_slow"}, {"optimizer": "momentum99"}][int(g.integers(4))]  # fmt: skip
    yield "missing_hidden_activation", {"activation": "none", "norm": False}
    yield "wrong_hidden_activation", [{"activation": "sigmoid", "widths": [32] * int(g.integers(4, 7)), "norm": False},
                                      {"activation": "softmax"}, {"activation": "exp"},
                                      {"activation": "hardsigmoid", "widths": [32] * 5, "norm": False},
                                      ][int(g.integers(4))]  # fmt: skip
    yield "bad_init_symmetric", {"init": str(g.choice(["zeros", "const"])), "norm": False}
    yield "bad_init_scale", {"init": ["times", float(10 ** g.choice([-2.5, -2, 1.3, 1.8]))], "norm": False}
    yield "bad_init_scale", {"init": ["bias", float(-(10 ** g.uniform(0.6, 1.3)))], "norm": False}
    if name not in ("tokens",):
        yield "input_not_normalised", {"inputs": [["times", 10 ** g.uniform(1.5, 3)], ["offset", 10 ** g.uniform(1, 2)],
                                                  ["uneven", 3]][int(g.integers(3))]}  # fmt: skip
        yield (
            "preprocessing_mismatch",
            {"held": [["times", 10 ** g.uniform(0.8, 2.4)], ["offset", 5]][int(g.integers(2))]},
        )
    if is_number:
        yield "target_not_normalised", {"targets": [10 ** g.uniform(1.5, 4), 10 ** g.uniform(0, 3)]}
        yield "label_shape_mismatch", {"flat": True}
        yield "wrong_output_activation", {"output": str(g.choice(["sigmoid", "relu", "tanh"]))}
        yield "wrong_loss", {"loss": "bce_clipped"}
    else:
        yield "wrong_labels", [{"noise": g.uniform(0.6, 0.9)}, {"shift": 1}][int(g.integers(2))]
        if case["loss"] in ("ce", "nll"):
            yield "wrong_output_activation", {"loss": "ce", "output": str(g.choice(["softmax", "relu", "sigmoid"]))}
            yield "wrong_output_activation", {"loss": "nll", "output": "softmax"}
            yield "wrong_loss", {"loss": str(g.choice(["one_hot_mse", "one_hot_mae"])), "output": "softmax"}
            yield "wrong_output_size", {"outputs": 1, "loss": "index"}
        else:
            yield "wrong_loss", {"loss": "mae", "output": "sigmoid"}
            yield "wrong_output_activation", {"loss": "bce_logits", "output": str(g.choice(["relu", "sigmoid"]))}
            yield "wrong_output_activation", {"loss": "bce_clipped", "output": "none"}
        yield "class_imbalance", {"keep": 0.03}
    yield "network_too_small", {"widths": [int(g.integers(1, 3))] * len(case["widths"])}
    yield "network_too_deep", {"widths": [24] * int(g.integers(10, 20)), "norm": False, "skip": False,
                               "activation": str(g.choice(["relu", "tanh", "sigmoid"]))}  # fmt: skip
    yield "overfitting", {"rows": 120, "noise": 0.25, "epochs": 60, "widths": [128, 128], "dropout": 0.0}
    yield "too_few_data", {"rows": int(g.integers(16, 60)), "epochs": 60}
    yield "excessive_regularisation", [{"decay": float(10 ** g.uniform(-1.2, 0))}, {"dropout": g.uniform(0.8, 0.95)}][
        int(g.integers(2))]  # fmt: skip
    yield "data_not_shuffled", {"order": True}
    yield "missing_zero_grad", {"clears": False}
    yield "frozen_layer", {"frozen": str(g.choice(["needs_none", "not_held"]))}
    if case["norm"] or case["dropout"]:
        yield "wrong_train_eval_mode", {"dropout": 0.5, "mode": str(g.choice(["evaluates_in_train", "trains_in_eval"])),
                                        "norm": True}  # fmt: skip
