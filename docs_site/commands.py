"""The page of commands, from the parsers of the command line."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer

from docs_site.markdown import block, code, codes, page, table
from search.cli.app import app
from search.cli.shared import PROGRAM

_INTRODUCTION = f"""
Everything that `--help` says. `{PROGRAM} run` and `python -m search run` are the same, and so on
for every command. [Running a search](../running.md) explains when to use which.
"""
# What the parser appends to a description: the default, whether it is required, the limits.
_REMARK = re.compile(r"\s*\[((?:default: |required|x[<>]|\d+<=x)[^\]]*)\]")


def commands_page() -> str:
    """Returns the page that documents every command with its arguments and options."""
    sections = [_section(*found) for found in _walk(typer.main.get_command(app), PROGRAM, None)]
    return page("Commands", _INTRODUCTION.strip(), *sections)


def _walk(command: Any, name: str, parent: Any) -> Iterator[tuple[Any, Any]]:
    """Yields a command and its context, then its subcommands."""
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield command, context
    for each, subcommand in getattr(command, "commands", {}).items():
        yield from _walk(subcommand, each, context)


def _section(command: Any, context: Any) -> str:
    path = context.command_path
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = [path, *(each.metavar or f"[{each.name}]" for each in arguments)]
    usage += ["COMMAND"] if getattr(command, "commands", {}) else []
    usage += ["[OPTIONS]"] if options else []
    return "\n\n".join(
        filter(
            None,
            [
                f"## {path.removeprefix(PROGRAM).strip() or path}",
                inspect.cleandoc(command.help or ""),
                block(" ".join(usage), "text"),
                *_epilog(command.epilog or ""),
                _parameters("argument", arguments, context),
                _parameters("option", options, context),
            ],
        )
    )


def _epilog(text: str) -> Iterator[str]:
    # A backspace is the parser's mark of a paragraph whose lines are kept.
    for paragraph in inspect.cleandoc(text.replace("\b", "")).split("\n\n"):
        title, _, examples = paragraph.strip("\n").partition("\n")
        if title == "Examples:":
            yield block(inspect.cleandoc("\n" + examples), "bash")
        else:
            yield paragraph.strip("\n")


def _parameters(kind: str, parameters: list[Any], context: Any) -> str:
    rows = [_row(each, context) for each in parameters]
    return table((kind, "value", "default", "description"), rows) if rows else ""


def _row(parameter: Any, context: Any) -> tuple[str, str, str, str]:
    names, description = parameter.get_help_record(context)
    name, _, value = names.partition(" <")
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name
        value = "" if parameter.metavar else value
    value = value.removesuffix(">")
    remarks = "; ".join(_REMARK.findall(description)).split("; ")
    default = "; ".join(
        remark.removeprefix("default: ") for remark in remarks if not _is_limit(remark)
    )
    limits = "".join(f" {_limit(remark)}." for remark in remarks if _is_limit(remark))
    return (
        code(name),
        codes(value.split("|")) if "|" in value else value,
        default,
        _REMARK.sub("", description).strip() + limits,
    )


def _is_limit(remark: str) -> bool:
    return re.search(r"\bx\b", remark) is not None and re.search(r"[<>]=?", remark) is not None


def _limit(remark: str) -> str:
    """Returns a limit such as x>=1 or 0<=x<=65535 in words."""
    low, high = re.search(r"(?:x>=|^)(\d+)", remark), re.search(r"x<=(\d+)", remark)
    if low and high:
        return f"From {low[1]} to {high[1]}"
    return f"At least {low[1]}" if low else f"At most {high[1] if high else remark}"
