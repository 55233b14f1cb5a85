"""`actionwire evaluate`: events compared with the truth, as a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from engines.strict_json import parse_json
from pipeline.commands.event_files import read_events, read_text
from pipeline.commands.options import Json
from pipeline.errors import ConfigurationError
from pipeline.replay.evaluation import compare, report
from pipeline.replay.truth import Truth, read_truth

_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("true", "truth_events", "{}"),
    ("events", "events", "{}"),
    ("F1", "event_f1", "{:.3f}"),
    ("precision", "precision", "{:.3f}"),
    ("recall", "recall", "{:.3f}"),
    ("start F1", "start_f1", "{:.3f}"),
    ("false/h", "false_alarms_per_camera_hour", "{:.2f}"),
    ("onset delay", "onset_delay_median_s", "{:.2f} s"),
    ("start error", "start_error_median_s", "{:+.2f} s"),
    ("to clear", "time_to_clear_median_s", "{:.2f} s"),
)


def evaluate(
    truth: Annotated[Path, typer.Option(help="Truth, as `actionwire-trainer scenes render` writes it.")],
    events: Annotated[
        Path, typer.Option(help="Events, one JSON document per line (`actionwire watch --json`); - reads stdin.")
    ],
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", "--labels", "-l", metavar="TEXT", help="Only this label (text or id); repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare events with the truth: F1, precision, recall, false alarms, delays."""
    comparison = compare(_truth(truth), read_events(events), labels or None)
    found = report(comparison)
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        print_report(found, Console(markup=False))


def print_report(figures: Mapping[str, Any], console: Console) -> None:
    """Print one line per label and a total; delays and errors are medians."""
    table = Table("label", title="truth against events", title_justify="left")
    for heading, _, _ in _COLUMNS:
        table.add_column(heading, justify="right")
    for text, one in sorted(figures["labels"].items()):
        table.add_row(text, *_cells(one))
    table.add_section()
    table.add_row("total", *_cells(figures), style="bold")
    console.print(table)
    ignored = figures["ignored_events"]
    aside = f"; {ignored} events of other cameras or outside the recording were left out" if ignored else ""
    console.print(f"{figures['camera_hours']:.3f} camera-hours{aside}")


def _cells(figures: Mapping[str, Any]) -> list[str]:
    return ["-" if figures[name] is None else form.format(figures[name]) for _, name, form in _COLUMNS]


def _truth(path: Path) -> Truth:
    try:
        return read_truth(_document(path))
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _document(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(read_text(path))
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} does not hold a truth document")
    return document
