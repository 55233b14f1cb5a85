"""`actionwire-trainer evaluate RUN --protocol NAME`: its options read, its results written and shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import typer

from trainer.errors import RecipeError
from trainer.progress import Bars

ALPHA_PROTOCOLS = ("single", "views", "zero-shot", "charades")
"""Those that train nothing and export nothing."""


def measure(
    run: Path, protocol: str, *, lists: Sequence[Path], views: str, shots: str, folds: int, seeds: str,
    alpha: str | None, rule: str, device: str, cache: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure a run by one protocol, for several values of alpha where they were given.

    Results lie in RUN/evaluation/PROTOCOL. Raises RecipeError, CheckpointError, and what training and export raise.
    """
    from trainer.evaluation.score_plots import draw_alpha
    from trainer.protocols.measured import PROTOCOLS, write
    from trainer.protocols.subject import Settings, subject

    if protocol not in PROTOCOLS:
        raise RecipeError(f"no protocol is called {protocol!r}; there are {', '.join(PROTOCOLS)}")
    if rule not in ("templates", "averaged", "saliency"):
        raise RecipeError(f"no rule is called {rule!r}; there are templates, averaged and saliency")
    alphas = [float(value) for value in _numbers(alpha, "--alpha")] if alpha else [None]
    if alpha and protocol not in ALPHA_PROTOCOLS:
        raise RecipeError(f"--alpha is for {', '.join(ALPHA_PROTOCOLS)}; leave it out with {protocol}")
    times, crops = (int(value) for value in _numbers(views, "--views", "x", 2))
    settings = Settings(
        tuple(lists), (times, crops), tuple(int(value) for value in _numbers(shots, "--shots")), folds,
        tuple(int(value) for value in _numbers(seeds, "--seeds")), rule,  # type: ignore[arg-type]  # looked at above
    )  # fmt: skip
    folder, curve, said = run / "evaluation" / protocol, {}, {}
    with Bars() as bars:
        for share in alphas:
            given = subject(run, cache=cache, device=device, alpha=share, report=bars.report)
            outcome = PROTOCOLS[protocol](given, settings)
            place = folder if share is None else folder / f"alpha-{share:g}"
            write(outcome, place)
            said[place] = outcome.figures
            if share is not None:
                curve[share] = outcome.figures.get("top1", outcome.figures.get("map", 0.0))
    if len(curve) > 1:
        draw_alpha({protocol: curve}, folder / "alpha.png")
    if as_json:
        typer.echo(json.dumps({str(place): figures for place, figures in said.items()}, indent=2))
        return
    for place, figures in said.items():
        typer.echo(", ".join(f"{name} {value:.4g}" for name, value in figures.items()) + f"; more in {place}")


def _numbers(text: str, option: str, between: str = ",", count: int | None = None) -> list[float]:
    try:
        found = [float(part) for part in text.split(between)]
    except ValueError:
        found = []
    if not found or (count and len(found) != count) or any(value < 0 for value in found):
        shape = f"10{between}3" if count else "1,2,3"
        raise RecipeError(f"{option} {text!r} is not of the form {shape}; correct it")
    return found
