"""The comparison of shown and actual output must be able to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from .markdown import ROOT, blocks, commands, difference


@pytest.mark.parametrize(
    ("shown", "actual"),
    [
        ("z 0.8", "z   0.80001"),
        ("a\n…\nd", "a\nb\nc\nd\n"),
        ("first …\nlast", "first line is\nwrapped\nlast"),
        ("1,234 steps in hidden1", "1,234 steps\n in hidden1"),
        ("▁▂█ then", "▁▂█ then"),
        ("-0.5 × +2", "-0.5 × 2"),
    ],
)
def test_equal_output_is_equal(shown: str, actual: str) -> None:
    assert difference(shown, actual) is None


@pytest.mark.parametrize(
    ("shown", "actual"),
    [
        ("z 0.8", "z 0.9"),
        ("a\nd", "a\nb\nd"),
        ("hidden1", "hidden2"),
        ("zipcode=98103", "zipcode=98101"),
        ("parameters 13,002", "parameters 13,003"),
        ("loss", "losses"),
        ("x", ""),
        ("▁▂█", "▁▁█"),
    ],
)
def test_other_output_is_told(shown: str, actual: str) -> None:
    assert difference(shown, actual) is not None


def test_where_output_varies_words_still_count() -> None:
    assert difference("R² 0.91 ▁▂▂", "R² 0.87 ▁▁▁▅", varies=True) is None
    assert (
        difference("n:\n  sqft  1 × 2 = 2\n  z = 2", "n:\n  date (year)  -1 × 2.5 = -2.5\n  z = -2.5", varies=True)
        is None
    )
    assert difference("n:\n  sqft  1 × 2 = 2", "n:\n  date  1 × 2 = 2") is not None
    assert difference("R² 0.91", "R³ 0.91", varies=True) is not None
    assert difference("accuracy 0.91", "accuracy none", varies=True) is not None


def test_blocks_know_their_line_and_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n<!-- exit 2 -->\n<!-- full: slow -->\n```console\n$ neuronwise a \\\n    b\nout\n$ neuronwise c\n```\n",
        encoding="utf-8",
    )
    (block,) = blocks(page)
    assert (block.line, block.language, block.exit_code, set(block.marks)) == (6, "console", 2, {"exit 2", "full"})
    assert [(one.line, one.shown) for one in commands(block)] == [
        ("neuronwise a b", "out\n"),
        ("neuronwise c", ""),
    ]


def test_the_pages_of_this_repository_are_found() -> None:
    from .markdown import PAGES

    assert {ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "architecture.md"} <= set(PAGES)
