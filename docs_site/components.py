"""The page of blocks, heads and backbones, from the registry of components."""

from typing import Any

from optuna.distributions import BaseDistribution
from pydantic import BaseModel

from cnn_blocks import registry
from docs_site.markdown import code, codes, documentation, page, table
from spaces.probe import describe_distribution

_INTRODUCTION = """
The registered parts of a network. A field's values are what a configuration may hold; the searched
values are what `suggest_component` samples if a space does not say otherwise. A block of your own
joins them: see [extending](../extending.md).
"""
_TITLES = {"block": "Blocks", "head": "Heads", "backbone": "Backbones"}
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
_TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "yes or no"}


def components_page() -> str:
    """Returns the page that documents every registered component and its fields."""
    sections: list[str] = []
    for role in registry.ROLES:
        sections.append(f"## {_TITLES[role]}")
        for kind, component in registry.components(role).items():
            if registry.source_of(component) is None:
                sections += _section(kind, component)
    return page("Blocks, heads and backbones", _INTRODUCTION.strip(), *sections)


def _section(kind: str, component: type[BaseModel]) -> list[str]:
    parts = [
        f"### {kind}",
        f"Class {code(component.__name__)} in {code(component.__module__)}.",
        documentation(component),
        _fields(component),
    ]
    schema = component.model_json_schema(mode="validation")
    for name, inner in sorted(_inner_models(component).items()):
        # Whatever a component's fields are made of, such as the dense layers of a head.
        if name in schema.get("$defs", {}):
            parts += [f"#### {name}", documentation(inner), _fields(inner)]
    return parts


def _inner_models(component: type[BaseModel]) -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for field in component.model_fields.values():
        waiting: list[Any] = [field.annotation]
        while waiting:
            annotation = waiting.pop()
            waiting.extend(getattr(annotation, "__args__", ()))
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                found[annotation.__name__] = annotation
    return found


def _fields(component: type[BaseModel]) -> str:
    schema = component.model_json_schema(mode="validation")
    rows = []
    for name, field in component.model_fields.items():
        searched = [each for each in field.metadata if isinstance(each, BaseDistribution)]
        default = "required" if field.is_required() else code(field.get_default())
        rows.append(
            (
                code(name),
                _values(schema["properties"][name]),
                default,
                describe_distribution(searched[0]) if searched else "",
            )
        )
    return table(("field", "values", "default", "searched"), rows)


def _values(schema: dict[str, Any]) -> str:
    """Returns what a field may hold, in words."""
    if "enum" in schema or "const" in schema:
        return codes(schema.get("enum") or [schema["const"]])
    if "anyOf" in schema:
        return " or ".join(map(_values, schema["anyOf"]))
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "any block" if name == "Block" else code(name)
    kind = schema.get("type", "any")
    if kind == "array" and "prefixItems" in schema:
        return ", ".join(map(_values, schema["prefixItems"]))
    if kind == "array":
        return f"list of {_values(schema['items'])}"
    if kind == "null":
        return "nothing"
    bounds = [words.format(f"{schema[key]:g}") for key, words in _BOUNDS.items() if key in schema]
    return ", ".join([_TYPES.get(kind, kind), *bounds])
