"""The training loop: batches in, checkpoints, metrics and curves out. Reads from top to bottom."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainer import allocation, checkpoint, curves, schedule
from trainer.ahead import ahead
from trainer.checkpoint import Average
from trainer.config import Recipe
from trainer.course import Course, Report, open_course, silent
from trainer.labelled import with_labels
from trainer.model import VideoTextModel, build

_LOG_EVERY = 20


def train(
    recipe: Recipe,
    out: Path,
    *,
    device: str = "cpu",
    cache: Path | None = None,
    workers: int = 2,
    report: Report | None = None,
) -> dict[str, float]:
    """Train by a recipe into the run folder `out`, going on from the checkpoint that lies there.

    The folder gets `recipe.json`, `metrics.jsonl`, `checkpoint.safetensors`, `report.json` and curves. Footage is
    rendered, or the user's clips decoded, into `cache` (default: `out`/footage). Returns the final report.
    Raises RecipeError for clips that cannot be read, CheckpointError when the folder belongs to another recipe, or
    to another list of clips.
    """
    allocation.keep()
    report = report or silent
    recipe = with_labels(recipe)
    out.mkdir(parents=True, exist_ok=True)
    course = open_course(recipe, cache or out / "footage", report)
    torch.manual_seed(recipe.seed)
    task = course.task(build(recipe.model, recipe.data.height, recipe.data.width), recipe.loss).to(device)
    model = task.model
    optimiser = schedule.build_optimiser(
        recipe.optimiser, model.clip, model.clip.visual, model.head, getattr(task, "readouts", None)
    )
    average = Average(model, recipe.optimiser.average)
    first = 0
    if (out / checkpoint.NAME).exists():
        first = checkpoint.restore(out / checkpoint.NAME, task, average, optimiser, recipe)
        _forget_after(out / "metrics.jsonl", first)
    (out / "recipe.json").write_text(recipe.model_dump_json(indent=2) + "\n", "utf-8")
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as log, _precision(device):
        began, since = time.monotonic(), first
        for step, batch in enumerate(_batches(course, model, recipe, first, workers), first):
            losses, numbers = _step(task, batch, optimiser, recipe, step)
            average.update(model, step)
            done = step + 1
            if done % _LOG_EVERY == 0 or done == recipe.steps:
                row = {name: round(float(value), 5) for name, value in (losses | numbers).items()}
                pace = (time.monotonic() - began) / (done - since)
                log.write(json.dumps({"step": done, **row}) + "\n")
                log.flush()
                report(
                    "train",
                    done,
                    recipe.steps,
                    f"{_total(row):.3f} loss, {row['accuracy']:.2f} right, {pace:.2f} s/step",
                )
            if done % recipe.validate_on.every == 0 and done < recipe.steps:
                result = course.validate(_averaged(recipe, average, device))
                log.write(json.dumps({"step": done, "validation": result}) + "\n")
            if done % recipe.checkpoint_every == 0 or done == recipe.steps:
                log.flush()
                checkpoint.save(out / checkpoint.NAME, task, average, optimiser, done, recipe)
        result = course.validate(_averaged(recipe, average, device))
        log.write(json.dumps({"step": recipe.steps, "validation": result}) + "\n")
    (out / "report.json").write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    curves.draw(out / "metrics.jsonl", out / "curves.png")
    return result


def _batches(course: Course, model: VideoTextModel, recipe: Recipe, first: int, workers: int) -> Iterator[object]:
    """The batches of the steps from `first` on. The tower encodes for the frozen stages when it has learnt its last."""
    thawed = recipe.thawed_steps
    if first < thawed:
        yield from ahead(course.batches(model.tokenizer), first, thawed, workers)
    if thawed < recipe.steps and course.frozen is not None:
        yield from ahead(course.frozen(model), max(first, thawed), recipe.steps, workers)


def _step(
    task: nn.Module, batch: object, optimiser: torch.optim.Optimizer, recipe: Recipe, step: int
) -> tuple[dict, dict]:
    schedule.set_rate(optimiser, schedule.rate_at(recipe, step))
    losses, numbers = task(batch)
    optimiser.zero_grad(set_to_none=True)
    sum(losses.values()).backward()
    if recipe.optimiser.clip:
        nn.utils.clip_grad_norm_(task.parameters(), recipe.optimiser.clip)
    optimiser.step()
    return {f"loss_{name}": loss.detach() for name, loss in losses.items()}, numbers


def measure(
    run: Path, *, device: str = "cpu", cache: Path | None = None, report: Report | None = None
) -> dict[str, float]:
    """Measure the averaged model of a run's checkpoint anew: the report that training ends with.

    Raises CheckpointError when the folder holds no checkpoint.
    """
    model, recipe = checkpoint.load_model(run / checkpoint.NAME)
    course = open_course(recipe, cache or run / "footage", report or silent, training=False)
    return course.validate(model.to(device))


def _averaged(recipe: Recipe, average: Average, device: str) -> VideoTextModel:
    model = build(recipe.model, recipe.data.height, recipe.data.width).to(device)
    model.load_state_dict(average.state)
    return model.eval()


def _total(row: dict[str, float]) -> float:
    return sum(value for name, value in row.items() if name.startswith("loss_"))


@contextlib.contextmanager
def _precision(device: str) -> Iterator[None]:
    """bf16 autocast on a GPU; full precision on a CPU, with the attention kernel whose backward pass is fast there."""
    if device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = True
        with torch.autocast("cuda", torch.bfloat16):
            yield
    else:
        with sdpa_kernel(SDPBackend.MATH):
            yield


def _forget_after(path: Path, step: int) -> None:
    """Drop the log's rows beyond a checkpoint: they will be written again."""
    if path.exists():
        rows = [line for line in path.read_text("utf-8").splitlines() if json.loads(line)["step"] <= step]
        path.write_text("".join(f"{row}\n" for row in rows), "utf-8")
