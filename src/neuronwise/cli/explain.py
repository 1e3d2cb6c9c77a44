"""Commands that explain without data: count, activations, completion."""

from __future__ import annotations

import json

import click

from neuronwise.cli.train import console


@click.command(short_help="Count the weights and biases of a network.")
@click.argument("sizes", nargs=-1, metavar="[INPUTS [HIDDEN]… OUTPUTS]")
@click.option("--network", metavar="FILE.json", help="Count the network that this file describes.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def count(sizes: tuple[str, ...], network: str | None, as_json: bool) -> None:
    """Count the weights and biases of a network: neuronwise count 784 16 16 10.

    Of other than dense layers: neuronwise count --network FILE.json (docs/reference/network-json.md).
    """
    from neuronwise.errors import UsageError
    from neuronwise.running import count_network_file, count_parameters, summary_table

    if network is not None and sizes:
        raise UsageError(
            f"the sizes are those of the file, got {' '.join(sizes)!r:.100} too",
            where="argument SIZES",
            hint=f"neuronwise count --network {network}",
        )
    summary = count_network_file(network) if network is not None else count_parameters(_sizes(sizes))
    if as_json:
        rows = [{"layer": r.layer, "neurons": r.neurons, "parameters": r.parameters} for r in summary.rows]
        click.echo(json.dumps({"parameters": summary.parameter_count, "layers": rows}, indent=1))
        return
    console().print(summary_table(summary))


def _sizes(sizes: tuple[str, ...]) -> list[int]:
    """Return the sizes of dense layers: ``784 16 16 10``."""
    from neuronwise.errors import UsageError

    # 784,16,16,10 and 784-16-16-10 mean the same.
    words = [part for size in sizes for part in size.replace("-", " ").replace(",", " ").split()]
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= 15) or int(word) < 1:
            raise UsageError(
                f"{word!r:.40} is not a whole number of neurons from 1 to 999,999,999,999,999",
                where="argument SIZES",
                hint="neuronwise count 784 16 16 10",
            )
    if len(words) < 2:
        raise UsageError(
            f"at least two sizes are needed, inputs and outputs, got {' '.join(words) or 'none'}",
            where="argument SIZES",
            hint="neuronwise count 784 16 16 10",
        )
    return [int(word) for word in words]


@click.command(short_help="Show the activation functions, drawn.")
@click.argument("name", required=False)
def activations(name: str | None) -> None:
    """Show the activation functions: formula, range, derivative, when to use, weakness, and a drawing."""
    from rich.columns import Columns
    from rich.markup import escape
    from rich.panel import Panel

    from neuronwise.network import ACTIVATIONS, get_activation
    from neuronwise.running import draw_activation

    shown = [get_activation(name)] if name else list(ACTIVATIONS.values())
    out = console()
    panels = []
    for activation in shown:
        lines = [
            f"[bold]{escape(activation.formula)}[/]",
            escape(activation.derivative_formula),
            f"range {escape(activation.value_range)}",
            "",
            *draw_activation(activation),
            "",
            f"[bold]use[/]  {escape(activation.use)}",
            f"[bold]weak[/] {escape(activation.weakness)}",
        ]
        panels.append(Panel("\n".join(lines), title=activation.name, width=58))
    out.print(Columns(panels))
    if name in (None, "relu"):
        out.print(
            "Some say that every activation function squeezes its input into a range. ReLU does not: it cuts off "
            "what is negative and lets the rest grow without limit.",
            highlight=False,
        )


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
      bash:  neuronwise completion bash >> ~/.bashrc
      zsh:   neuronwise completion zsh >> ~/.zshrc
      fish:  neuronwise completion fish > ~/.config/fish/completions/neuronwise.fish
    """
    from click.shell_completion import get_completion_class

    from neuronwise.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None  # click.Choice allows only shells that click knows
    click.echo(found(cli, {}, "neuronwise", "_NEURONWISE_COMPLETE").source())


COMMANDS = (count, activations, completion)
