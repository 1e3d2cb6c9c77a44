"""The command that shows runs on a local page: ui."""

from __future__ import annotations

import click


@click.command(short_help="Look at runs in the browser, any step of each.")
@click.argument("run", required=False)
@click.option("--port", type=int, default=8765, show_default=True, help="Port; if it is taken, the next that is free.")
@click.option("--open", "open_browser", is_flag=True, help="Open the browser too.")
def ui(run: str | None, port: int, open_browser: bool) -> None:
    """Show all runs, or RUN, on a page of this machine, until Ctrl-C: neuronwise ui latest --open.

    Every step of a training can be looked at: what was not stored is taken again. Only this machine can reach the
    page, and only with the key in the address that is printed.
    """
    from neuronwise.running.ui import serve_ui

    def ready(address: str) -> None:
        click.echo(f"{address}\nCtrl-C ends it.")
        if open_browser:
            click.launch(address)

    serve_ui(run, port=port, ready=ready)


COMMANDS = (ui,)
