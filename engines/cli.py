"""The commands of the engine side. Thin: each one calls one function and prints what it returns.

exit code  0 done
           1 failed: a bundle that does not verify, a backend that is missing, a probe that differs
           2 the command was used wrongly
         130 interrupted
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from engines.errors import EngineError

app = typer.Typer(
    name="actionwire-engines",
    help="Bundles and the engines built from them: inspect, measure, build, publish.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Reference = Annotated[str, typer.Argument(metavar="BUNDLE", help="Path of a bundle, NAME[@VERSION], or demo.")]
Store = Annotated[
    str | None,
    typer.Option(
        "--store", help="Folder or s3:// address of published bundles; else $ACTIONWIRE_STORE, else the user's own."
    ),
]
Channel = Annotated[str, typer.Option("--channel", help="What workers follow: stable, candidate, or a name of yours.")]
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
def build(
    bundle: Reference,
    backend: Annotated[str, typer.Option(help="auto, openvino, onnxruntime or tensorrt.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16, fp16 or int8.")] = "fp32",
    buckets: Annotated[str, typer.Option(help="Batch sizes of TensorRT's plans.", metavar="N,N,...")] = "1,4,16,64",
    device: Annotated[str, typer.Option(help="auto, CPU, or the number of a GPU.")] = "auto",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Do now what the first start of a worker would wait for: plans of TensorRT, proofs of batch sizes.

    What was built is kept in the user's cache, for this host; several processes build it once.
    """
    from engines.build.prepare import prepare

    sizes = _sizes(buckets)
    chosen = _precision(precision)
    source = _load(bundle, store)
    with _bar() as told:
        made = prepare(source, backend, device, precision=chosen, buckets=sizes, told=told)
    typer.echo(_json(made.data()) if as_json else made.text())


@app.command()
def prune(
    name: Annotated[str | None, typer.Argument(help="Name of a published bundle; else what was built here.")] = None,
    days: Annotated[float, typer.Option(min=0, help="What was built and not used for so long is removed.")] = 30.0,
    keep: Annotated[int, typer.Option(min=0, help="Versions of NAME before the current one that stay.")] = 3,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Remove what was built on this host and is not used any more; with NAME, old versions of a bundle in the store.

    A version on which a channel stands stays, and the last ones before it, to roll back to.
    """
    if name is not None:
        from engines.bundle.store import prune as prune_store

        folders = prune_store(_store(store), name, keep)
        typer.echo(_json({"removed": folders}) if as_json else "\n".join([*folders, f"{len(folders)} removed"]))
        return
    from engines.build_cache.entries import build_folder
    from engines.build_cache.prune import prune as run

    removed = run(build_folder(), days=days)
    if as_json:
        rows = [{"path": str(one.path), "what": one.what, "bytes": one.size} for one in removed]
        typer.echo(_json({"removed": rows, "bytes": sum(one.size for one in removed)}))
        return
    for one in removed:
        typer.echo(f"{one.path.name}: {one.what}, {one.size / 2**20:.1f} MiB")
    typer.echo(f"{len(removed)} removed, {sum(one.size for one in removed) / 2**20:.1f} MiB, from {build_folder()}")


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
    """List the published bundles, which version of each is current, and where other channels stand."""
    from dataclasses import asdict

    from engines.bundle.channels import STABLE
    from engines.bundle.store import entries

    found = entries(_store(store))
    if as_json:
        typer.echo(_json([asdict(entry) | {"path": str(entry.path)} for entry in found]))
        return
    for entry in found:
        others = "".join(f"  ({channel})" for channel in entry.channels if not entry.current or channel != STABLE)
        typer.echo(f"{'*' if entry.current else ' '} {entry.name}@{entry.version}  {entry.path}{others}")
    if not found:
        typer.echo(f"no bundle is published in {_store(store)}", err=True)


@app.command()
def resolve(bundle: Reference, store: Store = None) -> None:
    """Print the directory of a bundle: of a path, NAME, NAME:CHANNEL, NAME@VERSION, or demo."""
    from engines.bundle.store import resolve as run

    typer.echo(str(run(bundle, _store(store))))


@app.command()
def publish(
    bundle: Annotated[Path, typer.Argument(help="Directory of a sealed bundle.")],
    channel: Channel = "stable",
    store: Store = None,
) -> None:
    """Copy a sealed bundle into the store and let a channel stand on it: workers that follow it take it up at once.

    Workers that run a bundle by its name follow `stable`; NAME:candidate follows `candidate`.
    """
    from engines.bundle.store import publish as run

    stored = run(_store(store), bundle, channel)
    typer.echo(f"{stored.label} is {_standing(channel)}: {stored.path}")


@app.command()
def fetch(
    url: Annotated[str, typer.Argument(metavar="URL", help="Of a tar archive of a bundle: https, http or file.")],
    sha256: Annotated[str, typer.Option(help="Of the archive, as its maker tells it.")],
    channel: Annotated[str | None, typer.Option(help="A channel that then stands on it; else none does.")] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Put a bundle that somebody else made into the store, if it is the one whose sha256 you were told."""
    from engines.bundle.fetch import fetch as run
    from engines.bundle.store import publish as make_current

    place = _store(store)
    with _bar() as told:
        stored = run(url, sha256, place, told)
    if channel is not None:
        make_current(place, stored.path, channel)
    data: dict[str, str | None] = {
        "name": stored.manifest.name,
        "version": stored.manifest.version,
        "id": stored.manifest.id,
    }
    data |= {"path": str(stored.path), "channel": channel}
    standing = f"is {_standing(channel)}" if channel else "is in the store, and no channel stands on it"
    typer.echo(_json(data) if as_json else f"{stored.label} {standing}: {stored.path}")


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="Name of a published bundle.")],
    channel: Channel = "stable",
    store: Store = None,
) -> None:
    """Let a channel stand on its previous version again."""
    from engines.bundle.store import rollback as run

    bundle = run(_store(store), name, channel)
    typer.echo(f"{bundle.label} is {_standing(channel)} again: {bundle.path}")


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code."""
    try:
        app()
    except EngineError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _store(named: str | None) -> Any:
    from engines.bundle.store import default_store, open_store

    return default_store() if named is None else open_store(named)


def _load(reference: str, store: str | None) -> Any:
    from engines.bundle.files import load
    from engines.bundle.store import resolve

    return load(resolve(reference, _store(store)), allow_draft=True)


def _standing(channel: str) -> str:
    return "current" if channel == "stable" else f"{channel} now"


def _sizes(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() and 1 <= int(part) <= 4096 for part in parts):
        raise typer.BadParameter(
            f"{text} is no list of batch sizes from 1 to 4096, such as 1,4,16", param_hint="--buckets"
        )
    return tuple(map(int, parts))


def _precision(text: str) -> Any:
    from engines.backends.tensorrt.plans import PRECISIONS

    if text not in PRECISIONS:
        raise typer.BadParameter(f"{text} is no precision; choose {', '.join(PRECISIONS)}", param_hint="--precision")
    return text


@contextmanager
def _bar() -> Iterator[Callable[[str, float], None]]:
    """Show on stderr what is being done: a bar on a terminal, and one line per step where it is none."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    said: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)

        def told(what: str, done: float) -> None:
            progress.update(task, description=what, completed=done)
            if not console.is_terminal and what not in said[-1:]:
                said.append(what)
                typer.echo(what, err=True)

        yield told


def _json(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    main()
