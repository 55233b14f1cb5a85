"""What single parts bring on UT-Interaction: one change of the recipe at a time, over grouped folds and three seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainer.evaluation import protocols
from trainer.progress import Report
from trainer.real import footage, heads
from trainer.real.heads import Cached
from trainer.recipe import Recipe, load

Changes = Mapping[str, Any]

VARIANTS: Mapping[str, Changes] = {
    "base": {},
    "bare_label": {"model.templates": {"kinds": ["bare"]}},
    "unimodal": {"model.bank": "learned", "loss.objective": "classes", "data.background": 0.0},
    "classes": {"loss.objective": "classes"},
    "exact_targets": {"loss.leak": False},
    "meanp": {"model.head": {"architecture": "meanp"}},
    "conv1d": {"model.head": {"architecture": "conv1d"}},
    "transf": {"model.head": {"architecture": "transf", "layers": 1, "init": "identity"}},
    "transf_paper_start": {"model.head": {"architecture": "transf", "layers": 1, "init": "paper"}},
}
"""What each one changes of `ut-interaction.yaml`: windows in order against captions in sixteen templates, both towers
resting (V3)."""

_SEEDS = (1, 2, 3)
_FOLDS = 5


def ablations(place: Path, cache: Path, report: Report) -> dict[str, float]:
    """Top-1 of every variant, mean and deviation (of the sample) over the seeds, by name."""
    segments = ("data.sampling=segments", "model.frames=8", "stages.0.ticks=8", "items={}", "augment={}")
    recipe = load(Path(__file__).parents[1] / "recipes" / "ut-interaction.yaml", segments)
    given = heads.cached(recipe, footage.clips(place, footage.UT), cache, report)
    found = {}
    for name, changes in VARIANTS.items():
        tops = [_top1(given.with_recipe(changed(given.recipe, changes)), seed) for seed in _SEEDS]
        found[f"ablation_{name}_top1"] = round(float(np.mean(tops)), 4)
        found[f"ablation_{name}_deviation"] = round(float(np.std(tops, ddof=1)), 4)
        report("ablations", len(found) // 2, len(VARIANTS), f"{name} {np.mean(tops):.3f}")
    return found


def changed(recipe: Recipe, changes: Changes) -> Recipe:
    """A recipe in which some settings, by dotted names, are others."""
    tree = recipe.model_dump(mode="json")
    for name, value in changes.items():
        part, _, setting = name.partition(".")
        tree[part] = {**tree[part], setting: value}
    return Recipe.model_validate(tree)


def _top1(given: Cached, seed: int) -> float:
    labels = given.labels.tolist()
    folds = protocols.stratified_folds(labels, given.groups, _FOLDS, seed=1)

    def scores(fold: protocols.Fold) -> protocols.Floats:
        model = heads.fitted(given, fold.tolist(), seed)
        bank = protocols.label_bank(model, given.recipe.model.labels)
        return heads.scores(given, model, fold.tolist(), [bank])[0]

    return protocols.classified(protocols.out_of_fold(len(labels), folds, scores), labels)["top1"]
