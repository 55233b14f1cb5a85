"""Each ablation changes what it says, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.real import ablations
from trainer.real.ablations import VARIANTS, changed
from trainer.recipe import Recipe, load

SHIPPED = load(Path(ablations.__file__).parents[1] / "recipes" / "ut-interaction.yaml", ("items={}", "augment={}"))


def settings(recipe: Recipe) -> dict[str, object]:
    """The settings of a recipe by their dotted names, two words long."""
    tree = recipe.model_dump(mode="json")
    parts = {part: value for part, value in tree.items() if isinstance(value, dict)}
    return {f"{part}.{name}": value for part, inside in parts.items() for name, value in inside.items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_a_recipe_that_differs_in_what_it_names(name: str) -> None:
    """Nothing of it is without effect, or the recipe would be refused."""
    base, variant = (settings(changed(SHIPPED, more)) for more in ({}, VARIANTS[name]))
    differing = {place for place, value in variant.items() if base[place] != value}
    assert differing == set(VARIANTS[name])
