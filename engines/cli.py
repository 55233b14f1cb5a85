"""The commands of the engine side. Thin: each one calls one function and prints what it returns.

exit code  0 done
           1 failed: a bundle that does not verify, a backend that is missing, a probe that differs
           2 the command was used wrongly
         130 interrupted
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from engines.errors import EngineError

app = typer.Typer(
    name="actionwire-engines",
    help="Bundles and the engines built from them: inspect, measure, publish.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Reference = Annotated[str, typer.Argument(metavar="BUNDLE", help="Path of a bundle, NAME[@VERSION], or demo.")]
Store = Annotated[
    Path | None,
    typer.Option("--store", help="Folder of published bundles; else $ACTIONWIRE_STORE, else the user's own."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def inspect(bundle: Reference, store: Store = None, as_json: AsJson = False) -> None:
    """Verify a bundle's hashes and show what it holds; run its golden probe on every backend."""
    from engines.inspection import inspect as run

    found = run(_load(bundle, store))
    typer.echo(_json(found.data()) if as_json else found.text())
    if found.failed:
        raise typer.Exit(1)


@app.command()
def bench(
    bundle: Reference = "demo",
    store: Store = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Duration of one round of one measurement.")] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Measure frames and windows per second, as fractions of this machine's matrix product in the same run."""
    from engines.bench.throughput import bench as run

    report = run(_load(bundle, store), seconds=seconds)
    typer.echo(_json(report.data()) if as_json else report.text())


@app.command()
def quantise(
    bundle: Reference,
    calibration: Annotated[
        Path, typer.Option(exists=True, help="A recording of your cameras, or a folder of pictures or recordings.")
    ],
    out: Annotated[Path, typer.Option(help="Directory of the new bundle; it must not exist.")],
    version: Annotated[str | None, typer.Option(help="Version of the new bundle; else +int8.")] = None,
    frames: Annotated[int, typer.Option(min=200, help="Frames to calibrate with and to measure on.")] = 400,
    keep: Annotated[list[str] | None, typer.Option(help="A node that stays float32; may be given again.")] = None,
    limit: Annotated[float, typer.Option(min=0, help="Largest 1 - cosine to float32 that is accepted.")] = 5e-3,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Add an int8 variant to a bundle, calibrated with your own frames; about three times as fast on many CPUs.

    The space stays, so embeddings of labels are kept. Workers run it with `precision: int8`.
    """
    from rich.console import Console

    from engines.build.frames import calibration_frames
    from engines.build.quantise import quantise as run

    source = _load(bundle, store)
    with Console(stderr=True).status("reading frames") as status:
        pictures = calibration_frames(calibration, source.manifest.input, frames)
        named = version or f"{source.manifest.version}+int8"
        made = run(source, pictures, out, version=named, keep=keep or (), limit=limit, progress=status.update)
    data = {"path": str(out), "bundle": made.bundle.label, "worst": made.worst, "mean": made.mean}
    shown = f"int8 is at most {made.worst:.1e} off float32 (1 - cosine), {made.mean:.1e} on average"
    typer.echo(_json(data) if as_json else f"{out}: {made.bundle.label}, {shown}")


@app.command()
def textbank(
    labels: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="A label on each line; or YAML, JSON with `labels:`, as settings have."
        ),
    ],
    bundle: Annotated[str, typer.Option("--bundle", metavar="BUNDLE", help="Path, NAME[@VERSION], or demo.")] = "demo",
    cache: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder to write to; else the user's cache, where workers look."),
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Embed many labels ahead of time, once and on any machine, so that no worker has to embed them.

    What is there already is not embedded again. Carry `texts/` of the folder to the cache folder of other machines.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from engines.folders import cache_directory
    from engines.text.textbank import fill, read_labels

    source, texts = _load(bundle, store), read_labels(labels)
    console = Console(stderr=True)
    with Progress(
        *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn(), console=console
    ) as bar:
        task = bar.add_task("embedding labels", total=len(texts))
        filled = fill(source, texts, cache or cache_directory(), step=lambda: bar.advance(task))
    if as_json:
        typer.echo(_json(filled.data()))
    else:
        for _, reason in filled.refused:
            typer.echo(f"refused: {reason}", err=True)
        typer.echo(
            f"{filled.folder}: {filled.embedded} labels embedded in {filled.seconds:.1f} s, {filled.known} were there, "
            f"{len(filled.refused)} refused"
        )
    if filled.refused:
        raise typer.Exit(1)


@app.command("list")
def list_bundles(store: Store = None, as_json: AsJson = False) -> None:
    """List the published bundles and which version of each is current."""
    from engines.bundle.store import default_store, entries

    found = entries(store or default_store())
    if as_json:
        rows = [{"name": e.name, "version": e.version, "path": str(e.path), "current": e.current} for e in found]
        typer.echo(_json(rows))
        return
    for entry in found:
        typer.echo(f"{'*' if entry.current else ' '} {entry.name}@{entry.version}  {entry.path}")
    if not found:
        typer.echo(f"no bundle is published in {store or default_store()}", err=True)


@app.command()
def publish(
    bundle: Annotated[Path, typer.Argument(help="Directory of a sealed bundle.")],
    store: Store = None,
) -> None:
    """Copy a sealed bundle into the store and make it current: workers that run it by its name take it up at once."""
    from engines.bundle.store import default_store
    from engines.bundle.store import publish as run

    stored = run(store or default_store(), bundle)
    typer.echo(f"{stored.label} is current: {stored.path}")


@app.command()
def rollback(name: Annotated[str, typer.Argument(help="Name of a published bundle.")], store: Store = None) -> None:
    """Make the previous version current again."""
    from engines.bundle.store import default_store
    from engines.bundle.store import rollback as run

    bundle = run(store or default_store(), name)
    typer.echo(f"{bundle.label} is current again: {bundle.path}")


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code."""
    try:
        app()
    except EngineError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _load(reference: str, store: Path | None) -> Any:
    from engines.bundle.files import load
    from engines.bundle.store import default_store, resolve

    return load(resolve(reference, store or default_store()), allow_draft=True)


def _json(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    main()
