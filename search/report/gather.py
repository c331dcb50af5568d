"""Gathers the content of a report from a stored study and a run's folder."""

import importlib.metadata
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import optuna

from cnn_blocks.config import InputSpec
from cnn_blocks.errors import InfeasibleError, UserError
from search.optimize.winner import best_configuration
from search.report.comparison import compare, row_of
from search.report.data import NetworkFacts, ReportData, RunFacts, StudyFacts
from search.report.network import describe_network
from search.report.run_folder import read_run
from search.report.trials import read_study
from search.results.configuration_file import BestConfiguration, read_configuration


def gather(
    study: optuna.Study | None,
    run: Path | None,
    *,
    others: Sequence[tuple[optuna.Study | None, Path | None]] = (),
) -> ReportData:
    """Reads a study and the folder of its finished run; either may be missing.

    `others` are the studies to compare with, each with the folder of its run. Writes nothing.
    Raises UserError if `run` is not the folder of a finished run.
    """
    facts = None if study is None else read_study(study)
    finished = None if run is None else read_run(run)
    notes = list(_notes(facts, finished))
    try:
        network = _network(study, finished)
    except (UserError, InfeasibleError, OSError) as error:
        network = None
        notes.append(f"The network cannot be drawn: {error}")
    rows = list(compare(facts, finished, network))
    for other_study, other_run in others:
        other = None if other_study is None else read_study(other_study)
        rows.append(row_of(other, None if other_run is None else read_run(other_run), beside=facts))
    return ReportData(
        title=_title(facts, finished),
        made=datetime.now().astimezone(),
        version=importlib.metadata.version("cnn-search"),
        study=facts,
        run=finished,
        network=network,
        comparisons=tuple(rows),
        notes=tuple(notes),
    )


def _title(study: StudyFacts | None, run: RunFacts | None) -> str:
    if study is not None:
        return study.name
    assert run is not None
    return run.recipe or run.study or run.directory.name


def _notes(study: StudyFacts | None, run: RunFacts | None) -> list[str]:
    notes = []
    if run is not None and run.material is None:
        notes.append(
            "The run's folder holds no report material, because an earlier version wrote it: "
            "thumbnails, occlusion maps and the model's speed are missing."
        )
    if study is None or run is None:
        return notes
    if run.study != study.name:
        notes.append(f"The finished run comes from the study {run.study!r}.")
    elif run.trial != study.best:
        notes.append(
            f"The finished run trained trial {run.trial}; the study's best is trial {study.best} "
            f"now. Run the study's command again to train that trial."
        )
    return notes


def _network(study: optuna.Study | None, run: RunFacts | None) -> NetworkFacts | None:
    """Returns the winner's stages; None without a winner."""
    if run is not None:
        configuration = read_configuration(run.directory / "best_config.json")
        names = run.class_names
        size = run.environment.get("data", {}).get("image_shape") or configuration.image_size
    elif study is not None and any(
        trial.state is optuna.trial.TrialState.COMPLETE
        for trial in study.get_trials(deepcopy=False)
    ):
        configuration = best_configuration(study)
        names, size = configuration.class_names, configuration.image_size
    else:
        return None
    return describe_network(configuration.candidate, _spec(configuration, names, size))


def _spec(
    configuration: BestConfiguration, names: Sequence[str], size: Sequence[int] | None
) -> InputSpec:
    if size is None:
        raise UserError("its image size is not recorded.")
    return InputSpec(image_shape=(size[0], size[1], 3), class_names=tuple(names))
