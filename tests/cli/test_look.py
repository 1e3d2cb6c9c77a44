"""history, step, export and show --neuron, from the user's side."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import neuronwise
from neuronwise.files import user_data_folder

from .conftest import Command


@pytest.fixture(scope="module")
def digits_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home that holds one run."""
    home = tmp_path_factory.mktemp("digits") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(home))
        neuronwise.train("digits", layers=[8], epochs=2, track=False, name="digits", diagnose=False)
    return home


@pytest.fixture
def trained(nw: Command, digits_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return the command line of a user with that run, a copy of which is the test's own."""
    monkeypatch.setenv("NEURONWISE_HOME", str(shutil.copytree(digits_home, tmp_path / "own home")))
    return nw


def test_the_history_of_a_bias_is_drawn_and_printed_as_csv(trained: Command) -> None:
    drawn = trained("history", "digits", "hidden1[3].bias")
    assert drawn.code == 0, drawn.err
    assert "hidden1[3].bias" in drawn.out
    rows = list(csv.reader(io.StringIO(trained("history", "digits", "hidden1[3].bias", "--csv").out)))
    assert rows[0] == ["step", "hidden1[3].bias"]
    assert rows[1] == ["0", "0.0"]
    assert int(rows[-1][0]) == 86
    every = list(csv.reader(io.StringIO(trained("history", "digits", "hidden1[3].weights", "--csv").out)))
    assert len(every[0]) == 65
    assert "the 20 largest of 64 weights" in trained("history", "digits", "hidden1[3].weights").out


def test_a_step_is_told_in_words_and_numbers(trained: Command) -> None:
    outcome = trained("step", "digits", 17)
    assert outcome.code == 0, outcome.err
    assert "Step 17 of epoch 1, on 32 examples" in outcome.out
    assert "the mean loss over them is" in outcome.out
    for word in ("hidden1", "output", "‖dL/dz‖", "update / weights"):
        assert word in outcome.out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["history", "digits", "hidden1"], "'hidden1' is a whole layer"),
        (["step", "digits", "5", "--neuron", "hidden1[99]"], "'hidden1' has the neurons 0 to 7, got 99"),
        (["step", "digits", "5", "--neuron", "hidden1[1].bias"], "'hidden1[1].bias' is not a whole neuron"),
        (["show", "digits", "--neuron", "hidden1[1].bias"], "'hidden1[1].bias' is not a whole neuron"),
        (["show", "digits", "--neuron", "hidden1[1]", "--step", "87"], "the training took 86 steps, got 87"),
        (["history", "digits", "hidden1[8].bias"], "'hidden1' has the neurons 0 to 7, got 8"),
        (["step", "digits", "87"], "the training took 86 steps, got 87"),
        (["step", "digits", "0"], "steps count from 1, got 0"),
        (["step", "digits", "-5"], "steps count from 1, got -5"),
        (["step", "nonsense", "1"], "there is no run 'nonsense'"),
    ],
)
def test_what_is_not_there_is_a_usage_error(trained: Command, arguments: list[str], part: str) -> None:
    outcome = trained(*arguments)
    assert outcome.code == 2
    assert part in outcome.err
    assert not outcome.out  # nothing is told before it is known what can be


def test_a_statistic_and_the_loss_have_a_history_too(trained: Command) -> None:
    rows = list(csv.reader(io.StringIO(trained("history", "digits", "loss", "--csv").out)))
    assert rows[0] == ["step", "loss"]
    assert [int(row[0]) for row in rows[1:]] == list(range(1, 87))
    drawn = trained("history", "digits", "hidden1[3].inactive")
    assert drawn.code == 0, drawn.err
    assert "hidden1[3].inactive" in drawn.out
    wrong = trained("history", "digits", "hidden1[3].gradnorm")
    assert wrong.code == 2
    assert "Did you mean 'grad_norm'?" in wrong.err


def test_a_neuron_is_shown_at_a_step_with_its_past(trained: Command) -> None:
    shown = trained("show", "digits", "--neuron", "hidden1[3]", "--step", 41)
    assert shown.code == 0, shown.err
    for part in ("hidden1[3] after step 41", "a = relu(z)", "64 inputs", "pixel (", "gradient: ‖dW‖", "Over time"):
        assert part in shown.out
    as_json = trained("show", "digits", "--neuron", "hidden1[3]", "--json").json
    assert (as_json["neuron"], as_json["step"], len(as_json["weights"])) == ("hidden1[3]", 86, 64)
    csv_row = trained("history", "digits", "hidden1[3].bias", "--csv").out.splitlines()[-1]
    assert as_json["bias"] == float(csv_row.split(",")[1])
    assert as_json["statistics"]["bias"] == pytest.approx(as_json["bias"])
    assert trained("show", "digits", "--step", 41).code == 2
    assert "'hidden1' has the neurons 0 to 7" in trained("show", "digits", "--neuron", "hidden1[9]").err


def test_a_step_of_one_neuron_shows_each_weight_and_each_example(trained: Command) -> None:
    outcome = trained("step", "digits", 17, "--neuron", "output[4]")
    assert outcome.code == 0, outcome.err
    for part in ("by gradient", "by memory", "output[4]", "hidden1[", "which examples pulled at it", "on its bias"):
        assert part in outcome.out
    as_json = trained("step", "digits", 17, "--json").json
    assert as_json["step"] == 17
    assert len(as_json["rows"]) == 32
    assert set(as_json["layers"]["hidden1"]["update_parts_norm"]) == {"gradient", "memory"}
    assert "neuron" not in as_json
    neuron = trained("step", "digits", 17, "--neuron", "output[4]", "--json").json["neuron"]
    assert neuron["name"] == "output[4]"
    assert list(neuron["weights"]) == [f"hidden1[{place}]" for place in range(8)] + ["bias"]
    bias = neuron["weights"]["bias"]
    assert list(bias) == ["before", "gradient", "update", "by gradient", "by memory", "after"]
    assert bias["before"] - bias["update"] == pytest.approx(bias["after"], abs=1e-7)
    assert bias["by gradient"] + bias["by memory"] == pytest.approx(bias["update"], abs=1e-7)
    # The mean of what each example's own loss pulls is the gradient.
    assert sum(neuron["pulls_on_bias"]) / 32 == pytest.approx(bias["gradient"], abs=1e-6)
    assert len(neuron["pulls"]) == 32


def test_a_step_of_a_neuron_among_mixed_examples_says_why_their_pulls_are_not_known(nw: Command) -> None:
    layers = [
        {"type": "Dense", "units": 4},
        {"type": "BatchNorm"},
        {"type": "Dense", "units": 10, "activation": "softmax"},
    ]
    description = {
        "format": "neuronwise-network",
        "version": 1,
        "input_shape": [8, 8],
        "layers": [{"type": "Flatten"}, *layers],
    }
    Path("mixed.json").write_text(json.dumps(description))
    options = (
        "--network",
        "mixed.json",
        "--epochs",
        1,
        "--no-track",
        "--no-explain",
        "--no-diagnose",
        "--name",
        "mixed",
    )
    assert nw("train", "digits", *options).code == 0
    for neuron in ("hidden1[2]", "norm1[2]"):
        shown = nw("step", "mixed", 7, "--neuron", neuron)
        assert shown.code == 0, shown.err
        assert "which examples pulled at it is not known: in training, batch normalisation makes" in " ".join(
            shown.out.split()
        )
        as_json = nw("step", "mixed", 7, "--neuron", neuron, "--json").json["neuron"]
        assert as_json["pulls"] is None
        assert "batch normalisation" in as_json["why_no_pulls"]


def test_a_recording_is_exported_as_parquet(trained: Command, tmp_path: Path) -> None:
    outcome = trained("export", "digits", "--parquet", tmp_path / "out", "--weights")
    assert outcome.code == 0, outcome.err
    tables = {path.stem: pd.read_parquet(path) for path in (tmp_path / "out").iterdir()}
    assert set(tables) == {"steps", "epochs", "neurons", "layers", "weights"}
    assert tables["steps"]["step"].tolist() == list(range(1, 87))
    assert len(tables["neurons"].query("step == 86")) == 18
    last = tables["weights"].query("step == 86 and layer == 'hidden1' and neuron == 3").iloc[0]
    assert len(last["weights"]) == 64
    (tmp_path / "file").touch()
    refused = trained("export", "digits", "--parquet", tmp_path / "file")
    assert refused.code == 2
    within = trained("export", "digits", "--parquet", tmp_path / "file" / "deeper")
    assert within.code == 1
    assert "--parquet: cannot write" in within.err


def test_headings_of_csv_are_no_formulas(nw: Command, tmp_path: Path) -> None:
    data = tmp_path / "hostile.csv"
    rows = [f"{i * i % 13},{i * 37 % 11},{3 * i + i % 7}" for i in range(60)]
    data.write_text("\n".join(["=cmd|' /C calc'!A0,b,price", *rows]))
    options = ("--layers", 2, "--epochs", 1, "--no-track", "--quiet", "--name", "hostile")
    assert nw("train", data, "--target", "price", *options).code == 0
    heading = nw("history", "hostile", "hidden1[0].weights", "--csv").out.splitlines()[0]
    assert "=cmd" in heading
    assert all(not name.startswith("=") for name in next(csv.reader([heading])))


def test_what_a_recording_lacks_is_told(trained: Command) -> None:
    folder = next((user_data_folder() / "runs").iterdir()) / "recording"
    scalars = folder / "scalars-000000.npy"
    content = bytearray(scalars.read_bytes())
    content[5000] ^= 1
    scalars.write_bytes(bytes(content))
    outcome = trained("history", "digits", "loss", "--csv")
    assert outcome.code == 0
    assert "1 of 86 rows are damaged and left out" in outcome.err
    assert len(outcome.out.splitlines()) == 86


def test_a_run_is_written_as_one_page(trained: Command, tmp_path: Path) -> None:
    outcome = trained("export", "digits", "--html", tmp_path / "run.html")
    assert outcome.code == 0, outcome.err
    assert "run.html" in outcome.out
    assert "240 rows of the data (test" in outcome.err
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")
    redacted = trained("export", "digits", "--html", tmp_path / "redacted.html", "--redact")
    assert "rows of the data" not in redacted.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "say what to write: --html FILE, or --parquet FOLDER"),
        (["--html", "run.txt"], "must end in .html, got 'run.txt'"),
        (["--html", "a.html", "--weights"], "--weights goes with --parquet"),
        (["--parquet", "out", "--redact"], "--redact goes with --html"),
        (["--html", "absent/run.html"], "cannot write 'absent/run.html'"),
    ],
)
def test_an_export_that_cannot_be_is_told(trained: Command, arguments: list[str], part: str) -> None:
    outcome = trained("export", "digits", *arguments)
    assert outcome.code in (1, 2)
    assert part in outcome.err
