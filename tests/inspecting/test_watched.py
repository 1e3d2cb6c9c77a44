"""The inspector of watched runs: an nn.Sequential in every view, any other model as its modules over time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronwise
from neuronwise.inspecting.module_data import describe_modules
from neuronwise.running.inspector import inspector_page, inspector_payload
from neuronwise.running.ui import LocalRuns
from neuronwise.running.watched_inspector import keep_watched_inspector

from .browser import chromium, opened, settled
from .test_page import data_of, numbers

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import nn  # noqa: E402


class Encoder(nn.Module):
    """A small transformer: no nn.Sequential, so its answers cannot be computed in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 16)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 24, batch_first=True), 2)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.encoder(self.embed(x.reshape(-1, 4, 4))).mean(1))


def data(shape: tuple[int, ...] = (16,)) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(120, 16, generator=generator)
    return x.reshape(-1, *shape), (x[:, 0] + x[:, 5] > 1).long() + (x[:, 2] > 0.6).long()


def shape_of(name: str) -> tuple[int, ...]:
    return (1, 4, 4) if name == "pictures" else (16,)


def watch(model: nn.Module, folder: Path, *, steps: int = 60, **options: Any) -> Any:
    x, y = data(shape_of(folder.name))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    loss = nn.CrossEntropyLoss()
    options = {"validation": (x[100:], y[100:]), "loss": loss, "name": folder.name} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with neuronwise.watch(model, optimizer, folder=folder, **options) as watcher:
            for step in range(steps):
                batch = slice(25 * (step % 4), 25 * (step % 4) + 25)
                optimizer.zero_grad()
                loss(model(x[batch]), y[batch]).backward()
                optimizer.step()
    return watcher


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[nn.Module, Any]]]:
    """Watch a perceptron, a convolution and a transformer, each kept in a local MLflow store."""
    home = tmp_path_factory.mktemp("watched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(home))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'store.db'}")
        patch.chdir(home)
        torch.manual_seed(1)
        models = {
            "perceptron": nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)),
            "pictures": nn.Sequential(
                nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(),
                nn.Linear(80, 3),
            ),
            "transformer": Encoder(),
        }  # fmt: skip
        yield {name: (model, watch(model, home / "runs" / name)) for name, model in models.items()}


def test_close_leaves_the_page_beside_the_run_and_links_it_in_mlflow(watched: dict[str, tuple[nn.Module, Any]]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{watched['perceptron'][1].run_folder.parents[1] / 'store.db'}")
    for _, watcher in watched.values():
        assert (watcher.run_folder / "inspector.html").is_file()
        run = client.get_run(watcher.run_id)
        first = run.data.tags["mlflow.note.content"].split("\n\n")[0]
        assert f"runs/{watcher.run_id}/artifacts/neuronwise/inspector.html" in first
        assert first.startswith("**[Open the inspector](")
        assert "Neuronwise watched a training" in run.data.tags["mlflow.note.content"]
        artifacts = [one.path for one in client.list_artifacts(watcher.run_id, "neuronwise")]
        assert "neuronwise/inspector.html" in artifacts
        assert "neuronwise/inspector_rows.json" not in artifacts


def test_a_sequential_has_its_weights_at_every_stored_step_and_rows_held_out(
    watched: dict[str, tuple[nn.Module, Any]],
) -> None:
    model, watcher = watched["perceptron"]
    content = data_of((watcher.run_folder / "inspector.html").read_text(encoding="utf-8"))
    assert content["network"]["answers"] is True
    assert [layer["name"] for layer in content["network"]["layers"]] == ["0", "2"]
    states = {state["step"]: numbers(state["parameters"]) for state in content["weights"]["states"]}
    recording = neuronwise.open(watcher.run_folder)
    assert sorted(states) == recording.keyframes.tolist()
    for step, flat in states.items():
        assert np.array_equal(flat, recording.at(step).parameters)
    expected = np.concatenate([one.detach().numpy().ravel() for one in model.parameters()])
    assert np.array_equal(states[60], expected)
    shown = content["examples"]
    assert (shown["part"], shown["of"], len(shown["rows"])) == ("validation", 20, 20)
    x, y = data()
    assert np.array_equal(numbers(shown["X"]), x[100:].numpy())
    assert numbers(shown["y"]).ravel().tolist() == y[100:].tolist()
    assert content["outputs"]["task"] == "multiclass"
    assert content["network"]["layers"][-1]["activation"] == "softmax"
    assert any("logits" in note for note in content["notes"])
    text, said = inspector_page(watcher.run_folder)  # made again, of the rows kept beside the run
    assert data_of(text)["examples"] == shown
    assert any("20 rows of the data (validation" in sentence for sentence in said)
    assert data_of(inspector_page(watcher.run_folder, redact=True)[0])["examples"] is None


def test_the_page_answers_what_the_model_answers(watched: dict[str, tuple[nn.Module, Any]]) -> None:
    with chromium() as browser:
        for name in ("perceptron", "pictures"):
            model, watcher = watched[name]
            x, _ = data(shape_of(name))
            with torch.no_grad():
                expected = model.eval()(x[103:104]).softmax(-1)[0].numpy()
            with opened(browser, (watcher.run_folder / "inspector.html").as_uri()) as at:
                found = at.evaluate(
                    "() => { const { model } = document.getElementById('neuronwise').neuronwise;"
                    " return Array.from(model.trace(60, 3).at(-1).a); }"
                )
                assert found == pytest.approx(expected, abs=1e-5), name
                assert "✓" in at.inner_text(".nw-check")


def test_other_models_are_shown_by_module_with_what_was_measured(watched: dict[str, tuple[nn.Module, Any]]) -> None:
    _, watcher = watched["transformer"]
    recording = neuronwise.open(watcher.run_folder)
    content, _ = inspector_payload(watcher.run_folder)
    assert content["network"]["answers"] is False
    names = [layer["name"] for layer in content["network"]["layers"]]
    assert names == list(recording.stored.layout.layers)
    frame = int(recording.frames[len(recording.frames) // 2])
    found = recording.neurons("encoder.layers.0.linear1", "mean", [frame]).values[0]
    norm = np.sqrt((recording.neurons("head", "grad_norm", [frame]).values[0].astype(float) ** 2).sum())
    with chromium() as browser, opened(browser, (watcher.run_folder / "inspector.html").as_uri()) as at:
        shown = at.evaluate(
            """([layer, frame]) => {
                const { model } = document.getElementById("neuronwise").neuronwise;
                const index = model.net.layers.findIndex((one) => one.name === layer);
                const head = model.net.layers.findIndex((one) => one.name === "head");
                const k = model.statistics.steps.indexOf(frame);
                return [Array.from(model.atFrame(index, "mean", k).values), model.sumOf(head, "grad_norm").values[k]];
            }""",
            ["encoder.layers.0.linear1", frame],
        )
        assert shown[0] == pytest.approx(found, abs=1e-6)
        assert shown[1] == pytest.approx(norm, rel=1e-5)
        # A neuron is chosen by keys alone; its past and its weights are there, its sum says why it is not.
        at.focus("canvas.nw-modules")
        for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
            at.keyboard.press(key)
        settled(at)
        heading = at.inner_text(".nw-panel h2")
        assert heading.endswith("[1]")
        assert "cannot be written out here" in at.inner_text(".nw-panel")
        at.get_by_label("Go to a module or a neuron").fill("encoder.layers.1.linear2[3]")
        at.keyboard.press("Enter")
        settled(at)
        assert at.inner_text(".nw-panel h2") == "encoder.layers.1.linear2[3]"
        at.click("#nw-tab-layer")
        settled(at)
        assert "Gradient flow" in at.inner_text(".nw-panel")
        assert at.locator(".nw-panel canvas").count() >= 4
        at.click("#nw-tab-answer")
        settled(at)
        assert "an nn.Sequential is needed, got Encoder" in at.inner_text(".nw-panel")
        at.click("#nw-tab-diagnosis")
        settled(at)
        assert "Looked at 60 steps" in at.inner_text(".nw-panel")


def test_what_takes_in_what_is_drawn_once_and_the_residual_stream_as_what_passes_by(
    watched: dict[str, tuple[nn.Module, Any]],
) -> None:
    _, watcher = watched["transformer"]
    network = inspector_payload(watcher.run_folder)[0]["network"]
    names = [layer["name"] for layer in network["layers"]]
    links = {(names[p], names[q]) for p, q in network["links"]}
    skips = {(names[p], names[q]) for p, q in network["skips"]}
    assert ("encoder.layers.0.linear1", "encoder.layers.0.linear2") in links
    assert ("encoder.layers.1.linear2", "head") in links
    assert ("encoder.layers.0.linear2", "encoder.layers.1.self_attn") in links
    # What is added past the attention comes from the block before.
    assert ("encoder.layers.0.linear2", "encoder.layers.1.linear1") in skips
    assert not links & skips


def test_without_a_graph_modules_stand_in_their_order(watched: dict[str, tuple[nn.Module, Any]]) -> None:
    layout = neuronwise.open(watched["transformer"][1].run_folder).stored.layout
    found = describe_modules(layout, "why", {"layers": [{"name": 3}, "x", {"weight": "w", "follows": 7}]})
    assert (found["links"], found["skips"]) == ([], [])
    assert describe_modules(layout, "why")["links"][:2] == [[0, 1], [1, 2]]


def test_the_local_page_shows_all_that_was_recorded_of_a_neuron(
    watched: dict[str, tuple[nn.Module, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, watcher = watched["transformer"]
    monkeypatch.setenv("NEURONWISE_HOME", str(watcher.run_folder.parents[1]))
    local = LocalRuns()
    content = local.payload(watcher.run_folder.name)
    recording = neuronwise.open(watcher.run_folder)
    assert content["weights"]["listed"] == recording.keyframes.tolist()
    assert (content["live"], content["diagnosis"] is not None) == (False, True)
    place = [layer["name"] for layer in content["network"]["layers"]].index("head")
    found = local.neuron(watcher.run_folder.name, place, 2)
    course = recording.neurons("head", "grad_norm")
    assert found["grad_norm"]["steps"] == course.steps.tolist()
    assert np.array_equal(numbers(found["grad_norm"]["values"]), course.values[:, 2], equal_nan=True)
    flat = np.frombuffer(local.state(watcher.run_folder.name, 60), "<f4")
    assert np.array_equal(flat, recording.stored.parameters(60))
    assert local.diagnosis(watcher.run_folder.name)["steps"] == 60


def test_a_failure_is_a_named_warning_and_the_run_still_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neuronwise.running import watched_inspector

    def broken(*given: Any, **named: Any) -> Any:
        raise ValueError("no room on the page")

    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watched_inspector, "build_payload", broken)
    monkeypatch.setattr(watched_inspector, "build_module_payload", broken)
    with pytest.warns(RuntimeWarning, match="the inspector could not be made: ValueError: no room on the page"):
        watcher = watch(nn.Sequential(nn.Linear(16, 3)), tmp_path / "runs" / "broken", steps=3)
    from mlflow import MlflowClient

    run = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'store.db'}").get_run(watcher.run_id)
    assert run.info.status == "FINISHED"
    assert "Open the inspector" not in run.data.tags["mlflow.note.content"]


def test_without_tracking_no_page_is_made_and_redacted_ones_hold_no_row(tmp_path: Path) -> None:
    watcher = watch(nn.Sequential(nn.Linear(16, 3)), tmp_path / "local", steps=3, tracking=False)
    assert not (watcher.run_folder / "inspector.html").exists()
    told: list[str] = []
    path = keep_watched_inspector(watcher.run_folder, redact=True, told=told.append)
    assert (path, told) == (watcher.run_folder / "inspector.html", [])
    assert data_of(path.read_text(encoding="utf-8"))["examples"] is None
    assert not (watcher.run_folder / "inspector_rows.json").exists()


def test_of_a_probe_nothing_is_said_to_be_right(tmp_path: Path) -> None:
    x, _ = data()
    watcher = watch(
        nn.Sequential(nn.Linear(16, 3)), tmp_path / "probed", steps=3, tracking=False, validation=None, probe=x[:4]
    )
    content, _ = inspector_payload(watcher.run_folder)
    assert (content["examples"]["part"], len(content["examples"]["rows"])) == ("probe", 4)
    assert np.array_equal(numbers(content["examples"]["X"]), x[:4].numpy())
    assert content["outputs"]["task"] is None
