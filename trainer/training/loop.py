"""The training loop: batches in; checkpoints, metrics and curves out."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainer.data.prefetch import ahead
from trainer.errors import RecipeError
from trainer.evaluation import plots
from trainer.evaluation.report import CURVES, LOG, REPORT
from trainer.models.video_text import VideoTextModel, build
from trainer.progress import Report, silent
from trainer.recipe import Recipe
from trainer.training import allocator, checkpoint
from trainer.training.averaging import Average
from trainer.training.optimiser import build_optimiser, rate_at, set_rate
from trainer.training.source import Opened, Source
from trainer.training.tasks import Task

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

    The folder gets `recipe.json`, `metrics.jsonl`, `checkpoint.safetensors`, `report.json` and curves. The source puts
    its data into `cache` (default: `out`/footage). Returns the final report.
    Raises RecipeError for data that cannot be read and for what cannot be built or trained, CheckpointError when the
    folder belongs to another recipe, or to another list of clips.
    """
    allocator.keep()
    recipe = source.complete(recipe)
    words = source.texts(recipe).words
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = _built(recipe, words, device)  # first, because opening the data may take minutes
    data = source.open(recipe, cache or out / "footage", report, True)
    task = source.task(model, recipe.loss).to(device)
    optimiser = build_optimiser(recipe.optimiser, model, task.extra_parameters())
    average = Average(model, recipe.optimiser.average)
    first = 0
    if (out / checkpoint.NAME).exists():
        first = checkpoint.restore(out / checkpoint.NAME, task, average, optimiser, recipe)
        _forget_after(out / LOG, first, recipe.steps)
    (out / "recipe.json").write_text(recipe.model_dump_json(indent=2) + "\n", "utf-8")
    with (out / LOG).open("a", encoding="utf-8") as log, _attention(device):
        began = time.monotonic()
        for step, batch in enumerate(_batches(data, model, recipe, first, workers), first):
            losses, numbers = _step(task, batch, optimiser, recipe, step, device)
            average.update(model, step)
            done = step + 1
            if done % _LOG_EVERY == 0 or done == recipe.steps:
                row = {name: round(float(value), 5) for name, value in (losses | numbers).items()}
                _write(log, {"step": done, **row})
                pace = (time.monotonic() - began) / (done - first)
                report("train", done, recipe.steps, f"{_summary(row)}, {pace:.2f} s/step")
            if done % recipe.validate_on.every == 0 and done < recipe.steps:
                _write(log, {"step": done, "validation": data.validate(_averaged(recipe, words, average, device))})
            if done % recipe.checkpoint_every == 0 or done == recipe.steps:
                checkpoint.save(out / checkpoint.NAME, task, average, optimiser, done, recipe)
        result = data.validate(_averaged(recipe, words, average, device))
        _write(log, {"step": recipe.steps, "validation": result})
    (out / REPORT).write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    plots.draw(out / LOG, out / CURVES)
    return result


def _built(recipe: Recipe, words: Sequence[str], device: str) -> VideoTextModel:
    with _refusing(recipe, device):
        return build(recipe.model, recipe.data.height, recipe.data.width, words).to(device)


@contextlib.contextmanager
def _refusing(recipe: Recipe, device: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, AssertionError) as error:  # what timm, open_clip and torch raise
        raise RecipeError(f"the model of recipe {recipe.name!r} cannot be built on {device!r}: {error}") from error


def _batches(data: Opened, model: VideoTextModel, recipe: Recipe, first: int, workers: int) -> Iterator[Any]:
    """The batches from step `first` on. Frozen stages get their items once the image tower has stopped learning."""
    thawed = recipe.thawed_steps
    if first < thawed:
        yield from ahead(data.batches(model.tokenizer), first, thawed, workers)
    if thawed < recipe.steps and data.frozen is not None:
        yield from ahead(data.frozen(model), max(first, thawed), recipe.steps, workers)


def _step(
    task: Task, batch: Any, optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, device: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    set_rate(optimiser, rate_at(recipe, step))
    with _mixed(device):  # one context per step: inside it autocast caches its casts of the weights
        losses: dict[str, Tensor]
        losses, numbers = task(batch)
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(functools.reduce(torch.add, losses.values()))
    if recipe.optimiser.clip:
        nn.utils.clip_grad_norm_(task.parameters(), recipe.optimiser.clip)
    optimiser.step()
    return {f"loss_{name}": loss.detach() for name, loss in losses.items()}, numbers


def measure(
    run: Path, source: Source, *, device: str = "cpu", cache: Path | None = None, report: Report = silent
) -> dict[str, float]:
    """Measure the averaged model of a run's checkpoint again, as at the end of training.

    Raises CheckpointError when the folder holds no checkpoint, RecipeError for a device that is not there.
    """
    recipe = checkpoint.load_recipe(run / checkpoint.NAME)
    model, recipe = checkpoint.load_model(run / checkpoint.NAME, source.texts(recipe).words)
    with _refusing(recipe, device):
        model = model.to(device)
    return source.open(recipe, cache or run / "footage", report, False).validate(model)


def _averaged(recipe: Recipe, words: Sequence[str], average: Average, device: str) -> VideoTextModel:
    model = _built(recipe, words, device)
    model.load_state_dict(average.state)
    return model.eval()


def _write(log: TextIO, row: dict[str, Any]) -> None:
    log.write(json.dumps(row) + "\n")
    log.flush()


def _summary(row: dict[str, float]) -> str:
    loss = sum(value for name, value in row.items() if name.startswith("loss_"))
    return f"{loss:.3f} loss, {row['accuracy']:.2f} right"


def _mixed(device: str) -> contextlib.AbstractContextManager[object]:
    """bf16 autocast on a GPU, full precision on a CPU."""
    return torch.autocast("cuda", torch.bfloat16) if device.startswith("cuda") else contextlib.nullcontext()


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
