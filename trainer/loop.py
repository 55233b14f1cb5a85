"""The training loop: batches in, checkpoints, metrics and curves out. Reads from top to bottom."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainer import checkpoint, curves, evaluate, schedule
from trainer.batches import Batches
from trainer.checkpoint import Average
from trainer.config import Recipe
from trainer.fitting import fit
from trainer.footage import Footage, Plan, open_footage
from trainer.model import VideoTextModel, build
from trainer.plans import plans
from trainer.scenes.vocabulary import KEYS
from trainer.task import Task

Report = Callable[[str, int, int, str], None]
"""Told (what, done, of how many, a word on how it goes)."""

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
    rendered into `cache` (default: `out`/footage). Returns the final report. Raises CheckpointError when the folder
    belongs to another recipe.
    """
    report = report or (lambda what, done, of, note: None)
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(recipe.model_dump_json(indent=2) + "\n", "utf-8")
    footage = {name: _footage(out, cache, name, plan, report) for name, plan in plans(recipe).items()}
    torch.manual_seed(recipe.seed)
    task = Task(build(recipe.model, recipe.data.height, recipe.data.width), recipe.loss).to(device)
    model = task.model
    optimiser = schedule.build_optimiser(recipe.optimiser, model.clip, model.clip.visual, model.head)
    average = Average(model, recipe.optimiser.average)
    first = 0
    if (out / checkpoint.NAME).exists():
        first = checkpoint.restore(out / checkpoint.NAME, model, average, optimiser, recipe)
        _forget_after(out / "metrics.jsonl", first)
    batches = Batches(recipe, footage["train"], model.tokenizer)
    with (out / "metrics.jsonl").open("a", encoding="utf-8") as log, _precision(device):
        began, since = time.monotonic(), first
        for step, batch in enumerate(batches.ahead(first, recipe.steps, workers), first):
            losses, numbers = _step(task, batch, optimiser, recipe, step)
            average.update(model, step)
            done = step + 1
            if done % _LOG_EVERY == 0 or done == recipe.steps:
                row = {name: round(float(value), 5) for name, value in (losses | numbers).items()}
                pace = (time.monotonic() - began) / (done - since)
                log.write(json.dumps({"step": done, **row}) + "\n")
                report(
                    "train",
                    done,
                    recipe.steps,
                    f"{_total(row):.3f} loss, {row['accuracy']:.2f} right, {pace:.2f} s/step",
                )
            if done % recipe.validate_on.every == 0 and done < recipe.steps:
                result = validate(recipe, _averaged(recipe, average, device), footage)
                log.write(json.dumps({"step": done, "validation": result}) + "\n")
                log.flush()
            if done % recipe.checkpoint_every == 0 or done == recipe.steps:
                checkpoint.save(out / checkpoint.NAME, model, average, optimiser, done, recipe)
        result = validate(recipe, _averaged(recipe, average, device), footage)
        log.write(json.dumps({"step": recipe.steps, "validation": result}) + "\n")
    (out / "report.json").write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    curves.draw(out / "metrics.jsonl", out / "curves.png")
    return result


def _step(task: Task, batch: object, optimiser: torch.optim.Optimizer, recipe: Recipe, step: int) -> tuple[dict, dict]:
    settings = recipe.optimiser
    rate = schedule.learning_rate(step + 1, base=settings.rate, warmup=settings.warmup_steps, total=recipe.steps + 1)
    schedule.set_rate(optimiser, rate)
    losses, numbers = task(batch)
    optimiser.zero_grad(set_to_none=True)
    sum(losses.values()).backward()
    if settings.clip:
        nn.utils.clip_grad_norm_(task.parameters(), settings.clip)
    optimiser.step()
    return {f"loss_{name}": loss.detach() for name, loss in losses.items()}, numbers


def measure(
    run: Path, *, device: str = "cpu", cache: Path | None = None, report: Report | None = None
) -> dict[str, float]:
    """Measure the averaged model of a run's checkpoint anew: the report that training ends with.

    Raises CheckpointError when the folder holds no checkpoint.
    """
    report = report or (lambda what, done, of, note: None)
    model, recipe = checkpoint.load_model(run / checkpoint.NAME)
    footage = {
        name: _footage(run, cache, name, plan, report) for name, plan in plans(recipe).items() if name != "train"
    }
    return validate(recipe, model.to(device), footage)


def _footage(run: Path, cache: Path | None, name: str, plan: Plan, report: Report) -> Footage:
    return open_footage(cache or run / "footage", plan, lambda done, of: report(f"render {name}", done, of, ""))


def _averaged(recipe: Recipe, average: Average, device: str) -> VideoTextModel:
    model = build(recipe.model, recipe.data.height, recipe.data.width).to(device)
    model.load_state_dict(average.state)
    return model.eval()


def validate(recipe: Recipe, model: VideoTextModel, footage: dict[str, Footage]) -> dict[str, float]:
    """A model's numbers: top-1 over clips, and event F1 with thresholds fitted on the other half of the streams."""
    result = {
        f"{name}_{key}": value
        for name in ("seen", "unseen")
        for key, value in evaluate.clip_report(model, footage[name], recipe.targets).items()
    }
    series = evaluate.stream_series(model, footage["streams"])
    halves = series[0::2], series[1::2]
    rate, rules = recipe.data.rate, recipe.targets
    lag = (rules.last + 0.5 * (recipe.model.frames - rules.first - rules.last)) / rate
    fits = [fit(half, rate, lag=lag) for half in halves]
    crossed = [fits[0].tallies(halves[1], rate), fits[1].tallies(halves[0], rate)]
    by_label = [one + other for one, other in zip(*crossed, strict=True)]
    total = sum(by_label[1:], by_label[0])
    result |= {f"f1_{key}": tally.f1 for key, tally in zip(KEYS, by_label, strict=True)}
    result["event_f1"] = total.f1
    result["top8_f1"] = _pooled(sorted(by_label, key=lambda tally: -tally.f1)[:8])
    result["onset_delay_median_s"] = float(torch.tensor(total.delays).median()) if total.delays else float("nan")
    result["onset_lag_s"], result["offset_lag_s"] = fits[0].onset_lag, fits[0].offset_lag
    return {name: round(value, 4) for name, value in result.items()}


def _pooled(tallies: list) -> float:
    return sum(tallies[1:], tallies[0]).f1


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
