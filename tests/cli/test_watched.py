"""Commands on a run that was watched while PyTorch trained it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import neuronwise
from neuronwise.running import WatchedTraining

from .conftest import Command


class Small(nn.Module):
    """Two layers, of which one neuron of the first never answers, and a frozen one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 8)
        self.fc2 = nn.Linear(8, 1)
        self.unused = nn.Linear(2, 2).requires_grad_(False)
        with torch.no_grad():
            self.fc1.bias[:7] = 1
            self.fc1.weight[7] = 0
            self.fc1.bias[7] = -1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the answers."""
        answers: torch.Tensor = self.fc2(torch.relu(self.fc1(x)))
        return answers


def watch(name: str = "mine", *, tracking: bool = False, steps: int = 80) -> WatchedTraining:
    torch.manual_seed(0)
    model, loss = Small(), nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(32, 4)
    with neuronwise.watch(model, optimizer, loss=loss, name=name, tracking=tracking) as watcher:
        for step in range(steps):
            optimizer.zero_grad()
            loss(model(x), x[:, :1]).backward()
            optimizer.step()
            if step % 20 == 19:
                watcher.log(accuracy=step / 100)
    return watcher


@pytest.fixture(scope="module")
def watched_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("watched") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(home))
        watch()
    return home


@pytest.fixture
def watched(watched_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the home with a watched run the user's; tests must not change it."""
    monkeypatch.setenv("NEURONWISE_HOME", str(watched_home))
    return watched_home


def test_runs_lists_it(nw: Command, watched: Path) -> None:
    outcome = nw("runs")
    assert re.search(r"mine +\w{8} .*finished +watched: Small +55", outcome.out)


def test_show_prints_layers_and_courses(nw: Command, watched: Path) -> None:
    outcome = nw("show", "latest")
    assert (outcome.code, outcome.err) == (0, "")
    assert "finished, watched" in outcome.out
    assert "Small (torch), 55 parameters" in outcome.out
    assert re.search(r"80 steps in .*, watching took .*% of it; statistics of \d+ steps, weights of \d+", outcome.out)
    assert re.search(r"fc1 +Linear → relu +8 +40 +\d\.\d+ +\d\.\d+ +[\d.e-]+ +1\n", outcome.out)
    assert re.search(r"fc2 +Linear +1 +9 ", outcome.out)
    assert re.search(r"unused +Linear +2 +6 \(frozen\)", outcome.out)
    assert re.search(r"total +11 +55", outcome.out)
    assert re.search(r"accuracy +0\.19 +[▁▂▃▄▅▆▇█]+ +0\.79", outcome.out)
    assert re.search(r"loss +[\d.]+ +[▁▂▃▄▅▆▇█]+", outcome.out)


def test_show_as_json(nw: Command, watched: Path) -> None:
    found = nw("show", "mine", "--json").json
    assert (found["name"], found["model"], found["parameters"], found["steps"]) == ("mine", "Small", 55, 80)
    first = found["layers"][0]
    assert (first["layer"], first["neurons"], first["activation"], first["dead"]) == ("fc1", 8, "relu", 1)
    assert found["layers"][2]["trainable"] == 0


def test_show_neuron_at_the_nearest_stored_step(nw: Command, watched: Path) -> None:
    recording = neuronwise.open("mine")
    assert 70 not in recording.keyframes
    nearest = int(recording.keyframes[abs(recording.keyframes - 70).argmin()])
    outcome = nw("show", "mine", "--neuron", "fc1[7]", "--step", 70)
    assert outcome.code == 0
    assert f"fc1[7] after step {nearest}" in outcome.out
    assert f"note: step 70 is not stored whole: its weights are those of step {nearest}" in outcome.err
    assert re.search(r"share of examples that leave it at 0 +1\n", outcome.out)
    found = nw("show", "mine", "--neuron", "fc1[2]", "--step", 70, "--json").json
    stored = recording.stored.layer(nearest, "fc1")
    assert found["step"] == nearest
    assert list(found["weights"].values()) == pytest.approx(stored["weight"][2].tolist())
    assert found["bias"] == pytest.approx(float(stored["bias"][2]))
    values = recording.neurons("fc1", "grad_norm", [found["statistics_step"]]).values
    assert found["statistics"]["grad_norm"] == pytest.approx(float(values[0, 2]))
    exact = nw("show", "mine", "--neuron", "fc1[2]", "--step", 80)
    assert exact.code == 0
    assert "fc1[2] after step 80" in exact.out


def test_show_neuron_says_which_there_are(nw: Command, watched: Path) -> None:
    outcome = nw("show", "mine", "--neuron", "fc1[9]")
    assert outcome.code == 2
    assert "'fc1' has the neurons 0 to 7, got 9" in outcome.err
    outcome = nw("show", "mine", "--neuron", "fc22[0]")
    assert outcome.code == 2
    assert "there is no layer 'fc22'. Did you mean 'fc2'?" in outcome.err


def test_step_says_why_it_cannot(nw: Command, watched: Path) -> None:
    outcome = nw("step", "mine", 43)
    assert outcome.code == 2
    assert "was watched while another framework did it, so its steps cannot be taken again" in outcome.err
    assert "the nearest is that of step" in outcome.err


def test_history_of_weights_statistics_and_metrics(nw: Command, watched: Path) -> None:
    for name in ("fc1[2].bias", "fc1[2].weights", "fc1[2].weights[3]", "fc1[2].grad_norm", "loss", "accuracy"):
        outcome = nw("history", "mine", name)
        assert (outcome.code, outcome.err) == (0, ""), name
    lines = nw("history", "mine", "accuracy", "--csv").out.splitlines()
    assert lines == ["step,accuracy", "20,0.19", "40,0.39", "60,0.59", "80,0.79"]
    outcome = nw("history", "mine", "acuracy")
    assert outcome.code == 2
    assert "Did you mean 'accuracy'?" in outcome.err


def test_export_writes_tables(nw: Command, watched: Path, tmp_path: Path) -> None:
    outcome = nw("export", "mine", "--parquet", tmp_path / "out", "--weights")
    assert outcome.code == 0
    tables = {path.stem: pq.read_table(path) for path in (tmp_path / "out").iterdir()}
    assert set(tables) == {"steps", "epochs", "metrics", "neurons", "layers", "weights"}
    assert tables["steps"].num_rows == 80
    assert tables["metrics"].to_pylist()[-1] == {"step": 80, "name": "accuracy", "value": 0.79}
    assert set(tables["neurons"]["layer"].to_pylist()) == {"fc1", "fc2", "unused"}


@pytest.mark.parametrize("command", [("predict", "mine", "x.csv"), ("encode", "x.csv", "--run", "mine")])
def test_what_needs_a_network_says_there_is_none(nw: Command, watched: Path, command: tuple[str, ...]) -> None:
    Path("x.csv").write_text("a,b\n1,2\n")
    outcome = nw(*command)
    assert outcome.code == 2
    assert "left no network of Neuronwise" in outcome.err


def test_with_mlflow_alone_show_sync_and_clean(nw: Command) -> None:
    watcher = watch("sent", tracking=True)
    assert "nothing was missing" in nw("sync", "sent").out
    outcome = nw("clean", "sent")
    assert (outcome.code, "sent" in outcome.out, "freed" in outcome.out) == (0, True, True)
    assert "80 steps" in nw("show", "sent").out
    shutil.rmtree(watcher.run_folder)
    shown = nw("show", "sent")
    assert shown.code == 0
    assert re.search(r"fc1 +Linear → relu +8 +40 ", shown.out)
    assert nw("show", watcher.run_id[:8], "--neuron", "fc2[0]").code == 0
    assert re.search(r"sent +\w{8} .*finished +watched: Small +55 +loss [\d.e-]+ +not here", nw("runs").out)


def test_what_is_not_finite_is_noticed(nw: Command) -> None:
    model = Small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with neuronwise.watch(model, optimizer, name="bad", tracking=False):
        for step in range(4):
            optimizer.zero_grad()
            (model(torch.ones(2, 4)).sum() * (float("nan") if step == 2 else 1.0)).backward()
            optimizer.step()
    outcome = nw("show", "bad")
    assert outcome.code == 0
    assert re.search(r"Noticed[\s\S]* is NaN or infinite at step 3 \(all was finite at step 2\)", outcome.out)


class Returning(Small):
    """Returns its loss too, as transformers do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the loss beside the answers."""
        answers = super().forward(x)
        return {"loss": (answers - x[:, :1]).square().mean(), "logits": answers}  # type: ignore[return-value]


@pytest.mark.parametrize("how", ["unseen", "returned", "logged"])
def test_whence_the_loss_is_known_is_noticed(nw: Command, how: str) -> None:
    model = Small() if how == "unseen" else Returning()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with neuronwise.watch(model, optimizer, name=how, tracking=False, diagnose=False) as watcher:
        for _ in range(4):
            optimizer.zero_grad()
            found = model(torch.ones(2, 4))
            loss = found.square().mean() if how == "unseen" else found["loss"]
            loss.backward()
            optimizer.step()
            if how == "logged":
                watcher.log(loss=loss)
    shown = nw("show", how).out
    assert ("no loss was seen: hand it to watch(…, loss=…)" in shown) == (how == "unseen")
    assert ("the loss is the one that the model returns" in shown) == (how == "returned")
    history = nw("history", how, "loss")
    assert (history.code, ("nothing is stored of it" in history.out)) == (0, how == "unseen")


def test_what_a_loop_logs_may_be_called_anything(nw: Command) -> None:
    model = Small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    logged = {"recall[class=3]": 0.25, "top[1]": float("nan"), "fc1.grad_norm": 7.0, "[": 1.0}
    with neuronwise.watch(model, optimizer, name="logs", tracking=False, diagnose=False) as watcher:
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        watcher.log(**logged)
    for name, value in logged.items():
        outcome = nw("history", "logs", name, "--csv")
        assert (outcome.code, outcome.out.splitlines()) == (0, [f"step,{name}", f"1,{value}"]), outcome.err
    assert "there is no layer 'recall'" in nw("history", "logs", "recall[3].bias").err


def test_a_run_without_a_step(nw: Command) -> None:
    watch("empty", steps=0)
    outcome = nw("show", "empty")
    assert outcome.code == 0
    assert "nothing is recorded: no step of the optimizer was taken" in outcome.out
    assert nw("history", "empty", "loss").code == 2
