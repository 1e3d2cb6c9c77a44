"""How well `neuronwise.diagnose` names what is wrong, over labelled faulty and healthy PyTorch trainings.

    python benchmarks/diagnosis.py --cases FOLDER [--seeds 3] [--out results.jsonl]

FOLDER holds `build.py` (`build(case, seed)`, `train(case, seed=, parts=)`) and `cases.json`; `score.py` there is run on
the results. Of a case nothing is looked at but what `build` makes of it: model, loss, optimizer and data go to `watch`,
the recording to `diagnose`; labels, ids and file names stay outside. Each is trained twice, watched and plain.

`--plain no` leaves out the plain run; `--keep FOLDER` keeps the recordings, and `--again FOLDER` diagnoses kept ones.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("OPENBLAS_CORETYPE", None)


def load_build(folder: Path) -> ModuleType:
    """Return the module that makes trainings of cases."""
    spec = importlib.util.spec_from_file_location("build", folder / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def watched(build: ModuleType, case: dict[str, Any], seed: int, folder: Path) -> float:
    """Train a case while it is watched; return the seconds, those of watching's beginning and end among them."""
    import neuronwise

    model, loss, optimizer, train_set, validation = build.build(case, seed=seed)
    began = time.perf_counter()
    with neuronwise.watch(
        model, optimizer, loss=loss, validation=validation, folder=folder, tracking=False, diagnose=False
    ):
        build.train(case, seed=seed, parts=(model, loss, optimizer, train_set, validation))
    return time.perf_counter() - began


def plain(build: ModuleType, case: dict[str, Any], seed: int) -> float:
    """Train a case; return the seconds."""
    parts = build.build(case, seed=seed)
    began = time.perf_counter()
    build.train(case, seed=seed, parts=parts)
    return time.perf_counter() - began


def diagnosed(folder: Path) -> dict[str, Any]:
    """Return what `diagnose` says of a run, in the words of `score.py`."""
    import neuronwise

    found = neuronwise.diagnose(neuronwise.open(folder))
    return {
        "causes": [one.cause for one in found.findings],
        "symptoms": list(dict.fromkeys(name for one in found.findings for name in one.symptoms)),
        "confidence": [one.confidence for one in found.findings],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, required=True, help="folder with build.py and cases.json")
    parser.add_argument("--seeds", type=int, default=1, help="trainings per case")
    parser.add_argument("--out", type=Path, default=Path("results.jsonl"), help="where the results are written")
    parser.add_argument("--plain", choices=("yes", "no"), default="yes", help="whether to time it unwatched too")
    parser.add_argument("--keep", type=Path, help="keep the recordings there")
    parser.add_argument("--again", type=Path, help="diagnose recordings that were kept there, without training")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    cases = json.loads((args.cases / "cases.json").read_text())
    build = None if args.again else load_build(args.cases)
    with args.out.open("w") as out, tempfile.TemporaryDirectory() as scratch:
        for seed in range(args.seeds):
            for number, case in enumerate(cases):
                base = args.again or args.keep or Path(scratch)
                folder = base / f"{number:04d}-{seed}"
                row: dict[str, Any] = {"id": case["id"], "seed": seed}
                if build is not None:
                    if args.plain == "yes":
                        row["seconds_plain"] = plain(build, case, seed)
                    row["seconds"] = watched(build, case, seed, folder)
                row |= diagnosed(folder)
                out.write(json.dumps(row) + "\n")
                out.flush()
                if not args.again and not args.keep:
                    shutil.rmtree(folder)
                print(f"\r{seed * len(cases) + number + 1} of {args.seeds * len(cases)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    if (args.cases / "score.py").exists():
        subprocess.run(
            [sys.executable, args.cases / "score.py", args.out, "--cases", args.cases / "cases.json"], check=True
        )


if __name__ == "__main__":
    main()
