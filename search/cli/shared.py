"""What commands share: the program's name, their common options, and how progress is shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from search.cli.options import parse_duration, parse_image_size

if TYPE_CHECKING:
    from search.progress.events import Progress

PROGRAM = "cnn-search"

# Those of the library, which the command line imports only when it works.
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Xla = Literal["auto", "on", "off"]
Fit = Literal["crop", "pad", "stretch"]
DEFAULT_FIT: Fit = "crop"
Layout = Literal["auto", "classes", "roles"]
ClassWeights = Literal["auto", "none", "square_root", "balanced"]
Kind = Literal["studies", "spaces", "blocks", "heads", "backbones", "recipes", "data"]

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
        help="Resize images to 96 or 96x128 (height x width).  [default: their commonest size, or "
        "a square where shapes vary]",
    ),
]
FitOption = Annotated[
    Fit | None,
    typer.Option(
        "--fit",
        help="Images of another shape: crop their edges, pad them with black, or stretch them.  "
        f"[default: {DEFAULT_FIT}]",
    ),
]
LayoutOption = Annotated[
    Layout,
    typer.Option(
        "--layout",
        help="Whether the folders are roles (train, val, test) or classes; auto goes by their "
        "names.",
    ),
]
MaxBadFilesOption = Annotated[
    str,
    typer.Option(
        "--max-bad-files", metavar="<share>", help="Unreadable files to skip before giving up."
    ),
]
CacheLimitOption = Annotated[
    str,
    typer.Option(
        "--cache-limit",
        metavar="<size>",
        help="Disk for frozen backbones' features, such as 20G; 0 keeps none.",
    ),
]
RunsDirectoryOption = Annotated[
    Path,
    typer.Option(
        "--runs-directory",
        metavar="<folder>",
        help="Where results are written, and studies are kept without --storage.",
    ),
]


@contextmanager
def shown_progress() -> Iterator["Progress"]:
    """Shows progress while a command works; an interruption ends it with code 130."""
    from search.progress.choice import make_progress

    with ended_by_interruption(), make_progress() as progress:
        yield progress


@contextmanager
def ended_by_interruption() -> Iterator[None]:
    """Ends a command with code 130, without a traceback, when it is interrupted."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        typer.echo(str(interruption) or "interrupted", err=True)
        raise typer.Exit(130) from interruption


def optional_duration(text: str | None, option: str) -> float | None:
    return None if text is None else parse_duration(text, option=option)


def optional_image_size(text: str | None) -> int | tuple[int, int] | None:
    return None if text is None else parse_image_size(text, option="--image-size")
