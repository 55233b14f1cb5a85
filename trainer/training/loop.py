"""The training loop: batches in; checkpoints, metrics and curves out."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainer.data.prefetch import ahead
from trainer.errors import RecipeError, TrainerError
from trainer.evaluation import plots
from trainer.evaluation.report import CURVES, LOG, REPORT
from trainer.models.video_text import VideoTextModel, build
from trainer.progress import Report, silent
from trainer.recipe import Recipe
from trainer.training import allocator, checkpoint, distributed, memory
from trainer.training import best as bests
from trainer.training.averaging import Average
from trainer.training.freezing import freeze, frozen_names
from trainer.training.optimiser import build_optimiser
from trainer.training.source import Opened, Source
from trainer.training.step import training_step

UNUSED = "unused.txt"
"""Names of the tensors that came with the start and have no place in the model."""

_LOG_EVERY = 20


def train(
    recipe: Recipe,
    source: Source,
    out: Path,
    *,
    device: str = "cpu",
    cache: Path | None = None,
    workers: int = 2,
    report: Report = silent,
) -> dict[str, float]:
    """Train by a recipe into the run folder `out`, resuming from its checkpoint if there is one.

    The folder gets `recipe.json`, `metrics.jsonl`, the last two checkpoints, `report.json` and curves. The source puts
    its data into `cache` (default: `out`/footage). Returns the final report. Where torchrun started several processes,
    each takes its part of every batch; the first alone validates and writes, and the others return nothing.
    Raises RecipeError for data that cannot be read and for what cannot be built or trained, CheckpointError when the
    folder belongs to another recipe, or to another list of clips, TrainingError at the step whose numbers are not
    finite; the last good checkpoints are kept.
    """
    with distributed.joined(device) as place:
        return _train(recipe, source, out, place, cache, workers, report)


def _train(
    recipe: Recipe, source: Source, out: Path, device: str, cache: Path | None, workers: int, report: Report
) -> dict[str, float]:
    allocator.keep()
    recipe = source.complete(recipe)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = _built(recipe, source, device, out, report)  # first, because opening the data may take minutes
    distributed.check(model, recipe)
    with distributed.first_then_others():
        data = source.open(recipe, model.blueprint.form, cache or out / "footage", report, True)
    task = source.task(model, recipe).to(device)
    optimiser = build_optimiser(recipe.optimiser, model, task.extra_parameters())
    average = Average(model, recipe.optimiser.average, frozen_names(model), since=recipe.mean_from)
    first = 0
    if (out / checkpoint.NAME).exists():
        with distributed.first_then_others():  # nobody writes before all have read
            first = checkpoint.restore(out / checkpoint.NAME, task, average, optimiser, recipe)
    writes = distributed.first()
    if writes:
        _forget_after(out / LOG, first, recipe.steps)
        (out / "recipe.json").write_text(recipe.model_dump_json(indent=2) + "\n", "utf-8")

    best = bests.best_of(out, recipe)

    def validated(step: int) -> dict[str, float]:
        if not writes:
            return {}
        with average.applied(model):
            figures = finite(data.validate(model))
        if best is not None:
            best.offer(figures, lambda: checkpoint.save(out / bests.NAME, task, average, optimiser, step, recipe))
        _write(log, {"step": step, "validation": figures})
        return figures

    with (out / LOG if writes else Path(os.devnull)).open("a", encoding="utf-8") as log, _attention(device):
        began = time.monotonic()
        for step, batch in enumerate(_batches(data, model, recipe, first, workers), first):
            losses, numbers = training_step(task, batch, optimiser, recipe, step, device)
            average.update(model, step)
            done = step + 1
            if done % _LOG_EVERY == 0 or done == recipe.steps:
                row = {name: round(float(value), 5) for name, value in (losses | numbers).items()}
                _write(log, {"step": done, **row})
                pace = (time.monotonic() - began) / (done - first)
                report("train", done, recipe.steps, f"{_summary(row)}, {pace:.2f} s/step")
            if done % recipe.validate_on.every == 0 and done < recipe.steps:
                validated(done)
            if writes and (done % recipe.checkpoint_every == 0 or done == recipe.steps):
                checkpoint.save(out / checkpoint.NAME, task, average, optimiser, done, recipe)
        result = validated(recipe.steps)
    result = (best and best.figures) or result
    if not writes:
        return result
    (out / REPORT).write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", "utf-8")
    plots.draw(out / LOG, out / CURVES)
    return result


def _built(recipe: Recipe, source: Source, device: str, out: Path, report: Report) -> VideoTextModel:
    """The model of a recipe on its start, frozen as it says. What is not used of the start is listed in `out`."""
    with _refusing(recipe, device):
        foundation = recipe.start.build(source.texts(recipe).words)
        model = build(recipe.model, foundation).to(device)
    freeze(model, recipe)
    model.pieces = recipe.optimiser.accumulate
    if recipe.optimiser.recompute:
        _recompute(model, recipe)
    if foundation.unused:
        (out / UNUSED).write_text("".join(f"{name}\n" for name in foundation.unused), "utf-8")
        report("start", 1, 1, f"{len(foundation.unused)} tensors of the file are not used: {out / UNUSED}")
    memory.check(model, recipe, device)
    return model


def _recompute(model: VideoTextModel, recipe: Recipe) -> None:
    towers: list[Any] = [] if recipe.image_frozen else [model.clip.visual]
    if not recipe.text_frozen:
        towers.append(getattr(model.clip, "text", None) or getattr(model.clip, "transformer", None))
    for tower in towers:
        if hasattr(tower, "set_grad_checkpointing"):
            tower.set_grad_checkpointing(True)
        else:
            tower.grad_checkpointing = True


@contextlib.contextmanager
def _refusing(recipe: Recipe, device: str) -> Iterator[None]:
    try:
        yield
    except TrainerError:
        raise
    except (RuntimeError, AssertionError) as error:  # what timm, open_clip and torch raise
        raise RecipeError(f"the model of recipe {recipe.name!r} cannot be built on {device!r}: {error}") from error


def _batches(data: Opened, model: VideoTextModel, recipe: Recipe, first: int, workers: int) -> Iterator[Any]:
    """The batches from step `first` on. Where the image tower rests they come from what it says, computed then."""
    thawed = recipe.thawed_steps
    if first < thawed:
        yield from ahead(data.batches(model.tokenizer), first, thawed, workers)
    if thawed < recipe.steps and data.frozen is not None:
        yield from ahead(data.frozen(model), max(first, thawed), recipe.steps, workers)


def measure(
    run: Path, source: Source, *, device: str = "cpu", cache: Path | None = None, report: Report = silent
) -> dict[str, float]:
    """Measure the averaged model of a run's checkpoint again, as at the end of training.

    Raises CheckpointError when the folder holds no checkpoint, RecipeError for a device that is not there.
    """
    model, recipe = checkpoint.load_model(bests.chosen(run))
    with _refusing(recipe, device):
        model = model.to(device)
    data = source.open(recipe, model.blueprint.form, cache or run / "footage", report, False)
    return finite(data.validate(model))


def finite(figures: dict[str, float]) -> dict[str, float]:
    """The figures that could be computed; JSON knows no other numbers."""
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _write(log: TextIO, row: dict[str, Any]) -> None:
    log.write(json.dumps(row, allow_nan=False) + "\n")
    log.flush()


def _summary(row: dict[str, float]) -> str:
    loss = sum(value for name, value in row.items() if name.startswith("loss_"))
    return f"{loss:.3f} loss, {row['accuracy']:.2f} right"


def _attention(device: str) -> contextlib.AbstractContextManager[object]:
    """On a CPU, the attention kernel with the fastest backward pass there."""
    return contextlib.nullcontext() if device.startswith("cuda") else sdpa_kernel(SDPBackend.MATH)


def _forget_after(path: Path, step: int, steps: int) -> None:
    """Drop rows that will be written again (those after the checkpoint, the final validation) and truncated ones."""
    if path.exists():
        lines = path.read_text("utf-8").splitlines()
        path.write_text("".join(f"{line}\n" for line in lines if _stays(line, step, steps)), "utf-8")


def _stays(line: str, step: int, steps: int) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return row["step"] <= step and not (row["step"] == steps and "validation" in row)
