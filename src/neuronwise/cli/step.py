"""The command `step`: one step of learning, taken again, in words and numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from neuronwise.cli.tables import finite, table, tell_problems
from neuronwise.cli.train import console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from neuronwise.recording import LayerLayout, Recording, ReplayedStep

# Weights of a neuron, and examples of the batch, that are shown: the largest.
_SHOWN = 12


class _OfAStep(click.Command):
    """A command that takes the number of a step: of a negative one it says so, which else is an unknown option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse a negative number, and parse the rest."""
        if (negative := next((one for one in args if re.fullmatch(r"-[0-9.]+", one)), None)) is not None:
            raise click.BadParameter(f"steps count from 1, got {negative}", ctx=ctx, param_hint="'NUMBER'")
        return super().parse_args(ctx, args)


@click.command(cls=_OfAStep, short_help="Take one step of learning again, in words and numbers.")
@click.argument("run")
@click.argument("number", type=int)
@click.argument("data", required=False)
@click.option("--neuron", metavar="NAME", help='Show what the step did to one neuron, such as "hidden1[7]".')
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def step(run: str, number: int, data: str | None, neuron: str | None, as_json: bool) -> None:
    """Take step NUMBER of RUN again and show what it computed: neuronwise step latest 43.

    Its batch, the loss, and for each layer how strongly it answered, which error came back to it, and how far its
    weights moved: by this step's gradient, by what the optimizer remembered of earlier ones, and by weight decay.
    DATA names the place of a file that was moved since.
    """
    from neuronwise.running import open_recording

    recording = open_recording(run, data)
    which = None if neuron is None else _with_weights(recording, neuron)
    found = recording.step(number)
    moved = None if which is None else _NeuronStep.of(recording, found, *which)
    if as_json:
        content = _step_as_dict(found) | ({} if moved is None else {"neuron": moved.to_dict()})
        click.echo(json.dumps(finite(content), indent=1, ensure_ascii=False))
        return
    out = console()
    _print_step(out, found)
    if moved is not None:
        _print_neuron_step(out, moved)
    tell_problems(recording)


def _print_step(out: Console, found: ReplayedStep) -> None:
    import numpy as np

    from neuronwise.running.printable import escape

    rows = ", ".join(map(str, found.rows[:8].tolist())) + (" …" if len(found.rows) > 8 else "")
    out.print(
        f"[bold]Step {found.step:,}[/] of epoch {found.epoch}, on {len(found.rows)} examples (rows {rows})",
        highlight=False,
    )
    out.print(
        f"  forward: with the weights of step {found.step - 1:,} the mean loss over them is {found.loss:.6g}",
        highlight=False,
    )
    out.print("  backward: the error dL/dz goes from the last layer to the first and gives each weight its gradient")
    out.print(f"  update: the optimizer subtracts, at a learning rate of {found.learning_rate:.4g}", highlight=False)
    parts = list(found.parts)
    shown = table("  layer", "mean a", "a that are 0", "‖dL/dz‖", "gradient", "update", *_by(parts), "update / weights")
    for traced in found.trace:
        if traced.name not in found.gradients:
            continue
        gradient, update = (_norm(one[traced.name]) for one in (found.gradients, found.update))
        weights = _norm(found.before[traced.name].parameters)
        shown.add_row(
            f"  {escape(traced.name)}",
            f"{float(np.mean(traced.a)):.4g}",
            f"{float(np.mean(traced.a == 0)):.0%}",
            f"{_norm({'delta': found.delta[traced.name]}):.4g}",
            f"{gradient:.4g}",
            f"{update:.4g}",
            *(f"{_norm(found.parts[part][traced.name]):.4g}" for part in (parts if len(parts) > 1 else ())),
            f"{update / weights:.2e}" if weights else "",
        )
    out.print(shown)
    out.print("  gradient, update, weights: the norm over all weights and biases of the layer", style="dim")
    if len(parts) > 1:
        out.print("  the update is the sum of its parts, weight by weight; of norms that is not so", style="dim")


@dataclass(frozen=True)
class _NeuronStep:
    """What a step did to one neuron.

    Attributes:
        neuron: Its name.
        names: Of its weights; the last is ``"bias"`` if it has one.
        columns: By what they are (before, gradient, update, by …, after) a number for each of these, (names,).
        rows: Rows of the data in the batch, (batch,).
        pulls: The norm of the gradient of each one's own loss; None where an example has none.
        on_bias: What each pulled on the bias; None where there is none.
        why_no_pulls: Why an example has no gradient of its own, or "".
    """

    neuron: str
    names: list[str]
    columns: dict[str, NDArray[np.float64]]
    rows: NDArray[np.int64]
    pulls: NDArray[np.float64] | None
    on_bias: NDArray[np.float64] | None
    why_no_pulls: str

    @classmethod
    def of(cls, recording: Recording, found: ReplayedStep, layer: LayerLayout, index: int) -> _NeuronStep:
        import numpy as np

        from neuronwise.errors import UsageError

        neuron, weights, bias = f"{layer.name}[{index}]", str(layer.weights), layer.biases

        def of(parameters: Mapping[str, Any]) -> NDArray[np.float64]:
            own = np.ravel(parameters[weights][index])
            return np.append(own, parameters[bias][index] if bias else []).astype(np.float64)

        columns = {
            "before": of(found.before[layer.name].parameters),
            "gradient": of(found.gradients[layer.name]),
            "update": of(found.update[layer.name]),
        }
        parts = list(found.parts)
        columns |= {by: of(found.parts[part][layer.name]) for by, part in zip(_by(parts), parts, strict=False)}
        columns["after"] = of(found.after[layer.name].parameters)
        names = [*recording.input_names(neuron), *(["bias"] if bias else [])]
        pulls, on_bias, why = None, None, ""
        try:
            own = found.neuron_gradients(neuron)
        except UsageError as error:  # batch normalisation mixes the examples, or they need too much memory
            why = error.message
        else:
            squares = (np.sum(values.reshape(len(found.rows), -1) ** 2.0, axis=1) for values in own.values())
            pulls = np.sqrt(sum(squares, np.zeros(len(found.rows))))
            on_bias = own[bias].astype(np.float64) if bias else None
        return cls(neuron, names, columns, found.rows, pulls, on_bias, why)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        each = [values.tolist() for values in self.columns.values()]
        return {
            "name": self.neuron,
            "weights": {
                name: dict(zip(self.columns, numbers, strict=True))
                for name, *numbers in zip(self.names, *each, strict=True)
            },
            "pulls": None if self.pulls is None else self.pulls.tolist(),
            "pulls_on_bias": None if self.on_bias is None else self.on_bias.tolist(),
            "why_no_pulls": self.why_no_pulls or None,
        }


def _with_weights(recording: Recording, neuron: str) -> tuple[LayerLayout, int]:
    """Return the layer and number of a neuron that learns.

    Raises:
        NotFoundError: There is no such neuron, or it has nothing that a step could move.
    """
    from neuronwise.errors import NotFoundError

    layer, index, what, _ = recording.stored.layout.neuron(neuron)
    if what is not None:
        raise NotFoundError(
            f"{neuron!r:.200} is not a whole neuron", where="--neuron", hint=f'such as "{layer.name}[{index}]"'
        )
    recording.stored.layout.weights_of(layer, index)  # said before the step is taken again
    return layer, index


def _print_neuron_step(out: Console, moved: _NeuronStep) -> None:
    """Print what a step did to a neuron: how each weight moved, and which examples pulled most."""
    import numpy as np

    from neuronwise.running.printable import escape

    order = np.argsort(-np.abs(moved.columns["update"]), kind="stable")[:_SHOWN].tolist()
    out.print(f"\n[bold]{escape(moved.neuron)}[/]  the {len(order)} of {len(moved.names)} that moved most")
    shown = table("  weight of", *moved.columns)
    for place in order:
        shown.add_row(f"  {escape(moved.names[place])}", *(f"{values[place]:.5g}" for values in moved.columns.values()))
    out.print(shown)
    if moved.pulls is None:
        out.print(f"  which examples pulled at it is not known: {escape(moved.why_no_pulls)}", highlight=False)
        return
    out.print("  which examples pulled at it: the norm of the gradient of each one's own loss", highlight=False)
    shown = table("  row", "pull", "on its bias")
    for place in np.argsort(-moved.pulls, kind="stable")[:_SHOWN].tolist():
        on_bias = "" if moved.on_bias is None else f"{moved.on_bias[place]:+.4g}"
        shown.add_row(f"  {moved.rows[place]}", f"{moved.pulls[place]:.4g}", on_bias)
    out.print(shown)
    silent = int(np.count_nonzero(moved.pulls == 0))
    if silent:
        out.print(f"  {silent} of {len(moved.pulls)} examples did not pull at all", style="dim", highlight=False)


def _by(parts: Sequence[str]) -> list[str]:
    """Return the headings of the parts of an update; none where it has one part only."""
    return [f"by {part.replace('_', ' ')}" for part in parts] if len(parts) > 1 else []


def _norm(arrays: Mapping[str, Any]) -> float:
    import numpy as np

    return float(np.sqrt(sum(float(np.sum(np.asarray(values, dtype=np.float64) ** 2)) for values in arrays.values())))


def _step_as_dict(found: ReplayedStep) -> dict[str, Any]:
    layers = {
        name: {
            "gradient_norm": _norm(found.gradients[name]),
            "update_norm": _norm(found.update[name]),
            "update_parts_norm": {part: _norm(of[name]) for part, of in found.parts.items()},
            "delta_norm": _norm({"delta": found.delta[name]}),
            "weight_norm_before": _norm(found.before[name].parameters),
        }
        for name in found.gradients
    }
    return {
        "step": found.step,
        "epoch": found.epoch,
        "rows": found.rows.tolist(),
        "loss": found.loss,
        "learning_rate": found.learning_rate,
        "layers": layers,
    }


COMMANDS = (step,)
