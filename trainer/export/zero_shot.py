"""A zero-shot bundle from pretrained CLIP weights: no training, the mean over the window as its head."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Sequence
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
)
from engines.errors import EngineError
from trainer.errors import TrainerError
from trainer.export.draft import Probe, Progress, check_new, check_version, memory_of, new_directory, write_parts
from trainer.models.text import backgrounds
from trainer.models.text.backgrounds import ReferenceText
from trainer.models.text.templates import TEMPLATES
from trainer.models.towers.prompts import Prompt

if TYPE_CHECKING:
    from rich.console import Console

    from trainer.models.towers.pretrained import Pretrained
    from trainer.models.video_text import VideoTextModel

PROBE_TEXTS = ("a person falls down", "Two people shake hands!", "an empty street")
UNKNOWN_LICENCE = "that of the weights"

# Uncalibrated. A sigmoid's probabilities are low even for sure matches; a softmax shares 1 among all texts.
_THRESHOLDS = {"softmax": (0.5, 0.3), "sigmoid": (0.2, 0.1)}


@dataclass(frozen=True)
class Plan:
    """What the user decides about a bundle; the weights decide the rest. `rate` in frames/s."""

    name: str
    version: str = "1.0.0"
    frames: int = 8
    rate: int = 4
    prompt: Prompt | None = None
    """How the tower looks at the frames of a window; untrained it tells of the cost alone. None: one by one."""
    templates: Sequence[str] = TEMPLATES
    references: Sequence[ReferenceText] = backgrounds.DEFAULTS
    licence: str = UNKNOWN_LICENCE
    seed: int = 0

    def __post_init__(self) -> None:
        check_version(self.version)


def write_bundle(
    source: Pretrained, plan: Plan, out: Path, *, progress: Progress = lambda step: None
) -> tuple[Manifest, dict[str, float]]:
    """Write a sealed, uncalibrated bundle to the new directory `out`.

    Returns its manifest and each network's greatest difference from torch. Nothing is left at `out` when it fails.
    Raises ExportError when `out` exists, PretrainedError when the tokenizer cannot be converted, ParityError.
    """
    with new_directory(out) as building:
        progress("converting the tokenizer")
        model = video_model(source, plan.frames, plan.prompt)
        probe = Probe(source.form.height, source.form.width, PROBE_TEXTS, plan.seed)
        _, differences = write_parts(model, building, probe, plan.references, plan.templates, progress)
        progress("sealing")
        write_draft(building, _manifest(source, plan, model))
        manifest = seal(building)
    return manifest, differences


def video_model(source: Pretrained, frames: int, prompt: Prompt | None = None) -> VideoTextModel:
    """The pretrained towers with MeanP, in eval mode.

    Raises PretrainedError if the tokenizer cannot be converted, RecipeError for a prompt that the tower cannot have.
    """
    from trainer.models.heads.mean_pool import MeanPool
    from trainer.models.text.clip_tokenizer import convert
    from trainer.models.video_text import VideoTextModel

    tokenizer = convert(source.tokenizer)
    if prompt is not None:
        source.clip.visual = prompt.build(source.clip.visual, frames)
    return VideoTextModel(source.clip, MeanPool(), tokenizer, frames=frames, blueprint=source.blueprint).eval()


def _manifest(source: Pretrained, plan: Plan, model: VideoTextModel) -> Manifest:
    from trainer.export.onnx import OPSET

    function: Literal["softmax", "sigmoid"] = "softmax" if source.logit_bias is None else "sigmoid"
    enter, leave = _THRESHOLDS[function]
    return Manifest(
        name=plan.name,
        version=plan.version,
        kind=model.kind,
        memory=memory_of(model),
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
    """A bundle name derived from a model's: `local-dir:/models/ViT-B-32` becomes `vit-b-32`."""
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
        check_new(out)
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
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("loading open_clip and the weights")
        from trainer.models.towers import pretrained as loading

        source = loading.load(model, pretrained, like=like)
        return write_bundle(source, plan, out, progress=lambda step: bar.update(task, description=step))
