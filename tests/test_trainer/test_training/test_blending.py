"""What keeps a model close to its start: weights between both, a second pass there, distillation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainer.data.batches import ClipBatch
from trainer.errors import RecipeError
from trainer.models.text.texts import texts_of
from trainer.models.video_text import VideoTextModel, build
from trainer.recipe import Recipe
from trainer.training.blending import blended, interpolated, start_weights
from trainer.training.freezing import freeze
from trainer.training.optimiser import build_optimiser
from trainer.training.step import training_step
from trainer.training.tasks import ClipTask

LABELS = ("gets brighter", "gets darker")


@pytest.fixture
def recipe(published: nn.Module, published_name: str, tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe that starts with a small published model."""
    torch.save(published.state_dict(), tmp_path / "weights.pt")

    def make(**loss: Any) -> Recipe:
        return Recipe.model_validate(
            {
                "name": "close", "licence": "none", "data": {"clips": "x"}, "loss": loss,
                "start": {"kind": "clip", "name": published_name, "pretrained": str(tmp_path / "weights.pt")},
                "model": {"frames": 2, "head": {"architecture": "meanp"}, "labels": LABELS},
                "optimiser": {"rate": 1e-3, "warmup_steps": 0, "clip": 0},
                "stages": [{"steps": 5, "chunks": 4, "ticks": 2}],
            }
        )  # fmt: skip

    return make


def model_of(recipe: Recipe) -> VideoTextModel:
    """The model as it starts."""
    torch.manual_seed(0)
    model = build(recipe.model, recipe.start.build(texts_of(LABELS).words))
    freeze(model, recipe)
    return model


def batch_of(model: VideoTextModel) -> ClipBatch:
    """Four clips of two labels."""
    index = np.array([0, 1, 0, 1])
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 64, 64, 3), np.uint8)
    tokens = model.tokens([LABELS[label] for label in index]).numpy()
    return ClipBatch(images, tokens, index, index, np.eye(3, dtype=bool)[index], tuple("abcd"))


def trained(recipe: Recipe, steps: int) -> VideoTextModel:
    """After some steps on one batch."""
    model = model_of(recipe)
    task = ClipTask(model, recipe.loss)
    optimiser = build_optimiser(recipe.optimiser, model, task.extra_parameters())
    batch = batch_of(model)
    for step in range(steps):
        training_step(task, batch, optimiser, recipe, step, "cpu")
    return model


def distance(model: VideoTextModel, recipe: Recipe) -> float:
    """How far the embeddings of pictures went from the start, 1 - cosine."""
    shown = torch.from_numpy(batch_of(model).images)
    with torch.no_grad():
        now, before = (one.eval().window_items(shown).mean(dim=1) for one in (model, model_of(recipe)))
    return float(1 - torch.cosine_similarity(now, before, dim=-1).mean())


def test_weights_between_start_and_end(recipe: Callable[..., Recipe]) -> None:
    """Alpha 0 is the trained model, 1 the start, 0.25 a quarter of the way back; a random start has no way back."""
    plain = recipe()
    start = start_weights(plain)
    name = "clip.visual.conv1.weight"
    for alpha in (0.0, 0.25, 1.0):
        model = trained(plain, 2)
        before = model.state_dict()[name].clone()
        blended(model, plain, alpha)
        expected = (1 - alpha) * before + alpha * start[name]
        assert torch.allclose(model.state_dict()[name], expected, atol=1e-6)
    with pytest.raises(RecipeError, match=r"alpha is 1\.5"):
        blended(model, plain, 1.5)
    scratch = plain.model_copy(update={"start": Recipe.model_fields["start"].get_default()})
    with pytest.raises(RecipeError, match="nothing lies; leave out alpha"):
        blended(model, scratch, 0.5)


def test_weights_come_back_after_the_second_pass(recipe: Callable[..., Recipe]) -> None:
    """Inside they hold a share of the start, also where something fails; afterwards they are what they were."""
    model = trained(recipe(), 1)
    start, kept = start_weights(recipe()), {name: t.clone() for name, t in model.state_dict().items()}
    name = "clip.visual.proj"
    with pytest.raises(ZeroDivisionError), interpolated(model, start, 0.5):
        assert torch.allclose(model.state_dict()[name], 0.5 * (kept[name] + start[name]), atol=1e-7)
        raise ZeroDivisionError
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())


def test_the_second_pass_adds_its_gradient(recipe: Callable[..., Recipe]) -> None:
    """At the start both passes are one place: the gradient is 1.5 times the plain one."""
    gradients = []
    for loss in ({}, {"second_pass": 0.5}):
        chosen = recipe(**loss)
        model = model_of(chosen)
        task = ClipTask(model, chosen.loss)
        optimiser = torch.optim.SGD([{"params": task.learning, "ratio": 1.0}], 1e-3)
        training_step(task, batch_of(model), optimiser, chosen, 0, "cpu")
        gradients.append(model.clip.visual.conv1.weight.grad.clone())
    assert torch.allclose(gradients[1], 1.5 * gradients[0], rtol=1e-3, atol=1e-6)


def test_distillation_holds_the_towers_to_their_start(recipe: Callable[..., Recipe]) -> None:
    """Trained with it pictures stay closer; the teacher is not saved, its projections are; no loss at the start."""
    plain, held = recipe(), recipe(distil=20.0)
    assert distance(trained(held, 5), held) < 0.7 * distance(trained(plain, 5), plain)
    model = model_of(held)
    task = ClipTask(model, held.loss)
    names = [name for name in task.state_dict() if not name.startswith("model.")]
    assert names and all(name.startswith("_teacher.") and "teacher.clip" not in name for name in names)
    losses, _ = task(batch_of(model))
    assert losses["distil"].item() == pytest.approx(0, abs=1e-4)
    assert {id(parameter) for parameter in task.extra_parameters()} <= {id(parameter) for parameter in task.learning}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"loss": {"distil": 1.0}, "freeze": "V2"}, "loss.distil has no effect: the image tower"),
        ({"loss": {"second_pass": 1.0}, "start": {"kind": "scratch"}}, "loss.second_pass has no effect: the start"),
        ({"optimiser": {"averaging": "swa", "average": 0.5}}, "optimiser.average has no effect: .* is swa"),
        ({"optimiser": {"average_from": 0.5}}, "optimiser.average_from has no effect: .* is ema"),
    ],
)  # fmt: skip
def test_what_would_hold_nothing_is_said(change: dict[str, Any], reason: str, recipe: Callable[..., Recipe]) -> None:
    """A tower that rests, a start of random weights, settings of the other average."""
    tree = recipe().model_dump(mode="json")
    tree["optimiser"] = {}
    with pytest.raises(ValueError, match=reason):
        Recipe.model_validate(tree | change)
