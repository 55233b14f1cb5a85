"""`actionwire-trainer data`: from a folder to a list of clips, and a list looked through before it is trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from trainer.data.readers.command import read
from trainer.errors import RecipeError

if TYPE_CHECKING:
    from trainer.data.check import Checked
    from trainer.data.folder import Made
    from trainer.data.manifest import Clip


class _FolderFirst(TyperGroup):
    """`data FOLDER` is short for `data list FOLDER`."""

    unnamed = "list"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = [self.unnamed, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_FolderFirst,
    no_args_is_help=True,
    help="`data FOLDER` makes a list of clips of a folder; `data check LIST` finds what would spoil a training.",
)

app.command()(read)

_SHOWN = 5  # clips of one finding in the table; JSON has all

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program.")]


@app.command("list")
def make_list(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Videos in a folder per label (background or quiet: nothing happens there); or videos with a CSV or "
            "JSON of label,start,end beside each; or videos with one annotations.csv of path,label,start,end."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="The list to write; by default labels.csv in the folder.")] = None,
    validate: Annotated[float, typer.Option(min=0, max=0.5, help="Share of the clips to validate.")] = 0.2,
    test: Annotated[float, typer.Option(min=0, max=0.5, help="Share of the clips to test, once, at the end.")] = 0.2,
    group_column: Annotated[
        str, typer.Option(help="Column of a table that says what clips share: recording, camera, person.")
    ] = "group",
    group_pattern: Annotated[
        str | None, typer.Option(help="Regular expression; what it finds in a path is the clip's group: '(cam[0-9]+)'.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other splits.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Write over a list that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Make a list of clips of a folder, with splits that keep groups together.

    Exit codes: 0 the list is written, 2 a person must change something.
    """
    from trainer.data.folder import clips_in, summary, write_list
    from trainer.progress import Bars, counted

    target = out or folder / "labels.csv"
    try:
        if target.exists() and not force:
            raise RecipeError(f"{target} is there already; name another with --out, or write over it with --force")
        with Bars() as bars:
            made = clips_in(
                folder, shares={"test": test, "validate": validate}, seed=seed, group_column=group_column,
                group_pattern=group_pattern, said=counted(bars.report, "look at files"), besides=target,
            )  # fmt: skip
        write_list(made.clips, target)
    except RecipeError as error:
        _refuse(error)
    except OSError as error:
        _refuse(RecipeError(f"{target} cannot be written: {error.strerror}; name another with --out"))
    figures = summary(made, target)
    if as_json:
        typer.echo(json.dumps(figures, indent=2, ensure_ascii=False))
    else:
        _show_list(made, figures)


def _show_list(made: Made, figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from trainer.data.manifest import SPLITS

    table = Table("label", *SPLITS)
    for label, counts in sorted(figures["labels"].items()):
        table.add_row(label, *(str(counts[split]) for split in SPLITS))
    quiet = [clip.split for clip in made.clips if clip.background]
    if quiet:
        table.add_row("(background)", *(str(quiet.count(split)) for split in SPLITS))
    Console().print(table)
    for path, reason in made.unreadable.items():
        typer.echo(f"left out: {path}: {reason}", err=True)
    for split in made.undrawn:
        typer.echo(f"no clips for {split}: some label has clips of one group or file only", err=True)
    if not figures["groups"]:
        typer.echo(
            "no groups: clips cut from one recording may be on two sides; say what they share with --group-column or "
            "--group-pattern",
            err=True,
        )
    typer.echo(f"{figures['list']}: {figures['clips']} clips; next: actionwire-trainer data check {figures['list']}")


@app.command()
def check(
    clips: Annotated[Path, typer.Argument(metavar="LIST", help="List of clips, or a folder with labels.csv.")],
    sheet: Annotated[
        Path | None, typer.Option(help="Contact sheet to write; by default LIST with the ending .png.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Where decoded clips are kept; by default a folder that is removed again.")
    ] = None,
    rate: Annotated[int, typer.Option(min=1, help="Sampled frames per second, as in the recipe (data.rate).")] = 4,
    frames: Annotated[int, typer.Option(min=1, help="Frames of a window, as in the recipe (model.frames).")] = 12,
    height: Annotated[int, typer.Option(min=16, help="As in the recipe (start.height).")] = 96,
    width: Annotated[int, typer.Option(min=16, help="As in the recipe (start.width).")] = 128,
    as_json: Json = False,
) -> None:
    """Look through a list of clips and its files for what would spoil a training.

    Found are files that cannot be read, the same film in two splits, groups on two sides, labels that differ in case or
    blanks only, classes of one split only, clips shorter than a window, and labels that do not fit what the other
    clips teach. With the sizes of your recipe and its --cache, training decodes nothing again.
    Exit codes: 0 nothing has to change, 2 a person must change something. Suspicious labels are for you to judge: they
    change no exit code.
    """
    import tempfile

    from trainer.data import check as checking
    from trainer.data import contact_sheet
    from trainer.data.decoded import Size
    from trainer.data.list_file import list_file
    from trainer.progress import Bars

    try:
        with tempfile.TemporaryDirectory() as folder, Bars() as bars:
            found = checking.check(clips, cache or Path(folder), Size(rate, height, width), frames, bars.report)
            picture = sheet or list_file(clips).with_suffix(".png")
            contact_sheet.draw(found, picture)
    except RecipeError as error:
        _refuse(error)
    except OSError as error:
        _refuse(RecipeError(f"the contact sheet cannot be written: {error}; name another with --sheet"))
    if as_json:
        typer.echo(json.dumps({**_figures(found), "sheet": str(picture)}, indent=2, ensure_ascii=False))
    else:
        _show_check(found, picture)
    if not found.clean:
        raise typer.Exit(2)


def _figures(found: Checked) -> dict[str, Any]:
    return {
        "list": str(found.listed.path),
        "clips": len(found.listed.clips),
        "background": sum(clip.background for clip in found.listed.clips),
        "clean": found.clean,
        "findings": [
            {
                "kind": finding.kind,
                "severity": finding.severity,
                "clips": [
                    {"path": clip.path, "start": clip.start, "end": clip.end, "label": clip.label, "split": clip.split}
                    for clip in finding.clips
                ],
                "message": finding.message,
            }
            for finding in found.findings
        ],
    }


def _show_check(found: Checked, picture: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "kind", "clips", "what", title=f"check of {found.listed.path}", title_justify="left")
    for finding in found.findings:
        more = len(finding.clips) - _SHOWN
        places = [_short(clip, found.listed.path.parent) for clip in finding.clips[:_SHOWN]]
        clips = "\n".join([*places, f"and {more} more"] if more > 0 else places)
        table.add_row(Text(finding.severity), finding.kind, Text(clips, overflow="fold"), Text(finding.message))
    console = Console()
    if found.findings:
        console.print(table)
    must = sum(finding.severity == "change" for finding in found.findings)
    typer.echo(
        f"{len(found.listed.clips)} clips: {must} findings must be changed, {len(found.findings) - must} are worth a "
        f"look; contact sheet: {picture}"
    )


def _short(clip: Clip, home: Path) -> str:
    """A clip's place, from the list's folder where it lies there."""
    return clip.place.removeprefix(f"{home}/") if str(home) != "." else clip.place


def _refuse(error: RecipeError) -> NoReturn:
    typer.echo(f"actionwire-trainer: {error}", err=True)
    raise typer.Exit(2) from error
