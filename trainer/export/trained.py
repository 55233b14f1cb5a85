"""A trained model as a draft bundle: networks, tokenizer, probe, reference texts and a manifest to be calibrated."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from engines.bundle import files as bundles
from engines.bundle.arrays import References
from trainer.errors import CheckpointError, ExportError
from trainer.export.draft import (
    Probe,
    Progress,
    embed_references,
    has_learned,
    memory_of,
    new_directory,
    write_parts,
)
from trainer.models.text.backgrounds import ReferenceText
from trainer.models.text.templates import BARE, TEMPLATES
from trainer.models.text.texts import Texts

if TYPE_CHECKING:
    from torch import nn

    from trainer.models.video_text import VideoTextModel
    from trainer.recipe import Recipe

TextsOf = Callable[["Recipe"], Texts]
"""From a recipe to the texts of its source (`Source.texts`)."""
Floats = npt.NDArray[np.float32]
Rule = Literal["window", "saliency"]

OUR_LICENCE = "Apache-2.0"
"""Of what is trained on our own rendered scenes alone."""
PROBE_TEXTS = ("a person falls down", "Two people shake hands!", "a person in red waves at a zebra")
UNCALIBRATED = bundles.EventSettings(
    enter=0.6, exit=0.3, confirm=2, min_seconds=0.0, merge_seconds=0.75, cooldown_seconds=0.0, max_seconds=60.0
)


def export(
    run: Path,
    out: Path,
    texts: TextsOf,
    *,
    alpha: float | None = None,
    rule: Rule = "window",
    progress: Progress = lambda step: None,
) -> tuple[bundles.Manifest, dict[str, float]]:
    """Write the averaged model of a run folder, or of a checkpoint file, as a draft bundle to the new directory `out`.

    texts: of the source that the model was trained on. alpha: the share of the start's weights in the towers, for
    labels that were never trained (`trainer.training.blending`); the manifest says it. rule: what texts are compared
    with (`engines.bundle.manifest.Score`). Returns the manifest and each
    network's greatest difference from torch. Nothing is left at `out` when it fails.
    Raises CheckpointError, ExportError when `out` exists and for a model that reads no text, RecipeError for one that
    cannot be scored by that rule, ParityError when an ONNX
    file does not compute what torch does.
    """
    from trainer.export.onnx import write_words
    from trainer.models.heads.experts import merged
    from trainer.models.towers.pretrained import fused
    from trainer.training import checkpoint
    from trainer.training.blending import blended

    path = checkpoint_of(run)
    model, recipe = checkpoint.load_model(path)
    if recipe.model.bank == "learned":
        raise ExportError(
            f"{path} is a unimodal model (model.bank is learned): it reads no text, so no bundle can watch with it; "
            "train with model.bank texts"
        )
    if rule == "saliency" and model.kind == "clip":
        raise ExportError("pooling by words needs an embedding per frame; leave out --rule, or train another prompt")
    if alpha is not None:
        blended(model, recipe, alpha)
    known, form = texts(recipe), model.blueprint.form
    model.clip, model.head = fused(model.clip), merged(model.head)
    with new_directory(out) as building:
        probe = Probe(form.height, form.width, PROBE_TEXTS, recipe.seed)
        references, differences = write_parts(model, building, probe, known.references, model.templates, progress)
        if rule == "saliency":
            progress("writing words.onnx")
            differences["words.onnx"] = write_words(model, PROBE_TEXTS, building)
        synonym = synonym_threshold(model, references, known.wordings)
        manifest = bundles.write_draft(building, _manifest(model, recipe, synonym, alpha, rule))
    return manifest, differences


def checkpoint_of(run: Path) -> Path:
    """The checkpoint file of a run folder; a file is taken as it is. Raises CheckpointError when there is none."""
    from trainer.training.best import chosen

    path = chosen(run) if run.is_dir() else run
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}; train first, or name another run folder")
    return path


def synonym_threshold(model: VideoTextModel, references: References, wordings: Sequence[tuple[str, str]] = ()) -> float:
    """The cosine above which two texts, averaged over the templates, mean the same.

    wordings: names of trained actions, each with other words for it. The threshold lies half-way between the nearest
    two names of different actions and what nine in ten wordings reach with their name; where those overlap, or there
    are no wordings, above the nearest names: distinct actions must go on competing.
    """
    actions = [text for text, kind in zip(references.texts, references.kinds, strict=True) if kind == "action"]
    names = _averaged(references)[[kind == "action" for kind in references.kinds]]
    nearest = float(np.max((names @ names.T)[~np.eye(len(names), dtype=bool)], initial=0.0))
    if not wordings:
        return _between(nearest, 1.0)
    told = embed_references(model, [ReferenceText(text, "action") for _, text in wordings], (TEMPLATES[BARE],))
    own = names[[actions.index(name) for name, _ in wordings]]
    same = float(np.quantile(np.sum(_averaged(told) * own, axis=-1), 0.1))
    return _between(nearest, same if same > nearest else 1.0)


def _between(low: float, high: float) -> float:
    return round(min(0.5 * (low + high), 0.9999), 4)


def _averaged(references: References) -> Floats:
    total = references.embeddings.sum(axis=1)
    return np.asarray(total / np.linalg.norm(total, axis=-1, keepdims=True))


def _manifest(
    model: VideoTextModel, recipe: Recipe, synonym: float, alpha: float | None, rule: Rule
) -> bundles.Manifest:
    from trainer.export.onnx import OPSET
    from trainer.models.video_text import context_length

    settings, blueprint = recipe.model, model.blueprint
    # How far the instant that a verdict is about lies behind the window's last frame. Calibration measures it.
    lag = recipe.targets.last
    return bundles.Manifest(
        name=recipe.name,
        version=recipe.version,
        kind=model.kind,
        encoder=bundles.Encoder(
            architecture=blueprint.name + _prompted(recipe), pretrained=blueprint.pretrained,
            parameters=_count(model.clip.visual) + _count(model.project),
        ),
        head=bundles.Head(architecture=settings.head.architecture, parameters=_count(model.head)),
        input=blueprint.form,
        # Trained at one rate, so no other is allowed.
        window=bundles.Window(frames=settings.frames, rate=recipe.data.rate, multiples=(1,)),
        space=bundles.Space(dimensions=model.dimensions),
        score=bundles.Score(
            rule=rule,
            logit_scale=float(model.scale.detach()),
            synonym=synonym,
            templates=model.templates,
        ),
        text=bundles.Text(context_length=context_length(model.tokenizer), learned=has_learned(model)),
        events=bundles.Events(defaults=UNCALIBRATED, onset_lag_ticks=lag, offset_lag_ticks=lag),
        memory=memory_of(model),
        opset=OPSET,
        producer=bundles.Producer(
            actionwire=importlib.metadata.version("actionwire"),
            recipe=recipe.name if alpha is None else f"{recipe.name}, alpha {alpha:g}",
            seed=recipe.seed,
        ),
        licence=recipe.licence or OUR_LICENCE,
    )  # fmt: skip


def _prompted(recipe: Recipe) -> str:
    """What the name of the image tower says of its prompt."""
    prompt = recipe.model.prompt
    return "" if prompt.kind == "none" else f"+{prompt.kind}"


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
