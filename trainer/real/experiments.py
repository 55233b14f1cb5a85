"""The figures of `make real`: each experiment is a function from footage and cache to figures by name."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.calibration.publish import publish
from trainer.calibration.threshold_search import Measure
from trainer.data.batches import ClipBatches
from trainer.data.folder import write_list
from trainer.data.manifest import Clip
from trainer.evaluation import protocols
from trainer.models.video_text import build
from trainer.progress import Report
from trainer.real import footage, heads
from trainer.real import stream as streams
from trainer.real import taught as teaching
from trainer.real import vit as transformers
from trainer.real.ablations import ablations
from trainer.real.heads import Cached
from trainer.real.regression import held
from trainer.recipe import Recipe, load
from trainer.training import loop
from trainer.training.clips import CLIPS
from trainer.training.freezing import freeze
from trainer.training.optimiser import build_optimiser
from trainer.training.step import training_step
from trainer.training.tasks import ClipTask

Figures = dict[str, float]

RECIPES = Path(__file__).parents[1] / "recipes"
SEEDS = (1, 2, 3)
HEADS: Mapping[str, dict[str, Any]] = {
    "meanp": {"architecture": "meanp"},
    "concat": {"architecture": "concat"},
}
OTHER_HEADS: Mapping[str, dict[str, Any]] = {
    "conv1d": {"architecture": "conv1d"},
    "lstm": {"architecture": "lstm"},
    "transf": {"architecture": "transf", "layers": 1},
}
_FOLDS, _FIGHT_FOLDS = 5, 10
_TEST = ("seq9", "seq10", "seq19", "seq20")
_VALIDATE = ("seq7", "seq8", "seq17", "seq18")
_RECALL = 0.75
_MISSES_COST_MORE = Measure(beta=1.5)
"""What a good threshold is where few clips decide; `publish --beta` for users."""
_UNCHANGED = ("items={}", "augment={}")
"""Of a recipe with a frozen tower: without changed copies of the pictures."""

PARAPHRASES: Mapping[str, tuple[str, str, str]] = {
    "hand shaking": ("greeting with a handshake", "shaking hands", "clasping someone's hand"),
    "hugging": ("embracing someone", "two people hold each other in their arms", "giving a hug"),
    "kicking": ("hitting with the foot", "a kick", "striking someone with a leg"),
    "pointing": ("indicating with a finger", "pointing a finger", "showing a direction with the hand"),
    "punching": ("hitting with the fist", "a punch", "striking someone with a fist"),
    "pushing": ("shoving someone away", "a shove", "giving someone a push"),
}
"""Wordings that no training has seen: three for each action of UT-Interaction."""


@dataclass(frozen=True)
class Place:
    """Where the footage lies, where what was decoded and trained is kept, and who is told."""

    footage: Path
    cache: Path
    report: Report
    folds: int = _FOLDS
    """How many of the folds are trained by the experiments that take hours."""


def ut(place: Place) -> Figures:
    """UT-Interaction, each sequence left out in turn: order against its mean, three seeds; and wordings never used."""
    given = _offline(place)
    labels = given.recipe.model.labels
    banks = [heads.bank(given, texts) for texts in (labels, *_paraphrased(labels))]
    begun = time.monotonic()
    tops = {name: _over_seeds(place, _with_head(given, head), name, banks) for name, head in HEADS.items()}
    best = tops["concat"]
    return {
        "ut_top1": round(best[0], 4),
        "ut_meanp_top1": round(tops["meanp"][0], 4),
        "ut_paraphrase_loss": round(best[0] - float(np.mean(best[1:])), 4),
        "ut_fold_seconds": round(time.monotonic() - begun, 1),
    }


def other_heads(place: Place) -> Figures:
    """The same folds and seeds with the other heads."""
    given = _offline(place)
    banks = [heads.bank(given, given.recipe.model.labels)]
    return {
        f"ut_{name}_top1": round(_over_seeds(place, _with_head(given, head), name, banks)[0], 4)
        for name, head in OTHER_HEADS.items()
    }


def _offline(place: Place) -> Cached:
    """UT-Interaction as items, eight pictures of each whole clip, unchanged."""
    segments = ("data.sampling=segments", "model.frames=8", "stages.0.ticks=8")
    recipe = load(RECIPES / "ut-interaction.yaml", (*segments, *_UNCHANGED))
    return heads.cached(recipe, footage.clips(place.footage, footage.UT), place.cache, place.report)


def _paraphrased(labels: tuple[str, ...]) -> list[list[str]]:
    return [[PARAPHRASES[label][number] for label in labels] for number in range(3)]


def _with_head(given: Cached, head: dict[str, Any]) -> Cached:
    tree = given.recipe.model_dump(mode="json")
    tree["model"]["head"] = head
    return given.with_recipe(Recipe.model_validate(tree))


def _over_seeds(place: Place, given: Cached, name: str, banks: list[torch.Tensor]) -> list[float]:
    """Top-1 with each bank of texts, over all folds, averaged over the seeds."""
    folds = protocols.leave_groups_out(given.groups)
    tops = []
    for done, seed in enumerate(SEEDS):
        # One training a fold scores all banks: side by side in one array, and apart again.
        joined = protocols.out_of_fold(len(given.labels), folds, _scorer(given, seed, banks))
        parts = np.split(joined, len(banks), axis=1)
        tops.append([protocols.classified(part, given.labels.tolist())["top1"] for part in parts])
        place.report(f"folds, {name}", done + 1, len(SEEDS), f"top-1 {tops[-1][0]:.3f}")
    return [float(value) for value in np.mean(tops, axis=0)]


def _scorer(given: Cached, seed: int, banks: list[torch.Tensor]) -> Callable[[protocols.Fold], protocols.Floats]:
    def scores(fold: protocols.Fold) -> protocols.Floats:
        model = heads.fitted(given, fold.tolist(), seed)
        return np.concatenate(heads.scores(given, model, fold.tolist(), banks), axis=1)

    return scores


def fight(place: Place) -> Figures:
    """surv_fight, ten folds grouped by source video."""
    given, folds = _fights(place)
    labels = given.labels.tolist()
    banks = [heads.bank(given, given.recipe.model.labels)]
    total = np.zeros((len(labels), 2))
    for done, seed in enumerate(SEEDS):
        total += protocols.out_of_fold(len(labels), folds, _scorer(given, seed, banks))
        place.report("folds, fight", done + 1, len(SEEDS), "")
    found = protocols.classified(total, labels)
    return {"fight_balanced": round(found["balanced"], 4), "fight_auc": round(found["auc"], 4)}


def regressions(place: Place) -> Figures:
    """The same folds by ridge regressions on statistics of the items: what the tower's features hold at all."""
    return held(*_fights(place))


def _fights(place: Place) -> tuple[Cached, list[protocols.Fold]]:
    recipe = load(RECIPES / "surv-fight.yaml")
    given = heads.cached(recipe, footage.clips(place.footage, footage.FIGHT), place.cache, place.report)
    return given, protocols.stratified_folds(given.labels.tolist(), given.groups, _FIGHT_FOLDS, seed=1)


def speed(place: Place) -> Figures:
    """Steps per second from cached items, over those end to end, in one run."""
    recipe = load(RECIPES / "ut-interaction.yaml", _UNCHANGED)
    given = heads.cached(recipe, footage.clips(place.footage, footage.UT), place.cache, place.report)
    whole = Recipe.model_validate(given.recipe.model_dump(mode="json", exclude={"freeze"}) | {"freeze": "V1"})
    slow = _seconds_a_step(given, whole, ClipBatches(whole, given.encoded.decoded, given.foundation.tokenizer), 2)
    fast = _seconds_a_step(
        given, given.recipe, ClipBatches(given.recipe, given.encoded, given.foundation.tokenizer), 100
    )
    return {"cached_speedup": round(slow / fast, 1), "cached_steps_per_second": round(1 / fast, 1)}


def _seconds_a_step(given: Cached, recipe: Recipe, batches: ClipBatches, steps: int) -> float:
    model = build(recipe.model, given.foundation)
    freeze(model, recipe)
    task = ClipTask(model, recipe.loss, known=given.texts, backgrounds=recipe.model.backgrounds)
    optimiser = build_optimiser(recipe.optimiser, model, task.extra_parameters())
    training_step(task, batches.batch(0), optimiser, recipe, 0, "cpu")  # embeds the texts
    begun = time.perf_counter()
    for step in range(1, steps + 1):
        training_step(task, batches.batch(step), optimiser, recipe, step, "cpu")
    return (time.perf_counter() - begun) / steps


def stream(place: Place) -> Figures:
    """Trained, published and replayed, with background and without: events of clips in quiet footage."""
    quiet = footage.quiet(place.footage)
    labels = sorted({clip.label for clip in footage.clips(place.footage, footage.UT)})
    figures: Figures = {}
    alarms = {}
    for name, background in (("with", True), ("without", False)):
        clips = _streaming_clips(place.footage, background=background)
        bundle = _published(place, clips, name)
        test = [clip for clip in clips if clip.split == "test" and not clip.background]
        streamed = streams.replayed(bundle, labels, test, quiet, place.cache / f"streams-{name}", place.report)
        alarms[name] = streamed
        if background:
            figures |= {
                "ut_stream_found": round(streams.found(streamed), 4),
                "ut_stream_fired": round(streams.fired(streamed), 4),
                "ut_stream_equal": streams.largest_difference(bundle, streamed),
                "quiet_events": float(len(streams.events_of(streamed.quiet.events))),
            }
        found = streams.alarms_at(streamed, _RECALL)
        figures |= {f"false_alarms_{name}": round(found.per_hour, 2), f"recall_{name}": round(found.recall, 4)}
    return figures


def _streaming_clips(folder: Path, *, background: bool) -> list[Clip]:
    """UT-Interaction split by sequence; as background, clips of people who do not fight, by source video."""
    split = dict.fromkeys(_TEST, "test") | dict.fromkeys(_VALIDATE, "validate")
    clips = [replace(clip, split=split.get(clip.group, "train")) for clip in footage.clips(folder, footage.UT)]
    if background:
        calm = [clip for clip in footage.clips(folder, footage.FIGHT) if clip.label != footage.FIGHTING]
        groups = sorted({clip.group for clip in calm})
        validating = set(groups[::4])
        clips += [
            replace(clip, label="", role="background", split="validate" if clip.group in validating else "train")
            for clip in calm
        ]
    return clips


def _published(place: Place, clips: list[Clip], name: str) -> Path:
    folder = place.cache / f"stream-{name}"
    write_list(clips, folder / "labels.csv")
    overrides = (f"data.clips={folder / 'labels.csv'}", "licence=measurement only")
    recipe = load(RECIPES / "ut-interaction.yaml", overrides)
    run, store = folder / "run", folder / "store"
    _clear(run, store)
    loop.train(recipe, CLIPS, run, cache=place.cache, report=place.report)
    return publish(run, store, measure=_MISSES_COST_MORE, report=place.report).bundle.path


def scratch(place: Place) -> Figures:
    """UT-Interaction, five folds by sequence: the small network of clips.yaml, from nothing."""
    return _trained(place, "ut_scratch_top1", "clips", ())


def tuned(place: Place) -> Figures:
    """The same folds: the real start with the last two stages of its image tower learning, published augmentation."""
    changes = (
        "freeze=V1", "open_stages=2", "optimiser.image_ratio=0.1", "items={}",
        "augment={kind: published, operations: 0, scales: [1.0, 0.875, 0.75], grey: 0.1}",
        "stages=[{steps: 400, chunks: 8, ticks: 12}]",
        "validate_on={every: 5000, keep: last}",  # the clips that are measured choose nothing
    )  # fmt: skip
    return _trained(place, "ut_tuned_top1", "ut-interaction", changes)


def _trained(place: Place, name: str, recipe: str, changes: tuple[str, ...]) -> Figures:
    clips = footage.clips(place.footage, footage.UT)
    groups = sorted({clip.group for clip in clips})
    begun, tops = time.monotonic(), []
    for fold in range(place.folds):
        apart = set(groups[fold::_FOLDS])
        folder = place.cache / f"{name}-{fold}"
        split = [replace(clip, split="validate" if clip.group in apart else "train") for clip in clips]
        write_list(split, folder / "labels.csv")
        overrides = (*changes, f"data.clips={folder / 'labels.csv'}", "licence=measurement only")
        _clear(folder / "run")
        figures = loop.train(
            load(RECIPES / f"{recipe}.yaml", overrides), CLIPS, folder / "run", cache=place.cache, report=place.report
        )
        tops.append((figures["clips_top1"], figures["clips"]))
        place.report(name, fold + 1, place.folds, f"top-1 {tops[-1][0]:.3f}")
    right = sum(top * count for top, count in tops) / sum(count for _, count in tops)
    seconds = round(time.monotonic() - begun, 1)
    return {name: round(right, 4), f"{name}_seconds": seconds, f"{name}_folds": place.folds}


def _clear(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def taught(place: Place) -> Figures:
    """Three classes to learn how to compare, the three others taught by 1 and 5 examples: all 20 ways to choose."""
    given = _offline(place)
    given = given.with_recipe(teaching.as_recipe(given.recipe))
    splits = teaching.class_splits(len(given.recipe.model.labels))
    found: dict[int, list[dict[str, float]]] = {1: [], 5: []}
    for done, base in enumerate(splits):
        model, seen = teaching.learned(given, base, seed=1)
        metric, known = teaching.shown(model, seen)
        for shots, rows in found.items():
            rows.append(teaching.recognised(metric, known, seen, shots, seed=1))
        place.report("taught", done + 1, len(splits), "")
    return {name: value for shots, rows in found.items() for name, value in teaching.averaged(rows, shots).items()}


EXPERIMENTS: Mapping[str, Callable[[Place], Figures]] = {
    "ut": ut,
    "heads": other_heads,
    "fight": fight,
    "regressions": regressions,
    "stream": stream,
    "ablations": lambda place: ablations(place.footage, place.cache, place.report),
    "speed": speed,
    "scratch": scratch,
    "tuned": tuned,
    "taught": taught,
    "vit": lambda place: transformers.road(place.footage, place.cache, place.report),
}
