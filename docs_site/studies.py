"""The page of studies and their spaces, from the shipped studies."""

import inspect
from typing import Any

from docs_site.markdown import block, code, codes, documentation, page, table
from search.progress.words import duration
from search.sizing.time_plan import DEFAULT_BUDGET_SECONDS
from spaces.backbones import DEFAULT_BACKBONES
from spaces.probe import describe_distribution, parameters
from spaces.task import Task
from studies.study import StudySpec, list_studies

_TASK = Task()
_HEIGHT, _WIDTH, _ = _TASK.image_shape
_INTRODUCTION = f"""
Every shipped study with the parameters of its space. Ranges that depend on the data are those for
{_TASK.images:,} images of {_HEIGHT}x{_WIDTH} pixels in {_TASK.classes} classes; `--dry-run` shows
those for your images. A parameter that exists only with some values of another one is listed with
the rest. [Running a search](../running.md#which-study) helps to choose,
[concepts](../concepts.md) explains the words.
"""


def studies_page() -> str:
    """Returns the page that documents every shipped study and space."""
    sections = [part for spec in list_studies() for part in _section(spec)]
    return page("Studies and spaces", _INTRODUCTION.strip(), *sections)


def _section(spec: StudySpec) -> list[str]:
    function = inspect.unwrap(spec.space)
    module = inspect.getmodule(function)
    place = "" if module is None else f", in {code(module.__name__)}"
    command = f"python -m search run --study {spec.name}"
    return [
        f"## {spec.name}",
        spec.description,
        block(command if spec.data else f"{command} --data path/to/images", "bash"),
        table(("setting", "value"), _facts(spec)),
        f"**Space {code(getattr(function, '__name__', spec.name))}**{place}. "
        f"{documentation(function)}",
        _parameters(spec),
    ]


def _facts(spec: StudySpec) -> list[tuple[str, str]]:
    budget = duration(spec.budget_seconds or DEFAULT_BUDGET_SECONDS)
    facts = [
        ("fixed", spec.fixes),
        ("expect", spec.expected),
        ("images", "" if spec.data is None else code(spec.data)),
        ("ranks by", code(spec.metric)),
        ("trials, without a time limit", str(spec.trials)),
        ("budget", f"{budget}, search and final training together"),
        ("worker processes", str(spec.workers)),
        ("backbones", _backbones(spec)),
        ("parameters of a network at most", _number(spec.most_parameters)),
    ]
    return [(name, value) for name, value in facts if value]


def _backbones(spec: StudySpec) -> str:
    names = codes(getattr(each, "family", each.kind) for each in spec.backbones)
    if names:
        return f"{names}; `--backbone` names others"
    return "those of `--backbone`, or one at hand" if spec.takes_backbones else ""


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}"


def _parameters(spec: StudySpec) -> str:
    if spec.takes_backbones and not spec.backbones:
        # Otherwise the parameters of pretrained networks would be missing.
        spec = spec.model_copy(update={"backbones": DEFAULT_BACKBONES})
    found = parameters(lambda trial: spec.candidate(trial, _TASK), draws=spec.probes)
    rows = [(code(name), describe_distribution(known)) for name, known in found.items()]
    return table(("parameter", "range"), rows)
