"""The commands of the training side. Imports no torch: `--help` and `scenes` work without it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer

from trainer.errors import TrainerError
from trainer.scenes.commands import app as scenes

app = typer.Typer(
    name="actionwire-trainer",
    help="From labelled clips to a sealed bundle: render scenes, train, export, calibrate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(scenes, name="scenes")

_REMEDY = "this command needs torch and open_clip, which are not installed; pip install 'actionwire[trainer]'"


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, YAML; the shipped ones lie in trainer/recipes.")],
    out: Annotated[Path, typer.Option(help="Run folder; a run that lies there goes on.")],
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")] = "cpu",
    workers: Annotated[int, typer.Option(help="Threads that prepare batches.")] = 2,
    cache: Annotated[
        Path | None, typer.Option(help="Where rendered footage lies; by default in the run folder.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: dotted.key=value. May be repeated.")
    ] = None,
) -> None:
    """Train a model by a recipe: render its footage, train, validate, draw curves."""
    _need_torch()
    from trainer import config, loop
    from trainer.progress import Bars

    with Bars() as bars:
        result = loop.train(
            config.load(recipe, tuple(settings or ())),
            out,
            device=device,
            cache=cache,
            workers=workers,
            report=bars.report,
        )
    for name, value in result.items():
        typer.echo(f"{name:28} {value:.3f}")


def _need_torch() -> None:
    if any(importlib.util.find_spec(name) is None for name in ("torch", "open_clip")):
        typer.echo(_REMEDY, err=True)
        raise typer.Exit(2)


def main() -> None:
    """The console script: errors of ours become one line and exit code 1."""
    try:
        app()
    except TrainerError as error:
        typer.echo(f"actionwire-trainer: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
