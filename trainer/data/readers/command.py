"""`actionwire-trainer data read`: annotations of others become a list of clips."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.errors import RecipeError

if TYPE_CHECKING:
    from trainer.data.readers.found import Found


class Form(StrEnum):
    """How annotations are written."""

    UCF101 = "ucf101"
    HMDB51 = "hmdb51"
    KINETICS = "kinetics"
    SOMETHING = "something-something"
    CHARADES = "charades"
    CVAT = "cvat"
    LABEL_STUDIO = "label-studio"
    EVENTS = "events"


def read(
    form: Annotated[Form, typer.Argument(help="How the annotations are written.")],
    source: Annotated[Path, typer.Argument(help="Their file, or the folder they were published in.")],
    videos: Annotated[Path, typer.Option(help="Folder that holds the videos, in it or below.")],
    out: Annotated[Path, typer.Option(help="The list to write.")] = Path("labels.csv"),
    split: Annotated[int, typer.Option(min=1, max=3, help="Of ucf101 and hmdb51: which official split.")] = 1,
    began: Annotated[str, typer.Option(help="Of events: when the recordings began.")] = "2026-01-01T00:00:00Z",
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Leave out clips without a file.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a list that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Make a list of clips of annotations as others publish and export them.

    A folder per label needs no reader: `actionwire-trainer data FOLDER`.
    Exit codes: 0 the list is written, 2 a person must change something.
    """
    from trainer.data.folder import write_list
    from trainer.data.readers.found import clips_of

    try:
        if out.exists() and not force:
            raise RecipeError(f"{out} is there already; name another with --out, or write over it with --force")
        clips, missing = clips_of(found_in(form, source, split, began), videos, skip_missing=skip_missing)
        write_list(clips, out)
    except RecipeError as error:
        typer.echo(f"actionwire-trainer: {error}", err=True)
        raise typer.Exit(2) from error
    labels = sorted({label for clip in clips for label in clip.labels})
    if as_json:
        typer.echo(json.dumps({"list": str(out), "clips": len(clips), "labels": labels, "missing": missing}, indent=2))
        return
    for place in missing:
        typer.echo(f"left out, no file: {place}", err=True)
    typer.echo(f"{out}: {len(clips)} clips of {len(labels)} labels; next: actionwire-trainer data check {out}")


def found_in(form: Form, source: Path, split: int, began: str) -> Iterator[Found]:
    """The clips of annotations in one of the forms. Raises RecipeError that names file, line and remedy."""
    from trainer.data.readers import events, official_splits, something, tables, tools

    if form is Form.UCF101:
        return official_splits.ucf101(source, split)
    if form is Form.HMDB51:
        return official_splits.hmdb51(source, split)
    if form is Form.EVENTS:
        return events.event_log(source, _instant(began))
    plain = {
        Form.KINETICS: tables.kinetics,
        Form.CHARADES: tables.charades,
        Form.SOMETHING: something.something_something,
        Form.CVAT: tools.cvat,
        Form.LABEL_STUDIO: tools.label_studio,
    }
    return plain[form](source)


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise RecipeError(f"--began {text!r} is no time; write 2026-01-01T00:00:00Z") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
