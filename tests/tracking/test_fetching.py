"""Files read back: what the list names, whole, again only where it changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuronwise.errors import FormatError, NotFoundError, TrackingError
from neuronwise.tracking import Store, Tracker, download_artifacts, open_store, verify_artifacts
from neuronwise.tracking.manifest import Manifest, fetch_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "recording"
    made.mkdir()
    (made / "events.jsonl").write_text("one\n")
    (made / "a.npy").write_bytes(b"a" * 50)
    return made


def stored_path(store: Store, tracker: Tracker, name: str) -> Path:
    """Return where the store keeps a file of the run."""
    assert store.artifact_root is not None
    (found,) = store.artifact_root.rglob(f"{tracker.run_id}/artifacts/{name}")
    return found


def test_of_a_file_that_grew_since_the_list_the_listed_part_is_taken(
    store: Store, tracker: Tracker, folder: Path, tmp_path: Path
) -> None:
    assert tracker.log_artifacts(folder, "neuronwise/recording")
    there = stored_path(store, tracker, "neuronwise/recording/events.jsonl")
    there.write_text("one\ntwo\n")
    back = tmp_path / "back"
    download_artifacts(store, str(tracker.run_id), "neuronwise", back)
    assert (back / "recording" / "events.jsonl").read_text() == "one\n"
    there.write_text("two\none\n")
    (back / "recording" / "events.jsonl").unlink()
    with pytest.raises(FormatError, match=r"events\.jsonl' is not the one that was logged"):
        download_artifacts(store, str(tracker.run_id), "neuronwise", back)
    assert not (back / "recording" / "events.jsonl").exists()


def test_only_what_is_new_or_has_changed_is_fetched_again(
    store: Store, tracker: Tracker, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back, asked = tmp_path / "back", list[str]()
    import neuronwise.tracking.fetching as fetching

    fetch = fetching._fetch
    monkeypatch.setattr(fetching, "_fetch", lambda *given: (asked.append(given[2]), fetch(*given))[1])

    def take() -> list[str]:
        download_artifacts(store, str(tracker.run_id), "neuronwise", back)
        names = [name.rpartition("/")[2] for name in asked]
        asked.clear()
        return names

    tracker.log_artifacts(folder, "neuronwise/recording")
    assert take() == ["a.npy", "events.jsonl"]
    assert take() == []
    (folder / "events.jsonl").write_text("one\ntwo\n")
    (folder / "b.npy").write_bytes(b"b")
    tracker.log_artifacts(folder, "neuronwise/recording")
    assert take() == ["b.npy", "events.jsonl"]
    (back / ".fetched.json").write_text("damaged")  # then they are compared by their hash
    (back / "recording" / "a.npy").write_bytes(b"x" * 50)
    assert take() == ["a.npy"]
    assert not list(back.rglob(".neuronwise-*"))


def test_verifying_reads_every_file_and_keeps_none(store: Store, tracker: Tracker, folder: Path) -> None:
    tracker.log_artifacts(folder, "neuronwise/recording")
    found = verify_artifacts(store, str(tracker.run_id))
    assert {name: entry.size_bytes for name, entry in found.files.items()} == {
        "neuronwise/recording/a.npy": 50,
        "neuronwise/recording/events.jsonl": 4,
    }
    there = stored_path(store, tracker, "neuronwise/recording/a.npy")
    there.write_bytes(b"a" * 49 + b"b")
    with pytest.raises(FormatError, match=r"a\.npy' is not the one"):
        verify_artifacts(store, str(tracker.run_id))
    there.unlink()
    with pytest.raises(TrackingError, match=r"a\.npy' cannot be fetched"):
        verify_artifacts(store, str(tracker.run_id))


def test_a_list_that_cannot_be_fetched_is_not_taken_for_none(store: Store, tracker: Tracker, folder: Path) -> None:
    client = open_store(store)
    with pytest.raises(NotFoundError):
        fetch_manifest(client, str(tracker.run_id))
    tracker.log_artifacts(folder, "neuronwise/recording")

    class Cut:
        def download_artifacts(self, *given: object) -> str:
            raise ConnectionError("reset")

        def list_artifacts(self, *given: object) -> object:
            return client.list_artifacts(*given)

    with pytest.raises(TrackingError, match="cannot be fetched: reset"):
        fetch_manifest(Cut(), str(tracker.run_id))
    assert isinstance(fetch_manifest(client, str(tracker.run_id)), Manifest)
