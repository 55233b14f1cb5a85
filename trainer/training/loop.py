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

from trainer.data.manifest import with_labels
from trainer.data.prefetch import ahead
from trainer.errors import RecipeError
from trainer.evaluation import plots
from trainer.models.video_text import VideoTextModel, build
from trainer.recipe import Recipe
from trainer.training import allocator, checkpoint
from trainer.training.averaging import Average
from trainer.training.course import Course, Report, open_course, silent
from trainer.training.optimiser import build_optimiser, rate_at, set_rate

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
    Raises RecipeError for clips that cannot be read and for what cannot be built or trained, CheckpointError when the
    folder belongs to another recipe, or to another list of clips.
    """
    allocator.keep()
    report = report or silent
    recipe = with_labels(recipe)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = _built(recipe, device)  # before minutes of rendering: a recipe or a machine may not allow it
    course = open_course(recipe, cache or out / "footage", report)
    task = course.task(model, recipe.loss).to(device)
    optimiser = build_optimiser(
        recipe.optimiser, model.clip, model.clip.visual, model.head, getattr(task, "readouts", None)
    )
    average = Average(model, recipe.optimiser.average)
    first = 0
    if (out / checkpoint.NAME).exists():
        first = checkpoint.restore(out / checkpoint.NAME, task, average, optimiser, recipe)
        _forget_after(out / "metrics.jsonl", first, recipe.steps)
    (out / "recipe.json").write_text(recipe.model_dump_json(indent=2) + "\n", "utf-8")
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as log, _attention(device):
        began, since = time.monotonic(), first
        for step, batch in enumerate(_batches(course, model, recipe, first, workers), first):
            losses, numbers = _step(task, batch, optimiser, recipe, step, device)
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
    plots.draw(out / "metrics.jsonl", out / "curves.png")
    return result


def _built(recipe: Recipe, device: str) -> VideoTextModel:
    with _refusing(recipe, device):
        return build(recipe.model, recipe.data.height, recipe.data.width).to(device)


@contextlib.contextmanager
def _refusing(recipe: Recipe, device: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, AssertionError) as error:  # what timm, open_clip and torch raise
        raise RecipeError(f"the model of recipe {recipe.name!r} cannot be built on {device!r}: {error}") from error


def _batches(course: Course, model: VideoTextModel, recipe: Recipe, first: int, workers: int) -> Iterator[object]:
    """The batches of the steps from `first` on. The tower encodes for the frozen stages when it has learnt its last."""
    thawed = recipe.thawed_steps
    if first < thawed:
        yield from ahead(course.batches(model.tokenizer), first, thawed, workers)
    if thawed < recipe.steps and course.frozen is not None:
        yield from ahead(course.frozen(model), max(first, thawed), recipe.steps, workers)


def _step(
    task: nn.Module, batch: object, optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, device: str
) -> tuple[dict, dict]:
    set_rate(optimiser, rate_at(recipe, step))
    with _mixed(device):  # of one step: until it is left, autocast keeps the weights as it cast them first
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

    Raises CheckpointError when the folder holds no checkpoint, RecipeError for a device that is not there.
    """
    model, recipe = checkpoint.load_model(run / checkpoint.NAME)
    with _refusing(recipe, device):
        model = model.to(device)
    course = open_course(recipe, cache or run / "footage", report or silent, training=False)
    return course.validate(model)


def _averaged(recipe: Recipe, average: Average, device: str) -> VideoTextModel:
    model = _built(recipe, device)
    model.load_state_dict(average.state)
    return model.eval()


def _total(row: dict[str, float]) -> float:
    return sum(value for name, value in row.items() if name.startswith("loss_"))


def _mixed(device: str) -> contextlib.AbstractContextManager[object]:
    """bf16 autocast on a GPU, full precision on a CPU."""
    return torch.autocast("cuda", torch.bfloat16) if device.startswith("cuda") else contextlib.nullcontext()


def _attention(device: str) -> contextlib.AbstractContextManager[object]:
    """On a CPU the attention kernel whose backward pass is fast there."""
    return contextlib.nullcontext() if device.startswith("cuda") else sdpa_kernel(SDPBackend.MATH)


def _forget_after(path: Path, step: int, steps: int) -> None:
    """Drop what will be written again: rows beyond a checkpoint and the last validation; and a row that was cut off."""
    if path.exists():
        lines = path.read_text("utf-8").splitlines()
        path.write_text("".join(f"{line}\n" for line in lines if _stays(line, step, steps)), "utf-8")


def _stays(line: str, step: int, steps: int) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return row["step"] <= step and not (row["step"] == steps and "validation" in row)
