"""`actionwire demo`: the whole system on this machine, and its events compared with the truth."""

from __future__ import annotations

import json
import os
import re
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.commands.options import writable
from pipeline.demo import WATCHED
from pipeline.demo.stage import forget_settings
from pipeline.errors import ConfigurationError
from pipeline.one_machine.signals import orderly_exit


class Labels(StrEnum):
    """Which labels the demo watches for."""

    WATCHED = "watched"
    ALL = "all"


def demo(
    cameras: Annotated[int, typer.Option(min=1, max=64, help="Rendered cameras.")] = 4,
    seconds: Annotated[
        float | None, typer.Option(min=10, max=3600, help="Length of the scenes; 60, or 120 with --seeds.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=20000, help="Seed of the scenes; those below 20000 went into the model.")
    ] = 20000,
    labels: Annotated[Labels, typer.Option(help="Eight watched labels, or every action the model was trained on.")] = (
        Labels.WATCHED
    ),
    bundle: Annotated[str, typer.Option(help="Bundle: `demo`, a name in the store, or a path.")] = "demo",
    bootstrap: Annotated[
        str | None,
        typer.Option(
            "--bootstrap",
            "-b",
            metavar="HOST:PORT",
            envvar="ACTIONWIRE_KAFKA__BOOTSTRAP",
            help="Use this cluster instead of starting one; the demo's topics are deleted at the end.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures to this file.")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Replay the scenes instead of playing them: no broker, no waiting.")
    ] = False,
    shadow: Annotated[
        str | None, typer.Option(metavar="BUNDLE", help="A candidate that a shadow worker runs beside: path or name.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="A-B", help="With --replay: every seed from A to B, 120 s each by default.")
    ] = None,
) -> None:
    """Play rendered cameras through the real processes and compare the events with the truth.

    Starts Apache Kafka and an RTSP server on this machine unless --bootstrap names a cluster. The settings of a
    deployment are ignored. Ctrl-C or SIGTERM at any moment ends everything and leaves nothing behind.
    """
    from pipeline.demo.report import print_report

    if seeds is not None and not replay:
        raise ConfigurationError("--seeds goes with --replay; a live demo plays one seed: --seed")
    if shadow is not None and replay:
        raise ConfigurationError("--shadow goes with a live demo; to compare replays, see `actionwire events diff`")
    if json_file is not None:
        writable(json_file)
    forget_settings(os.environ, kafka=bootstrap is not None)
    seconds = seconds or (60.0 if seeds is None else 120.0)
    console = Console()
    texts = _texts(labels, bundle)
    with orderly_exit():
        if replay:
            figures = _replayed(_seeds(seeds, seed), cameras, seconds, texts, bundle)
        else:
            from pipeline.demo.live import run_live
            from pipeline.demo.recordings import recording

            figures = run_live(recording(seed, cameras, seconds), texts, bootstrap, bundle, console, shadow)
    print_report(figures, console)
    if json_file is not None:
        json_file.write_text(json.dumps({"labels_watched": list(texts), **figures}, indent=2) + "\n")


def _texts(labels: Labels, bundle: str) -> tuple[str, ...]:
    if labels is Labels.WATCHED:
        return WATCHED
    from engines.bundle.files import load
    from engines.bundle.store import default_store, resolve

    references = load(resolve(bundle, default_store())).references()
    pairs = zip(references.texts, references.kinds, strict=True)
    return tuple(str(text) for text, kind in pairs if kind == "action")


def _seeds(text: str | None, seed: int) -> range:
    if text is None:
        return range(seed, seed + 1)
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if found is None:
        raise ConfigurationError(f"--seeds {text!r}: write it as 20000-20029, first and last seed")
    first, last = int(found[1]), int(found[2] or found[1])
    if first < 20000 or last < first:
        raise ConfigurationError(f"--seeds {text!r}: seeds start at 20000, the last one not before the first")
    return range(first, last + 1)


def _replayed(seeds: range, cameras: int, seconds: float, texts: tuple[str, ...], bundle: str) -> dict[str, Any]:
    from pipeline.demo.recordings import recording
    from pipeline.demo.replayed import run_replay

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("replaying", total=len(seeds))
        return run_replay(
            [partial(recording, seed, cameras, seconds) for seed in seeds],
            texts,
            bundle,
            lambda done, words: bar.update(task, completed=done, description=words),
        )
