"""The command itself: how it lists, starts and fails."""

from __future__ import annotations

import re
import warnings

import click
import pytest

from neuronwise.cli.main import cli, format_error, run
from neuronwise.errors import DataError, NeuronwiseError, TrainingDiverged, UsageError

from .conftest import Command
from .helpers import finish, start

COMMANDS = ["train", "predict", "make-houses", "runs", "show", "encode", "count", "activations", "completion"]


def test_help_lists_every_command_with_a_whole_sentence(nw: Command) -> None:
    outcome = nw("--help")
    assert outcome.code == 0
    listed = re.findall(r"^  ([a-z-]+)  +(.*)$", outcome.out.split("Commands:")[1], re.MULTILINE)
    assert [name for name, _ in listed if name in COMMANDS] == COMMANDS
    assert all(text.endswith(".") and not text.endswith("...") for name, text in listed if name in COMMANDS)
    assert "\n    neuronwise make-houses houses.csv\n    neuronwise train houses.csv --target price\n" in outcome.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command_is_explained(nw: Command, command: str) -> None:
    outcome = nw(command, "--help")
    assert outcome.code == 0
    options = [one for one in cli.commands[command].params if isinstance(one, click.Option)]
    for option in options:
        assert option.help, option.name
        for word in [*option.opts, *option.secondary_opts]:
            assert word in outcome.out
        takes_a_value = not option.is_flag and not option.multiple
        has_default = isinstance(option.default, (int, float, str)) and not option.show_default
        assert not (takes_a_value and has_default), f"{option.name} does not show its default"
    assert nw(command, "-h").out == outcome.out


def test_the_version(nw: Command) -> None:
    from neuronwise import __version__

    assert nw("--version").out == f"neuronwise, version {__version__}\n"


def test_without_a_command_help_is_shown_as_an_error(nw: Command) -> None:
    outcome = nw()
    assert outcome.code == 2
    assert "Commands:" in outcome.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            UsageError("is wrong", where="argument learning_rate", hint="0.1"),
            2,
            "--learning-rate: is wrong\nHint:  0.1",
        ),
        (DataError("is wrong", where="houses.csv:17, column price"), 2, "Error: houses.csv:17, column price: is wrong"),
        (UsageError("is wrong", where="argument from_run"), 2, "Error: --from: is wrong"),
        (UsageError("is wrong", where="argument RUN"), 2, "Error: argument RUN: is wrong"),
        (NeuronwiseError("failed"), 1, "Error: failed"),
        (click.UsageError("odd"), 2, "Error: odd"),
        (click.Abort(), 130, "Ended at once by Ctrl-C or SIGTERM."),
        (KeyboardInterrupt(), 130, "Ended at once by Ctrl-C or SIGTERM."),
        (OSError(28, "No space left on device", "/x/run.json"), 1, "Error: /x/run.json: No space left on device"),
        (MemoryError("Unable to allocate 4 TiB"), 1, "Error: there is not enough memory: Unable to allocate 4 TiB"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_a_message_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    def fail() -> None:
        raise error

    assert run(fail) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_what_a_command_returns_is_its_exit_code() -> None:
    assert run(lambda: None) == 0
    assert run(lambda: 130) == 130


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run(fail)


def test_errors_show_control_characters_and_keep_their_lines() -> None:
    text = format_error(UsageError("a\x1b[31m\x07\u202e\x9b\r", hint="one\ntwo"))
    assert text == "Error: a\\x1b[31m\\x07\\u202e\\x9b\\r\nHint:  one\ntwo"


def test_a_diverged_training_says_where_it_is_kept() -> None:
    class Kept:
        id = "0123456789abcdef"

    error = TrainingDiverged("it diverged", step=3, layer="hidden2", quantity="z")
    error.run = Kept()
    assert "step 3, layer hidden2: it diverged" in format_error(error)
    assert "neuronwise show 01234567" in format_error(error)


def test_a_warning_is_a_sentence_without_a_place_in_our_code(
    nw: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import neuronwise.running

    def warn(*_: object) -> tuple[list[object], None]:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("the disk\x1b[2J is full", RuntimeWarning, stacklevel=1)
        return [], None

    monkeypatch.setattr(neuronwise.running, "list_runs", warn)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    outcome = nw("runs")
    assert outcome.err == "warning: the disk\\x1b[2J is full\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = start("activations")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    outcome = finish(process)
    assert outcome.code == 1  # as click and rich have it
    assert outcome.err == ""
