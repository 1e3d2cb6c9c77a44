"""What a training costs more when its MLflow store is away: from the start, or from the middle on.

    python benchmarks/mlflow_away.py [--quick] [--rounds N]

`neuronwise.train` on made arrays, 784-128-64-10, recorded as it is by default, on one core: kept in a folder only;
tracked in a server that is not there; and tracked in a real MLflow server (on the loopback, with a core of its own)
that is killed after a quarter of the epochs. In every round each trains once, in a new order, and ratios are taken
within rounds. The time of a step is that of the median epoch, from the end of one to the end of the next, since single
epochs are disturbed by what else a machine does; of the training whose server is killed, of those after that. Beside it
stands the whole of `fit` (`Run.duration_s`) per step, with what comes once. At the end the weights of all are compared:
they must be the same to the last bit. What did not arrive is completed by `neuronwise sync`, which is tested, not
measured.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from measuring import arguments, machine, pin, restart_clean, save, spread, table

KINDS = ("in a folder only", "MLflow away from the start", "MLflow killed in the middle")
BARE = KINDS[0]


def main() -> None:
    parser = arguments(__doc__, "mlflow_away.json")
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default %(default)s)")
    options = parser.parse_args()
    restart_clean()
    pin()
    import numpy as np

    rows, epochs, rounds = (2_000, 4, 1) if options.quick else (20_000, 60, options.rounds)
    rng = np.random.default_rng(0)
    X = rng.random((rows, 784), dtype=np.float32)
    y = (X @ rng.standard_normal((784, 10)).astype(np.float32)).argmax(axis=1)
    median: dict[str, list[float]] = {kind: [] for kind in KINDS}
    whole: dict[str, list[float]] = {kind: [] for kind in KINDS}
    weights: dict[str, Any] = {}
    order, shuffler = list(KINDS), random.Random(0)
    for number in range(rounds):
        print(f"  round {number + 1} of {rounds}", flush=True)
        shuffler.shuffle(order)
        for kind in order:
            run, ends = train(kind, (X, y), epochs)
            # Of all kinds the same epochs: those after the server was killed.
            durations = [b - a for a, b in itertools.pairwise(ends)][epochs // 4 :]
            median[kind].append(statistics.median(durations) / (run.steps / epochs) * 1e6)
            whole[kind].append(run.duration_s / run.steps * 1e6)
            weights[kind] = run.network.parameters
    result: dict[str, Any] = {
        "benchmark": "mlflow_away",
        "command": "python benchmarks/mlflow_away.py",
        "quick": options.quick,
        "machine": machine(["mlflow"]),
        "epochs": epochs,
        "rounds": rounds,
        "kinds": {
            kind: {
                "wall_us": spread(median[kind]),
                "ratio": spread([a / b for a, b in zip(median[kind], median[BARE], strict=True)]),
                "ratio_whole": spread([a / b for a, b in zip(whole[kind], whole[BARE], strict=True)]),
                "same_weights": bool(np.array_equal(weights[kind], weights[BARE])),
            }
            for kind in KINDS
        },
    }
    print("\n" + as_table(result))
    save(result, options.out)


def train(kind: str, data: Any, epochs: int) -> Any:
    """Return the run of one training, and when its epochs ended, in seconds."""
    import neuronwise
    from neuronwise.learning import Observer, TrainingState

    class Kill(Observer):
        """Kills the server after a quarter of the epochs."""

        def __init__(self, server: subprocess.Popen[bytes]) -> None:
            self.server = server

        def on_epoch_end(self, state: TrainingState) -> None:
            if state.epoch == max(1, state.epochs // 4):
                kill(self.server)

    class Clock(Observer):
        """Notes when epochs end."""

        def __init__(self) -> None:
            self.ends = list[float]()

        def on_epoch_end(self, state: TrainingState) -> None:
            self.ends.append(time.perf_counter())

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NEURONWISE_HOME"] = folder
        observers: list[Observer] = [clock]
        server = None
        port = free_port()
        os.environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{port}"
        if kind == KINDS[2]:
            server = start_server(Path(folder), port)
            observers.append(Kill(server))
        try:
            run = neuronwise.train(
                data,
                layers=[128, 64],
                optimizer="sgd",
                epochs=epochs,
                patience=epochs,
                batch_size=128,
                track=kind != BARE,
                observers=observers,
            )
            return run, clock.ends
        finally:
            if server is not None:
                kill(server)
                server.wait()


def kill(server: subprocess.Popen[bytes]) -> None:
    """Kill a server with the processes it started: those that answer are not the one that was started here."""
    with suppress(ProcessLookupError):  # killed before
        os.killpg(server.pid, signal.SIGKILL)


def start_server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start an MLflow server on the loopback and wait until it answers."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        f"{folder}/artifacts",
    ]
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    others = set(range(os.cpu_count() or 1)) - cores or cores
    server = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=(lambda: os.sched_setaffinity(0, others)) if cores else None,
        start_new_session=True,
    )
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                return server
        except OSError:
            time.sleep(0.1)
    kill(server)
    raise RuntimeError("the MLflow server did not start")


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def as_table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table."""
    rows = []
    for kind, found in result["kinds"].items():
        ratio, whole = found["ratio"], found["ratio_whole"]
        rows.append(
            [
                kind,
                f"{found['wall_us']['median']:.0f}",
                "" if kind == BARE else f"**{ratio['median']:.3f}** ({ratio['min']:.3f} to {ratio['max']:.3f})",
                "" if kind == BARE else f"{whole['median']:.3f} ({whole['min']:.3f} to {whole['max']:.3f})",
                "yes" if found["same_weights"] else "**no**",
            ]
        )
    return table(
        ["784-128-64-10, batch 128", "µs a step", "times a folder only", "the whole of fit", "same bits"], rows
    )


def aims_rows(result: dict[str, Any]) -> list[list[Any]]:
    """Return, for each way of being away, the aim, what was found, and whether it is met."""
    return [
        [f"{kind}: a step at most 1.01 times", f"{found['ratio']['median']:.3f}", found["ratio"]["median"] <= 1.01]
        for kind, found in result["kinds"].items()
        if kind != BARE
    ]


if __name__ == "__main__":
    sys.exit(main())
