"""What watching a PyTorch training costs, beside wandb and TensorBoard.

    python benchmarks/watching.py [--quick] [--device cuda]

Three models, torch on one thread: 784-128-64-10 with batch 128, a convolutional network of 100,000 parameters with
batch 64, a transformer of 5 million parameters with batch 64 (sequences of 4); on a GPU a ResNet-18 besides. Kinds:
bare training; `TorchWatcher` as it is by default, over 2,000 steps; with statistics of all layers at every step, over
500 steps; `wandb.watch(log="all", log_freq=1)`, offline; and TensorBoard with a histogram of every parameter and its
gradient at every step; and, over 50 steps, TorchLens, which traces one more forward pass of the same batch after every
step (activations only, of which nothing is written). All make a model from the same seed and take the same steps. They
take turns, some steps each, in an order that is new each time, and the ratio is of a kind's steps to those of bare
training in the same turns.
Opening and closing, and the first step of each, are left out, as they do not grow with the steps. At the end all
weights must be those of bare training to the last bit.

One that is not installed is left out (`pip install '.[benchmarks]'` has all).
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring import arguments, machine, pin, restart_clean, save, spread, table

BARE, DEFAULT, EVERY = "bare", "watched", "watched, every step"
OTHERS = ("wandb.watch, every step", "TensorBoard, every step")
TORCHLENS = "TorchLens, every step"
AIMS = {"784-128-64-10": (1.03, 1.15), "conv": (1.02, 1.06), "transformer": (1.02, 1.06)}
STEPS = {DEFAULT: 2000, EVERY: 500, TORCHLENS: 50}


def main() -> None:
    parser = arguments(__doc__, "watching.json")
    parser.add_argument("--device", default="cpu", help="where to train (default %(default)s)")
    parser.add_argument("--core", type=int, help="the core to measure on (default the last)")
    parser.add_argument("--only", nargs="*", help="models to measure, in this order (default all)")
    parser.add_argument("--alone", action="store_true", help="without the other tools")
    options = parser.parse_args()
    restart_clean()
    pin(options.core)
    import torch

    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "benchmark": "watching",
        "command": "python benchmarks/watching.py" + (f" --device {options.device}" if options.device != "cpu" else ""),
        "quick": options.quick,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "machine": machine(["torch", "wandb", "tensorboard", "torchlens"]),
        "cases": [],
    }
    known = models(options.device)
    for name in options.only or known:
        make, data, block = known[name]
        races = [
            ([BARE, DEFAULT], STEPS[DEFAULT]),
            ([BARE, EVERY, *([] if options.alone else OTHERS)], STEPS[EVERY]),
        ]
        if not options.alone and is_there(TORCHLENS):
            races.append(([BARE, TORCHLENS], STEPS[TORCHLENS]))
        for kinds, steps in races:
            case = race(name, make, data, kinds, 20 if options.quick else steps, block, options.device)
            result["cases"].append(case)
            print(describe(case), flush=True)
    print("\n" + as_table(result))
    save(result, options.out)


def models(device: str) -> dict[str, tuple[Callable[[], Any], Callable[[int], tuple[Any, Any]], int]]:
    """Return, by name, what makes a model, what makes a batch of a step, and how many steps are a turn."""
    import torch
    from torch import nn

    class Transformer(nn.Module):
        """Embeds 4 tokens out of 1,000 and tells 10 classes apart: 5.1 million parameters."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(1000, 256)
            layer = nn.TransformerEncoderLayer(256, 8, 1024, dropout=0.0, batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
            self.output = nn.Linear(256, 10)

        def forward(self, tokens: Any) -> Any:
            return self.output(self.encoder(self.embedding(tokens)).mean(1))

    def vectors(step: int) -> tuple[Any, Any]:
        chance = torch.Generator().manual_seed(step % 64)
        return torch.rand(128, 784, generator=chance), torch.randint(0, 10, (128,), generator=chance)

    def pictures(size: int, channels: int) -> Callable[[int], tuple[Any, Any]]:
        def batch(step: int) -> tuple[Any, Any]:
            chance = torch.Generator().manual_seed(step % 64)
            x = torch.rand(64, channels, size, size, generator=chance)
            return x, torch.randint(0, 10, (64,), generator=chance)

        return batch

    def tokens(step: int) -> tuple[Any, Any]:
        chance = torch.Generator().manual_seed(step % 64)
        return torch.randint(0, 1000, (64, 4), generator=chance), torch.randint(0, 10, (64,), generator=chance)

    def dense() -> Any:
        return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))

    def conv() -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1568, 60), nn.ReLU(), nn.Linear(60, 10),
        )  # fmt: skip

    found: dict[str, tuple[Callable[[], Any], Callable[[int], tuple[Any, Any]], int]] = {
        "784-128-64-10": (dense, vectors, 50),
        "conv": (conv, pictures(28, 1), 10),
        "transformer": (Transformer, tokens, 5),
    }
    if device == "cuda":
        found["resnet"] = (resnet, pictures(64, 3), 20)
    return found


def resnet() -> Any:
    """Return a ResNet-18 (He et al. 2016) for ten classes: 11.2 million parameters."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(outputs)
            self.shortcut = nn.Sequential()
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Any) -> Any:
            inner = nn.functional.relu(self.norm1(self.conv1(x)))
            return nn.functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))

    widths = [64, 64, 128, 256, 512]
    blocks: list[Any] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    for place, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        blocks += [Block(inputs, outputs, 1 if place == 0 else 2), Block(outputs, outputs, 1)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class Loop:
    """One training, some steps at a time, recorded by one of the kinds."""

    def __init__(
        self, kind: str, make: Callable[[], Any], data: Callable[[int], Any], device: str, folder: Path
    ) -> None:
        import torch

        torch.manual_seed(0)
        self.data, self.device, self.step = data, device, 0
        self.model = make().to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)
        self.loss = torch.nn.CrossEntropyLoss()
        self.batches = [tuple(one.to(device) for one in data(step)) for step in range(64)]
        self.each: Callable[[int, Any], None] = lambda step, loss: None
        self.close: Callable[[], None] = lambda: None
        began = time.perf_counter()
        if kind in (DEFAULT, EVERY):
            from neuronwise.watching import TorchWatcher

            every = 1 if kind == EVERY else None
            self.watcher = TorchWatcher(
                self.model, self.optimizer, loss=self.loss, folder=folder / "recording", statistics_every=every,
                bytes_budget=2_000_000_000 if every else 500_000_000,
            )  # fmt: skip
            self.close = self.watcher.close
        elif kind.startswith("wandb"):
            import wandb

            run = wandb.init(project="benchmark", dir=str(folder))
            run.watch(self.model, log="all", log_freq=1)
            self.each = lambda step, loss: run.log({"loss": loss.item()})
            self.close = run.finish
        elif kind.startswith("TensorBoard"):
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(folder)

            def write(step: int, loss: Any) -> None:
                writer.add_scalar("loss", loss.item(), step)
                for name, parameter in self.model.named_parameters():
                    writer.add_histogram(name, parameter, step)
                    writer.add_histogram(f"{name}.grad", parameter.grad, step)

            self.each, self.close = write, writer.close
        elif kind == TORCHLENS:
            import torchlens

            self.each = lambda step, loss: torchlens.trace(self.model, self.batches[(step - 1) % 64][0])
        self.opening_s = time.perf_counter() - began

    def take(self, steps: int) -> tuple[float, float]:
        """Take some steps, and return their CPU and wall seconds."""
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(steps):
            x, y = self.batches[self.step % 64]
            self.step += 1
            self.optimizer.zero_grad()
            loss = self.loss(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            self.each(self.step, loss)
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
        return time.process_time() - cpu, time.perf_counter() - wall


def race(
    name: str, make: Callable[[], Any], data: Any, kinds: list[str], steps: int, block: int, device: str
) -> dict[str, Any]:
    """Let all kinds take turns until each has taken its steps; return their times, and whether the bits agree."""
    import torch

    kinds = [kind for kind in kinds if is_there(kind)]
    shuffler = random.Random(0)
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    with folders(kinds) as places:
        Loop(BARE, make, data, device, Path()).take(min(block, 10))  # warms up
        loops = {kind: Loop(kind, make, data, device, places[kind]) for kind in kinds}
        for loop in loops.values():
            loop.take(1)  # opens what is opened with the first step
        for _ in range(max(1, steps // block)):
            for kind in shuffler.sample(kinds, len(kinds)):
                times[kind].append(loops[kind].take(block))
        closing = {}
        for kind, loop in loops.items():
            began = time.perf_counter()
            loop.close()
            closing[kind] = time.perf_counter() - began
        bare = torch.nn.utils.parameters_to_vector(loops[BARE].model.parameters()).detach()
        found: dict[str, Any] = {}
        for kind in kinds:
            cpu, wall = (sum(one[clock] for one in times[kind]) for clock in (0, 1))
            cpu_bare, wall_bare = (sum(one[clock] for one in times[BARE]) for clock in (0, 1))
            own = torch.nn.utils.parameters_to_vector(loops[kind].model.parameters()).detach()
            found[kind] = {
                "us_per_step": 1e6 * wall / len(times[kind]) / block,
                "ratio_cpu": cpu / cpu_bare,
                "ratio_wall": wall / wall_bare,
                "turns": spread([a[1] / b[1] for a, b in zip(times[kind], times[BARE], strict=True)]),
                "opening_and_closing_s": loops[kind].opening_s + closing[kind],
                "same_weights": bool(torch.equal(own, bare)),
                "bytes": sum(path.stat().st_size for path in places[kind].rglob("*") if path.is_file()),
            }
            if kind in (DEFAULT, EVERY):
                recording = loops[kind].watcher.recording
                found[kind] |= {"frames": len(recording.frames), "states": len(recording.keyframes)}
    parameters = sum(one.numel() for one in loops[BARE].model.parameters())
    return {"model": name, "parameters": parameters, "steps": max(1, steps // block) * block, "kinds": found}


@contextlib.contextmanager
def folders(kinds: list[str]) -> Iterator[dict[str, Path]]:
    with tempfile.TemporaryDirectory(prefix="neuronwise-watching-") as place:
        os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_CONSOLE": "off", "DO_NOT_TRACK": "true"}
        os.environ |= {f"WANDB_{name}_DIR": place for name in ("CONFIG", "CACHE", "DATA")}
        found = {kind: Path(place) / str(number) for number, kind in enumerate(kinds)}
        for one in found.values():
            one.mkdir()
        yield found


def is_there(kind: str) -> bool:
    """Return whether what a kind needs is installed."""
    packages = {"wandb": "wandb", "TensorBoard": "tensorboard", "TorchLens": "torchlens"}
    package = packages.get(kind.partition(".")[0].partition(",")[0])
    return package is None or importlib.util.find_spec(package) is not None


def describe(case: dict[str, Any]) -> str:
    ratios = [f"{kind} {one['ratio_cpu']:.3f} (wall {one['ratio_wall']:.3f})" for kind, one in case["kinds"].items()]
    return (
        f"{case['model']}, {case['steps']:,} steps, {case['kinds'][BARE]['us_per_step']:,.0f} µs: {'; '.join(ratios)}"
    )


def as_table(result: dict[str, Any]) -> str:
    """Return the costs as a Markdown table."""
    rows = []
    for case in result["cases"]:
        for kind, one in case["kinds"].items():
            is_bare = kind == BARE
            rows.append(
                [
                    f"{case['model']}, {case['steps']:,} steps: {kind}",
                    f"{one['us_per_step']:,.0f}",
                    "" if is_bare else f"**{one['ratio_cpu']:.3f}**",
                    "" if is_bare else f"**{one['ratio_wall']:.3f}**",
                    "" if is_bare else f"{one['turns']['median']:.3f}",
                    f"{one['frames']:,}" if "frames" in one else "",
                    "" if is_bare else f"{one['bytes'] / 1e6:.1f} MB",
                    "yes" if one["same_weights"] else "**no**",
                ]
            )
    header = ["model, steps: kind", "µs a step", "CPU, times bare", "wall, times bare", "median turn", "frames"]
    return table([*header, "written", "same bits"], rows)


def aims_rows(result: dict[str, Any]) -> list[list[Any]]:
    """Return each aim, what was found, and whether it is met."""
    rows = []
    for case in result["cases"]:
        for kind, goal in zip((DEFAULT, EVERY), AIMS.get(case["model"], ()), strict=False):
            if kind in case["kinds"]:
                found = max(case["kinds"][kind][f"ratio_{clock}"] for clock in ("cpu", "wall"))
                rows.append([f"{case['model']}, {kind}: {goal:g} times bare", f"{found:.3f}", found <= goal])
    return rows


if __name__ == "__main__":
    sys.exit(main())
