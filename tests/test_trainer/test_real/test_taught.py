"""Classes taught by example on real footage: the experiment's own parts."""

from __future__ import annotations

from trainer.real.experiments import RECIPES
from trainer.real.taught import as_recipe, class_splits
from trainer.recipe import load


def test_the_recipe_of_heads_becomes_one_of_episodes() -> None:
    """The shipped one as it is, whatever it says of background, which episodes do not show."""
    made = as_recipe(load(RECIPES / "ut-interaction.yaml", ("data.sampling=segments", "model.frames=8")))
    assert made.episodes is not None and made.stages[0].chunks == made.episodes.clips and made.model.few_shot


def test_every_choice_of_three_classes_is_a_split() -> None:
    """20 of six, and none twice."""
    assert len(class_splits(6)) == len(set(class_splits(6))) == 20
