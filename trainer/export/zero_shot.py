"""A zero-shot bundle from pretrained CLIP weights: no training, the mean over the window as its head."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engines.bundle.files import (
    Encoder,
    Events,
    EventSettings,
    Head,
    Manifest,
    Producer,
    Score,
    Space,
    Text,
    Window,
    seal,
    write_draft,
    write_golden,
    write_references,
)
from engines.errors import EngineError
from trainer.errors import PretrainedError, TrainerError
from trainer.export.draft import check_version, embed_references
from trainer.models.text import backgrounds, templates
from trainer.models.text.backgrounds import ReferenceText

if TYPE_CHECKING:
    from rich.console import Console

    from trainer.models.towers.pretrained import Pretrained
    from trainer.models.video_text import VideoTextModel

PROBE_TEXTS = ("a person falls down", "Two people shake hands!", "an empty street")
UNKNOWN_LICENCE = "that of the weights"

# Uncalibrated: a sigmoid model's probabilities are low even for what it is sure of, a softmax shares 1 among all texts.
_THRESHOLDS = {"softmax": (0.5, 0.3), "sigmoid": (0.2, 0.1)}


@dataclass(frozen=True)
class Plan:
    """What the user decides about a bundle; the rest is read from the weights. `rate` in frames/s."""

    name: str
    version: str = "1.0.0"
    frames: int = 8
    rate: int = 4
    templates: Sequence[str] = templates.TEMPLATES
    references: Sequence[ReferenceText] = backgrounds.DEFAULTS
    licence: str = UNKNOWN_LICENCE
    seed: int = 0

    def __post_init__(self) -> None:
        check_version(self.version)


def write_bundle(
    source: Pretrained, plan: Plan, out: Path, *, progress: Callable[[str], None] = lambda step: None
) -> tuple[Manifest, dict[str, float]]:
    """Write a sealed, uncalibrated bundle to the new directory `out`.

    Returns its manifest and each network's greatest difference from torch. Nothing is left at `out` when it fails.
    Raises PretrainedError when `out` exists or the tokenizer cannot be converted, ParityError from the export.
    """
    out = Path(out)
    if out.exists():
        raise PretrainedError(f"{out} exists; name a new directory, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        differences = _write_files(source, plan, building, progress)
        progress("sealing")
        write_draft(building, _manifest(source, plan))
        manifest = seal(building)
        building.chmod(0o755)
        building.replace(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return manifest, differences


def _write_files(source: Pretrained, plan: Plan, directory: Path, progress: Callable[[str], None]) -> dict[str, float]:
    from trainer.export import onnx

    progress("converting the tokenizer")
    model = video_model(source, plan.frames)
    model.tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    progress("computing the golden probe")
    golden = onnx.golden_probe(model, source.form.height, source.form.width, PROBE_TEXTS, seed=plan.seed)
    write_golden(directory, golden)
    differences = onnx.write_networks(model, golden, directory, progress=progress)
    write_references(directory, embed_references(model, plan.references, plan.templates, progress))
    return differences


def video_model(source: Pretrained, frames: int) -> VideoTextModel:
    """The pretrained towers with MeanP, in eval mode. Raises PretrainedError where the tokenizer has no such form."""
    from trainer.models.heads.mean_pool import MeanP
    from trainer.models.text.clip_tokenizer import convert
    from trainer.models.video_text import VideoTextModel

    tokenizer = convert(source.tokenizer)
    return VideoTextModel(
        source.clip, MeanP(), tokenizer, frames=frames, mean=source.form.mean, std=source.form.std
    ).eval()


def _manifest(source: Pretrained, plan: Plan) -> Manifest:
    from trainer.export.onnx import OPSET

    function: Literal["softmax", "sigmoid"] = "softmax" if source.logit_bias is None else "sigmoid"
    enter, leave = _THRESHOLDS[function]
    return Manifest(
        name=plan.name,
        version=plan.version,
        encoder=Encoder(
            architecture=source.architecture,
            pretrained=source.source,
            parameters=sum(parameter.numel() for parameter in source.clip.visual.parameters()),
        ),
        head=Head(architecture="meanp", parameters=0),
        input=source.form,
        window=Window(frames=plan.frames, rate=plan.rate),
        space=Space(dimensions=_dimensions(source)),
        score=Score(
            function=function,
            logit_scale=source.logit_scale,
            logit_bias=source.logit_bias,
            templates=tuple(plan.templates),
        ),
        text=Text(context_length=source.context),
        events=Events(
            defaults=EventSettings(
                enter=enter,
                exit=leave,
                confirm=2,
                min_seconds=0.5,
                merge_seconds=1.0,
                cooldown_seconds=2.0,
                max_seconds=60.0,
            )
        ),
        opset=OPSET,
        producer=Producer(actionwire=importlib.metadata.version("actionwire"), recipe="zero-shot", seed=plan.seed),
        licence=plan.licence,
    )


def _dimensions(source: Pretrained) -> int:
    import torch

    with torch.no_grad():
        tokens = torch.zeros(1, source.context, dtype=torch.long)
        return int(source.clip.encode_text(tokens).shape[-1])


def name_of(model: str) -> str:
    """A bundle name made of a model's: `local-dir:/models/ViT-B-32` becomes `vit-b-32`."""
    last = model.rstrip("/").split("/")[-1].split(":")[-1]
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-._") or "clip"


def bundle(
    model: Annotated[str, typer.Option(help="An open_clip model name, local-dir:FOLDER or hf-hub:NAME.")],
    out: Annotated[Path, typer.Option(help="Directory to write; it must not exist.")],
    pretrained: Annotated[str | None, typer.Option(help="A tag of that model, or a file of weights.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the bundle; the model's otherwise.")] = None,
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "1.0.0",
    frames: Annotated[int, typer.Option(min=1, help="Frames in a window.")] = 8,
    rate: Annotated[int, typer.Option(min=1, help="Frames per second the window is made of.")] = 4,
    labels: Annotated[
        Path | None, typer.Option(help="Reference texts, one a line; `background: TEXT` takes no template.")
    ] = None,
    like: Annotated[
        str | None, typer.Option(help="The tag whose preprocessing a file shares, where tags disagree.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the manifest.")] = UNKNOWN_LICENCE,
) -> None:
    """Turn any open_clip checkpoint into a bundle that watches for texts, without training.

    Exit codes: 0 done, 1 the export failed, 2 an argument must change.
    """
    from rich.console import Console

    console = Console(stderr=True)
    try:
        plan = Plan(
            name=name_of(name or model),
            version=version,
            frames=frames,
            rate=rate,
            references=backgrounds.read(labels) if labels else backgrounds.DEFAULTS,
            licence=licence,
        )
        if out.exists():
            raise PretrainedError(f"{out} exists; name a new directory, or remove it")
        manifest, differences = _run(model, pretrained, like, plan, out, console)
    except (TrainerError, EngineError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(2 if isinstance(error, ValueError) else 1) from error
    worst = max(differences, key=lambda part: differences[part])
    typer.echo(
        f"{out}: {manifest.name}@{manifest.version} {manifest.id[:12]}, {manifest.encoder.architecture} "
        f"({manifest.encoder.parameters / 1e6:.1f} M), {manifest.input.width}x{manifest.input.height}, "
        f"{manifest.score.function}, torch and ONNX agree to {differences[worst]:.1e} ({worst}); not calibrated"
    )


def _run(
    model: str, pretrained: str | None, like: str | None, plan: Plan, out: Path, console: Console
) -> tuple[Manifest, dict[str, float]]:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("loading open_clip and the weights")
        from trainer.models.towers import pretrained as loading

        source = loading.load(model, pretrained, like=like)
        return write_bundle(source, plan, out, progress=lambda step: bar.update(task, description=step))
