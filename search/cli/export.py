"""The command that exports a run's model, or a study's best configuration."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from search.cli.shared import (
    DATA_HELP,
    PROGRAM,
    Layout,
    LayoutOption,
    RunsDirectoryOption,
    StorageOption,
    ended_by_interruption,
    print_json,
)
from search.system.names import shown
from search.system.printed_command import printed_command

if TYPE_CHECKING:
    from search.exports.exporting import Export

EPILOG = f"""\b
    Examples:
      {PROGRAM} export --run runs/auto/2026-11-30T20-48-52Z --formats onnx,litert
      {PROGRAM} export --run RUN --formats keras,saved_model,onnx,litert,openvino --output exported
      {PROGRAM} export --study depth_filters --to best.yaml
      {PROGRAM} export --study my_study --storage sqlite:///elsewhere.db --to best.json

    A run's files are kept only if they agree with Keras. The formats onnx, litert and openvino
    and --hub need extras: pip install "{PROGRAM}[onnx,litert,openvino,hub]"

    \b
    Exit codes: 0 done, 1 a format was not written, 2 wrong input, 130 interrupted."""
_DEFAULT_FORMATS = "keras,saved_model"
_OF_A_RUN = ("formats", "output", "data", "layout", "hub", "json")
_OF_A_STUDY = ("to", "storage", "runs_directory")
_HEADER = (
    f"{'format':16}{'file':24}{'size':>9}{'difference':>12}{'same answers':>15}"
    f"{'accuracy':>10}{'1 image':>10}{'32 images':>11}"
)


def export(
    context: typer.Context,
    run: Annotated[
        Path | None, typer.Option(metavar="<folder>", help="The folder of a finished run.")
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            metavar="<names>", help="With --run: keras, saved_model, onnx, litert, openvino."
        ),
    ] = _DEFAULT_FORMATS,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="<folder>", help="With --run: where to write.  [default: the run's folder]"
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="<source>",
            help=f"With --run: images to compare on.  [default: the run's own] {DATA_HELP}",
        ),
    ] = None,
    layout: LayoutOption = "auto",
    hub: Annotated[
        str | None,
        typer.Option(
            metavar="<owner/name>",
            help="With --run: upload the files to this repository of the Hugging Face Hub; a new "
            "one is private.",
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="<name>",
            help="Instead of a run: a study in the storage, for its best configuration.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="<file>", help="With --study: the file to write, .yaml or .json."),
    ] = None,
    storage: StorageOption = None,
    runs_directory: RunsDirectoryOption = Path("runs"),
    json: Annotated[
        bool, typer.Option("--json", help="With --run: print JSON for programs.")
    ] = False,
) -> None:
    """Exports a run's model in other formats, or writes a study's best configuration."""
    _check(context)
    if run is not None:
        _export_run(run, formats, output=output, data=data, layout=layout, hub=hub, json=json)
        return
    assert study is not None and to is not None

    from search.optimize.winner import export_best_configuration

    export_best_configuration(study, to, storage=storage, runs_directory=runs_directory)
    retraining = printed_command("python", "-m", "search.retrain", "--config", str(user_path(to)))
    typer.echo(f"{to}\nnext: {retraining} --data SOURCE")


def _check(context: typer.Context) -> None:
    """Raises UserError unless the options belong either to a run or to a study."""
    given = {
        str(option.name): option.opts[0]
        for option in context.command.params
        if context.params[str(option.name)] != option.default
    }
    if ("run" in given) == ("study" in given):
        received = "both" if "run" in given else "neither"
        raise UserError(
            f"An export takes one of '--run' and '--study'; received {received}. Fix: write --run "
            f"FOLDER to export a model, or --study NAME --to FILE for a configuration."
        )
    if "study" in given and "to" not in given:
        raise UserError(
            "A study's configuration needs a file; '--to' is missing. Fix: add --to best.yaml."
        )
    kind, others = ("run", _OF_A_STUDY) if "run" in given else ("study", _OF_A_RUN)
    extra = [option for name, option in given.items() if name in others]
    if extra:
        raise UserError(
            f"An export of a {kind} does not take {', '.join(extra)}. Fix: leave "
            f"{'it' if len(extra) == 1 else 'them'} out."
        )


def _export_run(
    run: Path,
    names: str,
    *,
    output: Path | None,
    data: str | None,
    layout: Layout,
    hub: str | None,
    json: bool,
) -> None:
    from search.exports.choice import chosen_formats
    from search.exports.hub import check_repository, upload

    formats = chosen_formats(names)
    if hub is not None:
        check_repository(hub)

    from search.data import DataSource
    from search.exports.exporting import export_run

    def say(text: str) -> None:
        if not json:
            typer.echo(text)

    with ended_by_interruption():
        result = export_run(
            run,
            formats,
            data=DataSource(location=data, layout=layout),
            output=output,
            on_images=lambda images: say(f"compared with Keras on {images}\n\n{_HEADER}"),
            on_export=lambda export: say(_line(export)),
        )
        if result.files:
            say(f"\n{result.directory}/: {', '.join(result.files)}")
        if hub is not None and result.files:
            typer.echo(upload(hub, result.directory, result.files), err=json)
    if json:
        found = {
            "folder": str(result.directory),
            "compared_on": result.compared_on,
            "formats": {export.format.name: export.as_data() for export in result.exports},
            "files": result.files,
        }
        print_json(found)
    if any(export.reason is not None for export in result.exports):
        raise typer.Exit(1)


def _line(export: "Export") -> str:
    from search.exports.model_card import size_words

    if export.reason is not None or export.comparison is None:
        return f"{export.format.name:16}not written: {shown(str(export.reason))}"
    found = export.comparison
    one, batch = export.milliseconds
    return (
        f"{export.format.name:16}{export.format.root:24}{size_words(export.size):>9}"
        f"{found.largest_difference:12.1e}{found.agreeing_labels:8} of {found.images:<4}"
        f"{found.accuracy:9.1%}{one:10.2f}{batch:11.2f}"
    )
