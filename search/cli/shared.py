"""Shared by all commands: the program's name, common options, and how progress is shown."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from search.cli.options import parse_duration, parse_image_size

if TYPE_CHECKING:
    from search.progress.events import Progress

PROGRAM = "cnn-search"

# Copies of the library's types: the command line imports the library only when a command runs.
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Xla = Literal["auto", "on", "off"]
Fit = Literal["crop", "pad", "stretch"]
DEFAULT_FIT: Fit = "crop"
Layout = Literal["auto", "classes", "roles"]
ClassWeights = Literal["auto", "none", "square_root", "balanced"]
Kind = Literal["studies", "spaces", "blocks", "heads", "backbones", "recipes", "data"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DATA_HELP = "A named data set, a folder or .zip of images, or an .npz file; `list data` shows them."
DataOption = Annotated[str | None, typer.Option("--data", metavar="<source>", help=DATA_HELP)]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="<url>",
        help="A database URL: sqlite:///FILE, postgresql+psycopg://USER@HOST/NAME, or "
        "grpc://HOST:PORT of `storage serve`.  [default: studies.db in the runs directory]",
    ),
]
ImageSizeOption = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        metavar="<pixels>",
        help="Resize images to 96 or 96x128 (height x width).  [default: their most common size, "
        "or a square if shapes vary]",
    ),
]
FitOption = Annotated[
    Fit | None,
    typer.Option(
        "--fit",
        help="For images of another shape: crop edges, pad with black, or stretch.  "
        f"[default: {DEFAULT_FIT}]",
    ),
]
LayoutOption = Annotated[
    Layout,
    typer.Option(
        "--layout",
        help="Whether the folders are roles (train, val, test) or classes; auto decides by their "
        "names.",
    ),
]
MaxBadFilesOption = Annotated[
    str,
    typer.Option(
        "--max-bad-files", metavar="<share>", help="Share of unreadable files to skip at most."
    ),
]
CacheLimitOption = Annotated[
    str,
    typer.Option(
        "--cache-limit",
        metavar="<size>",
        help="Disk space for features of frozen backbones, such as 20G; 0 caches none.",
    ),
]
RunsDirectoryOption = Annotated[
    Path,
    typer.Option(
        "--runs-directory",
        metavar="<folder>",
        help="Where results are written, and studies are stored without --storage.",
    ),
]


@contextmanager
def shown_progress() -> Iterator["Progress"]:
    """Shows progress while a command runs; an interruption ends it with exit code 130."""
    from search.progress.choice import make_progress

    with ended_by_interruption(), make_progress() as progress:
        yield progress


@contextmanager
def ended_by_interruption() -> Iterator[None]:
    """Ends an interrupted command with exit code 130 and without a traceback."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        typer.echo(str(interruption) or "interrupted", err=True)
        raise typer.Exit(130) from interruption


def optional_duration(text: str | None, option: str) -> float | None:
    return None if text is None else parse_duration(text, option=option)


def optional_image_size(text: str | None) -> int | tuple[int, int] | None:
    return None if text is None else parse_image_size(text, option="--image-size")


def print_json(data: object) -> None:
    """Prints plain values as JSON, alone on stdout."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
