"""The parts of a bundle for actions that are taught by example: what windows and examples become before they meet.

`head.onnx` gives a third output, `sequence`. `enrol.onnx` makes one prototype of the examples of an action.
`prototypes.npz` has the classes of training, which stand for everything else where a window is held against examples.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.bundle.arrays import ClassPrototypes, Golden
from engines.bundle.files import Examples
from engines.bundle.manifest import ENROL_FILE
from trainer.data.episode_batches import in_templates
from trainer.errors import ExportError, ParityError
from trainer.export.onnx import LARGEST_BATCH, TOLERANCE, answers, exported, normalised
from trainer.models.few_shot.comparison import Fitted
from trainer.models.few_shot.modulation import merged
from trainer.models.video_text import VideoTextModel
from trainer.training.episodes import raw_texts

if TYPE_CHECKING:
    from trainer.recipe import Recipe


def check(model: VideoTextModel, recipe: Recipe, alpha: float | None) -> None:
    """Raise ExportError where the parts of a few-shot model contradict each other."""
    if model.few_shot is None:
        return
    if model.kind != "frame":
        raise ExportError(
            f"recipe {recipe.name!r} compares items with examples (model.few_shot), and its image tower "
            f"({recipe.model.prompt.kind}) sees windows as a whole: no item reaches the comparison; train without "
            "model.prompt"
        )
    if alpha is not None:
        raise ExportError(
            "what examples are compared by was gathered from the towers as they were trained, and alpha changes them; "
            "export without --alpha"
        )
    if float(model.few_shot.whitening.weight) == 0 and model.few_shot.matching == "whitened":
        raise ExportError(
            f"recipe {recipe.name!r} whitens (model.few_shot.matching), and no episode of two clips of a class was "
            "seen; train with episodes.shots + episodes.queries of 2 or more"
        )


def manifest_part(model: VideoTextModel, recipe: Recipe, report: Path) -> Examples | None:
    """What the manifest says of examples; the blend is that of the run's report. Raises ExportError without one."""
    if model.few_shot is None:
        return None
    matching: Literal["frame-wise", "alignment"] = "frame-wise"
    length = 2 * model.frames - 1
    if model.few_shot.matching == "alignment":
        matching, length = "alignment", model.frames
    try:
        figures = json.loads(report.read_text("utf-8"))
        beta, temperature = (float(figures[f"episodes_{name}"]) for name in ("beta", "temperature"))
    except (OSError, ValueError, KeyError) as error:
        raise ExportError(
            f"{report} does not say how texts and examples were blended ({error}); export the folder of a run that "
            "was trained to its end, or measure it again with `actionwire-trainer evaluate`"
        ) from error
    return Examples(
        length=length,
        matching=matching,
        smoothing=model.few_shot.modulation.smoothing,
        temperature=temperature,
        beta=beta,
        classes=bool(model.few_shot.known.means()[0]),
    )


@torch.no_grad()
def with_examples(golden: Golden, model: VideoTextModel) -> Golden:
    """The probe with torch's answers for examples: its windows as those of an action with its first text."""
    if model.few_shot is None:
        return golden
    fitted, windows = model.few_shot.fitted(), torch.from_numpy(golden.windows)
    text = model.encode_text(model.tokens(golden.texts[:1]), normalise=False)
    return dataclasses.replace(
        golden,
        sequences=F.normalize(fitted.sequences(windows), dim=-1).numpy(),
        prototype=F.normalize(_Enrolment(fitted)(windows, text), dim=-1).numpy(),
        example_text=text.numpy(),
    )


class _Enrolment(nn.Module):
    def __init__(self, fitted: Fitted):
        super().__init__()
        self.fitted = fitted

    def forward(self, windows: Tensor, text: Tensor) -> Tensor:
        return self.fitted.prototypes(merged(windows).unsqueeze(0), text)


def write_enrolment(model: VideoTextModel, golden: Golden, directory: Path) -> float:
    """Write `enrol.onnx`, and return its greatest difference from torch. Raises ParityError."""
    assert model.few_shot is not None and golden.prototype is not None and golden.example_text is not None
    path, network = directory / ENROL_FILE, _Enrolment(model.few_shot.fitted()).eval()
    given = {"windows": golden.windows.astype(np.float32), "text": golden.example_text}
    count = torch.export.Dim("k", min=1, max=LARGEST_BATCH)
    example = tuple(torch.from_numpy(array) for array in given.values())
    exported(network, example, path, given=tuple(given), returned=("prototype",), shapes=({0: count}, None))
    difference = 0.0
    for windows in (given["windows"], given["windows"][:1]):
        with torch.no_grad():
            wanted = network(torch.from_numpy(windows), example[1]).numpy()
        (found,) = answers(path, given | {"windows": windows})
        gap = float(np.abs(normalised(found) - normalised(wanted)).max())
        difference = max(difference, gap if np.isfinite(gap) else np.inf)
    if difference > TOLERANCE:
        raise ParityError(f"{path.name} differs from torch by {difference:.2g} after normalisation, {TOLERANCE:g} is "
                          "allowed; try another version of torch")  # fmt: skip
    return difference


@torch.no_grad()
def class_prototypes(model: VideoTextModel) -> ClassPrototypes | None:
    """The classes that training showed; None for models without."""
    if model.few_shot is None:
        return None
    labels, means = model.few_shot.known.means()
    if not labels:
        return None
    names = [model.labels[label] for label in labels]
    texts = raw_texts(model, in_templates(names, model.templates, model.tokenizer))
    found = model.few_shot.fitted().prototypes(means, texts)
    return ClassPrototypes(tuple(names), F.normalize(found, dim=-1).numpy())
