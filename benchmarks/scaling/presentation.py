"""Presents the benchmark's figures as Markdown tables and a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_OPERATIONS = ("ask", "suggest", "report", "tell")


def cells_table(cells: Sequence[dict[str, Any]]) -> str:
    """Returns a table with a row per cell; latencies in milliseconds, median / 99th percentile."""
    head = ["storage", "trials", "workers", "sampler", "trials/s", *_OPERATIONS, "CPU", "note"]
    lines = [head, ["---"] * len(head)]
    for cell in cells:
        latencies = cell.get("latency_ms", {})
        shown = [_latency(latencies.get(operation)) for operation in _OPERATIONS]
        rate = cell.get("trials_per_second")
        processor = cell.get("machine_cpu_percent")
        notes = [cell.get("cut"), *cell.get("errors", [])[:1]]
        lines.append(
            [
                cell["storage"],
                f"{cell['prefilled']:,}",
                str(cell["workers"]),
                cell["sampler"],
                "" if rate is None else f"{rate:.1f}",
                *shown,
                "" if processor is None else f"{processor:.0f}%",
                "; ".join(note for note in notes if note),
            ]
        )
    return _markdown(lines)


def scaling_table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns a table with a row per storage, size and sampler: rates and the scaling limit."""
    head = ["storage", "trials", "sampler", "trials/s by workers", "scales to"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        rates = ", ".join(f"{n}: {rate:.1f}" for n, rate in row["trials_per_second"].items())
        reach = row["scales_to"]
        lines.append(
            [
                row["storage"],
                f"{row['prefilled']:,}",
                row["sampler"],
                rates,
                "?" if reach is None else str(reach),
            ]
        )
    return _markdown(lines)


def growth_table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns a table with a row per operation and a column per size; median milliseconds."""
    head = ["operation, ms", *(f"{row['prefilled']:,} trials" for row in rows)]
    lines = [head, ["---"] * len(head)]
    lines.append(
        ["first read of a process", *(f"{1000 * row['first_read_seconds']:.0f}" for row in rows)]
    )
    for operation in rows[0]["milliseconds"] if rows else ():
        lines.append([operation, *(f"{row['milliseconds'][operation]:.1f}" for row in rows)])
    return _markdown(lines)


def plot(cells: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws trials per second over workers: a panel per size and sampler, a line per storage."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [cell for cell in cells if cell.get("trials_per_second")]
    sizes = sorted({cell["prefilled"] for cell in measured})
    samplers = list(dict.fromkeys(cell["sampler"] for cell in measured))
    if not measured:
        return
    figure, panels = pyplot.subplots(
        len(samplers),
        len(sizes),
        figsize=(3.6 * len(sizes), 3.0 * len(samplers)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    names = list(dict.fromkeys(cell["storage"] for cell in measured))
    counts = sorted({cell["workers"] for cell in measured})
    ideal = {cell["workers"]: cell["ideal_trials_per_second"] for cell in measured}
    for row, sampler in zip(panels, samplers, strict=True):
        for panel, size in zip(row, sizes, strict=True):
            panel.plot(counts, [ideal[n] for n in counts], ":", color="grey", label="ideal")
            for index, storage in enumerate(names):
                points = [
                    (cell["workers"], cell["trials_per_second"])
                    for cell in measured
                    if (cell["storage"], cell["prefilled"], cell["sampler"])
                    == (storage, size, sampler)
                ]
                if points:
                    panel.plot(*zip(*points, strict=True), "o-", color=f"C{index}", label=storage)
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.set_xticks(counts, [str(n) for n in counts])
            panel.set_title(f"{sampler}, {size:,} trials", fontsize=10)
            panel.grid(alpha=0.3)
    for panel in panels[-1]:
        panel.set_xlabel("workers")
    for row in panels:
        row[0].set_ylabel("trials per second")
    panels[0][0].legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _latency(latency: dict[str, float] | None) -> str:
    return "" if latency is None else f"{latency['median']:.1f} / {latency['p99']:.1f}"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
