"""Whatever is wrong with what the user gives: a message that says what, where and how to mend it; exit code 2;
nothing written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuronwise.data import write_idx

from .conftest import Command
from .helpers import finish, start, table, tree


def many(header: str, line: Callable[[int], str], rows: int = 50) -> str:
    return "\n".join([header, *(line(i) for i in range(rows)), ""])


BAD_FILES = {
    "empty": (b"", ["bad.csv: the file is empty"]),
    "header only": (b"sqft,price\n", ["bad.csv: the file has a header and no rows"]),
    "ragged": (table(60).encode() + b"1,2\n", ["bad.csv:62: this row has 2 fields where the header has 3"]),
    "nul": (table(60).encode() + b"1,2\0,3\n", ["bad.csv:62: byte 4", "NUL"]),
    "utf-16": (table(60).encode("utf-16"), ["bad.csv: the file is UTF-16", "iconv -f UTF-16 -t UTF-8 bad.csv"]),
    "utf-16 without mark": (table(60).encode("utf-16-le"), ["bad.csv", "UTF-16"]),
    "target constant": (many("a,price", lambda i: f"{i},5").encode(), ["column price: the target is '5' in every row"]),
    "one row": (b"a,price\n1,2\n", ["column price: only one row has a target"]),
    "two rows": (b"a,price\n1,2\n3,4\n", ["2 rows cannot be learned from: at least 5 are needed"]),
    "all targets missing": (many("a,price", lambda i: f"{i},").encode(), ["the target is missing in all 50 rows"]),
    "100,000 names": (
        many("name,price", lambda i: f"n{i},{i % 997}", 100_000).encode(),
        ["no column is left to learn from", "100,000 distinct texts"],
    ),
    "100,000 classes": (
        many("a,price", lambda i: f"{i},n{i}", 100_000).encode(),
        ["column price: the target has 100,000 classes", "the limit is 1,000", "--task regression"],
    ),
    "two columns of one name": (many("a,a,price", lambda i: f"{i},1,{i}").encode(), ["bad.csv:1: two columns", "'a'"]),
    "column without a name": (many("a,,price", lambda i: f"{i},1,{i}").encode(), ["bad.csv:1: column 2 of 3"]),
    "infinite cell": (many("a,price", lambda i: f"{'inf' if i == 3 else i},{i}").encode(), ["bad.csv:5, column a"]),
    "no numbers, no columns": (b"price\n" + b"".join(b"%d\n" % i for i in range(50)), ["no column"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_table_is_told_and_nothing_is_written(nw: Command, tmp_path: Path, case: str) -> None:
    content, said = BAD_FILES[case]
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    outcome = nw("train", path, "--target", "price")
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("Error: ")
    for part in said:
        assert part in outcome.err
    assert tree(tmp_path) == {"bad.csv"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "prize"], ["there is no column 'prize'. Did you mean 'price'?", "sqft, zipcode, price"]),
        (["--target", "Price"], ["Did you mean 'price'?"]),
        ([], ["--target: a table needs a column to predict", "sqft, zipcode, price"]),
        (["--learning-rate", "0"], ["--learning-rate: expected a number above 0, got 0.0", "0.001"]),
        (["--learning-rate", "-1"], ["--learning-rate: expected a number above 0, got -1.0"]),
        (["--learning-rate", "nan"], ["--learning-rate", "nan"]),
        (["--learning-rate", "fast"], ["'--learning-rate'", "'fast' is not a valid float"]),
        (["--layers", "16,x"], ["--layers: 'x' is not a whole number of neurons from 1", '"64,32"']),
        (["--layers", "16,,8"], ["--layers: '' is not a whole number"]),
        (["--layers", ""], ["--layers: no sizes given"]),
        (["--layers", "-5"], ["--layers: '-5' is not a whole number"]),
        (["--layers", "9" * 5000], ["--layers: 9999", "more than 1,000,000"]),
        (["--layers", "1000000,1000000"], ["--layers", "1,000,009,000,001 weights and biases", "memory"]),
        (["--hidden", "rely"], ["'rely' is not one of", "'relu'"]),
        (["--optimizer", "adma"], ["'adma' is not one of", "'adam'"]),
        (["--epochs", "0"], ["--epochs: expected a whole number from 1", "got 0"]),
        (["--epochs", "-3"], ["--epochs: expected a whole number from 1", "got -3"]),
        (["--epochs", "2.5"], ["'--epochs'", "'2.5' is not a valid integer"]),
        (["--batch-size", "0"], ["--batch-size: expected a whole number from 1", "got 0"]),
        (["--patience", "0"], ["--patience: expected a whole number from 1", "got 0"]),
        (["--clip-norm", "-1"], ["--clip-norm: expected a number above 0, got -1.0"]),
        (["--clip-norm", "nan"], ["--clip-norm: expected a number above 0, got nan"]),
        (["--weight-decay", "-1"], ["--weight-decay: expected a number from 0, got -1.0"]),
        (["--threads", "0"], ["--threads: expected a whole number from 1 to 1,024, got 0"]),
        (["--seed", "-1"], ["--seed: expected a whole number from 0 to 4,294,967,295, got -1"]),
        (["--test", "1.5"], ["--test: expected a share between 0 and 1, got 1.5"]),
        (["--test", "0"], ["--test: expected a share between 0 and 1, got 0.0"]),
        (["--validation", "-0.1"], ["--validation: expected a share between 0 and 1, got -0.1"]),
        (["--image-size", "junk"], ["--image-size", "such as 28x28", "'junk'"]),
        (["--image-size", "8x8"], ["--image-size: a table has no pictures"]),
        (["--category", "zapcode"], ["there is no column 'zapcode'. Did you mean 'zipcode'?"]),
        (["--drop", "price"], ["--drop", "column 'price' is the target"]),
        (["--drop", "sqft,zipcode"], ["no column is left to learn from"]),
        (["--group", "price"], ["--group: column 'price' is the target"]),
        (["--group", "nope"], ["there is no column 'nope'"]),
        (["--task", "binary"], ["column price: a binary target has two values, this one 60"]),
        (["--class-weights", "balanced"], ["--class-weights: class weights need classes"]),
        (["--try-layers", "junk"], ["--layers: 'junk' is not a whole number"]),
        (["--try-layers", " ; "], ["--try-layers: nothing to try", "none; 16; 64,32"]),
        (["--try-layers", "16; 1000000,1000000"], ["--layers", "memory"]),
        (["--try-layers", "16", "--layers", "8"], ["--layers: --try-layers says which sizes to train"]),
        (["--try-layers", "16", "--from", "latest"], ["--from: --try-layers begins anew"]),
        (["--from", "nothing"], ["there is no run 'nothing'", "neuronwise runs"]),
        (["--from", "nothing", "--layers", "8"], ["--layers: the network is that of the run given with --from"]),
        (["--learnin-rate", "1"], ["No such option '--learnin-rate'", "--learning-rate"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_a_bad_option_is_told_and_nothing_is_written(
    nw: Command, good: Path, tmp_path: Path, arguments: list[str], said: list[str]
) -> None:
    target = [] if not arguments or "--target" in arguments else ["--target", "price"]
    outcome = nw("train", good, *target, *arguments)
    assert outcome.code == 2
    assert "epoch" not in outcome.out
    for part in said:
        assert part in outcome.err
    assert tree(tmp_path) == {"good.csv"}


def test_no_such_file_names_the_nearest(nw: Command, good: Path, tmp_path: Path) -> None:
    outcome = nw("train", tmp_path / "god.csv", "--target", "price")
    assert outcome.code == 2
    assert "god.csv: no such file" in outcome.err
    assert "good.csv" in outcome.err
    assert tree(tmp_path) == {"good.csv"}


def test_a_category_of_too_many_values_says_what_to_do(nw: Command, tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    path.write_text(many("name,price", lambda i: f"n{i},{i % 997}", 5_000))
    outcome = nw("train", path, "--target", "price", "--category", "name")
    assert outcome.code == 2
    assert "column name: 5,000 categories" in outcome.err
    assert "--drop name" in outcome.err


def test_a_truncated_idx_file_says_how_much_is_missing(nw: Command, tmp_path: Path) -> None:
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    write_idx(images, np.zeros((40, 5, 5), dtype=np.uint8))
    write_idx(labels, np.arange(40, dtype=np.uint8) % 3)
    images.write_bytes(images.read_bytes()[:-7])
    outcome = nw("train", images)
    assert outcome.code == 2
    assert "truncated IDX file: 1,016 bytes expected (40 × 5 × 5 values of type uint8), 1,009 found" in outcome.err
    assert not (tmp_path / "home").exists()


def test_idx_labels_that_do_not_fit_the_images(nw: Command, tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((40, 5, 5), dtype=np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(39, dtype=np.uint8) % 3)
    outcome = nw("train", tmp_path / "train-images-idx3-ubyte")
    assert outcome.code == 2
    assert "39 labels for 40 images" in outcome.err


@pytest.mark.parametrize(
    ("option", "value"), [("--target", "price"), ("--group", "a"), ("--category", "a"), ("--drop", "a")]
)
def test_images_have_no_columns(nw: Command, option: str, value: str) -> None:
    outcome = nw("train", "digits", option, value)
    assert outcome.code == 2
    assert f"{option}: images have no columns" in outcome.err


def test_a_run_of_other_data_cannot_be_started_from(nw: Command, quick: Command, good: Path, tmp_path: Path) -> None:
    assert quick("--name", "houses").code == 0
    before = tree(tmp_path)
    outcome = nw("train", "digits", "--from", "houses")
    assert outcome.code == 2
    assert "--from: the run learned from table data, this is image data" in outcome.err
    outcome = nw("train", good, "--target", "sqft", "--from", "houses")
    assert outcome.code == 2
    assert "--target: the run predicts 'price', not 'sqft'" in outcome.err
    outcome = nw("train", good, "--target", "price", "--from", "houses", "--category", "sqft")
    assert outcome.code == 2
    assert "--category: a run that starts from another one understands the data as that one did" in outcome.err
    lacking = tmp_path / "lacking.csv"
    lacking.write_text(many("sqft,price", lambda i: f"{i},{i}"))
    outcome = nw("train", lacking, "--target", "price", "--from", "houses")
    assert outcome.code == 2
    assert "'zipcode'" in outcome.err
    assert tree(tmp_path) == before | {"lacking.csv"}


def test_unknown_commands_and_options_suggest_the_nearest(nw: Command) -> None:
    outcome = nw("trian", "x.csv")
    assert outcome.code == 2
    assert "there is no command 'trian'. Did you mean 'train'?" in outcome.err
    outcome = nw("zzz")
    assert outcome.code == 2
    assert "neuronwise --help lists them" in outcome.err
    outcome = nw("train", "x.csv", "--epoch", "3")
    assert outcome.code == 2
    assert "--epochs" in outcome.err


def test_predict_refuses_what_it_cannot_answer(nw: Command, quick: Command, good: Path, tmp_path: Path) -> None:
    assert quick().code == 0
    before = tree(tmp_path)
    for arguments, said in [
        (["nothing", good], "there is no run 'nothing'"),
        (["latest", tmp_path / "none.csv"], "none.csv: no such file"),
        (["latest", "digits"], "the network learned from a table, and 'digits' names pictures"),
        (["latest", good, "--out", tmp_path / "missing" / "x.csv"], "--out: there is no folder"),
        (["latest", good, "--out", tmp_path], "is a directory"),
    ]:
        outcome = nw("predict", *arguments)
        assert outcome.code == 2
        assert said in outcome.err
        assert outcome.out == ""
    assert tree(tmp_path) == before


def test_predict_names_the_column_that_is_missing(nw: Command, quick: Command, tmp_path: Path) -> None:
    assert quick().code == 0
    path = tmp_path / "lacking.csv"
    path.write_text("zipcode\n98001\n")
    outcome = nw("predict", "latest", path, "--out", tmp_path / "out.csv")
    assert outcome.code == 2
    assert "lacking.csv: the network was trained on column 'sqft'" in outcome.err
    path.write_text("sqft,zipcode\n900,98001\nabc,98001\n")
    outcome = nw("predict", "latest", path, "--out", tmp_path / "out.csv")
    assert outcome.code == 2
    assert "lacking.csv:3, column sqft: 'abc' is not a number" in outcome.err
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_that_cannot_be_written_is_named_not_its_temporary_file(
    nw: Command, quick: Command, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quick().code == 0
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.geteuid() == 0:  # for root nothing is read-only: play the refusal

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(folder / ".out.csv.abc.tmp"))

        monkeypatch.setattr("tempfile.mkstemp", refuse)
    outcome = nw("predict", "latest", good, "--out", folder / "out.csv")
    assert outcome.code == 1
    assert f"--out: cannot write '{folder / 'out.csv'}': Permission denied" in outcome.err
    assert list(folder.iterdir()) == []


def test_a_home_that_cannot_be_written_is_told_before_learning(
    nw: Command, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path / "file" / "home"))
    outcome = nw("train", good, "--target", "price")
    assert outcome.code == 1
    assert "cannot be written" in outcome.err
    assert "NEURONWISE_HOME" in outcome.err
    assert "epoch" not in outcome.out
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path / "file"))
    assert nw("train", good, "--target", "price").code == 1
    assert nw("runs").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--row", "60"], "good.csv: there is no row 60; rows count from 0 and the last is 59"),
        (["--row", "-1"], "'--row': -1 is not in the range"),
        (["--target", "nope"], "there is no column 'nope'"),
        (["--run", "nope"], "there is no run 'nope'"),
        (["--drop", "sqft,zipcode,price"], "no column is left"),
    ],
)
def test_encode_refuses(nw: Command, good: Path, arguments: list[str], said: str) -> None:
    outcome = nw("encode", good, *arguments)
    assert outcome.code == 2
    assert said in outcome.err


def test_encode_is_for_tables(nw: Command, quick: Command, good: Path, tmp_path: Path) -> None:
    outcome = nw("encode", "digits")
    assert outcome.code == 2
    assert "'digits' names pictures" in outcome.err
    assert nw("encode", tmp_path).code == 2
    assert quick(data="digits", target=None).code == 0
    outcome = nw("encode", good, "--run", "latest")
    assert outcome.code == 2
    assert "the run learned from image data, which has no columns" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["784", "words"], "'words' is not a whole number"),
        (["784"], "at least two sizes are needed"),
        (["784", "0"], "'0' is not a whole number of neurons from 1"),
        (["784", "1.5"], "'1.5' is not a whole number"),
        (["9" * 5000, "1"], "is not a whole number of neurons from 1 to"),
        ([], "at least two sizes are needed"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_count_refuses_words(nw: Command, arguments: list[str], said: str) -> None:
    outcome = nw("count", *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert len(outcome.err) < 500


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rows", "0"], "--rows: a whole number from 1 to 10,000,000 expected, not 0"),
        (["--rows", "-5"], "not -5"),
        (["--rows", "ten"], "'ten' is not a valid integer"),
        (["--missing", "1.5"], "--missing: a share from 0 to below 1 expected, not 1.5"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_make_houses_refuses_and_writes_nothing(nw: Command, tmp_path: Path, arguments: list[str], said: str) -> None:
    outcome = nw("make-houses", tmp_path / "houses.csv", *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert tree(tmp_path) == set()
    outcome = nw("make-houses", tmp_path / "missing" / "houses.csv")
    assert outcome.code == 2
    assert "no such folder" in outcome.err


@pytest.mark.parametrize("run", ["", "nothing", "a/b", "../runs", "it's", "%", "~nobody/x", "x" * 5000, "a\tb", "*"])
def test_a_run_that_does_not_exist(nw: Command, run: str) -> None:
    outcome = nw("show", run)
    assert outcome.code == 2
    assert "there is no run" in outcome.err
    assert len(outcome.err) < 1000


def test_a_folder_without_a_run_is_said_to_be_one(nw: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = nw("show", tmp_path / "empty")
    assert outcome.code == 2
    assert f"the folder '{tmp_path / 'empty'}' holds no run" in outcome.err


HOSTILE = "\x1b[31mred\x1b]0;title\x07\u202e[bold]evil[/bold]\x9b2J"


def test_hostile_names_and_cells_never_steer_the_terminal(nw: Command, tmp_path: Path) -> None:
    path = tmp_path / "hostile.csv"
    lines = [f"{i * 37 % 50},{HOSTILE}{i % 3},{HOSTILE if i % 2 else 'b'}" for i in range(60)]
    path.write_text("\n".join([f"x{HOSTILE},n{HOSTILE},y{HOSTILE}", *lines, ""]))
    target = f"y{HOSTILE}"
    commands: list[list[object]] = [
        ["train", path, "--target", target, "--epochs", 2, "--no-track", "--name", HOSTILE],
        ["train", path, "--target", target, "--try-layers", "none", "--epochs", 2, "--no-track", "--name", HOSTILE],
        ["show", "latest"],
        ["runs"],
        ["encode", path, "--target", target, "--row", 1],
        ["encode", path, "--run", "latest"],
        ["train", path, "--target", HOSTILE],
        ["train", path, "--target", target, "--drop", f"n{HOSTILE},{HOSTILE}z"],
        ["train", HOSTILE],
        ["train", path, "--hidden", HOSTILE],
        ["train", path, f"--{HOSTILE}"],
        ["show", f"{HOSTILE}?"],
        ["predict", "latest", f"{HOSTILE}.csv"],
        [HOSTILE],
        ["activations", HOSTILE],
        ["count", HOSTILE, "1"],
        ["train", "digits", "--experiment", HOSTILE, "--epochs", 0],
    ]
    for command in commands:
        outcome = nw(*command)
        shown = outcome.out + outcome.err
        bad = {c for c in shown if not c.isprintable() and c != "\n"}
        assert not bad, (command[0], bad)
    # Markup of rich in a name is a name too.
    outcome = nw("show", "latest")
    assert "[bold]evil[/bold]" in outcome.out


def test_predictions_are_escaped_for_a_terminal_and_exact_in_a_pipe(
    nw: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hostile.csv"
    path.write_text(many("x,y", lambda i: f"{i * i},{'b' if i % 2 else 'a' + HOSTILE}"))
    assert nw("train", path, "--target", "y", "--no-track", "--quiet", "--epochs", 1).code == 0
    assert f"P(a{HOSTILE})" in nw("predict", "latest", path).out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b" not in nw("predict", "latest", path).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["train", "none.csv", "--target", "price"], "none.csv: no such file"), (["show", "x"], "there is no run 'x'")],
)
def test_the_installed_command_fails_alike(tmp_path: Path, arguments: list[str], said: str) -> None:
    outcome = finish(start(*arguments, cwd=tmp_path))
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("Error: ")
    assert said in outcome.err
    assert tree(tmp_path) == set()
