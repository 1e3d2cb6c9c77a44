"""Files that are sent while they are written: each once, and the list after what it names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from neuronwise.tracking.manifest import MANIFEST_PATH, Manifest
from neuronwise.tracking.uploads import Uploads, find_files


class Client:
    """Keeps what is logged, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sent, self.fails_at = folder, list[str](), ""

    def log_artifact(self, run_id: str, local: str, parent: str | None) -> None:
        path = "/".join(filter(None, [parent, Path(local).name]))
        if path == self.fails_at:
            raise ConnectionError("reset")
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local, target)
        self.sent.append(path)

    def listed(self) -> dict[str, int]:
        content = json.loads((self.folder / MANIFEST_PATH).read_text())
        return {path: entry["bytes"] for path, entry in content["files"].items()}

    def take(self) -> list[str]:
        sent, self.sent = self.sent, []
        return sent


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path / "store")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    folder = tmp_path / "recording"
    folder.mkdir()
    return folder


def test_sealed_files_go_once_and_changing_ones_once_a_minute(
    client: Client, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("neuronwise.tracking.uploads.time.monotonic", lambda: now)
    uploads = Uploads(client, "r", Manifest())
    places = {"neuronwise/recording": recording, "neuronwise/checkpoint/training.json": recording / "absent"}
    assert uploads.send_new(places) == 0
    assert client.take() == []
    (recording / "events.jsonl").write_text("one\n")
    (recording / "scalars-000000.npy.part").write_bytes(b"unsealed")
    (recording / ".recording.json.x.tmp").write_bytes(b"half")
    assert uploads.send_new(places) == 1
    assert client.take() == ["neuronwise/recording/events.jsonl", MANIFEST_PATH]
    (recording / "events.jsonl").write_text("one\ntwo\n")
    (recording / "scalars-000000.npy.part").rename(recording / "scalars-000000.npy")
    now += 5
    assert uploads.send_new(places) == 1
    assert client.take() == ["neuronwise/recording/scalars-000000.npy", MANIFEST_PATH]
    assert uploads.send_new(places) == 0
    now += 60
    assert uploads.send_new(places) == 1
    assert client.take() == ["neuronwise/recording/events.jsonl", MANIFEST_PATH]
    now += 600
    assert uploads.send_new(places) == 0
    assert client.take() == []
    assert client.listed() == {"neuronwise/recording/events.jsonl": 8, "neuronwise/recording/scalars-000000.npy": 8}


def test_at_the_end_what_changed_goes_at_once_and_nothing_is_read_twice(
    client: Client, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads(client, "r", Manifest())
    (recording / "events.jsonl").write_text("one\n")
    (recording / "keyframes-000000.npy").write_bytes(b"k" * 100)
    uploads.send_new({"neuronwise/recording": recording})
    client.take()
    (recording / "events.jsonl").write_text("one\ntwo\n")
    (recording / "scalars-000000.npy.part").write_bytes(b"left by a kill")
    read: list[str] = []
    from neuronwise.tracking import uploads as module

    hash_file = module.hash_file
    monkeypatch.setattr(module, "hash_file", lambda path: (read.append(path.name), hash_file(path))[1])
    uploads.send(find_files({"neuronwise/recording": recording}, unsealed=True))
    assert client.take() == [
        "neuronwise/recording/events.jsonl", "neuronwise/recording/scalars-000000.npy.part", MANIFEST_PATH
    ]  # fmt: skip
    assert read == ["events.jsonl", "scalars-000000.npy.part"]
    assert (uploads.sent_files, uploads.sent_bytes) == (4, 4 + 100 + 8 + 14)


def test_after_a_failure_the_list_names_what_arrived_and_the_rest_follows(client: Client, recording: Path) -> None:
    uploads = Uploads(client, "r", Manifest())
    for name in ("a.npy", "b.npy", "c.npy"):
        (recording / name).write_bytes(name.encode())
    client.fails_at = "x/b.npy"
    with pytest.raises(ConnectionError):
        uploads.send_new({"x": recording})
    assert client.take() == ["x/a.npy"]
    client.fails_at = MANIFEST_PATH
    with pytest.raises(ConnectionError):
        uploads.send_new({"x": recording})
    assert client.take() == ["x/b.npy", "x/c.npy"]
    client.fails_at = ""
    assert uploads.send_new({"x": recording}) == 1  # the list alone
    assert client.take() == [MANIFEST_PATH]
    assert set(client.listed()) == {"x/a.npy", "x/b.npy", "x/c.npy"}


def test_another_process_sends_nothing_that_is_there(client: Client, recording: Path) -> None:
    (recording / "a.npy").write_bytes(b"a")
    Uploads(client, "r", Manifest()).send_new({"x": recording})
    client.take()
    there = Manifest.from_json((client.folder / MANIFEST_PATH).read_bytes())
    again = Uploads(client, "r", there)
    again.send(find_files({"x": recording}))
    assert client.take() == []
    assert again.sent_files == 0


def test_links_are_not_followed(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.npy").write_bytes(b"s")
    (recording / "a.npy").symlink_to(tmp_path / "secret.npy")
    (recording / "below").mkdir()
    (recording / "below" / "b.json").write_text("{}")
    assert find_files({"x": recording, "y/z.npy": recording / "a.npy"}) == {
        "x/below/b.json": recording / "below" / "b.json"
    }
