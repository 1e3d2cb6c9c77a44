"""Arrays beyond the memory budget: in a file that goes away by itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neuronwise.data.scratch import large_array, release, remove_stale
from neuronwise.errors import NeuronwiseError


def scratch(home: Path) -> Path:
    return home / "home" / "cache" / "scratch"


def test_what_fits_is_in_memory_and_what_does_not_in_a_file(tmp_path: Path) -> None:
    array, on_disk = large_array((100, 10), 4000)
    assert not on_disk
    assert type(array) is np.ndarray
    array, on_disk = large_array((100, 10), 3999)
    assert on_disk
    assert isinstance(array, np.memmap)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous


def test_a_file_keeps_what_was_released_from_memory(tmp_path: Path) -> None:
    array, _ = large_array((5000, 7), 0)
    values = np.random.default_rng(0).normal(size=array.shape).astype(np.float32)
    for start in range(0, 5000, 900):
        array[start : start + 900] = values[start : start + 900]
        release(array, start, min(start + 900, 5000))
    assert np.array_equal(array, values)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a file in use keeps its name")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_not_even_a_killed_process_leaves_a_file_behind(how: signal.Signals, tmp_path: Path) -> None:
    code = (
        "import time; from neuronwise.data.scratch import large_array\n"
        "a, _ = large_array((1000, 1000), 0); a[:] = 1; print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(how)
    process.communicate(timeout=20)
    assert list(scratch(tmp_path).iterdir()) == []


def test_files_of_dead_processes_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    time.sleep(0.01)
    names = [f"array-{ended.pid}-x.f32", "array-nobody-x.f32", f"array-{os.getpid()}-x.f32", "else.txt"]
    for name in names:
        (tmp_path / name).write_bytes(b"1")
    remove_stale(tmp_path)
    left = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert left == ({names[2], names[3]} if os.name == "posix" else {names[3]})


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(NeuronwiseError, match=r"the encoded table takes 40\.0 kB, and 10\.0 kB are free"):
        large_array((1000, 10), 0)
    assert list(scratch(tmp_path).iterdir()) == []
