"""The commands of the training side. Imports no torch: `--help` and `scenes` work without it."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from engines.errors import EngineError
from trainer.data.commands import app as data
from trainer.demo.demo_model import BETA
from trainer.errors import TrainerError
from trainer.export import zero_shot
from trainer.real.command import real
from trainer.scenes.commands import app as scenes

if TYPE_CHECKING:
    from trainer.recipe import Recipe
    from trainer.training.source import Source

P = ParamSpec("P")


class Precision(StrEnum):
    """What a calibration measures."""

    FP32 = "fp32"
    INT8 = "int8"


class ScoreRule(StrEnum):
    """What texts are compared with."""

    WINDOW = "window"
    SALIENCY = "saliency"


app = typer.Typer(
    name="actionwire-trainer",
    help="From labelled clips to a sealed bundle: render scenes, train, export, calibrate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data, name="data")
app.add_typer(scenes, name="scenes")

_REMEDY = "this command needs torch and open_clip, which are not installed; pip install 'actionwire[trainer]'"

Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: dotted.key=value; repeatable.")]
Footage = Annotated[Path | None, typer.Option(help="Where rendered footage lies; by default in the run folder.")]
Streams = Annotated[
    Path | None, typer.Option(help="Where rendered streams are kept; by default in the user's cache folder.")
]


def needs_torch(command: Callable[P, None]) -> Callable[P, None]:
    """Say what to install, and leave with code 2, where torch or open_clip is missing."""

    @functools.wraps(command)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        if any(importlib.util.find_spec(name) is None for name in ("torch", "open_clip")):
            typer.echo(_REMEDY, err=True)
            raise typer.Exit(2)
        command(*args, **kwargs)

    return checked


@app.command()
@needs_torch
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, YAML; the shipped ones lie in trainer/recipes.")],
    out: Annotated[Path, typer.Option(help="Run folder; a run that lies there goes on.")],
    device: Device = "cpu",
    workers: Annotated[int, typer.Option(min=1, help="Threads that prepare batches.")] = 2,
    cache: Footage = None,
    settings: Settings = None,
) -> None:
    """Train a model by a recipe: render or decode its data, train, validate, draw curves."""
    from trainer.progress import Bars
    from trainer.recipe import load
    from trainer.training import loop

    chosen = load(recipe, tuple(settings or ()))
    with Bars() as bars:
        result = loop.train(
            chosen, _source(chosen), out, device=device, cache=cache, workers=workers, report=bars.report
        )
    if result:  # of several processes the first alone reports
        _show(out, result)


@app.command()
@needs_torch
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    again: Annotated[
        bool, typer.Option("--again", help="Measure the checkpoint anew, also while the run is not finished.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Measure by a protocol: single, views, zero-shot, few-shot, folds, charades, streaming, episodes."
        ),
    ] = None,
    lists: Annotated[
        list[Path] | None, typer.Option("--list", help="With --protocol: another list of clips; several for zero-shot.")
    ] = None,
    views: Annotated[str, typer.Option(help="Views in time x crops, of views and charades.")] = "10x3",
    shots: Annotated[
        str, typer.Option(help="Clips of each label to learn from, of few-shot and episodes.")
    ] = "2,4,8,16",
    folds: Annotated[int, typer.Option(min=0, help="How many folds; 0 for one per group.")] = 0,
    seeds: Annotated[str, typer.Option(help="Seeds of few-shot and folds; mean and deviation are told.")] = "1",
    alpha: Annotated[
        str | None, typer.Option(help="Shares of the start's weights, such as 0,0.25,0.5: a curve is drawn.")
    ] = None,
    rule: Annotated[str, typer.Option(help="How labels are scored: templates, averaged or saliency.")] = "templates",
    device: Device = "cpu",
    cache: Footage = None,
) -> None:
    """Show what a training run achieved: captions never seen, actions, events in streams, and how they grew.

    With --protocol a run on clips is measured as the papers do; results lie in RUN/evaluation.
    """
    from trainer.evaluation import plots, report
    from trainer.progress import Bars
    from trainer.training import checkpoint, loop

    if protocol is not None:
        from trainer.protocols.command import measure

        measure(
            run, protocol, lists=lists or (), views=views, shots=shots, folds=folds, seeds=seeds, alpha=alpha,
            rule=rule, device=device, cache=cache, as_json=as_json,
        )  # fmt: skip
        return
    if again:
        source = _source(checkpoint.load_recipe(run / checkpoint.NAME))
        with Bars() as bars:
            figures = loop.measure(run, source, device=device, cache=cache, report=bars.report)
    else:
        figures = report.read(run)
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    if (run / report.LOG).is_file():
        plots.draw(run / report.LOG, run / report.CURVES)
    _show(run, figures)


@app.command()
@needs_torch
def export(
    run: Annotated[Path, typer.Argument(help="Run folder, or a checkpoint file.")],
    out: Annotated[Path, typer.Option(help="Directory for the draft bundle; it must not exist.")],
    alpha: Annotated[
        float | None, typer.Option(help="Share of the start's weights in the towers, for labels never trained: 0 to 1.")
    ] = None,
    rule: Annotated[
        ScoreRule, typer.Option(help="What texts are compared with: the window, or its frames pooled by their words.")
    ] = ScoreRule.WINDOW,
) -> None:
    """Write a trained model as a draft bundle: ONNX files compared with torch, tokenizer, reference texts, manifest."""
    from trainer.export.trained import export as write
    from trainer.progress import steps

    with steps() as say:
        manifest, differences = write(
            run, out, lambda recipe: _source(recipe).texts(recipe), alpha=alpha,
            rule="saliency" if rule is ScoreRule.SALIENCY else "window", progress=say,
        )  # fmt: skip
    worst = max(differences, key=lambda part: differences[part])
    typer.echo(
        f"{out}: {manifest.name}@{manifest.version}, draft, {_mebibytes(out):.1f} MiB, torch and ONNX agree to "
        f"{differences[worst]:.1e} ({worst}); next: actionwire-trainer calibrate {out} --out ... (to recordings of "
        "your own: --truth and --held-back-truth)"
    )


@app.command()
def calibrate(
    bundle: Annotated[Path, typer.Argument(help="Bundle to measure, draft or sealed.")],
    out: Annotated[Path, typer.Option(help="Directory for the calibrated, sealed bundle; it must not exist.")],
    truth: Annotated[
        Path | None,
        typer.Option(help="Your own recordings decide: truth as for `actionwire evaluate`, with each one's `file`."),
    ] = None,
    held_back_truth: Annotated[
        Path | None, typer.Option(help="With --truth: other recordings of yours, which measure the result.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Validation seeds whose rendered streams decide.")] = "10130-10153",
    quiet: Annotated[str, typer.Option(help="The same, for streams in which nothing happens.")] = "10200-10202",
    held_back: Annotated[str, typer.Option(help="Validation seeds that measure the result.")] = "10103-10108",
    held_back_quiet: Annotated[str, typer.Option(help="The same, where nothing happens.")] = "10204",
    cameras: Annotated[int, typer.Option(min=1, help="Cameras per seed.")] = 4,
    seconds: Annotated[float, typer.Option(min=10, help="Length of each camera's stream.")] = 120.0,
    beta: Annotated[
        float, typer.Option(min=0.05, max=5, help="F-beta to maximise: below 1 a false alarm weighs more than a miss.")
    ] = 1.0,
    alarms: Annotated[
        float, typer.Option(min=0, help="False alarms allowed per camera-hour where nothing happens.")
    ] = 1.0,
    delay: Annotated[
        float, typer.Option(min=0, help="Median seconds from begin to event that cost nothing; later ones count less.")
    ] = 1.5,
    version: Annotated[
        str | None, typer.Option(help="Version of the new bundle; a published one keeps its version for itself.")
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="int8: fit nothing, but compare that variant with float32 on the streams that measure."),
    ] = Precision.FP32,
    cache: Streams = None,
) -> None:
    """Fit temperature, thresholds and lags to validation streams, by the serving side's replay, and seal.

    The streams are rendered scenes, for a model that was trained on them, or with --truth and --held-back-truth your
    own recordings. For a model of your own clips, `publish` makes streams of those that were kept apart.
    """
    from trainer.calibration import calibrate as calibration
    from trainer.calibration.judge import judge
    from trainer.calibration.streams import own
    from trainer.calibration.threshold_search import Measure
    from trainer.demo.recordings import Streams as Rendered
    from trainer.demo.recordings import require_scenes
    from trainer.progress import Bars

    if (truth is None) != (held_back_truth is None):
        raise typer.BadParameter("--truth and --held-back-truth go together: what decides must not measure")
    with Bars() as bars:
        if truth is not None and held_back_truth is not None:
            chosen = own(truth, held_back_truth)
        else:
            require_scenes(bundle)
            rendered = Rendered(seeds, quiet, held_back, held_back_quiet, cameras, seconds)
            chosen = rendered.material(cache, bars.report)
        if precision is Precision.INT8:
            variant = judge(bundle, out, chosen, version=version, report=bars.report)
            typer.echo(f"{out}: int8 loses {variant.top1:.2%} of top-1, and {variant.events:.2%} of events differ")
            return
        manifest = calibration.calibrate(
            bundle, out, chosen, measure=Measure(beta, alarms, delay), version=version, report=bars.report
        )
    _summarise(out, manifest)


@app.command()
@needs_torch
def publish(
    run: Annotated[Path, typer.Argument(help="Run folder of a training on clips of your own.")],
    store: Annotated[
        str | None,
        typer.Option(help="Folder or s3:// address of published bundles; else $ACTIONWIRE_STORE, else the user's own."),
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Version of the bundle, else the recipe's; a published one keeps it for itself.")
    ] = None,
    channel: Annotated[
        str, typer.Option(help="What workers follow: stable, the one of a bare name, or candidate, to try it beside.")
    ] = "stable",
    beta: Annotated[
        float, typer.Option(min=0.05, max=5, help="F-beta to maximise: below 1 a false alarm weighs more than a miss.")
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was published as JSON.")] = False,
) -> None:
    """Export a run, check it, calibrate it to the clips that were kept apart, and publish it with a model card.

    The clips of the split `validate`, spliced into background, decide the thresholds; those of `test` measure them.
    Labels with too few clips, and a bundle without any, are published as not calibrated, and it is said.
    Exit codes: 0 published, 1 failed, 2 a person must change something.
    """
    from engines.bundle.store import default_store, open_store
    from trainer.calibration.publish import publish as make
    from trainer.calibration.threshold_search import Measure
    from trainer.progress import Bars

    with Bars() as bars:
        made = make(
            run,
            open_store(store) if store else default_store(),
            version=version,
            channel=channel,
            measure=Measure(beta),
            report=bars.report,
        )
    manifest, events = made.bundle.manifest, made.bundle.manifest.events
    said = events.report or {}
    if as_json:
        figures = {
            "name": manifest.name, "version": manifest.version, "id": manifest.id, "path": str(made.bundle.path),
            "card": made.card, "calibrated": events.calibrated, "report": said, "channel": channel,
        }  # fmt: skip
        typer.echo(json.dumps(figures, indent=2, ensure_ascii=False))
        return
    if events.calibrated:
        _summarise(made.bundle.path, manifest)
    else:
        typer.echo(f"{made.bundle.label} is NOT calibrated: {said.get('reason')}")
    for label, reason in said.get("uncalibrated", {}).items():
        typer.echo(f"{label}: no thresholds of its own: {reason}")
    reference = manifest.name if channel == "stable" else f"{manifest.name}:{channel}"
    standing = "current" if channel == "stable" else f"{channel} now"
    typer.echo(f"{made.bundle.label} is {standing}; card: {made.card}; next: actionwire worker --bundle {reference}")


app.command("bundle")(needs_torch(zero_shot.bundle))


app.command("real")(needs_torch(real))


@app.command("demo-model")
@needs_torch
def demo_model(
    out: Annotated[Path | None, typer.Option(help="Bundle to replace; by default the one the package ships.")] = None,
    work: Annotated[Path, typer.Option(help="Run folder; a run that lies there goes on.")] = Path("runs/demo"),
    device: Device = "cpu",
    beta: Annotated[
        float, typer.Option(min=0.05, max=5, help="F-beta the thresholds maximise; below 1 false alarms weigh more.")
    ] = BETA,
    cache: Streams = None,
    settings: Settings = None,
) -> None:
    """Train, export and calibrate the demo model, and put it in place of the one that is shipped."""
    from trainer.demo import demo_model as making
    from trainer.progress import Bars

    place = out or making.SHIPPED
    with Bars() as bars:
        manifest = making.make(
            work, place, overrides=tuple(settings or ()), device=device, beta=beta, cache=cache, report=bars.report
        )
    _summarise(place, manifest)


def _source(recipe: Recipe) -> Source:
    """The source of a recipe: the user's own clips where it names some, rendered scenes otherwise."""
    if recipe.episodes is not None:
        from trainer.training.episode_source import EPISODES

        return EPISODES
    if recipe.data.clips is not None:
        from trainer.training.clips import CLIPS

        return CLIPS
    from trainer.demo.source import SCENES

    return SCENES


def _show(run: Path, figures: dict[str, float]) -> None:
    from rich.console import Console

    from trainer.evaluation import report

    report.show(run, figures, Console())


def _summarise(out: Path, manifest: object) -> None:
    from engines.bundle.files import Manifest

    assert isinstance(manifest, Manifest) and manifest.events.report is not None
    held, quiet = manifest.events.report["held_back"], manifest.events.report.get("held_back_quiet")
    silent = f"; where nothing happens {quiet['false_alarms_per_camera_hour']:.2f}" if quiet else ""
    typer.echo(
        f"{out}: {manifest.name}@{manifest.version} {manifest.id[:12]}, sealed, {_mebibytes(out):.1f} MiB\n"
        f"held-back streams, {held['camera_hours']:.2f} camera-hours: event F1 {held['event_f1'] or 0:.3f}, "
        f"{held['false_alarms_per_camera_hour']:.2f} false alarms per camera-hour{silent}. "
        f"All figures: events.report in {out / 'bundle.json'}"
    )


def _mebibytes(folder: Path) -> float:
    return sum(entry.stat().st_size for entry in folder.iterdir()) / 2**20


def main() -> None:
    """The console script: our own errors become one line, and code 2 where a person must change something, else 1."""
    try:
        app()
    except (TrainerError, EngineError) as error:
        typer.echo(f"actionwire-trainer: {error}", err=True)
        sys.exit(2 if isinstance(error, ValueError) else 1)


if __name__ == "__main__":
    main()
