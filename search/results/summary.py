"""The closing text of a run."""

from collections.abc import Sequence

from search.data.names import enumerate_names, shown
from search.progress.clock import Clock
from search.progress.words import duration, metric_words
from search.results.configuration_file import BestConfiguration
from search.results.run_result import RunOutput, RunResult
from search.storage import without_password
from search.system.printed_command import printed_command
from spaces.recipes import RECIPES

ACTIVITY_WORDS = {
    "training": "training steps",
    "compiling": "tracing and compiling",
    "sampling": "suggestion",
    "features": "backbone's features",
}


def summarize_run(result: RunResult) -> str:
    """Returns the closing text: the result, the time spent, the paths and the next commands."""
    if result.output is None:
        return summarize_search(result.configuration, storage=result.storage)
    return summarize(result.output, storage=result.storage, artifacts=result.artifacts)


def summarize(
    output: RunOutput, *, storage: str | None = None, artifacts: str | None = None
) -> str:
    """Returns the winner, its scores, the time spent, the paths and the next commands.

    `storage` is the URL of the study's storage, if there is one, and `artifacts` the location of
    its artifacts.
    """
    configuration, test = output.configuration, output.evaluation
    retraining = output.metrics["retraining"]
    rows = []
    if configuration.study is not None:
        trial = "" if configuration.trial is None else f", trial {configuration.trial}"
        rows.append(("winner", f"{configuration.study}{trial}"))
    recipe = RECIPES.get(configuration.recipe or "")
    if recipe is not None:
        rows.append(("recipe", f"{recipe.name} ({recipe.source})"))
        rows.append(("published", f"on CIFAR-10: {recipe.published_line()}"))
    rows.append(("network", configuration.candidate.summary()))
    if configuration.value is not None and configuration.metric is not None:
        words = metric_words(f"val_{configuration.metric}")
        rows.append(("search", f"{words} {configuration.value:z.4f}"))
    rows += [
        (
            "retraining" if recipe is None else "training",
            f"{retraining['epochs']:.4g} epochs on {retraining['images']:,} images in "
            f"{duration(retraining['seconds'])}, {retraining['parameters']:,} parameters",
        ),
        (
            "test",
            f"accuracy {test.accuracy:.4f}, loss {test.loss:z.4f}, macro F1 {test.macro_f1:.4f} "
            f"on {test.images:,} images",
        ),
        (
            "",
            f"balanced accuracy {test.balanced_accuracy:.4f}, AUC {test.auc:.4f}, average "
            f"precision {test.average_precision:.4f}{_without(test.absent_classes)}",
        ),
        (
            "baseline",
            f"accuracy {test.majority_accuracy:.4f} by always predicting "
            f"'{shown(test.commonest_class)}'",
        ),
        ("files", f"{output.directory}/"),
        ("", "report.html, model.keras, best_config.yaml, metrics.json,"),
        ("", "test_predictions.csv, learning_curve.png, confusion_matrix.png, ..."),
    ]
    lines = [f"{label:12}{text}" for label, text in rows]
    lines += ["", "where the time went", *time_table(output.clock), "", "next"]
    lines += [f"  {command}" for command in _next_commands(output, storage, artifacts)]
    return "\n".join(lines)


def _without(classes: Sequence[str]) -> str:
    return f" (no test images: {enumerate_names(classes)})" if classes else ""


def summarize_search(configuration: BestConfiguration, *, storage: str | None) -> str:
    """Returns the winner of a search without retraining, and the next command."""
    words = metric_words(f"val_{configuration.metric}")
    rows = [
        ("winner", f"{configuration.study}, trial {configuration.trial}"),
        ("network", configuration.candidate.summary()),
        ("search", f"{words} {configuration.value:z.4f}"),
    ]
    lines = [f"{label:12}{text}" for label, text in rows]
    if storage is not None:
        export = printed_command(
            *("python", "-m", "search.export", "--study", str(configuration.study)),
            *("--storage", without_password(storage), "--to", "best.yaml"),
        )
        lines += ["", "next", f"  {export}"]
    return "\n".join(lines)


def time_table(clock: Clock) -> list[str]:
    """Returns one line per activity with its time and its share of the total, longest first."""
    return [
        f"  {ACTIVITY_WORDS.get(name, name):22}{duration(seconds):>12}{share:8.1%}"
        for name, seconds, share in clock.shares()
    ]


def _next_commands(output: RunOutput, storage: str | None, artifacts: str | None) -> list[str]:
    directory = output.directory
    model = str(directory / "model.keras")
    configuration = str(directory / "best_config.yaml")
    commands = []
    if storage is not None:
        place = [] if artifacts is None else ["--artifacts", artifacts]
        commands.append(
            printed_command(
                *("python", "-m", "search", "dashboard"),
                *("--storage", without_password(storage), *place),
            )
        )
    return [
        *commands,
        printed_command(
            *("python", "-m", "search.retrain", "--config", configuration, "--data", output.data),
            *(() if output.layout == "auto" else ("--layout", output.layout)),
        ),
        printed_command("python", "-m", "search", "predict", "--model", model, "FILE_OR_FOLDER"),
    ]
