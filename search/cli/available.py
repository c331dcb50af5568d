"""Lists the studies, spaces, blocks, heads and data sets by name, with one line each."""

import importlib
import inspect
import json
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnn_blocks import registry
from search.cli.shared import Kind


@dataclass(frozen=True)
class Available:
    """An entry that the user can name; JSON output has `details`, text output `addition`."""

    name: str
    description: str
    addition: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def available(kind: Kind) -> list[Available]:
    """Returns all entries of a kind, sorted by name (data: in the order of search.data)."""
    if kind == "studies":
        from studies.study import list_studies

        return [Available(spec.name, spec.description) for spec in list_studies()]
    if kind == "spaces":
        return _spaces()
    if kind == "recipes":
        return _recipes()
    if kind == "data":
        from search.data import data_sources

        return [Available(name, description) for name, description in data_sources()]
    components = registry.components(kind.removesuffix("s"))
    return [Available(name, _first_sentence(found)) for name, found in components.items()]


def as_lines(found: Sequence[Available]) -> str:
    """Returns one line per entry, with aligned descriptions."""
    width = max((len(entry.name) for entry in found), default=0)
    return "\n".join(
        f"{entry.name:{width}}  {entry.description}{entry.addition}".rstrip() for entry in found
    )


def as_json(found: Sequence[Available]) -> str:
    """Returns a JSON list of objects with `name`, `description` and the entry's details."""
    objects = [
        {"name": entry.name, "description": entry.description, **entry.details} for entry in found
    ]
    return json.dumps(objects, indent=2, ensure_ascii=False)


def _spaces() -> list[Available]:
    package = importlib.import_module("spaces.shipped")
    found = []
    for information in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{information.name}")
        function = getattr(module, information.name)
        found.append(Available(information.name, _first_sentence(function)))
    return found


def _recipes() -> list[Available]:
    from spaces.recipes import RECIPES

    return [
        Available(
            recipe.name,
            recipe.description,
            addition=f" | {recipe.parameters:,} parameters, {recipe.trainable_parameters:,} "
            f"trainable | published: {recipe.published_line()} | {recipe.source}",
            details=recipe.model_dump(mode="json", exclude={"name", "description", "candidate"}),
        )
        for recipe in RECIPES.values()
    ]


def _first_sentence(documented: object) -> str:
    paragraph = (inspect.getdoc(documented) or "").split("\n\n", 1)[0]
    return " ".join(paragraph.split())
