"""What the benchmarks share: a clean environment, one pinned core, the machine in words, results as JSON.

A time is given twice. *CPU seconds* is what the core spent on the process: on an idle machine that is what a clock
shows, and on a busy one it leaves out the time in which others had the core. *Wall seconds* is the clock itself.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"

# Users have neither of these; some machines set them, and they change the speed of matrix products up to twofold.
_NOT_OF_USERS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")}


def clean_environment() -> dict[str, str]:
    """Return the environment of a measured process: one thread, nothing that tunes OpenBLAS."""
    kept = {key: value for key, value in os.environ.items() if key not in _NOT_OF_USERS}
    return kept | _ONE_THREAD


def restart_clean() -> None:
    """Start this script again in the clean environment, unless it runs in one; OpenBLAS reads it only when loaded."""
    if any(name in os.environ for name in _NOT_OF_USERS) or not _ONE_THREAD.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], clean_environment())


def pin(core: int | None = None) -> int | None:
    """Keep this process on one core (default the last it may use) and return it; None where that is impossible."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    chosen = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {chosen})
    return chosen


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def machine(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Return where and with what was measured."""
    versions = {}
    for package in ("neuronwise", "numpy", *packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": _blas(),
        "versions": versions,
        "load_before": load(),
    }


def load() -> float | None:
    """Return how many processes wanted a core over the last minute, this one included; None where unknown."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _blas() -> str:
    import numpy as np  # noqa: F401 - loads the BLAS that is asked about
    import threadpoolctl

    found = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"]
    return "; ".join(f"{i['internal_api']} {i['version']} {i.get('architecture', '')}".strip() for i in found)


def timed(action: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return CPU seconds, wall seconds and the result of a call; processes that it started and ended count with it."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    result = action()
    return _cpu_seconds() - cpu, time.perf_counter() - wall, result


def _cpu_seconds() -> float:
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def save(result: dict[str, Any], path: Path) -> None:
    """Write a result, with the load at its end."""
    result["machine"]["load_after"] = load()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {path}")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, its first column to the left and the others to the right."""
    marks = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, marks, *rows])


def arguments(description: str | None, result: str) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a smoke test: everything once, small; its times mean nothing"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / result, help="where the JSON goes (default %(default)s)")
    return parser


class Worker:
    """A process of its own that sleeps until it is asked for something; `serve` is its side.

    The process gets its task as JSON in its last argument.
    """

    def __init__(self, script: str, task: dict[str, Any]) -> None:
        command = [sys.executable, script, "--worker", json.dumps(task)]
        self._process = subprocess.Popen(
            command, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.hello = self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request, wait and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a contender ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve(hello: dict[str, Any], answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Send the parent `hello`, then an answer for every request that comes, until none comes any more."""
    print(json.dumps(hello), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def start_workers(script: str, names: Iterable[str], core: int | None) -> tuple[dict[str, Worker], list[str]]:
    """Return a worker for each contender that can be imported, and a note for each that cannot.

    Whether it can is tried in its own process, whose hello else says what is `missing`.
    """
    workers, notes = {}, []
    for name in names:
        worker = Worker(script, {"contender": name, "core": core})
        if "missing" in worker.hello:
            notes.append(f"{name} was skipped: {worker.hello['missing']}")
            worker.close()
        else:
            workers[name] = worker
    return workers, notes
