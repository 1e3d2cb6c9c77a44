"""Draw the pictures of the README from a network that is really trained: scikit-learn's digits, 64-16-16-10.

``python scripts/make_pictures.py`` writes into docs/images, ``python scripts/make_pictures.py FOLDER`` there. The run
is kept in a temporary folder, not in the user's store.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
STEPS = 60  # columns of the picture over time


def draw(folder: Path) -> list[Path]:
    """Train, draw into `folder`, and return the files."""
    import numpy as np

    import neuronwise
    from neuronwise.explaining import histograms_over_time, png, weight_images

    run = neuronwise.train("digits", layers=[16, 16], seed=0, track=False)
    history = run.history_on_disk
    every = np.linspace(0, len(history.steps) - 1, min(STEPS, len(history.steps)))
    steps = [int(history.steps[i]) for i in np.unique(every.round().astype(int))]
    names = [layer.name for layer in run.network.layers if layer.parameter_count]
    over_time = {name: [history.layer(step, name)["W"] for step in steps] for name in names}
    contents = {
        "network.svg": run.network.to_svg().encode() + b"\n",
        "first_layer.png": png(weight_images(run.network["hidden1"].W, (8, 8), width=480)),
        "weights_over_time.png": png(histograms_over_time(steps, over_time)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def main() -> None:
    """Draw into the folder given, or docs/images."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    with tempfile.TemporaryDirectory() as home:
        os.environ["NEURONWISE_HOME"] = home
        for path in draw(folder):
            print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
