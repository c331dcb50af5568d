"""Human-readable durations, counts and metrics."""

from collections.abc import Mapping

from search.system.names import shown


def duration(seconds: float) -> str:
    """Formats seconds: `0.8 s`, `42 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun, as in `1 epoch` and `50,000 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def metric_words(metric: str) -> str:
    """Returns a metric's display name: `val_macro_f1` becomes `validation macro F1`."""
    words = metric.replace("f1", "F1").replace("auc", "AUC").replace("_", " ")
    return f"validation {words[4:]}" if words.startswith("val ") else words


def describe_metrics(metrics: Mapping[str, float]) -> str:
    """Returns the loss and the accuracies of an epoch in one line."""
    described = [
        f"{metric_words(name)} {metrics[name]:z.4f}"
        for name in ("loss", "accuracy", "val_loss", "val_accuracy")
        if name in metrics
    ]
    return ", ".join(described) or "training"


def one_line(text: str) -> str:
    """Returns a text on one line, with terminal control characters escaped."""
    return shown(" ".join(text.split()))
