"""A trained model as a draft bundle: networks, tokenizer, probe, reference texts and a manifest to be calibrated."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engines.bundle import files as bundles
from engines.bundle.files import References
from trainer.demo import phrases
from trainer.demo.phrases import Fact
from trainer.errors import CheckpointError
from trainer.export.draft import embed_references, new_directory
from trainer.models.text import templates
from trainer.models.text.backgrounds import ReferenceText
from trainer.scenes.vocabulary import KEYS

if TYPE_CHECKING:
    from trainer.models.video_text import VideoTextModel
    from trainer.recipe import Recipe

Progress = Callable[[str], None]
Floats = npt.NDArray[np.float32]

PROBE_TEXTS = ("a person falls down", "Two people shake hands!", "a person in red waves at a zebra")
UNCALIBRATED = bundles.EventSettings(
    enter=0.6, exit=0.3, confirm=2, min_seconds=0.0, merge_seconds=0.75, cooldown_seconds=0.0, max_seconds=60.0
)


def export(
    run: Path, out: Path, *, progress: Progress = lambda step: None
) -> tuple[bundles.Manifest, dict[str, float]]:
    """Write the averaged model of a run folder, or of a checkpoint file, as a draft bundle to the new directory `out`.

    Returns the manifest and each network's greatest difference from torch. Nothing is left at `out` when it fails.
    Raises CheckpointError, ExportError when `out` exists, ParityError when an ONNX file does not compute what torch
    does.
    """
    from trainer.training import checkpoint

    model, recipe = checkpoint.load_model(checkpoint_of(run))
    with new_directory(out) as building:
        differences = _write_networks(model, recipe, building, progress)
        references = embed_references(model, reference_texts(recipe.model.labels), templates.TEMPLATES, progress)
        bundles.write_references(building, references)
        synonym = synonym_threshold(model, references, recipe.model.labels)
        manifest = bundles.write_draft(building, _manifest(model, recipe, synonym))
    return manifest, differences


def checkpoint_of(run: Path) -> Path:
    """The checkpoint file of a run folder; a file is taken as it is. Raises CheckpointError when there is none."""
    from trainer.training.checkpoint import NAME

    path = run / NAME if run.is_dir() else run
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}; train first, or name another run folder")
    return path


def reference_texts(labels: tuple[str, ...] = ()) -> tuple[ReferenceText, ...]:
    """What every label competes with: the background texts, and the names of the trained actions.

    labels: names of a user's own actions; without them those of the scenes.
    """
    names = labels or tuple(phrases.canonical(Fact(key)) for key in KEYS)
    return (
        *(ReferenceText(text, "background") for text in phrases.BACKGROUNDS),
        *(ReferenceText(name, "action") for name in names),
    )


def synonym_threshold(model: VideoTextModel, references: References, labels: tuple[str, ...] = ()) -> float:
    """The cosine from which on two texts mean the same, for texts averaged over the templates.

    Half-way between the nearest two names of different actions and what nine in ten other wordings of an action reach
    with its name; where those overlap, or a user's labels have no other wordings, above the nearest names: distinct
    actions must go on competing.
    """

    names = _averaged(references)[[kind == "action" for kind in references.kinds]]
    nearest = float(np.max((names @ names.T)[~np.eye(len(names), dtype=bool)], initial=0.0))
    if labels:
        return _between(nearest, 1.0)
    wordings = [(key, text) for key in KEYS for text in phrases.plain_wordings(key)]
    told = embed_references(
        model, [ReferenceText(text, "action") for _, text in wordings], (templates.TEMPLATES[templates.BARE],)
    )
    own = names[[KEYS.index(key) for key, _ in wordings]]
    same = float(np.quantile(np.sum(_averaged(told) * own, axis=-1), 0.1))
    return _between(nearest, same if same > nearest else 1.0)


def _between(low: float, high: float) -> float:
    return round(min(0.5 * (low + high), 0.9999), 4)


def _averaged(references: References) -> Floats:
    total = references.embeddings.sum(axis=1)
    return total / np.linalg.norm(total, axis=-1, keepdims=True)


def _write_networks(model: VideoTextModel, recipe: Recipe, directory: Path, progress: Progress) -> dict[str, float]:
    from trainer.export import onnx

    model.tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    progress("computing the golden probe")
    golden = onnx.golden_probe(model, recipe.data.height, recipe.data.width, PROBE_TEXTS, seed=recipe.seed)
    bundles.write_golden(directory, golden)
    return onnx.write_networks(model, golden, directory, progress=progress)


def _manifest(model: VideoTextModel, recipe: Recipe, synonym: float) -> bundles.Manifest:
    from trainer.export.onnx import OPSET

    settings = recipe.model
    # How far what a verdict is about lies behind the window's last frame; calibration measures it.
    lag = recipe.targets.last
    return bundles.Manifest(
        name=recipe.name,
        version=recipe.version,
        encoder=bundles.Encoder(architecture=settings.tower, parameters=_count(model.clip.visual)),
        head=bundles.Head(architecture=settings.head.architecture, parameters=_count(model.head)),
        input=bundles.Input(
            height=recipe.data.height, width=recipe.data.width, resize="area", crop="squash",
            mean=settings.mean, std=settings.std,
        ),
        # It was trained at one rate only: no other is allowed.
        window=bundles.Window(frames=settings.frames, rate=recipe.data.rate, multiples=(1,)),
        space=bundles.Space(dimensions=settings.dimensions),
        score=bundles.Score(
            logit_scale=float(model.scale.detach()),
            synonym=synonym,
            templates=templates.TEMPLATES,
        ),
        text=bundles.Text(context_length=settings.text.context),
        events=bundles.Events(defaults=UNCALIBRATED, onset_lag_ticks=lag, offset_lag_ticks=lag),
        opset=OPSET,
        producer=bundles.Producer(
            actionwire=importlib.metadata.version("actionwire"), recipe=recipe.name, seed=recipe.seed
        ),
        licence=recipe.licence,
    )  # fmt: skip


def _count(module: object) -> int:
    return sum(parameter.numel() for parameter in module.parameters())  # type: ignore[attr-defined]
