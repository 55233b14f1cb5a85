"""A recipe says nothing without effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer import recipe as recipes
from trainer.demo.demo_model import RECIPE
from trainer.errors import RecipeError
from trainer.recipe import Recipe

CLIPS = RECIPE.with_name("clips.yaml")
OWN = ("data.clips=mine.csv", "licence=mine")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("data.streams=7",), "data.streams has no effect: it is for rendered scenes"),
        (("loss.words=0.5",), "loss.words has no effect: it is for rendered scenes"),
        (("stages.1.balanced=0.5",), "stages.1.balanced has no effect"),
        (("stages.0.rate=0.5",), "stages.0.rate has no effect: the stage is not frozen"),
        (("freeze=V2",), "optimiser.orthogonal has no effect: the image tower is frozen .freeze V2"),
        (("freeze=V2", "optimiser.orthogonal=0", "optimiser.image_ratio=0.5"), "optimiser.image_ratio has no effect"),
        (("freeze=V2", "optimiser.orthogonal=0"), "augment has no effect: .* items.copies encodes changed copies too"),
        (("freeze=V3", "optimiser.orthogonal=0", "items.copies=2", "open_stages=1"), "open_stages has no effect"),
        (("freeze=V1",), "optimiser.text_ratio has no effect: the text tower is frozen"),
        (("items.copies=2",), "items.copies has no effect: no step draws from items"),
        (("model.head={architecture: meanp}", "optimiser.head_ratio=5"), "the head meanp has nothing to learn"),
        (("model.head={architecture: meanp, layers: 2}",), "model.head.meanp.layers: Extra inputs"),
        (("start={kind: clip, name: ViT-B-32, tower: x}",), "start.clip.tower: Extra inputs"),
        (("start={kind: clap}",), "'clap' .* 'scratch', 'clip', 'parts', 'run', 'release'"),
    ],
)
def test_a_setting_without_effect_is_named(change: tuple[str, ...], reason: str) -> None:
    """Under this task, data, start or freeze: in one line, with the reason."""
    with pytest.raises(RecipeError, match=reason) as refused:
        recipes.load(CLIPS, OWN + change)
    assert "\n" not in str(refused.value)


def test_settings_of_clips_have_no_effect_on_scenes() -> None:
    """The other way round too."""
    for change in ("data.sampling=window", "loss.background=2"):
        with pytest.raises(RecipeError, match=r"it is for clips of your own"):
            recipes.load(RECIPE, (change,))


def test_the_licence_of_your_own_footage_or_weights_is_yours_to_state() -> None:
    """Rendered scenes from scratch are ours; clips and published weights are not."""
    assert recipes.load(RECIPE).licence == "Apache-2.0"
    with pytest.raises(RecipeError, match=r"licence: state that of the model"):
        recipes.load(CLIPS, ("data.clips=mine.csv",))
    tree: dict[str, Any] = recipes.load(RECIPE).model_dump(mode="json") | {"licence": None}
    assert Recipe.model_validate(tree).licence is None
    with pytest.raises(ValueError, match="licence"):
        Recipe.model_validate(tree | {"start": {"kind": "clip", "name": "ViT-B-32"}})


def test_what_is_frozen_follows_from_either_word(tmp_path: Path) -> None:
    """V1 to V4, and ratios of 0; all steps draw from items once the image tower is frozen."""
    base = recipes.load(CLIPS, OWN)
    assert (base.image_frozen, base.text_frozen, base.thawed_steps) == (False, False, 1000)
    frozen = recipes.load(CLIPS, (*OWN, "optimiser.image_ratio=0", "optimiser.orthogonal=0", "items.copies=1"))
    assert (frozen.image_frozen, frozen.text_frozen, frozen.thawed_steps) == (True, False, 0)
    assert recipes.load(CLIPS, (*OWN, "optimiser.text_ratio=0")).text_frozen


@pytest.mark.parametrize(
    ("name", "frames", "batch", "epochs_of", "aim"),
    [
        ("k400-b32-8", 8, 128, 234_000, "78.36"),
        ("k400-b16-8", 8, 128, 234_000, "81.09"),
        ("k400-b16-16", 16, 128, 234_000, "81.68"),
        ("k400-b16-32", 32, 128, 234_000, "82.32"),
        ("ucf101", 32, 32, 9_537, "97.1"),
        ("hmdb51", 32, 64, 3_570, "76.2"),
        ("charades", 32, 128, 49_800, "44.3"),
    ],
)
def test_published_settings_are_recipes(name: str, frames: int, batch: int, epochs_of: int, aim: str) -> None:
    """Fifty epochs, five of them warming up, the release's rates, head and augmentation; the figure is stated."""
    path = RECIPE.with_name(f"{name}.yaml")
    found = recipes.load(path)
    (stage,) = found.stages
    assert (found.model.frames, stage.chunks, stage.ticks) == (frames, batch, frames)
    assert stage.steps * batch == pytest.approx(50 * epochs_of, rel=0.01)
    assert found.optimiser.warmup_steps == pytest.approx(0.1 * stage.steps, rel=0.01)
    assert (found.optimiser.rate, found.optimiser.head_ratio, found.optimiser.weight_decay) == (5e-6, 10, 0.2)
    assert (found.optimiser.betas, found.optimiser.clip, found.loss.leak) == ((0.9, 0.98), 0, True)
    assert (found.model.head.architecture, found.model.head.layers, found.model.head.init) == ("transf", 6, "paper")
    assert found.augment.kind == "published" and found.augment.operations == (0 if name in ("ucf101", "hmdb51") else 2)
    said = path.read_text()
    assert aim in said and "Hardware and time" in said
