"""Training by episodes (CLIP-FSAR): what it learns, what rests, and what a recipe must say for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from trainer.data.encode import encode_mp4
from trainer.data.episode_batches import EpisodeBatch, in_templates
from trainer.errors import RecipeError
from trainer.evaluation.episodes import ROWS
from trainer.models.few_shot import FewShot
from trainer.models.text.texts import texts_of
from trainer.models.video_text import build
from trainer.protocols.episodes import episodes
from trainer.protocols.subject import Settings, subject
from trainer.recipe import Recipe
from trainer.training import checkpoint, loop
from trainer.training.episode_source import EPISODES
from trainer.training.episodes import EpisodesTask
from trainer.training.freezing import freeze

LABELS = ("gets brighter", "gets darker", "turns red")
SPLITS = {"green": "validate", "yellow": "validate", "cyan": "test", "violet": "test"}
EPISODES_OF = {"ways": 2, "shots": 1, "queries": 1}


@pytest.fixture
def recipe(clip_recipe: Callable[[Path], Recipe]) -> Callable[[Path], Recipe]:
    """A tiny recipe of episodes: two classes, one example and one query of each."""

    def make(source: Path) -> Recipe:
        tree = clip_recipe(source).model_dump(mode="json")
        tree["optimiser"] |= {"orthogonal": 0, "image_ratio": 1.0, "text_ratio": 1.0}
        tree["model"] |= {"few_shot": {"hidden": 32}}
        tree["stages"] = [{"steps": 4, "chunks": 4, "ticks": 4}]
        return Recipe.model_validate(tree | {"freeze": "V1", "episodes": EPISODES_OF})

    return make


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A second of film a clip: three classes to train on, two to be taught in validation, two in test."""
    rows = ["path,label,split"]
    tints = {
        "brighter": (1, 1, 1),
        "red": (1, 0, 0),
        "blue": (0, 0, 1),
        "green": (0, 1, 0),
        "yellow": (1, 1, 0),
        "cyan": (0, 1, 1),
        "violet": (1, 0, 1),
    }
    for kind, tint in tints.items():
        for number in range(3):
            levels = np.linspace(40 + 10 * number, 230, 10)
            pictures = (np.tile(np.array(tint) * level, (64, 64, 1)).astype(np.uint8) for level in levels)
            encode_mp4(pictures, tmp_path / f"{kind}{number}.mp4", 10, 400_000)
            rows.append(f"{kind}{number}.mp4,grows {kind},{SPLITS.get(kind, 'train')}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "labels.csv"


def test_a_run_learns_from_episodes_and_is_measured_on_classes_that_it_never_saw(
    films: Path, recipe: Callable[[Path], Recipe], tmp_path: Path
) -> None:
    """All rows are in the report; the checkpoint holds the modulation, and measures the same again."""
    result = loop.train(recipe(films), EPISODES, tmp_path / "run")
    assert {name for name in result if name.startswith("episodes_")} == {
        f"episodes_{row}" for row in (*ROWS, "beta", "temperature")
    }
    assert result["episodes_mean_cosine"] > 0.9  # flat green against flat yellow
    model, known = checkpoint.load_model(tmp_path / "run" / checkpoint.NAME)
    assert model.few_shot is not None and known.episodes is not None
    gathered, means = model.few_shot.known.means()
    assert {known.model.labels[label] for label in gathered} <= {
        f"grows {kind}" for kind in ("brighter", "red", "blue")
    }
    assert gathered and bool(torch.isfinite(means).all()) and float(model.few_shot.whitening.weight) > 0
    assert loop.measure(tmp_path / "run", EPISODES) == result
    given = subject(tmp_path / "run")
    outcome = episodes(given, Settings(shots=(1, 2), episodes=40))
    assert set(outcome.figures) == {"1_shots", "2_shots"} and outcome.rows["1 shots"]["episodes_mean_cosine"] > 0.9
    with pytest.raises(RecipeError, match="leave out --list"):
        episodes(given, Settings(lists=(films,)))


def test_episodes_push_the_right_example_nearer(recipe: Callable[[Path], Recipe]) -> None:
    """Some steps on items of three clusters: the loss falls; the modulation learns, the text tower does not."""
    made = recipe(Path("x"))
    torch.manual_seed(0)
    model = build(made.model.model_copy(update={"labels": LABELS}), made.start.build(texts_of(LABELS).words))
    freeze(model, made)
    task = EpisodesTask(model, made.loss)
    optimiser = torch.optim.Adam(task.learning, lr=2e-3)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 4, 64)).astype(np.float32)
    tokens = in_templates(LABELS, made.model.templates.chosen, model.tokenizer)

    def loss() -> torch.Tensor:
        classes = rng.choice(3, 2, replace=False)
        of_clips = np.concatenate((classes, classes))
        images = (centres[of_clips] + 2.0 * rng.normal(size=(4, 4, 64))).astype(np.float32)
        losses, _ = task(EpisodeBatch(images, 1, classes.astype(np.int64), tokens, np.arange(3), ("a",) * 4))
        return losses["few_shot"]

    found = []
    for _ in range(60):
        value = loss()
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        found.append(float(value.detach()))
    assert np.mean(found[-15:]) < 0.8 * np.mean(found[:15])
    assert model.few_shot is not None
    known = model.few_shot.known.means()[1].flatten(1)
    gaps = torch.cdist(known, model.items(torch.from_numpy(centres).flatten(0, 1)).view(3, -1))
    assert gaps.argmin(dim=1).tolist() == [0, 1, 2]
    assert all(parameter.grad is not None for parameter in model.few_shot.parameters())
    learning = {id(parameter) for parameter in task.learning}
    assert not any(id(parameter) in learning for parameter in model.clip.transformer.parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {"few_shot": None}}, "model.few_shot"),
        ({"freeze": "V4"}, "a text tower that rests"),
        ({"stages": [{"steps": 4, "chunks": 6, "ticks": 4}]}, "set chunks to 4"),
        ({"data": {"clips": "x", "background": 0.5}}, "episodes show no background"),
        ({"episodes": None, "stages": [{"steps": 4, "chunks": 4, "ticks": 4}]}, "only episodes train it"),
    ],
)
def test_a_recipe_that_could_not_train_them_is_refused(
    recipe: Callable[[Path], Recipe], change: dict[str, object], said: str
) -> None:
    """Each with the setting that is missing, or has no effect."""
    tree = recipe(Path("x")).model_dump(mode="json")
    for name, value in change.items():
        tree[name] = tree[name] | value if name in ("model", "data") and isinstance(value, dict) else value
    with pytest.raises(ValidationError, match=said):
        Recipe.model_validate(tree)


def test_the_scale_begins_as_released_where_the_recipe_says_so(recipe: Callable[[Path], Recipe]) -> None:
    """`release`: 1, so that the texts' part is flat; `clip`: that of the start."""
    made = recipe(Path("x"))
    scales = {}
    for init in ("release", "clip"):
        settings = made.model.model_copy(update={"few_shot": FewShot(hidden=32, scale_init=init)})
        scales[init] = float(build(settings, made.start.build(texts_of(LABELS).words)).scale.detach())
    assert scales["release"] == pytest.approx(1.0) and scales["clip"] > 10
