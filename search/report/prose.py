"""The sentences of a report."""

from collections import Counter

from search.progress.words import counted
from search.report.data import ReportData, RunFacts, StudyFacts
from search.report.words import metric_name, metric_value, percent, short, span
from search.trials.outcomes import Outcome

# Below this calibration error, probabilities can be taken at face value.
_GOOD_CALIBRATION = 0.05


def lead(data: ReportData) -> str:
    """Returns the line below the title: what was searched, and on which images."""
    study, run = data.study, data.run
    parts = []
    if study is not None and study.description:
        parts.append(study.description.rstrip("."))
    if run is not None and run.recipe is not None:
        parts.append(f"The published recipe {run.recipe}, trained as its authors did")
    names = run.class_names if run is not None else study.class_names if study is not None else ()
    images = sum(study.split.values()) if study is not None else 0
    if names:
        size = f", {study.image_shape} pixels" if study is not None and study.image_shape else ""
        total = f"{counted(images, 'image')} of " if images else ""
        parts.append(f"{total}{len(names):,} classes{size}")
    return ". ".join(parts) + "." if parts else ""


def status(data: ReportData) -> dict[str, str]:
    """Returns the study's progress, and whether it is good, open or bad."""
    study, run = data.study, data.run
    states = Counter() if study is None else Counter(str(trial.state) for trial in study.counted)
    unfinished = [f"{states[name]} {name}" for name in ("running", "waiting") if states.get(name)]
    suffix = f", {' and '.join(unfinished)}" if unfinished else ""
    if run is not None:
        return {"kind": "", "text": f"Finished: trained, tested and exported{suffix}"}
    finished = sum(count for name, count in states.items() if name not in ("running", "waiting"))
    if not states:
        return {"kind": "open", "text": "No trial yet"}
    trials = counted(finished, "trial")
    if states.get("complete"):
        return {"kind": "open", "text": f"Not finished: {trials} ended{suffix}"}
    if unfinished:
        return {"kind": "open", "text": f"Searching: {trials} ended, none complete yet{suffix}"}
    return {"kind": "bad", "text": f"No trial completed: {trials} ended"}


def test_in_words(run: RunFacts) -> str:
    """Returns the test result in a few sentences."""
    test = run.test
    wrong = test["images"] - round(test["accuracy"] * test["images"])
    sentence = (
        f"{wrong:,} of {test['images']:,} test images are classified wrongly. Accuracy "
        f"{percent(test['accuracy'], 2)}, balanced accuracy "
        f"{percent(test['balanced_accuracy'], 2)}, macro F1 {percent(test['macro_f1'], 2)}, "
        f"loss {test['loss']:z.4f}."
    )
    opened = len(run.openings)
    times = "once" if opened == 1 else f"{opened} times"
    sentence += f" The test images of this study were opened {times}."
    if opened > 1:
        sentence += " Every further opening makes the figure a little more optimistic."
    absent = test.get("absent_classes", ())
    if absent:
        sentence += (
            f" {counted(len(absent), 'class').replace('classs', 'classes')} without test images."
        )
    return sentence


def calibration_in_words(run: RunFacts | None) -> str:
    """Says whether the model's probabilities can be trusted."""
    if run is None or run.calibration is None:
        return ""
    found = run.calibration
    images = sum(one.images for one in found.bins)
    sure = sum(one.images * one.confidence for one in found.bins) / images
    right = sum(one.images * one.accuracy for one in found.bins) / images
    sentence = (
        f"Expected calibration error {percent(found.error)}: the model is {percent(sure)} sure on "
        f"average and right on {percent(right)} of the images."
    )
    if found.error < _GOOD_CALIBRATION:
        return f"{sentence} Its probabilities can be taken at face value."
    if right > sure:
        return (
            f"{sentence} It is underconfident, as label smoothing, MixUp and CutMix make it: set "
            f"a threshold on its probabilities from these figures."
        )
    return f"{sentence} It is overconfident: its probabilities are too high."


def network_in_words(data: ReportData) -> str:
    """Returns the network's size in a sentence."""
    network = data.network
    if network is None:
        return ""
    mirrored = (
        " The model averages an image and its mirror image, which doubles the work of a prediction."
        if network.mirrored
        else ""
    )
    return (
        f"{network.parameters:,} parameters; a prediction takes "
        f"{short(network.multiply_accumulates)} multiply-accumulates.{mirrored}"
    )


def search_in_words(study: StudyFacts | None) -> str:
    """Returns what the search did, in a few sentences."""
    if study is None:
        return ""
    ended = [trial for trial in study.counted if isinstance(trial.state, Outcome)]
    complete = sum(trial.state is Outcome.COMPLETE for trial in ended)
    sentence = (
        f"{counted(len(ended), 'trial')} in {span(study.search_seconds)}, {complete} of them to "
        f"the end, ranked by {metric_name(study.metric)} on the validation images."
    )
    best, default = study.trial(study.best), study.trial(study.default)
    if best is not None:
        sentence += (
            f" The winner is trial {best.number} with {metric_value(best.value, study.metric)}"
        )
        if default is None or default.value is None:
            sentence += "."
        elif default.number == best.number:
            sentence += ", the study's own first candidate: no other trial did better."
        else:
            value = metric_value(default.value, study.metric)
            sentence += f"; the study's own first candidate had {value}."
    return sentence


def time_in_words(study: StudyFacts | None) -> str:
    """Returns the plan and what the early ends saved."""
    if study is None:
        return ""
    sentences = [] if study.plan is None else [f"Planned: {study.plan}."]
    lengths = [trial.seconds for trial in study.counted if trial.state is Outcome.COMPLETE]
    early = [trial.seconds for trial in study.counted if trial.state is Outcome.PRUNED]
    if lengths and early:
        whole = sum(lengths) / len(lengths)
        saved = sum(max(0.0, whole - seconds) for seconds in early)
        sentences.append(
            f"{counted(len(early), 'trial')} ended early, which saved about {span(saved)}: a "
            f"complete trial took {span(whole)} on average."
        )
    return " ".join(sentences)
