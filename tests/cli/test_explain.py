"""count, activations, completion."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from neuronwise.network import ACTIVATIONS, Network

from .conftest import Command


@pytest.mark.parametrize("arguments", [["784", "16", "16", "10"], ["784,16,16,10"], ["784-16-16-10"]])
def test_count_of_the_well_known_network(nw: Command, arguments: list[str]) -> None:
    outcome = nw("count", *arguments)
    assert outcome.code == 0
    for text in ("13,002", "16 × 784 + 16", "12,560", "16 × 16 + 16", "272", "10 × 16 + 10", "170", "input"):
        assert text in outcome.out


def test_count_as_json_agrees_with_a_real_network(nw: Command) -> None:
    counted = nw("count", 7, 5, 3, 2, "--json").json
    network = Network.dense([7, 5, 3, 2])
    assert counted["parameters"] == network.parameter_count
    assert [layer["parameters"] for layer in counted["layers"]] == [0, *(one.parameter_count for one in network.layers)]
    assert [layer["neurons"] for layer in counted["layers"]] == [7, 5, 3, 2]


def test_count_takes_no_memory(nw: Command) -> None:
    outcome = nw("count", 1_000_000_000, 1_000_000_000, "--json")
    assert outcome.json["parameters"] == 10**18 + 10**9


def test_activations_shows_all_with_every_line(nw: Command) -> None:
    out = nw("activations").out
    for name, activation in ACTIVATIONS.items():
        assert f" {name} " in out
        assert activation.value_range in out
        assert activation.formula[:20] in out
        assert activation.weakness.split()[0] in out
    assert "ReLU does not" in out


def test_one_activation(nw: Command) -> None:
    out = nw("activations", "tanh").out
    assert "tanh" in out
    assert "sigmoid" not in out.split("use")[0]
    assert "ReLU does not" not in out
    outcome = nw("activations", "rely")
    assert outcome.code == 2
    assert "Did you mean 'relu'?" in outcome.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(nw: Command, shell: str) -> None:
    outcome = nw("completion", shell)
    assert outcome.code == 0
    assert "_NEURONWISE_COMPLETE" in outcome.out
    assert f"{shell}_" in outcome.out or "complete --no-files --command neuronwise" in outcome.out


def test_the_bash_script_is_valid(nw: Command) -> None:
    script = nw("completion", "bash").out
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_script_completes_commands_and_options() -> None:
    import os

    from .helpers import finish, start

    def complete(words: str, position: int) -> str:
        environment = os.environ | {
            "_NEURONWISE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)
        }  # fmt: skip
        outcome = finish(start(env=environment))
        assert outcome.code == 0
        return outcome.out

    assert "plain,train" in complete("neuronwise tr", 1)
    assert "plain,--learning-rate" in complete("neuronwise train --le", 2)
    assert "plain,softplus" in complete("neuronwise train --hidden s", 3)


def test_other_shells_are_refused(nw: Command) -> None:
    outcome = nw("completion", "tcsh")
    assert outcome.code == 2
    assert "'bash', 'zsh', 'fish'" in outcome.err


def test_files_of_an_explanation_are_written_before_anything_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads what is printed may close the pipe after some lines: `neuronwise explain … --png a.png | head`."""
    from neuronwise.cli import explanations
    from neuronwise.explaining import collapse

    network = Network.dense([3, 2, 1])
    made = collapse(network, np.ones((4, 3), np.float32), np.ones((4, 1), np.float32))

    def closed(_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(explanations, "_print", closed)
    with pytest.raises(BrokenPipeError):
        explanations.tell(made, False, html=tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
