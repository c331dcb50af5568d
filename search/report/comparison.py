"""What a report compares with the winner."""

from collections.abc import Iterator

from search.report.data import Comparison, NetworkFacts, RunFacts, StudyFacts, TrialFacts
from search.report.statistics import best_so_far
from spaces.recipes import RECIPES

_CIFAR10 = {
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
}


def compare(
    study: StudyFacts | None, run: RunFacts | None, network: NetworkFacts | None
) -> Iterator[Comparison]:
    """Yields the winner, the study's default, its recipes and the published figures that fit."""
    if study is None and run is None:
        return
    yield row_of(study, run, kind="winner", network=network)
    if study is not None:
        default = study.trial(study.default)
        if default is not None and default.value is not None and default.number != study.best:
            yield _trial_row(default, "default", "the study's own first trial")
        for trial in study.counted:
            if trial.recipe is not None and trial.value is not None:
                yield _trial_row(trial, "recipe", trial.recipe)
    names = run.class_names if run is not None else study.class_names if study is not None else ()
    if {name.lower() for name in names} == _CIFAR10:
        yield from _published(trained=run.recipe if run is not None else None)


def row_of(
    study: StudyFacts | None,
    run: RunFacts | None,
    *,
    kind: str = "study",
    network: NetworkFacts | None = None,
    beside: StudyFacts | None = None,
) -> Comparison:
    """Returns a whole study, with its finished run, as one row.

    `beside` is the report's own study, to compare this one with.
    """
    best = None if study is None else study.trial(study.best)
    inference = None if run is None or run.material is None else run.material.inference
    if network is not None:
        work: int | None = network.multiply_accumulates
    else:
        work = None if inference is None else inference.multiply_accumulates
    parameters = None if best is None else best.parameters
    name = study.name if study is not None else "a finished run"
    if study is None and run is not None:
        name = run.recipe or run.study or run.directory.name
    return Comparison(
        kind="winner" if kind == "winner" else "study",
        name=name,
        validation=None if best is None else best.value,
        test=None if run is None else run.test["accuracy"],
        interval=None if run is None else run.interval,
        parameters=parameters if run is None else run.retraining["parameters"],
        multiply_accumulates=work,
        single_seconds=None if inference is None else inference.single_seconds,
        hours=None if study is None else study.search_seconds / 3600,
        trials=None if study is None else sum(trial.passes > 0 for trial in study.counted),
        images=None if study is None else study.images_shown,
        remark=_differences(study, beside),
        best_so_far=() if study is None else best_so_far(study.counted, maximize=study.maximize),
    )


def _differences(study: StudyFacts | None, beside: StudyFacts | None) -> str:
    """Returns why two studies are not fully comparable; "" if they are."""
    if study is None or beside is None:
        return ""
    found = []
    if study.data_fingerprint != beside.data_fingerprint:
        found.append("other images")
    elif study.attributes.get("split_sha256") != beside.attributes.get("split_sha256"):
        found.append("another split")
    if study.metric != beside.metric:
        found.append(f"ranked by {study.metric.replace('_', ' ')}")
    return ", ".join(found)


def _trial_row(trial: TrialFacts, kind: str, name: str) -> Comparison:
    early = "" if trial.state == "complete" else f"{trial.state} after {trial.passes:.3g} passes"
    return Comparison(
        kind="default" if kind == "default" else "recipe",
        name=name,
        validation=trial.value,
        parameters=trial.parameters,
        remark=", ".join(filter(None, (f"trial {trial.number}", early))),
    )


def _published(trained: str | None) -> Iterator[Comparison]:
    for recipe in RECIPES.values():
        if "accuracy" in recipe.published and trained in (None, recipe.name):
            yield Comparison(
                kind="published",
                name=recipe.name,
                test=recipe.published["accuracy"],
                parameters=recipe.parameters,
                remark="as published, on CIFAR-10's own test images",
            )
