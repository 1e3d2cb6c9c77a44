"""A table that does not fit into memory twice: 2,000,000 rows × 40 columns, from CSV and from Parquet.

    python benchmarks/large_data.py [--rows 2000000] [--memory 1GB] [--quick]

The table is made in chunks by a generator: 30 measures (two of them with gaps), 2 counts, 2 columns of categories, a
yes/no, a date, a time of day, a key, a constant text, and the target. `neuronwise.train` reads it in
parts, encodes it and trains one epoch; its peak memory is that of the whole process (VmHWM of /proc/self/status),
libraries and all. A second training has a budget so small that the encoded rows lie in a file: the pages of that file
are counted apart, because the system takes them back when it needs them. Beside them: pandas reads the same file whole
and turns it into one float32 array, with nothing learned.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from measuring import arguments, clean_environment, machine, restart_clean, save, table

ROWS = 2_000_000
AIMS = {"peak_over_array_at_most": 2.0, "constant_bytes": 600_000_000, "seconds_to_encode_below": 300.0}
_CHUNK = 50_000
_GAPS = ("m03", "m17")


def main() -> None:
    parser = arguments(__doc__, "large_data.json")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table (default %(default)s)")
    parser.add_argument("--memory", default="1GB", help="memory budget of the data (default %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the table is made (default a temporary folder)")
    parser.add_argument("--worker", nargs=4, metavar=("WHAT", "FILE", "MEMORY", "EPOCHS"), help="one measured process")
    options = parser.parse_args()
    if options.worker:
        work(*options.worker)
        return
    restart_clean()
    rows = 20_000 if options.quick else options.rows
    result: dict[str, Any] = {
        "benchmark": "large_data",
        "command": "python benchmarks/large_data.py",
        "quick": options.quick,
        "machine": machine(["pandas", "pyarrow", "scikit-learn"]),
        "rows": rows,
        "columns": 40,
        "memory": options.memory,
        "aims": AIMS,
        "cases": [],
    }
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        files = {kind: Path(folder) / f"table.{kind}" for kind in ("csv", "parquet")}
        began = time.perf_counter()
        make(files["csv"], files["parquet"], rows)
        print(f"{rows:,} rows made in {time.perf_counter() - began:.0f} s", flush=True)
        small = "1MB" if options.quick else "50MB"
        memory = "2MB" if options.quick else options.memory
        tasks = [("train", kind, budget) for kind in files for budget in (memory, small)]
        for what, kind, budget in [*tasks, *(("pandas", kind, "") for kind in files)]:
            case = measure(what, files[kind], budget, folder)
            result["cases"].append(case)
            print(f"{case['name']}: {sentence(case)}", flush=True)
    result["met"] = met(result["cases"])
    print("\n" + as_table(result))
    save(result, options.out)


def make(csv: Path, parquet: Path, rows: int, seed: int = 0) -> None:
    """Write the table as CSV and as Parquet, in chunks of 50,000 rows."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet as arrow_parquet

    text: Any = None
    columns: Any = None
    try:
        for start in range(0, rows, _CHUNK):
            chunk = pa.table(make_chunk(start, min(_CHUNK, rows - start), seed))
            if text is None:
                text = arrow_csv.CSVWriter(csv, chunk.schema)
                columns = arrow_parquet.ParquetWriter(parquet, chunk.schema)
            text.write_table(chunk)
            columns.write_table(chunk)
    finally:
        for writer in (text, columns):
            if writer is not None:
                writer.close()


def make_chunk(start: int, rows: int, seed: int) -> dict[str, Any]:
    """Return the columns of some rows: the same for the same seed and start."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng([seed, start])
    made: dict[str, Any] = {"key": pa.array(np.arange(start, start + rows) + 10_000_000)}
    measures = rng.normal(size=(rows, 30)) * np.linspace(1, 50, 30) + np.linspace(-20, 100, 30)
    measures[:, 20:25] = np.exp(measures[:, 20:25] / 40)
    measures = measures.round(4)
    for i in range(30):
        name = f"m{i:02}"
        gaps = rng.random(rows) < 0.02 if name in _GAPS else None
        made[name] = pa.array(measures[:, i], mask=gaps)
    made["rooms"] = pa.array(rng.integers(1, 12, rows))
    made["visits"] = pa.array(rng.poisson(40, rows))
    colour = rng.integers(0, 4, rows)
    made["colour"] = pa.array(["red", "green", "blue", "grey"]).take(pa.array(colour))
    branch = rng.integers(0, 6, rows)
    made["branch"] = pa.array([f"branch {name}" for name in "ABCDEF"]).take(pa.array(branch))
    member = rng.random(rows) < 0.3
    made["member"] = pa.array(["no", "yes"]).take(pa.array(member.astype(np.int64)))
    days = rng.integers(0, 1000, rows)
    made["sold"] = pa.array(np.datetime64("2022-01-01") + days)
    minutes = rng.integers(0, 1440, rows)
    made["at"] = pa.array([f"{m // 60:02}:{m % 60:02}" for m in range(1440)]).take(pa.array(minutes))
    made["note"] = pa.array(["as usual"] * rows)
    scaled = (measures[:, :8] - np.linspace(-20, 100, 30)[:8]) / np.linspace(1, 50, 30)[:8]
    z = scaled @ np.linspace(1.0, -0.5, 8) + 0.6 * scaled[:, 0] * scaled[:, 1] + 0.3 * colour + 0.5 * member
    made["y"] = pa.array((100 + 20 * z + 0.01 * days + rng.normal(size=rows)).round(3))
    return made


def measure(what: str, file: Path, memory: str, folder: str) -> dict[str, Any]:
    """Run one process and return what it measured of itself."""
    import json

    environment = clean_environment() | {"NEURONWISE_HOME": str(Path(folder) / "home")}
    command = [sys.executable, __file__, "--worker", what, str(file), memory or "0", "1"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    name = {"train": f"neuronwise, {memory}", "pandas": "pandas, whole, nothing learned"}[what]
    return {
        "name": f"{name}, {file.suffix[1:]}",
        "what": what,
        "kind": file.suffix[1:],
        "file_bytes": file.stat().st_size,
    } | found


def work(what: str, file: str, memory: str, epochs: str) -> None:
    """Do one task in this process and print what it took, as JSON."""
    import json

    print(json.dumps(train(file, memory, int(epochs)) if what == "train" else read_with_pandas(file)))


def train(file: str, memory: str, epochs: int) -> dict[str, Any]:
    import pandas  # noqa: F401 - what every table needs, and no data
    import pyarrow.csv  # noqa: F401
    import sklearn.compose  # noqa: F401

    from neuronwise.running import DataOptions, Reporter, TrainOptions, prepare
    from neuronwise.running.training import train_prepared

    found: dict[str, Any] = {"memory": memory, "libraries": memory_now()["own"]}
    began, cpu = time.perf_counter(), time.process_time()
    own = OwnMemory()

    class Watch(Reporter):
        def reading(self, what: str, rows: int, total: int) -> None:
            found[f"{what}_s"], found[f"{what}_cpu_s"] = time.perf_counter() - began, time.process_time() - cpu

        def planned(self, plan: Any) -> None:
            found["estimate_bytes"] = plan.estimate.memory_bytes

        def working(self, what: str) -> None:
            if what.startswith("evaluating"):
                found["learned_peak"] = memory_now()["peak"]

    watch = Watch()
    # As `neuronwise.train` does it, in two steps, so that they can be measured apart.
    data = prepare(file, DataOptions("y", memory=memory), 0, reading=watch.reading)
    found |= {
        "prepared_s": time.perf_counter() - began,
        "prepared_cpu_s": time.process_time() - cpu,
        "prepared_peak": memory_now()["peak"],
        "rows": data.X.shape[0],
        "inputs": data.X.shape[1],
        "array_bytes": data.X.nbytes,
        "disk_bytes": data.disk_bytes,
        "data_bytes": data.memory_bytes,
        "notes": data.notes,
    }
    run = train_prepared(data, TrainOptions(epochs=epochs, track=False), reporter=watch)
    return found | {
        "wall_s": time.perf_counter() - began,
        "metrics": run.metrics,
        "learning_s": run.duration_s,
        "steps": run.steps,
        "cpu_s": time.process_time() - cpu,
        "peak": memory_now()["peak"],
        "own_peak": own.end(),
    }


def read_with_pandas(file: str) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    began, cpu, own = time.perf_counter(), time.process_time(), OwnMemory()
    frame = pd.read_csv(file, parse_dates=["sold"]) if file.endswith(".csv") else pd.read_parquet(file)
    read, read_cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = memory_now()["peak"]
    frame["sold"] = pd.to_datetime(frame["sold"]).astype("int64")
    frame["at"] = pd.to_timedelta(frame["at"] + ":00").dt.total_seconds()
    encoded = pd.get_dummies(frame.drop(columns=["key", "note", "y"]))
    X = np.ascontiguousarray(encoded.to_numpy(np.float32, na_value=0.0))
    return {
        "rows": len(X),
        "inputs": X.shape[1],
        "array_bytes": X.nbytes,
        "reading_s": read,
        "reading_cpu_s": read_cpu,
        "prepared_peak": peak,
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "peak": memory_now()["peak"],
        "own_peak": own.end(),
    }


class OwnMemory:
    """The largest memory of this process without the pages of files, looked at 50 times a second."""

    def __init__(self) -> None:
        self._peak, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            self._peak = max(self._peak, memory_now()["own"])

    def end(self) -> int:
        """Stop looking and return the largest."""
        self._ended.set()
        self._thread.join()
        return self._peak


def memory_now() -> dict[str, int]:
    """Return the largest memory of this process so far, and what of it is no file now, in bytes (Linux)."""
    names = {"VmHWM": "peak", "RssAnon": "own"}
    found = {}
    with Path("/proc/self/status").open() as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key in names:
                found[names[key]] = int(value.split()[0]) * 1024
    return found


def met(cases: list[dict[str, Any]]) -> dict[str, bool]:
    trained = [case for case in cases if case["what"] == "train"]
    limits = [AIMS["peak_over_array_at_most"] * case["array_bytes"] + AIMS["constant_bytes"] for case in trained]
    return {
        "peak": all(case["peak"] <= limit for case, limit in zip(trained, limits, strict=True)),
        "encoding": all(case["prepared_s"] < AIMS["seconds_to_encode_below"] for case in trained),
        "estimate": all(case["own_peak"] - case["libraries"] <= case["data_bytes"] for case in trained),
    }


def sentence(case: dict[str, Any]) -> str:
    return f"peak {case['peak'] / 1e6:,.0f} MB ({case['own_peak'] / 1e6:,.0f} MB without files), {case['wall_s']:.0f} s"


def as_table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table."""
    rows = []
    for case in result["cases"]:
        sizes = ("file_bytes", "array_bytes", "peak", "own_peak")
        megabytes = [f"{case[size] / 1e6:,.0f}" for size in sizes]
        if case["what"] == "train":
            encoding = case["prepared_cpu_s"] - case["reading_cpu_s"]
            seconds = [f"{case['reading_cpu_s']:.0f}", f"{encoding:.0f}", f"{case['learning_s']:.1f}"]
        else:
            seconds = [f"{case['reading_cpu_s']:.0f}", f"{case['cpu_s'] - case['reading_cpu_s']:.0f}", ""]
        rows.append([case["name"], *megabytes, *seconds, f"{case['wall_s']:.0f}"])
    header = [
        f"{result['rows']:,} × {result['columns']}", "file, MB", "float32 array, MB", "peak memory, MB",
        "without files, MB", "CPU seconds to read", "to encode", "seconds to learn an epoch", "seconds in all",
    ]  # fmt: skip
    return table(header, rows)


if __name__ == "__main__":
    sys.exit(main())
