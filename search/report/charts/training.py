"""The winner's learning curves, and the gap between training images and unseen images."""

from collections.abc import Sequence

from markupsafe import Markup

from search.report.charts.rows import Row, draw_rows
from search.report.data import RunFacts, StudyFacts
from search.report.svg import HEIGHT, WIDTH, Axis, Drawing, Point, draw_axes, draw_legend, scale_of
from search.report.words import compact, metric_value, percent
from search.trials.outcomes import Outcome

_LEFT, _BOTTOM = 48.0, 44.0
_MOST_POINTS = 240
_PANELS = ("accuracy", "loss")


def learning_curves(run: RunFacts, study: StudyFacts | None) -> list[Markup]:
    """Returns accuracy and loss of the final training by passes over the training images.

    Both charts also show the winner's validation values in the search, and the test result.
    """
    if not run.history:
        return []
    return [_curve(name, run, study) for name in _PANELS if name in run.history[-1]]


def _curve(name: str, run: RunFacts, study: StudyFacts | None) -> Markup:
    rows = run.history[:: max(1, len(run.history) // _MOST_POINTS)]
    if rows[-1] is not run.history[-1]:
        rows = (*rows, run.history[-1])
    lines: list[tuple[str, str, Sequence[Point]]] = [
        ("s-train", "training", [(row["epoch"], row[name]) for row in rows if name in row])
    ]
    validation = [(row["epoch"], row[f"val_{name}"]) for row in rows if f"val_{name}" in row]
    if validation:
        lines.append(("s-validation", "validation", validation))
    winner = None if study is None else study.trial(run.trial)
    if study is not None and winner is not None and study.metric == name and winner.curve:
        lines.append(("s-validation", "validation, in the search", winner.curve))
    test = float(run.test[name])
    ends = ", ".join(f"{label} {metric_value(line[-1][1], name)}" for _, label, line in lines)
    drawing = Drawing(
        f"curve-{name}",
        title=f"{name.capitalize()} of the winner while it trained",
        description=f"By passes over the training images. At the end: {ends}; on the test images "
        f"{metric_value(test, name)}.",
    )
    legend = [(class_, label) for class_, label, _ in lines]
    top = draw_legend(drawing, [*legend, ("s-test", f"test {metric_value(test, name)}")]) + 24
    values = [value for _, _, line in lines for _, value in line] + [test]
    passes = [epoch for _, _, line in lines for epoch, _ in line]
    x = scale_of([0.0, *passes], _LEFT, WIDTH - 10, padding=0.0)
    y = scale_of(
        values,
        HEIGHT - _BOTTOM,
        top,
        low=0.0 if name == "loss" else None,
        high=1.0 if name == "accuracy" and max(values) > 0.9 else None,
    )
    write = (lambda value: percent(value, 0)) if name == "accuracy" else compact
    draw_axes(drawing, Axis(x, "passes over the images", compact), Axis(y, name, write))
    drawing.line((_LEFT, y(test)), (WIDTH - 10, y(test)), "s-test")
    for class_, _, line in lines:
        points = [(x(epoch), y(value)) for epoch, value in line]
        drawing.path(points, class_)
        if len(points) == 1:
            drawing.dot(points[0], 4, f"{class_} dot")
    return drawing.render()


def gap(run: RunFacts, study: StudyFacts | None) -> Markup:
    """Returns the winner's accuracy on training, validation and test images on one scale."""
    rows = [Row("test images", float(run.test["accuracy"]), "s-test", run.interval)]
    winner = None if study is None else study.trial(run.trial)
    if study is not None and study.metric == "accuracy" and winner is not None:
        if winner.value is not None:
            rows.insert(0, Row("validation images, in the search", winner.value, "s-validation"))
    elif "val_accuracy" in run.retraining:
        value = float(run.retraining["val_accuracy"])
        rows.insert(0, Row("validation images", value, "s-validation"))
    trained = training_accuracy(run)
    if trained is not None:
        rows.insert(0, Row("its own training images", trained, "s-train"))
    return draw_rows(
        "gap",
        rows,
        title="Accuracy on images that the winner has and has not seen",
        percent_scale=True,
        join=True,
    )


def training_accuracy(run: RunFacts) -> float | None:
    """Returns the exported model's accuracy on its training images; None if unknown."""
    found = run.retraining.get("training_accuracy_of_the_model", run.retraining.get("accuracy"))
    return None if found is None else float(found)


def gap_in_words(run: RunFacts) -> str:
    """Returns the gap between training and test accuracy in words, and what it means."""
    trained, test = training_accuracy(run), float(run.test["accuracy"])
    if trained is None:
        return ""
    distance = trained - test
    low, high = run.interval
    facts = (
        f"The winner recognises {percent(trained)} of its own training images and "
        f"{percent(test)} of the test images"
    )
    baseline = run.test["majority_baseline"]
    if low <= baseline["accuracy"]:
        return (
            f"{facts}. Always answering “{baseline['class']}” reaches "
            f"{percent(baseline['accuracy'])}: the network has hardly learnt anything, so the "
            f"gap says nothing. Try more time or other settings first."
        )
    if trained <= high:
        return (
            f"{facts}. The difference is within the uncertainty of the test "
            f"({percent(low)} to {percent(high)}): no sign of overfitting."
        )
    gap = f"{facts}: a gap of {distance * 100:.1f} points"
    if 1 - trained > distance:
        return (
            f"{gap}. Most of the error already occurs on the training images: the network "
            f"underfits. Longer training or a larger network helps more than regularisation."
        )
    if distance < 0.05:
        return f"{gap}. That is little: the network generalises well to new images."
    degree = "clearly overfits" if distance < 0.15 else "overfits strongly"
    return (
        f"{gap}. It {degree}. More images help most; then stronger augmentation, dropout or "
        f"weight decay, and a smaller network."
    )


def trial_gaps(study: StudyFacts) -> Markup | None:
    """Returns every trial by its accuracy on training and on validation images.

    None if trials did not record the training accuracy, or are not ranked by accuracy.
    """
    if study.metric != "accuracy":
        return None
    found = [
        (trial, trial.training_accuracy, trial.value)
        for trial in study.counted
        if trial.state is Outcome.COMPLETE
        and trial.training_accuracy is not None
        and trial.value is not None
    ]
    if len(found) < 3:
        return None
    over = sum(trained - value > 0.05 for _, trained, value in found)
    drawing = Drawing(
        "trial-gaps",
        title="Training against validation accuracy of every complete trial",
        description=f"{over} of {len(found)} trials lie more than 5 points below the diagonal: "
        f"they recognise their training images better than new ones.",
    )
    top = draw_legend(drawing, [("s-guide", "equal"), ("s-best", "winner")]) + 24
    values = [value for _, trained, value in found for value in (trained, value)]
    x = scale_of(values, _LEFT, WIDTH - 12)
    y = scale_of(values, HEIGHT - _BOTTOM, top)
    write = lambda value: percent(value, 0)  # noqa: E731 - one name for both axes
    draw_axes(drawing, Axis(x, "training accuracy", write), Axis(y, "validation accuracy", write))
    drawing.line((x(x.low), y(x.low)), (x(x.high), y(x.high)), "s-guide")
    for trial, trained, value in found:
        class_ = "s-best dot" if trial.number == study.best else "s-trial dot"
        drawing.dot((x(trained), y(value)), 4, class_, tip=f"trial {trial.number}")
    return drawing.render()
