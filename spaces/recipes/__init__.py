"""The published baselines as candidates, one file per report."""

import difflib

from cnn_blocks.errors import UserError
from spaces.recipes import bicocca, g3, granita, ironhack, siaj
from spaces.recipes.recipe import Recipe

__all__ = ["RECIPES", "Recipe", "find_recipe"]

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for report in (granita, g3, bicocca, ironhack, siaj)
    for recipe in report.RECIPES
}


def find_recipe(name: str) -> Recipe:
    """Returns a recipe by name; an unknown one raises UserError with the closest match."""
    if name in RECIPES:
        return RECIPES[name]
    close = difflib.get_close_matches(name, RECIPES, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise UserError(f"A recipe must be one of {', '.join(RECIPES)}; received {name!r}{hint}")
