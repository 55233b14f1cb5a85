"""`actionwire events diff`: what another bundle would change, before anybody swaps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline.analysis.doubled_rate import Counted, more_than_doubled
from pipeline.commands.event_files import STDIN, read_events
from pipeline.commands.options import Json
from pipeline.errors import ConfigurationError
from pipeline.replay.difference import TOLERANCE_SECONDS, difference, report
from pipeline.worker.shadow.settings import in_share

app = typer.Typer(
    name="events",
    help="Compare events of two models.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_SHOWN = 20
"""Events that the table names of each kind."""


@app.callback()
def _group() -> None:
    """Keep `diff` a command of its own although it is the only one."""


@app.command("diff")
def diff(
    before: Annotated[
        Path, typer.Argument(help="Events of the bundle in use, one JSON document per line; - is stdin.")
    ],
    after: Annotated[Path, typer.Argument(help="Events of the candidate over the same cameras and the same time.")],
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Seconds by which start or end may differ in the same event.")
    ] = TOLERANCE_SECONDS,
    share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Compare only the cameras that a shadow with this share looks at.")
    ] = 1.0,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where the candidate says more than twice as many events.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show which events are new, gone or moved.

    The half hour that the frames topic holds, through both bundles:

      actionwire replay --topic --bundle clips --json before.jsonl
      actionwire replay --topic --bundle clips:candidate --json after.jsonl
      actionwire events diff before.jsonl after.jsonl

    While a shadow worker runs: watch --json, and watch --shadow --json, over the same time.
    """
    if before == after == STDIN:
        raise ConfigurationError("only one of both can come from stdin; name a file for the other")
    one, other = ([event for event in read_events(path) if in_share(event.camera, share)] for path in (before, after))
    found = report(difference(one, other, tolerance))
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        _print(found, Console(markup=False))
    if check and (reason := _refusal(found)):
        typer.echo(reason, err=True)
        raise typer.Exit(1)


def _refusal(found: dict[str, Any]) -> str | None:
    """Why the candidate should not be published, by the rule of workers; both saw the same time of the same cameras."""
    kept = found["same"] + found["moved"]
    before, after = Counted(kept + found["gone"], 1.0), Counted(kept + found["new"], 1.0)
    if not more_than_doubled(before, after):
        return None
    return (
        f"the candidate says {after.events} events where the bundle in use says {before.events}: more than twice as "
        "many; do not publish it"
    )


def _print(found: dict[str, Any], console: Console) -> None:
    table = Table("label", title="candidate against the bundle in use", title_justify="left")
    for heading in ("same", "moved", "new", "gone", "start", "end"):
        table.add_column(heading, justify="right")
    for label, counts in found["labels"].items():
        table.add_row(label, *_cells(counts))
    table.add_section()
    table.add_row("total", *_cells(found), style="bold")
    console.print(table)
    for kind in ("new", "gone", "moved"):
        events = found[f"{kind}_events"]
        for event in events[:_SHOWN]:
            console.print(f"{kind:<6} {event['start']}  {event['camera']}  {event['label']}  peak {event['peak']:.2f}")
        if len(events) > _SHOWN:
            console.print(f"{kind:<6} ... and {len(events) - _SHOWN} more; --json has all")


def _cells(counts: dict[str, Any]) -> list[str]:
    medians = (counts["start_seconds_median"], counts["end_seconds_median"])
    shifts = ["-" if value is None else f"{value:+.2f} s" for value in medians]
    return [*(str(counts[kind]) for kind in ("same", "moved", "new", "gone")), *shifts]
