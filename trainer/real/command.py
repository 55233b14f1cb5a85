"""`actionwire-trainer real`: the figures on real footage, as a table with the command beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from trainer.errors import RecipeError

BARS: Mapping[str, str] = {
    "ut_top1": ">= 0.78",
    "ut_meanp_top1": "0.08 below ut_top1, or more",
    "ut_scratch_top1": ">= 0.92",
    "ut_tuned_top1": ">= 0.96, or ut_scratch_top1 is",
    "fight_balanced": ">= 0.76",
    "fight_auc": ">= 0.83",
    "ut_paraphrase_loss": "<= 0.06",
    "ut_stream_found": ">= 0.75",
    "ut_stream_fired": "",
    "ut_stream_equal": "<= 1e-4",
    "quiet_events": "0",
    "false_alarms_with": "below false_alarms_without",
    "false_alarms_without": "",
    "cached_speedup": ">= 50",
    **{f"{tower}_{step}_gib": "<= 24" for tower in ("vit_b32", "vit_b16") for step in ("step", "publish", "worker")},
}
"""What each figure is held against."""


def real(
    only: Annotated[
        str | None,
        typer.Option(
            help="Of ut, heads, fight, regressions, stream, ablations, speed, scratch, tuned, taught, vit; with commas."
        ),
    ] = None,
    to: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON here.")] = None,
    footage: Annotated[
        Path | None, typer.Option(help="Folder of the footage; else $ACTIONWIRE_FOOTAGE, else ../shared/data.")
    ] = None,
    folds: Annotated[int, typer.Option(min=1, max=5, help="Train so many of the five folds of scratch and tuned.")] = 5,
    cache: Annotated[
        Path | None, typer.Option(help="Where decoded and encoded clips are kept; else the user's cache folder.")
    ] = None,
) -> None:
    """Measure what real footage shows: heads on frozen towers, folds by sequence, streams of a published bundle.

    By default all of them; scratch and tuned train networks on pictures, which takes hours, and vit needs 16 GiB.
    Exit codes: 0 measured, 1 failed, 2 a person must change something, such as where the footage lies.
    """
    from engines.folders import cache_directory
    from trainer.progress import Bars
    from trainer.real import footage as places
    from trainer.real.experiments import EXPERIMENTS, Place

    names = list(EXPERIMENTS) if not only else [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        raise RecipeError(f"no experiment is called {unknown[0]!r}; there are {', '.join(EXPERIMENTS)}")
    if to is not None and not to.resolve().parent.is_dir():
        raise RecipeError(f"{to} cannot be written: its folder is not there")
    folder = places.place(footage)
    figures: dict[str, float] = {}
    with Bars() as bars:
        place = Place(folder, cache or cache_directory() / "real", bars.report, folds)
        for name in names:
            figures |= EXPERIMENTS[name](place)
            if to is not None:
                to.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    typer.echo("\n".join(table(figures)))


def table(figures: Mapping[str, float]) -> list[str]:
    """The figures as a table in Markdown, those with a bar first."""
    names = [*(name for name in BARS if name in figures), *sorted(figures.keys() - BARS.keys())]
    rows = [f"| {name} | {figures[name]:.4g} | {BARS.get(name, '')} |" for name in names]
    return ["| figure | measured | bar |", "|---|---|---|", *rows]
