"""A user's own labelled clips as a source of episodes: what is learned is how to compare, not what the classes are.

Classes may lie in one split alone: those of `validate` and `test` are taught by examples and never trained.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from engines.bundle.manifest import Input
from trainer.data import items
from trainer.data.cache import Clips
from trainer.data.episode_batches import EpisodeBatches, classes_of, groups_of, in_templates
from trainer.data.episodes import EpisodeSampler
from trainer.data.items import EncodedClips
from trainer.data.recipe_clips import with_labels
from trainer.errors import RecipeError
from trainer.evaluation.episodes import Metric, Shown, measure, tuned
from trainer.models.video_text import VideoTextModel
from trainer.progress import Report, counted
from trainer.recipe import Recipe
from trainer.training import source
from trainer.training.clips import changed_items, opened, texts
from trainer.training.episodes import EpisodesTask, raw_texts
from trainer.training.source import Opened, Source, rounded

_EPISODES = 200


def _open(recipe: Recipe, form: Input, cache: Path, report: Report, training: bool) -> Opened:
    clips = opened(recipe, form, cache, report, between=False)  # no episode asks for the time between clips

    def frozen(model: VideoTextModel) -> source.Batches:
        seen = changed_items(model, clips, clips.of("train"), recipe, cache, report)
        return EpisodeBatches(recipe, seen, model.tokenizer).batch

    def validate(model: VideoTextModel) -> dict[str, float]:
        split = "validate" if clips.of("validate") else "train"
        found = episode_report(model, seen_by(model, clips, recipe, [split], cache, report), recipe, split)
        return rounded(found | clips.figures(recipe.model.frames, recipe.data.sampling))

    return Opened(
        batches=lambda tokenizer: EpisodeBatches(recipe, clips, tokenizer).batch, validate=validate, frozen=frozen
    )


def seen_by(
    model: VideoTextModel, clips: Clips, recipe: Recipe, splits: Sequence[str], cache: Path, report: Report
) -> Clips | EncodedClips:
    """The clips of some splits as measuring takes them: as items where the image tower rests."""
    if not recipe.image_frozen:
        return clips
    chosen = [clip for split in splits for clip in clips.of(split)]
    return items.encode(model, clips, chosen, cache, counted(report, "encode files"))


def episode_report(
    model: VideoTextModel,
    clips: Clips | EncodedClips,
    recipe: Recipe,
    split: str,
    *,
    tuned_on: str | None = None,
    shots: int | None = None,
    count: int = _EPISODES,
) -> dict[str, float]:
    """What `count` episodes of a split recognise, by row (`trainer.evaluation.episodes.ROWS`), and the blend for it.

    The blend is tuned on episodes of `tuned_on`, or on other episodes of the same clips; never name `test` there.
    Raises RecipeError where the clips are too few for an episode.
    """
    if recipe.episodes is None or model.few_shot is None:
        raise RecipeError(f"recipe {recipe.name!r} has no episodes; set `episodes` and model.few_shot")
    form = recipe.episodes.model_copy(update={"queries": 1, "shots": shots or recipe.episodes.shots})
    shown = shown_of(model, clips, recipe, {split, tuned_on or split})
    metric = Metric(model.few_shot.fitted(), float(model.scale.detach()))

    def episodes(of: str, seed: int) -> EpisodeSampler:
        ways = min(form.ways, len(classes_of(clips, of)))
        chosen = form.model_copy(update={"ways": max(ways, 2)})
        return EpisodeSampler(clips.labels, groups_of(clips.clips), clips.of(of), chosen, seed)

    blend = tuned(metric, shown, episodes(tuned_on or split, recipe.seed), min(count, _EPISODES))
    found = measure(metric, shown, episodes(split, recipe.seed + 1), count, blend)
    figures = {f"episodes_{name}": value for name, value in found.items()}
    return figures | {"episodes_beta": blend.beta, "episodes_temperature": blend.temperature}


@torch.no_grad()
def shown_of(model: VideoTextModel, clips: Clips | EncodedClips, recipe: Recipe, splits: Collection[str]) -> Shown:
    """The items of all clips of some splits, zeros for others, and the texts of all labels."""
    known = [clip for split in sorted(splits) for clip in clips.of(split)]
    windows = torch.zeros(len(clips.clips), model.frames, model.dimensions)
    for clip in known:
        given = torch.from_numpy(clips.sample(clip, model.frames, recipe.data.sampling)).to(model.device)
        features = given if given.is_floating_point() else model.features(given)
        windows[clip] = model.items(features).float().cpu()
    tokens = in_templates(recipe.model.labels, recipe.model.templates.chosen, model.tokenizer)
    return Shown(windows, raw_texts(model, tokens).cpu())


EPISODES = Source(
    complete=with_labels, texts=texts, task=lambda model, recipe: EpisodesTask(model, recipe.loss), open=_open
)
"""Labels and texts come from the list of clips that `data.clips` names."""
