"""Write docs/causes/: a page for each cause that a diagnosis names, and an index, from `neuronwise.diagnosing.CAUSES`.

``python scripts/make_cause_pages.py`` writes the pages; with ``--check`` it fails if one is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pages import ROOT, write_or_check

sys.path.insert(0, str(ROOT / "src"))

from neuronwise.diagnosing import CAUSES, SYMPTOMS, Cause

FOLDER = ROOT / "docs" / "causes"
MADE = "<!-- Made by scripts/make_cause_pages.py from src/neuronwise/diagnosing/causes.py. Do not edit. -->"
# What stands in the treatments' lines until a training is known.
WORDS = {
    "optimizer": "Adam", "lr": 0.001, "lower_lr": 0.0001, "higher_lr": 0.01, "more_epochs": 90, "fan_in": 64,
    "column": "COLUMN", "run": "RUN",
    "outputs": 10, "wider": 64, "loss_line": "nn.CrossEntropyLoss()", "weights": "torch.tensor([0.6, 3.0])",
    "output_mend": "No function behind the last layer with CrossEntropyLoss, BCEWithLogitsLoss or MSELoss.",
    "output_line": "model = nn.Sequential(…, nn.Linear(64, 10)); loss = nn.CrossEntropyLoss()",
}  # fmt: skip


def page(cause: Cause) -> str:
    """Return the page about a cause."""
    return "\n\n".join(
        [
            f"# {cause.title}",
            MADE,
            f"In a diagnosis: `{cause.name}`. [All causes](index.md).",
            f"## Why it hurts\n\n{cause.why}\n\nFor experts: {cause.mechanism}",
            f"## How to see it\n\n{cause.look}",
            f"## How to mend it\n\n{cause.mend.format(**WORDS)}\n\n{block(cause.line.format(**WORDS))}",
            f"## Read on\n\n{cause.reference}\n",
        ]
    )


def block(line: str) -> str:
    """Return the line to type as a block of the page: a command, or a line of a program."""
    if line.startswith("neuronwise "):
        return f"<!-- not run: it names what is the reader's own -->\n```console\n$ {line}\n```"
    return f"```text\n{line}\n```"


def index() -> str:
    """Return the index: causes, and the words for what follows from them."""
    causes = "\n".join(f"| [`{one.name}`]({one.name}.md) | {one.title} |" for one in CAUSES.values())
    symptoms = "\n".join(f"| `{name}` | {words} |" for name, words in SYMPTOMS.items())
    return (
        f"# Causes\n\n{MADE}\n\nWhat [a diagnosis](../diagnosis.md) can name as the root of it.\n\n"
        f"| cause | in words |\n| --- | --- |\n{causes}\n\n## Symptoms\n\nWhat follows from a cause.\n\n"
        f"| symptom | in words |\n| --- | --- |\n{symptoms}\n"
    )


def pages() -> dict[Path, str]:
    """Return all pages by their path."""
    return {FOLDER / "index.md": index()} | {FOLDER / f"{one.name}.md": page(one) for one in CAUSES.values()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    sys.exit(write_or_check(pages(), "make_cause_pages"))
