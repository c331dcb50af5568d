"""The tables of a report, as rows of plain values."""

from collections import Counter
from typing import Any

from search.progress.words import counted
from search.report.charts.training import training_accuracy
from search.report.data import ReportData, RunFacts, StudyFacts, TrialFacts
from search.report.words import (
    NONE,
    file_size,
    hours,
    metric_name,
    metric_value,
    milliseconds,
    percent,
    safe,
    short,
    span,
)
from search.results.summary import ACTIVITY_WORDS
from search.system.printed_command import printed_command
from search.trials.outcomes import Outcome

_MOST_PAIRS = 10
_MOST_TRIALS = 10
_MOST_ENDED = 200
_MOST_IMPORTANT = 12
_MEANINGS = {
    "complete": "trained to its end",
    "pruned": "stopped early: worse than others at the same point, or out of time",
    "infeasible": "could not be built, or would not fit into memory or time",
    "failed": "raised an error",
    "interrupted": "stopped from outside; a later trial continues it",
    "crashed": "its process died; a later trial continues it",
    "running": "training now",
    "waiting": "not started yet",
}
_SPLIT_WORDS = {"train": "training", "validation": "validation", "test": "test"}


def facts(data: ReportData) -> list[tuple[str, str, str]]:
    """Returns (term, value, remark) of the most important facts."""
    return [*_run_facts(data), *_search_facts(data.study)]


def _run_facts(data: ReportData) -> list[tuple[str, str, str]]:
    run, network = data.run, data.network
    found = []
    if network is not None:
        remark = "" if run is None else f"{file_size(run.model_bytes)} as model.keras"
        found.append(("Parameters", short(network.parameters), remark))
        views = "an image and its mirror image" if network.mirrored else "for one image"
        work = short(network.multiply_accumulates)
        found.append(("Multiply-accumulates", work, views))
    inference = None if run is None or run.material is None else run.material.inference
    if inference is not None:
        found.append(
            (
                "Latency of one image",
                milliseconds(inference.single_seconds),
                f"on the run's {inference.device.upper()}",
            )
        )
        speed = inference.batch / inference.batch_seconds
        found.append(
            (
                f"Latency of {counted(inference.batch, 'image')}",
                milliseconds(inference.batch_seconds),
                f"{short(speed)} images a second",
            )
        )
    if run is not None:
        test = run.test
        found.append(("Macro F1, test", percent(test["macro_f1"]), _others(test)))
    return found


def _others(test: Any) -> str:
    auc = "" if test.get("auc") is None else f", AUC {test['auc']:.4f}"
    return f"balanced accuracy {percent(test['balanced_accuracy'])}{auc}"


def _search_facts(study: StudyFacts | None) -> list[tuple[str, str, str]]:
    if study is None:
        return []
    finished = [trial for trial in study.counted if isinstance(trial.state, Outcome)]
    trained = sum(trial.passes > 0 for trial in finished)
    spent = sum(trial.seconds for trial in study.counted)
    found = [
        ("Search", span(study.search_seconds), f"{hours(spent)} of trials"),
        ("Trials", f"{len(finished):,}", f"{trained:,} of them trained"),
    ]
    if study.images_shown is not None:
        found.append(("Images shown", short(study.images_shown), "to all trials together"))
    best = study.trial(study.best)
    if best is not None:
        value = metric_value(best.value, study.metric)
        found.append((f"Validation {metric_name(study.metric)}", value, f"of trial {best.number}"))
    return found


def confused_pairs(run: RunFacts) -> list[dict[str, Any]]:
    """Returns the most frequent confusions between two classes."""
    names = run.class_names
    found = [
        (count, row, column, count / sum(line))
        for row, line in enumerate(run.confusion)
        for column, count in enumerate(line)
        if count and row != column
    ]
    found.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    return [
        {"true": names[row], "predicted": names[column], "count": count, "share": share}
        for count, row, column, share in found[:_MOST_PAIRS]
    ]


def top_trials(study: StudyFacts | None) -> list[TrialFacts]:
    """Returns the best complete trials, best first."""
    if study is None:
        return []
    complete = [trial for trial in study.counted if trial.state is Outcome.COMPLETE]
    complete.sort(key=lambda trial: trial.value or 0.0, reverse=study.maximize)
    return complete[:_MOST_TRIALS]


def importance_rows(study: StudyFacts | None) -> list[dict[str, Any]]:
    """Returns the most important parameters with the winner's values."""
    if study is None:
        return []
    best = study.trial(study.best)
    known = [one for one in study.parameters if one.importance is not None]
    return [
        {
            "name": one.name,
            "share": one.importance,
            "value": NONE if best is None else _choice(best.choices.get(one.name, NONE)),
        }
        for one in known[:_MOST_IMPORTANT]
    ]


def outcome_rows(study: StudyFacts | None) -> list[dict[str, Any]]:
    """Returns the number and the time of the trials for each outcome."""
    if study is None:
        return []
    counts = Counter(str(trial.state) for trial in study.trials)
    seconds: dict[str, float] = {}
    for trial in study.counted:
        # The time of a continued trial counts in its continuation.
        name = str(trial.state)
        seconds[name] = seconds.get(name, 0.0) + trial.seconds
    order = [*(name for name in _MEANINGS if name in counts), *sorted(counts.keys() - _MEANINGS)]
    return [
        {
            "name": name,
            "count": counts[name],
            "seconds": seconds.get(name),
            "meaning": _MEANINGS.get(name, ""),
        }
        for name in order
    ]


def ended_early(study: StudyFacts | None) -> tuple[list[TrialFacts], int]:
    """Returns trials that did not complete or gave a warning, and how many are left out."""
    if study is None:
        return [], 0
    found = [
        trial
        for trial in study.trials
        if isinstance(trial.state, Outcome)
        and (trial.state is not Outcome.COMPLETE or trial.reason or trial.warning)
    ]
    return found[:_MOST_ENDED], max(0, len(found) - _MOST_ENDED)


def time_groups(study: StudyFacts | None, run: RunFacts | None) -> list[dict[str, Any]]:
    """Returns tables of (name, seconds, share): by phase, by activity, by outcome of the trials."""
    groups = []
    if study is not None and study.phase_seconds:
        words = {"search": "search", "retraining": "final training, test and files"}
        phases = {words.get(name, name): spent for name, spent in study.phase_seconds.items()}
        groups.append(_group("The run, by phase", "Phase", phases))
    if run is not None and run.seconds_by_activity:
        activities = {
            ACTIVITY_WORDS.get(name, name): spent for name, spent in run.seconds_by_activity.items()
        }
        title = "The process that ran the final training, by activity"
        groups.append(_group(title, "Activity", activities))
    outcomes = {row["name"]: row["seconds"] for row in outcome_rows(study) if row["seconds"]}
    if len(outcomes) > 1:
        groups.append(_group("The trials, by how they ended", "Outcome", outcomes))
    return groups


def _group(title: str, kind: str, seconds: dict[str, float]) -> dict[str, Any]:
    whole = sum(seconds.values()) or 1.0
    rows = [(name, spent, spent / whole) for name, spent in seconds.items()]
    return {"title": title, "kind": kind, "rows": sorted(rows, key=lambda row: -row[1])}


def commands(data: ReportData) -> list[tuple[str, str]]:
    """Returns (purpose, command line) for repeating, continuing and using the result."""
    found = []
    run, study = data.run, data.study
    if run is not None and run.environment.get("command"):
        found.append(("The command that made this result:", safe(run.environment["command"])))
    if run is not None:
        source = run.environment.get("data", {}).get("source", "DATA")
        configuration = str(run.directory / "best_config.yaml")
        found.append(
            (
                "Only the winner's training:",
                printed_command(
                    *("python", "-m", "search.retrain", "--config", configuration),
                    *("--data", source),
                ),
            )
        )
        model = str(run.directory / "model.keras")
        found.append(
            (
                "Predict images:",
                printed_command(
                    *("python", "-m", "search", "predict", "--model", model, "FILE_OR_FOLDER")
                ),
            )
        )
    elif study is not None:
        found.append(
            (
                "To continue the search, repeat its command. To write this report again:",
                printed_command("python", "-m", "search", "report", "--study", study.name),
            )
        )
    return found


def settings(data: ReportData) -> list[tuple[str, str]]:
    """Returns (name, value) settings of data, split, study, machine and versions."""
    found: dict[str, Any] = {}
    run, study = data.run, data.study
    environment = {} if run is None else run.environment
    described = environment.get("data", {})
    found["data"] = described.get("source") or (None if study is None else study.data)
    found["data fingerprint"] = described.get("fingerprint") or (
        None if study is None else study.data_fingerprint
    )
    if study is not None:
        found["image size"] = study.image_shape
        found["images"] = ", ".join(
            f"{count:,} for {_SPLIT_WORDS.get(name, name)}" for name, count in study.split.items()
        )
        found["time plan"] = study.plan
        found |= {
            name.replace("_", " "): value
            for name, value in study.attributes.items()
            if name not in ("data", "data_fingerprint", "image_shape", "description")
        }
    if run is not None:
        found["final training"] = (
            f"{run.retraining['epochs']:.4g} passes over {run.retraining['images']:,} images in "
            f"{span(run.retraining['seconds'])}"
        )
        trained = training_accuracy(run)
        found["accuracy on its own training images"] = percent(trained)
    for name in ("device", "dtype_policy", "xla", "processor", "processor_threads", "backend"):
        found[name.replace("_", " ")] = environment.get(name)
    memory = environment.get("memory_bytes")
    found["memory"] = None if memory is None else f"{memory / 2**30:.1f} GiB"
    found["operating system"] = environment.get("operating_system")
    found["python"] = environment.get("python")
    found["versions"] = ", ".join(
        f"{name} {version}" for name, version in environment.get("versions", {}).items()
    )
    git = environment.get("git")
    if git:
        found["git commit"] = git["commit"] + (" with changes" if git["dirty"] else "")
    written = {name: _written(value) for name, value in found.items() if value is not None}
    return [(name, text) for name, text in written.items() if text]


def _choice(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
