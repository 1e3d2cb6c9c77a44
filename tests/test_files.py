"""Files are written whole or not at all, also piece by piece."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuronwise.files import atomic_file, write_atomically


def test_what_is_written_in_pieces_takes_the_place_of_the_file_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("old")
    with atomic_file(path) as file:
        file.write(b"new ")
        assert path.read_text() == "old"
        file.write(b"text")
    assert path.read_text() == "new text"
    assert [found.name for found in tmp_path.iterdir() if found.is_file()] == ["answers.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_between_two_pieces_leaves_the_old_file_alone(error: type[BaseException], tmp_path: Path) -> None:
    write_atomically(tmp_path / "answers.csv", "old")

    def fail() -> None:
        with atomic_file(tmp_path / "answers.csv") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir() if found.is_file()] == [
        ("answers.csv", "old")
    ]
