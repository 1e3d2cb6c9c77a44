"""What `diagnose` says of faults that are set up where one seldom looks, and of healthy trainings that look faulty."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from neuronwise.diagnosing import CAUSES, Evidence, diagnose, measure
from neuronwise.diagnosing.facts import Facts
from neuronwise.diagnosing.suspects import Suspect
from neuronwise.diagnosing.torch_lines import torch_line
from neuronwise.recording import Recording
from neuronwise.watching import TorchWatcher

from .nets import blobs, curve, network, recorded

Made = Callable[[Path], Recording]
Data = tuple[torch.Tensor, torch.Tensor]


class _Negated(nn.Module):
    """The sign of a loss turned."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return it."""
        return -nn.functional.cross_entropy(output, target)


class _CutOff(nn.Module):
    """A network whose last layer alone is reached by the gradient, behind neurons that hardly tell rows apart."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.last = nn.Linear(2, 5), nn.Linear(5, 3)
        nn.init.constant_(self.hidden.bias, -1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return its sums."""
        out: torch.Tensor = self.last(torch.relu(self.hidden(x)).detach())
        return out


class _InAList(nn.Module):
    """A network whose hidden layer lies in a list, and that keeps a teacher in another on purpose."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.teacher, self.last = [nn.Linear(2, 3)], [nn.Linear(2, 3)], nn.Linear(3, 3)
        nn.init.constant_(self.hidden[0].bias, -2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return its sums."""
        out: torch.Tensor = self.last(torch.relu(self.hidden[0](x)))
        return out


class _SoftmaxWithin(nn.Module):
    """A softmax, and then a loss that takes one itself."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return it."""
        return nn.functional.cross_entropy(output.softmax(-1), target)


class _SigmoidWithin(nn.Module):
    """The same of yes or no."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return it."""
        return nn.functional.binary_cross_entropy_with_logits(output.sigmoid(), target)


class _Last(nn.Module):
    """The last answer of a recurrent layer, and a line of it."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.last = nn.GRU(1, width, batch_first=True), nn.Linear(width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return its number."""
        out: torch.Tensor = self.last(self.cell(x)[0][:, -1])
        return out


def _waves(rows: int = 240, seed: int = 0) -> Data:
    g = torch.Generator().manual_seed(seed)
    phase = 6.3 * torch.rand(rows, 1, generator=g)
    wave = torch.sin(0.5 * torch.arange(9.0) + phase)
    return wave[:, :-1, None], wave[:, -1:]


def _three(rows: int = 360, seed: int = 0) -> Data:
    """Return two independent features and three labels that each may be given or not."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 2, generator=g)
    return x, torch.stack([x[:, 0] > 0, x[:, 1] > 0, x.sum(1) > 0], 1).float()


def _noise(rows: int, seed: int) -> Data:
    """Return classes that nothing is to be learned of, as labels are mixed up, and many features to learn them by."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 40, generator=g), torch.randint(0, 3, (rows,), generator=g)


def _adam(model: nn.Module, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), **({"lr": 0.01} | settings))


def _with(
    model: nn.Module, folder: Path, data: Data, held: Data, loss: nn.Module | None = None, **named: Any
) -> Recording:
    return recorded(folder, model, loss or nn.CrossEntropyLoss(), data, held=held, **named)


def _climbing(folder: Path) -> Recording:
    model = network()
    return _with(model, folder, blobs(), blobs(seed=1), optimizer=_adam(model, maximize=True))


def _scaled_targets(folder: Path) -> Recording:
    x, y = curve(seed=1)
    return _with(network(1, 1), folder, curve(), (x, 300 * y + 4000), nn.MSELoss(), epochs=20)


def _slow_recurrent(folder: Path) -> Recording:
    model = _Last(32)
    return _with(model, folder, _waves(), _waves(seed=1), nn.MSELoss(), optimizer=_adam(model, lr=1e-5))


def _falling_rate(folder: Path) -> Recording:
    """Train with a schedule that takes steps for epochs."""
    model, (x, y), loss = network(), blobs(), nn.CrossEntropyLoss()
    optimizer = _adam(model, lr=1e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    with TorchWatcher(model, optimizer, folder=folder, loss=loss, validation=blobs(seed=1)) as watcher:
        for _ in range(15):
            for which in torch.arange(len(x)).split(16):
                optimizer.zero_grad()
                loss(model(x[which]), y[which]).backward()
                optimizer.step()
                schedule.step()
    return watcher.recording


def _slow(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.02)


def _tiny_inputs(folder: Path) -> Recording:
    model, (x, y), (held, goal) = network(), blobs(), blobs(seed=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return _with(model, folder, (x / 3000, y), (held / 3000, goal), optimizer=optimizer)


def _within(folder: Path, loss: nn.Module, data: Data, held: Data, epochs: int) -> Recording:
    model = network()
    return _with(model, folder, data, held, loss, optimizer=_slow(model), epochs=epochs)


FAULTY: dict[str, tuple[Made, str, str, str]] = {
    "climbs": (_climbing, "wrong_optimizer", "maximize=True", "Adam(model.parameters(), lr=0.01)"),
    "sign turned": (
        lambda f: _with(network(), f, blobs(), blobs(seed=1), _Negated()), "wrong_loss", "its sign is turned",
        "loss = nn.CrossEntropyLoss()"),
    "several labels": (
        lambda f: _with(network(), f, _three(), _three(seed=1), epochs=20), "wrong_loss", "binary",
        "loss = nn.BCEWithLogitsLoss()"),
    "cut off": (lambda f: _with(_CutOff(), f, blobs(), blobs(seed=1), epochs=2), "frozen_layer", "",
                "no .detach()"),
    "in a list": (lambda f: _with(_InAList(), f, blobs(), blobs(seed=1), epochs=3), "frozen_layer", "In hidden",
                  "self.hidden = nn.ModuleList("),
    "softmax within": (lambda f: _within(f, _SoftmaxWithin(), blobs(), blobs(seed=1), 3), "wrong_output_activation",
                       "ce_of_softmax", "nn.CrossEntropyLoss()"),
    "sigmoid within": (lambda f: _within(f, _SigmoidWithin(), _three(), _three(seed=1), 20), "wrong_output_activation",
                       "bce_logits_of_sigmoid", "nn.BCEWithLogitsLoss()"),
    "tiny inputs": (_tiny_inputs, "input_not_normalised", "", "x = (x - x_train"),
    "targets": (_scaled_targets, "preprocessing_mismatch", "targets", "y_val = (y_val - y_train.mean(0))"),
    "recurrent": (_slow_recurrent, "lr_too_low", "1e-05", "lr=0.001"),
    "schedule": (_falling_rate, "lr_too_low", "for most of the training", "CosineAnnealingLR(optimizer, T_max=225)"),
    "mixed up": (
        lambda f: _with(network(3, 40, 32), f, _noise(400, 0), _noise(200, 1), epochs=12, batch=16), "wrong_labels", "",
        "cross_entropy(model(x), y"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "cause", "words", "line"), FAULTY.values(), ids=list(FAULTY))
def test_a_fault_is_named(tmp_path: Path, make: Made, cause: str, words: str, line: str) -> None:
    recording = make(tmp_path)
    found = diagnose(recording)
    assert [one.cause for one in found.findings][:1] == [cause], str(found)
    first = found.findings[0]
    assert words in f"{first.student} In {', '.join(first.layers)}."
    assert line in first.treatment.line
    ast.parse(first.treatment.line.replace("…", "..."))
    for one in first.evidence:
        assert measure(recording, one.quantity) == one.value


def _next_words(rows: int, seed: int, length: int = 12, words: int = 8) -> Data:
    """Return words of a language in which each can be followed by several: it can be foretold in part."""
    g = torch.Generator().manual_seed(seed)
    follows = torch.stack(
        [torch.roll(torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05, 0, 0, 0]), place) for place in range(words)]
    )
    found = torch.zeros(rows, length + 1, dtype=torch.int64)
    for place in range(1, length + 1):
        found[:, place] = torch.multinomial(follows[found[:, place - 1]], 1, generator=g)[:, 0]
    return found[:, :-1], found[:, 1:]


class _Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.cell, self.last = nn.Embedding(8, 8), nn.GRU(8, 16, batch_first=True), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sums of all words, at each place: (rows, words, places)."""
        out: torch.Tensor = self.last(self.cell(self.words(x))[0]).transpose(1, 2)
        return out


def _fast(folder: Path) -> Recording:
    model = _Language()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    return _with(model, folder, _next_words(200, 0), _next_words(100, 1), optimizer=optimizer)


def _noisy_line(folder: Path) -> Recording:
    def drawn(rows: int, seed: int) -> Data:
        g = torch.Generator().manual_seed(seed)
        x = torch.randn(rows, 4, generator=g)
        return x, x @ torch.tensor([[0.6], [0.3], [-0.2], [0.0]]) + 0.9 * torch.randn(rows, 1, generator=g)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return _with(model, folder, drawn(400, 0), drawn(200, 1), nn.MSELoss(), optimizer=optimizer, epochs=30)


def _of_some_labels(folder: Path) -> Recording:
    """Train sigmoids on few rows whose three labels they learn by heart, though the first layer's gradient is small."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.Sigmoid(), nn.Linear(32, 32), nn.Sigmoid(), nn.Linear(32, 3))

    def drawn(rows: int, seed: int) -> Data:
        g = torch.Generator().manual_seed(seed)
        x = torch.randn(rows, 8, generator=g)
        return x, (x[:, :3] + 0.4 * x[:, 3:6] + 0.4 * torch.randn(rows, 3, generator=g) > 0.3).float()

    return _with(model, folder, drawn(300, 0), drawn(300, 1), nn.BCEWithLogitsLoss(), optimizer=_adam(model, lr=0.02),
                 epochs=75)  # fmt: skip


HEALTHY: dict[str, Made] = {
    "language": lambda f: _with(_Language(), f, _next_words(200, 0), _next_words(100, 1)),
    "language at a high rate": _fast,
    "a line in noise": _noisy_line,
}


@pytest.mark.parametrize("make", HEALTHY.values(), ids=list(HEALTHY))
def test_what_cannot_be_learned_is_no_fault(tmp_path: Path, make: Made) -> None:
    found = diagnose(make(tmp_path))
    assert not found.findings, str(found)
    assert found.skill is not None
    assert 0.3 < found.skill < 0.52  # of what there is to learn it has all


def test_what_learned_its_own_rows_is_not_held_back_by_its_sigmoids(tmp_path: Path) -> None:
    recording = _of_some_labels(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = diagnose(recording)
    assert not found.findings, str(found)
    assert (measure(recording, "train_skill") or 0) > 0.9
    assert (measure(recording, "first_last_gradient") or 1) < 0.1
    assert found.skill is not None
    assert found.skill < 0.7


LOSSES = {"classes": (nn.CrossEntropyLoss(), blobs()), "binary": (nn.BCEWithLogitsLoss(), _three()),
          "number": (nn.MSELoss(), curve())}  # fmt: skip


@pytest.mark.parametrize("task", LOSSES)
def test_the_lines_to_type_run(tmp_path: Path, task: str) -> None:
    """Every line that is made of the training itself, whatever the cause it would stand at."""
    loss, (x, y) = LOSSES[task]
    model = network(1 if task == "number" else 3, x.shape[1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-3)
    facts = Facts(_with(model, tmp_path, (x, y), (x, y), loss, optimizer=optimizer, epochs=2))
    words = {"lower_lr": 0.002, "higher_lr": 0.2, "wider": 64, "outputs": 3, "column": "input[0]",
             "loss_line": "nn.MSELoss()"}  # fmt: skip
    lines = {}
    for cause in CAUSES:
        for name in ("dropout", "weight_decay", "rate_fallen"):
            one = Suspect(cause, 0.9, (Evidence(name, 1.0, 0.0, True, ""),))
            if line := torch_line(facts, one, words):
                known = {"torch": torch, "nn": nn, "model": model, "optimizer": optimizer, "x": x, "y": y,
                         "y_val": y.float(), "y_train": y.float()}  # fmt: skip
                exec(line, known)
                lines[cause] = line
                if "torch.optim." in line and "scheduler" not in line:
                    made = known["optimizer"].param_groups[0]
                    assert made["nesterov"], line
                    assert made["momentum"] == 0.9
    assert {"lr_too_high", "lr_too_low", "overfitting", "frozen_layer", "wrong_labels", "network_too_small"} <= set(
        lines
    )


def test_shares_of_classes_are_no_numbers(tmp_path: Path) -> None:
    """As those of a teacher, under the cross-entropy, which takes shares too."""
    x, _ = blobs()
    held, _ = blobs(seed=1)
    shares = [torch.softmax(torch.stack([2 * one[:, 0], one[:, 1], -one[:, 1]], 1), 1) for one in (x, held)]
    found = diagnose(_with(network(), tmp_path, (x, shares[0]), (held, shares[1])))
    assert not found.findings, str(found)


class _Drawn(nn.Module):
    """An autoencoder whose code is drawn around a mean, with a spread of exp(·)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.behind = nn.Linear(2, 4), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input again."""
        mean, spread = self.before(x).chunk(2, 1)
        out: torch.Tensor = self.behind(mean + torch.randn_like(mean) * torch.exp(spread / 2))
        return out


def test_the_spread_of_a_drawn_code_is_no_hidden_function(tmp_path: Path) -> None:
    x, _ = blobs()
    recording = _with(_Drawn(), tmp_path, (x, x), (x[:100], x[:100] + 1e-3), nn.MSELoss(), epochs=1, tells_loss=False)
    assert "wrong_hidden_activation" not in [one.cause for one in diagnose(recording).findings]


def test_two_optimizers_that_take_turns_clear_their_own_gradients(tmp_path: Path) -> None:
    """As in a GAN: what the one has just stepped with is still there when the other's pass begins."""
    maker, judge, loss = (
        nn.Linear(2, 2),
        nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)),
        nn.BCEWithLogitsLoss(),
    )
    both = nn.Sequential(maker, judge)
    making, judging = _adam(maker, lr=1e-3), _adam(judge, lr=1e-3)
    x, _ = blobs()
    with TorchWatcher(both, [making, judging], folder=tmp_path, loss=loss) as watcher:
        for which in torch.arange(len(x)).repeat(3).split(16):
            judging.zero_grad()
            noise = torch.randn(len(which), 2)
            (loss(judge(x[which]), torch.ones(len(which), 1))
             + loss(judge(maker(noise).detach()), torch.zeros(len(which), 1))).backward()  # fmt: skip
            judging.step()
            making.zero_grad()
            loss(both(noise), torch.ones(len(which), 1)).backward()
            making.step()
    assert measure(watcher.recording, "gradients_kept") == 0


class _Taught(nn.Module):
    """A student beside a teacher that is asked, without gradients, and never learns."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = network().requires_grad_(False), network(width=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the student's sums."""
        with torch.no_grad():
            self.teacher(x)
        out: torch.Tensor = self.student(x)
        return out


def test_a_teacher_that_is_only_asked_is_no_frozen_layer(tmp_path: Path) -> None:
    data = blobs()
    mixed = data[0], data[1][torch.randperm(len(data[1]), generator=torch.Generator().manual_seed(0))]
    recording = recorded(tmp_path / "run", _Taught(), nn.CrossEntropyLoss(), mixed, held=blobs(seed=1), epochs=4)
    assert measure(recording, "not_trained") == 0
    assert "frozen_layer" not in [one.cause for one in diagnose(recording).findings]


def test_frozen_layers_are_not_critical_where_nothing_tells_how_it_went(tmp_path: Path) -> None:
    model = network()
    model[:4].requires_grad_(False)
    recording = recorded(tmp_path / "run", model, nn.CrossEntropyLoss(), blobs(), tells_loss=False)
    found = diagnose(recording).findings
    assert [(one.cause, one.is_critical) for one in found] == [("frozen_layer", False)]
