"""Commands that keep runs safe and the disk free: sync, clean."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from neuronwise.cli.train import console


@click.command(short_help="Send to MLflow what is missing there.")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--anew", is_flag=True, help="Make a new MLflow run, in the store that is used now.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def sync(runs: tuple[str, ...], anew: bool, as_json: bool) -> int:
    """Send to MLflow what is missing there of RUNs, from what this machine keeps of them.

    Without RUN: of all runs that are not complete, because MLflow could not be reached or the process was killed.
    What is there is not sent again. --anew is for RUNs whose MLflow run, or its store, is gone.

    \b
      neuronwise sync
      neuronwise sync latest
      neuronwise sync 3f2a9c --anew
    """
    from neuronwise.errors import UsageError
    from neuronwise.files import format_bytes
    from neuronwise.running import sync
    from neuronwise.running.printable import escape, printable

    if anew and not runs:
        raise UsageError("which runs are to be made anew?", where="--anew", hint="neuronwise sync RUN --anew")

    def begun(name: str, identity: str) -> None:
        click.echo(printable(f"sending {name} ({identity[:8]}) …", one_line=True), err=True)

    done = list(sync(runs, anew=anew, begun=begun))
    failed = any(one.outcome == "failed" for one in done)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in done], indent=1))
        return int(failed)
    out = console()
    if not done:
        out.print("All runs of this machine are in MLflow, or were not to be.", highlight=False)
        return 0
    for one in done:
        sent = f", {one.points:,} points of metrics and {one.files:,} files sent ({format_bytes(one.size_bytes)})"
        counted = sent if one.points or one.files else ", nothing was missing" if one.outcome == "sent" else ""
        out.print(
            f"[bold]{escape(one.name)}[/] ({escape(one.id[:8])}) {one.outcome}: {escape(one.message)}{counted}",
            highlight=False,
            soft_wrap=True,
        )
        if one.hint:
            out.print(f"  {escape(one.hint)}", highlight=False, soft_wrap=True)
    counts = [(sum(one.outcome == what for one in done), what) for what in ("sent", "skipped", "failed")]
    size = format_bytes(sum(one.size_bytes for one in done))
    said = ", ".join(f"{count} {what}" for count, what in counts if count)
    out.print(f"{len(done)} run{'s' * (len(done) != 1)}: {said}; {size}", style="dim", highlight=False)
    return int(failed)


@click.command(short_help="Free local recordings that are safe in MLflow.")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--cache", is_flag=True, help="Free the copies of fetched runs too; alone, without RUN, only those.")
@click.option("--dry-run", is_flag=True, help="Verify, and say what would be freed; delete nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def clean(runs: tuple[str, ...], cache: bool, dry_run: bool, as_json: bool) -> int:
    """Free the local recordings of RUNs (default all) that are in MLflow, once every file there was verified.

    Each file of the run is fetched from MLflow and compared with its size and hash; only then is the recording on this
    machine deleted. Networks and results stay, and the recording is fetched when it is next asked for.

    \b
      neuronwise clean --dry-run
      neuronwise clean
      neuronwise clean --cache
    """
    from neuronwise.files import format_bytes
    from neuronwise.running import clean, clean_cache
    from neuronwise.running.printable import escape, printable

    def begun(name: str, identity: str) -> None:
        click.echo(printable(f"verifying {name} ({identity[:8]}) …", one_line=True), err=True)

    done = [] if cache and not runs else list(clean(runs, dry_run=dry_run, begun=begun))
    cached = clean_cache(dry_run=dry_run) if cache else 0
    failed = any(one.outcome == "failed" for one in done)
    if as_json:
        content = {"dry_run": dry_run, "runs": [asdict(one) for one in done], "cache_bytes": cached}
        click.echo(json.dumps(content, indent=1))
        return int(failed)
    out = console()
    for one in done:
        freed = f" ({format_bytes(one.size_bytes)})" if one.outcome == "freed" else ""
        outcome = "would be freed" if dry_run and one.outcome == "freed" else one.outcome
        out.print(
            f"[bold]{escape(one.name)}[/] ({escape(one.id[:8])}) {outcome}{freed}: {escape(one.message)}",
            highlight=False,
            soft_wrap=True,
        )
        if one.hint:
            out.print(f"  {escape(one.hint)}", highlight=False, soft_wrap=True)
    total = sum(one.size_bytes for one in done) + cached
    of_cache = f", {format_bytes(cached)} of it copies of fetched runs" if cache else ""
    words = "would be freed" if dry_run else "freed"
    out.print(f"{format_bytes(total)} {words}{of_cache}", style="dim", highlight=False)
    return int(failed)


COMMANDS = (sync, clean)
