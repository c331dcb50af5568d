"""The figures of a run."""

import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search.results.class_labels import ClassLabels, class_labels
from search.system.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

    from search.data import Subset
    from search.results.evaluate import Evaluation

_TRAINING, _VALIDATION, _TEST = "#1f77b4", "#8c8c8c", "#d62728"
_RIGHT, _WRONG = "#2a7f3f", "#b3261e"
# With more classes, first the numbers and then the names no longer fit into the matrix.
_MOST_CLASSES_WITH_NUMBERS = 20
_MOST_CLASSES_WITH_NAMES = 120


def draw_learning_curve(
    path: str | Path,
    history: Sequence[Mapping[str, Any]],
    *,
    evaluation: "Evaluation | None" = None,
    search_curve: Sequence[tuple[float, float]] = (),
    search_metric: str = "accuracy",
) -> None:
    """Draws loss and accuracy by epoch.

    `history` is the history of the retraining, one row per epoch. `search_curve` holds (epoch,
    value) pairs of the winning trial on the validation images; it is drawn if `search_metric` is
    the metric of a panel ("accuracy" or "loss").
    """
    epochs = [float(row["epoch"]) for row in history]
    with _figure(path, size=(10.0, 4.2)) as figure:
        panels = dict(zip(("loss", "accuracy"), figure.subplots(1, 2), strict=True))
        for name, axes in panels.items():
            _style(axes)
            values = [float(row[name]) for row in history]
            marker = "o" if len(epochs) == 1 else None
            axes.plot(epochs, values, color=_TRAINING, lw=2, marker=marker, label="training")
            validation = [row.get(f"val_{name}") for row in history]
            if any(value is not None for value in validation):
                axes.plot(epochs, validation, color=_VALIDATION, lw=2, label="validation")
            if search_curve and search_metric == name:
                axes.plot(
                    *zip(*search_curve, strict=True),
                    color=_VALIDATION,
                    lw=1.5,
                    marker=".",
                    label="validation, in the search",
                )
            if evaluation is not None:
                result = getattr(evaluation, name)
                shown = f"{result:.1%}" if name == "accuracy" else f"{result:z.3f}"
                axes.axhline(result, color=_TEST, lw=1.2, ls="--", label=f"test: {shown}")
            axes.set_title(name.capitalize())
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(frameon=False)
        panels["loss"].set_ylim(bottom=0)
        panels["accuracy"].yaxis.set_major_formatter("{x:.0%}")


def draw_confusion_matrix(path: str | Path, evaluation: "Evaluation") -> None:
    """Draws the confusion matrix; colours show shares of each true class."""
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import PercentFormatter

    counts = evaluation.confusion_matrix
    classes = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.5 + 0.55 * classes, 5.0, 16.0))
    with _figure(path, size=(side + 1.0, side)) as figure:
        axes = figure.subplots()
        # A square-root scale makes confusions of a few per cent visible.
        image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
        bar = figure.colorbar(
            image,
            ax=axes,
            fraction=0.045,
            pad=0.02,
            ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1],
            format=PercentFormatter(1.0, decimals=0),
        )
        bar.outline.set_visible(False)
        bar.set_label("share of the true class")
        axes.set_title(f"Confusion matrix: accuracy {evaluation.accuracy:.2%}", pad=12)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        for spine in axes.spines.values():
            spine.set_visible(False)
        if classes > _MOST_CLASSES_WITH_NAMES:
            return
        labels = class_labels(evaluation.class_names, width=18)
        size = float(np.clip(72 * 0.5 * side / classes, 4.5, 10.0))
        longest = max(map(len, labels.texts))
        rotation = 90 if classes > 20 or longest > 4 else 0
        axes.set_xticks(
            range(classes),
            labels.texts,
            rotation=rotation,
            fontsize=size,
            fontfamily=labels.families,
        )
        axes.set_yticks(range(classes), labels.texts, fontsize=size, fontfamily=labels.families)
        _add_legend(figure, labels)
        axes.tick_params(length=0)
        if classes > _MOST_CLASSES_WITH_NUMBERS:
            return
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.3 else "#333333"
                axes.text(
                    column, row, f"{count}", ha="center", va="center", color=color, fontsize=9
                )


def draw_examples(path: str | Path, evaluation: "Evaluation", subset: "Subset") -> None:
    """Draws the most confident mistakes, then the most and least confident correct predictions."""
    wrong = evaluation.predictions != evaluation.labels
    surest = np.argsort(-evaluation.confidences, kind="stable")
    mistakes = surest[wrong[surest]][:10]
    correct = surest[~wrong[surest]]
    correct = np.unique(np.concatenate([correct[:3], correct[-2:]])) if len(correct) else correct
    correct = correct[np.argsort(-evaluation.confidences[correct], kind="stable")]
    groups = [
        ("Most confident mistakes", mistakes, _WRONG),
        ("Correct: most and least confident", correct, _RIGHT),
    ]
    groups = [group for group in groups if len(group[1])]
    rows = [-(-len(positions) // 5) for _, positions, _ in groups]
    drawn = np.concatenate([positions for _, positions, _ in groups])
    classes = np.concatenate([evaluation.predictions[drawn], evaluation.labels[drawn]])
    labels = class_labels(evaluation.class_names, classes.tolist(), width=20)
    with _figure(path, size=(10.0, 2.45 * sum(rows) + 0.5 * len(rows))) as figure:
        parts = figure.subfigures(len(groups), 1, squeeze=False, height_ratios=rows).flat
        for part, count, (title, positions, color) in zip(parts, rows, groups, strict=True):
            part.suptitle(title, fontsize=12, fontweight="bold", color=color)
            images, _ = subset.gather(positions)
            cells = part.subplots(count, 5, squeeze=False).ravel()
            for axes in cells:
                axes.set_axis_off()
            for axes, image, position in zip(cells, images, positions, strict=False):
                _draw_example(axes, image, evaluation, labels, int(position), color)
        _add_legend(part, labels)


def _draw_example(
    axes: "Axes",
    image: Any,
    evaluation: "Evaluation",
    labels: ClassLabels,
    position: int,
    color: str,
) -> None:
    names = labels.texts
    predicted, true = evaluation.predictions[position], evaluation.labels[position]
    title = f"{names[predicted]} ({evaluation.confidences[position]:.0%})"
    if predicted != true:
        title = f"predicted {title}\ntrue {names[true]}"
    axes.imshow(image, interpolation="nearest")
    axes.set_title(title, fontsize=9, color=color, fontfamily=labels.families)


def _style(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _add_legend(figure: "FigureBase", labels: ClassLabels) -> None:
    if labels.legend:
        figure.supxlabel(textwrap.fill(labels.legend, 80, break_on_hyphens=False), fontsize=8)


@contextmanager
def _figure(path: str | Path, *, size: tuple[float, float]) -> Iterator["Figure"]:
    """Yields a figure outside pyplot's global state, and saves it atomically."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    yield figure
    with warnings.catch_warnings(), whole_file(path) as temporary:
        # If a font was removed since matplotlib listed it, only a character is missing.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(temporary, dpi=130, format="png", facecolor="white")
