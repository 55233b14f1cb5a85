"""The protocols, each a function of a subject and its settings; the command chooses among them by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.calibration.serving_commands import read_scores, replay
from trainer.data.episode_batches import groups_of
from trainer.data.folder import write_list
from trainer.data.manifest import Clip, checked, scan
from trainer.data.recipe_clips import clips_of
from trainer.errors import RecipeError
from trainer.evaluation.metrics import ClipScores, figures, over_seeds, top_k
from trainer.evaluation.protocols import leave_groups_out, stratified_folds
from trainer.models.start import Run
from trainer.protocols import scored
from trainer.protocols.episodes import episodes
from trainer.protocols.subject import Outcome, Settings, Subject, subject
from trainer.recipe import Recipe
from trainer.training import loop
from trainer.training.clips import CLIPS

_HALVES = range(10)
"""Seeds of the half-class draws (BIKE release)."""


def single(subject: Subject, settings: Settings) -> Outcome:
    """One view of every clip that was kept apart: frames in the middle of segments, or a centred window."""
    clips = scored.listed(subject, _one(settings))
    scores = scored.single(subject, clips, _labels(subject, clips), settings.rule)
    return Outcome(figures(scores), scores)


def views(subject: Subject, settings: Settings) -> Outcome:
    """The mean over views in time and crops, 10 x 3 as published."""
    clips = scored.listed(subject, _one(settings))
    scores = scored.several_views(subject, clips, _labels(subject, clips), settings.rule, *settings.views)
    return Outcome(figures(scores), scores)


def zero_shot(subject: Subject, settings: Settings) -> Outcome:
    """Labels that were never trained: of one list per official split, and of ten draws of half of the labels."""
    if not settings.lists:
        raise RecipeError("zero-shot measures on another set of labels; name its list, or one per split, with --list")
    rows, halves, scores = {}, [], None
    for path in settings.lists:
        clips = scored.listed(subject, path)
        scores = scored.single(subject, clips, scored.labels_in(clips), settings.rule)
        rows[path.stem] = figures(scores)
        halves += [{"half_top1": top_k(half_of(scores, seed), 1)} for seed in _HALVES if len(scores.labels) > 1]
    found = over_seeds(list(rows.values())) | (over_seeds(halves) if halves else {})
    return Outcome(found, scores if len(rows) == 1 else None, rows)


def half_of(scores: ClipScores, seed: int) -> ClipScores:
    """The clips of a drawn half of the labels, scored among these alone."""
    count = len(scores.labels)
    chosen = np.sort(np.random.RandomState(seed).permutation(count)[: (count + 1) // 2])
    rows = np.asarray(scores.truth[:, chosen].any(axis=1))
    shares = scores.shares[np.ix_(rows, chosen)]
    return ClipScores(
        shares / shares.sum(axis=1, keepdims=True).clip(min=1e-12),
        scores.truth[np.ix_(rows, chosen)],
        tuple(scores.labels[index] for index in chosen),
        tuple(clip for clip, kept in zip(scores.clips, rows.tolist(), strict=True) if kept),
    )


def charades(subject: Subject, settings: Settings) -> Outcome:
    """Whole videos with several labels: shares averaged over the views, average precision of each label, their mean."""
    clips = scored.listed(subject, _one(settings))
    scores = scored.several_views(subject, clips, _labels(subject, clips), settings.rule, *settings.views)
    return Outcome({name: value for name, value in figures(scores).items() if name in ("map", "clips")}, scores)


def few_shot(subject: Subject, settings: Settings) -> Outcome:
    """All labels at once from K clips of each: the run learns on from them, and is measured on the clips to test."""
    path = _one(settings)
    if path is None:
        raise RecipeError(
            "few-shot learns the labels of another list, with clips to train and to test; name it with --list"
        )
    clips = [clip for clip in checked(scan(path)).clips if not clip.background]
    rows = {}
    for shots in settings.shots:
        found = []
        for seed in settings.seeds:
            few = drawn_shots(clips, shots, seed)
            place = subject.run / "few-shot" / f"{path.stem}-{shots}-{seed}"
            recipe = subject.recipe.model_copy(update={"start": Run(checkpoint=subject.run), "seed": seed})
            found.append(figures(_trained(subject, recipe, few, place, settings)))
        rows[f"{shots} shots"] = over_seeds(found)
    return Outcome({f"top1_{name.split()[0]}_shots": row["top1"] for name, row in rows.items()}, rows=rows)


def drawn_shots(clips: Sequence[Clip], shots: int, seed: int) -> list[Clip]:
    """K clips of each label to train on, drawn, and all that are to test. Raises RecipeError for too few of a label."""
    rng = np.random.default_rng(seed)
    chosen = [clip for clip in clips if clip.split == "test"]
    for label in scored.labels_in(chosen):
        of_label = [clip for clip in clips if clip.split == "train" and label in clip.labels]
        if len(of_label) < shots:
            raise RecipeError(f"{label!r} has {len(of_label)} clips to train on, and {shots} shots were asked for")
        chosen += [of_label[index] for index in rng.choice(len(of_label), shots, replace=False)]
    if not chosen:
        raise RecipeError("the list has no clip to test; give some the split test")
    return chosen


def folds(subject: Subject, settings: Settings) -> Outcome:
    """The recipe trained anew for every fold, which keeps groups whole: a clip is scored by a model that saw none."""
    clips = [clip for clip in clips_of(subject.recipe) if not clip.background]
    labels = scored.labels_in(clips)
    groups = groups_of(clips)
    rows, outcomes, last = {}, [], None
    for seed in settings.seeds:
        numbers = [labels.index(clip.label) for clip in clips]
        parts = stratified_folds(numbers, groups, settings.folds, seed) if settings.folds else leave_groups_out(groups)
        shares, truth = np.zeros((len(clips), len(labels))), np.zeros((len(clips), len(labels)), bool)
        for number, part in enumerate(parts):
            apart = {int(index) for index in part}
            split = [replace(clip, split="test" if index in apart else "train") for index, clip in enumerate(clips)]
            recipe = subject.recipe.model_copy(update={"seed": seed})
            found = _trained(subject, recipe, split, subject.run / "folds" / f"{seed}-{number}", settings)
            shares[part], truth[part] = found.shares, found.truth
        last = ClipScores(shares, truth, labels, tuple(clip.place for clip in clips))
        rows[f"seed {seed}"] = figures(last)
        outcomes.append(rows[f"seed {seed}"])
    return Outcome(over_seeds(outcomes), last if len(rows) == 1 else None, rows)


def _trained(given: Subject, recipe: Recipe, clips: Sequence[Clip], place: Path, settings: Settings) -> ClipScores:
    """Train a recipe on some clips into a folder of its own, and score those that are to test."""
    place.mkdir(parents=True, exist_ok=True)
    write_list(clips, place / "labels.csv")
    data = recipe.data.model_copy(update={"clips": place / "labels.csv", "clips_hash": ""})
    model = recipe.model.model_copy(update={"labels": (), "backgrounds": ()})
    whole = Recipe.model_validate(recipe.model_copy(update={"data": data, "model": model}).model_dump(mode="json"))
    loop.train(whole, CLIPS, place, device=given.device, cache=given.cache, report=given.report)
    made = subject(place, cache=given.cache, device=given.device, report=given.report)
    measured = scored.listed(made, None)
    return scored.single(made, measured, made.recipe.model.labels, settings.rule)


def streaming(given: Subject, settings: Settings) -> Outcome:
    """The model as a bundle in the serving side's replay, windows within a clip averaged, beside one view of each."""
    from trainer.export.trained import export

    clips = scored.listed(given, _one(settings))
    labels = _labels(given, clips)
    offline = scored.single(given, clips, labels, settings.rule)
    place = given.run / "evaluation" / "streaming"
    files = {path: f"file{number}" for number, path in enumerate(dict.fromkeys(clip.path for clip in clips))}
    if not (place / "bundle").exists():
        place.mkdir(parents=True, exist_ok=True)
        export(given.run, place / "bundle", CLIPS.texts)
    cameras = {camera: Path(path) for path, camera in files.items()}
    rate = given.recipe.data.rate
    replay(place / "bundle", rate, labels, cameras, place / "events.jsonl", place / "scores.npz")
    table, rows = read_scores(place / "scores.npz"), []
    order = [table.labels.index(label) for label in labels]
    for clip in clips:
        seen = table.cameras.get(files[clip.path])
        seconds = seen.seconds(files[clip.path], rate) if seen is not None else np.zeros(0)
        inside = (seconds >= clip.start) & (seconds <= clip.until)
        if seen is None or not inside.any():
            rows.append(torch.full((len(labels),), 1 / len(labels)))
            continue
        rows.append(torch.from_numpy(np.asarray(seen.probabilities[inside].mean(axis=0)[order])))
    streamed = scored.gathered(rows, clips, labels)
    both = {f"offline_{name}": value for name, value in figures(offline).items()}
    return Outcome(figures(streamed) | both, streamed)


def _labels(subject: Subject, clips: Sequence[Clip]) -> tuple[str, ...]:
    """What clips are scored among: the trained labels where they are theirs, else those of the clips."""
    own = scored.labels_in(clips)
    return subject.recipe.model.labels if set(own) <= set(subject.recipe.model.labels) else own


def _one(settings: Settings) -> Path | None:
    if len(settings.lists) > 1:
        raise RecipeError(f"the protocol measures one list, and {len(settings.lists)} were named; name one --list")
    return settings.lists[0] if settings.lists else None


PROTOCOLS: Mapping[str, Callable[[Subject, Settings], Outcome]] = {
    "single": single,
    "views": views,
    "zero-shot": zero_shot,
    "few-shot": few_shot,
    "folds": folds,
    "charades": charades,
    "streaming": streaming,
    "episodes": episodes,
}
"""By the name that the command takes."""


def write(outcome: Outcome, folder: Path) -> None:
    """Write figures as JSON and, where there is one set of scores, its table by label and its pictures."""
    from trainer.evaluation import score_plots
    from trainer.evaluation.metrics import class_rows

    folder.mkdir(parents=True, exist_ok=True)
    tree: dict[str, Any] = {"figures": outcome.figures, "parts": outcome.rows}
    (folder / "figures.json").write_text(json.dumps(tree, indent=2) + "\n", "utf-8")
    if outcome.scores is None:
        return
    lines = ["label,clips,accuracy,average_precision,most_often_taken_for"]
    lines += [
        f'"{label}",{clips},{accuracy:.4f},{precision:.4f},"{other}"'
        for label, clips, accuracy, precision, other in class_rows(outcome.scores)
    ]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", "utf-8")
    score_plots.draw_confusion(outcome.scores, folder / "confusion.png")
    score_plots.draw_reliability(outcome.scores, folder / "reliability.png")
