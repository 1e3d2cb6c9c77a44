"""House sales of King County: `neuronwise.train` with its default options, on several random splits.

    python benchmarks/houses.py --data kc_house_data.csv [--quick]

Without ``--data`` the file is ``housing/kc_house_data.csv`` in the folder that `NEURONWISE_DATA` names.

Each seed gives its own split (15 % test rows) and its own first weights. Beside the network, on the same split and the
same encoded inputs: linear regression (the baseline that `train` reports), scikit-learn's `MLPRegressor` with the same
hidden layers and early stopping, else its defaults, and `HistGradientBoostingRegressor` with its defaults. All learn
the logarithm of the price from all rows that are not test rows; those that stop early choose their own validation rows
among them.

Seconds of a split are those of the whole call: reading the file, encoding, training, recording, baselines, and keeping
the run in a new MLflow store in a temporary folder (the first call also imports MLflow and scikit-learn).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from measuring import arguments, machine, restart_clean, save, spread, table, timed

AIMS = {"r2_log_at_least": 0.895, "median_percent_error_at_most": 9.0, "seconds_below": 20.0}


def main() -> None:
    parser = arguments(__doc__, "houses.json")
    parser.add_argument("--data", type=Path, help="kc_house_data.csv, or another table of sales")
    parser.add_argument("--target", default="price", help="the column to predict (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="random splits (default %(default)s)")
    options = parser.parse_args()
    if options.data is None and "NEURONWISE_DATA" in os.environ:
        options.data = Path(os.environ["NEURONWISE_DATA"]) / "housing" / "kc_house_data.csv"
    if options.data is None or not options.data.is_file():
        parser.error(f"no such file: {options.data}; give the table of sales with --data kc_house_data.csv")
    restart_clean()
    result: dict[str, Any] = {
        "benchmark": "houses",
        "command": "python benchmarks/houses.py --data kc_house_data.csv",
        "quick": options.quick,
        "machine": machine(["scikit-learn", "pandas", "mlflow"]),
        "splits": [],
    }
    with tempfile.TemporaryDirectory() as home:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
            os.environ.pop(name, None)
        os.environ["NEURONWISE_HOME"] = home
        for seed in range(1 if options.quick else options.seeds):
            split = measure(str(options.data), options.target, seed, {"epochs": 2} if options.quick else {})
            result["splits"].append(split)
            texts = [f"{k} {v['r2_log']:.4f} {v['median_percent_error']:.2f} %" for k, v in split["scores"].items()]
            print(f"seed {seed}: {'; '.join(texts)}; {split['wall_s']:.1f} s", flush=True)
    result |= summary(result["splits"])
    print("\n" + as_table(result))
    save(result, options.out)


def measure(data: str, target: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Train on one split and return all scores and seconds."""
    import neuronwise

    cpu, wall, run = timed(lambda: neuronwise.train(data, target=target, seed=seed, **settings))
    scores = {"neuronwise": run.metrics} | {
        score.name: score.metrics for score in run.baselines if score.name != "mean"
    }
    seconds = {"neuronwise": run.duration_s}
    for name, found in contenders(data, target, seed).items():
        scores[name], seconds[name] = found
    kept = ("r2_log", "median_percent_error", "r2", "mean_absolute_error")
    return {
        "seed": seed,
        "scores": {name: {key: metrics[key] for key in kept} for name, metrics in scores.items()},
        "learning_s": seconds,
        "wall_s": wall,
        "cpu_s": cpu,
        "epochs": len(run.history),
        "best_epoch": run.best_epoch,
        "inputs": run.data["inputs"],
        "parameters": run.network.parameter_count,
        "settings": {
            key: run.settings[key] for key in ("layers", "optimizer", "learning_rate", "weight_decay", "batch_size")
        },
    }


def contenders(data: str, target: str, seed: int) -> dict[str, tuple[dict[str, float], float]]:
    """Return score and seconds of scikit-learn's models on the split and encoding of `train`."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.neural_network import MLPRegressor

    from neuronwise.running import DataOptions, prepare, score

    prepared = prepare(data, DataOptions(target), seed)
    known = np.concatenate([prepared.train, prepared.validation])
    X, y = prepared.X[known], prepared.y[known].reshape(-1)
    X_test, y_test = prepared.X[prepared.test], prepared.y[prepared.test]
    models = {
        "scikit-learn MLP": MLPRegressor(hidden_layer_sizes=(64, 32), early_stopping=True, random_state=seed),
        "gradient boosting": HistGradientBoostingRegressor(random_state=seed),
    }
    found = {}
    for name, model in models.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, wall, _ = timed(lambda: model.fit(X, y))  # noqa: B023 - called at once
        found[name] = score(prepared.target, y_test, model.predict(X_test).reshape(-1, 1)), wall
    return found


def summary(splits: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(splits[0]["scores"])
    means = {
        name: {
            key: statistics.mean(split["scores"][name][key] for split in splits) for key in splits[0]["scores"][name]
        }
        for name in names
    }
    ours, seconds = means["neuronwise"], [split["wall_s"] for split in splits]
    above = [
        split["scores"]["neuronwise"]["r2_log"] > split["scores"]["linear regression"]["r2_log"]
        and split["scores"]["neuronwise"]["median_percent_error"]
        < split["scores"]["linear regression"]["median_percent_error"]
        for split in splits
    ]
    return {
        "means": means,
        "wall_s": spread(seconds),
        "aims": AIMS,
        "met": {
            "r2_log": ours["r2_log"] >= AIMS["r2_log_at_least"],
            "median_percent_error": ours["median_percent_error"] <= AIMS["median_percent_error_at_most"],
            "above_linear_regression_on_each_split": all(above),
            "seconds_of_each_split": max(seconds) < AIMS["seconds_below"],
        },
    }


def as_table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table: R² of the log price and median absolute error in percent."""
    names = list(result["means"])

    def cells(scores: dict[str, Any]) -> list[str]:
        return [f"{scores[name]['r2_log']:.4f}, {scores[name]['median_percent_error']:.2f} %" for name in names]

    rows = [
        [f"split {s['seed']}", *cells(s["scores"]), f"{s['wall_s']:.1f} ({s['learning_s']['neuronwise']:.1f})"]
        for s in result["splits"]
    ]
    learning = statistics.mean(s["learning_s"]["neuronwise"] for s in result["splits"])
    seconds = statistics.mean(s["wall_s"] for s in result["splits"])
    rows.append(
        ["**mean**", *(f"**{cell}**" for cell in cells(result["means"])), f"**{seconds:.1f}** ({learning:.1f})"]
    )
    return table(["R² of log price, median error", *names, "seconds of train (of fit)"], rows)


if __name__ == "__main__":
    sys.exit(main())
