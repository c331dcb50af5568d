"""The page of recipes: published baselines with their sizes and accuracies."""

from docs_site.markdown import block, code, page, table
from spaces.recipes import RECIPES, Recipe

_INTRODUCTION = """
Hand-made CIFAR-10 baselines from published reports: `C64` is a 3x3 convolution with 64 filters,
`P` 2x2 max pooling, `BN` batch normalisation, `Do.2` dropout 0.2, `D128` a dense layer, `GAP`
global average pooling. Parameters are counted for 32x32 images of ten classes. The published
figures are the reports' own, on the test images of CIFAR-10; they were not measured here.
[Recipes and Keras Tuner](../recipes.md) explains how to train them, and how a search starts from
them.
"""


def recipes_page() -> str:
    """Returns the page that documents every recipe."""
    recipes = list(RECIPES.values())
    overview = table(
        ("recipe", "parameters", "trainable", "published accuracy"),
        [
            (
                f"[{code(recipe.name)}](#{recipe.name})",
                f"{recipe.parameters:,}",
                f"{recipe.trainable_parameters:,}",
                _accuracy(recipe),
            )
            for recipe in recipes
        ],
    )
    sections = [part for recipe in recipes for part in _section(recipe)]
    return page("Recipes", _INTRODUCTION.strip(), overview, *sections)


def _accuracy(recipe: Recipe) -> str:
    accuracy = recipe.published.get("accuracy")
    return "" if accuracy is None else f"{accuracy:.2%}"


def _section(recipe: Recipe) -> list[str]:
    training = recipe.candidate.training
    facts = [
        ("source", recipe.source),
        ("layers", recipe.description),
        ("parameters", f"{recipe.parameters:,}, of which {recipe.trainable_parameters:,} train"),
        ("published", recipe.published_line()),
        (
            "training",
            f"{training.epochs} epochs of {code(training.optimizer)} at "
            f"{training.learning_rate:g}, schedule {code(training.schedule)}, batches of "
            f"{training.batch_size}",
        ),
        ("images of the report", "all" if recipe.images is None else f"{recipe.images:,}"),
        ("assumed", "; ".join(recipe.assumed)),
    ]
    return [
        f"## {recipe.name}",
        block(f"python -m search run --recipe {recipe.name} --data cifar10", "bash"),
        table(("detail", "value"), [(name, value) for name, value in facts if value]),
    ]
