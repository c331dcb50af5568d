"""How well `predict_cost` foretells the seconds of training steps and of validation.

    python -m benchmarks.cost_prediction

Measures real training steps of the published recipes that have networks of their own and of 50
candidates drawn from the from-scratch spaces, in each precision, and compares them with what is
predicted from shapes and the speed of this machine. `--fit` fits the coefficients as well, judges
each half of the networks by a fit on the other one, and prints the fit on all for
`search/sizing/coefficients.py`. Where other programs are busy, `--rounds 2` measures everything
twice and takes the faster. Takes about ten minutes on 2 CPU cores and resumes where it was
interrupted; `--again` measures everything anew. The result goes to
benchmarks/results/cost_prediction.json.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import typer

from benchmarks.cost.cases import Case, cases
from benchmarks.cost.fitting import fit as fit_prices
from search.files import write_text
from search.runtime import cpu_name, start_keras
from search.sizing import coefficients as shipped
from search.sizing.coefficients import COMPILING_SECONDS, GROUPS, Group, Precision
from search.sizing.cost import predict_cost
from search.sizing.machine_speed import MachineSpeed, ThisProcess, measured_on, speed_from
from search.sizing.probes import probe
from search.sizing.quantities import of_step, of_validation
from search.sizing.timing import Timed, time_training
from search.workers.machine import available_cores
from search.workers.measuring_process import BusyTime

RESULTS = Path(__file__).parent / "results" / "cost_prediction.json"
PRECISIONS: tuple[Precision, ...] = ("bfloat16", "float32")
SECONDS = 1.0
# The probes take turns with the networks: their fastest times are the machine's.
CASES_PER_PROBES = 12
PROBE_SECONDS = 0.7
# On a busy machine the processor's time tells what a step takes on a free one: its threads keep so
# many of two cores busy, but for what Python does between steps.
BUSY_SHARE = 0.1
CORES_OF_A_STEP = 1.82
SERIAL_SECONDS = 0.002

PARTS = ("step", "validation", "compiling")

Row: TypeAlias = dict[str, Any]


def main(
    fit: bool = False,
    again: bool = False,
    rounds: int = 1,
    precision: Annotated[Precision | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measures what has not been measured, predicts it, and keeps both."""
    if precision is not None:
        measure(precision, rounds)
        return
    if again:
        RESULTS.unlink(missing_ok=True)
    for one in PRECISIONS:
        # In a process of its own, as a trial's worker is.
        command = [sys.executable, "-m", "benchmarks.cost_prediction", "--precision", one]
        command += ["--rounds", str(rounds)]
        subprocess.run(command, check=True)
    report(fit=fit)


def measure(precision: Precision, rounds: int) -> None:
    """Measures the probes, and every network until it has been measured `rounds` times."""
    start_keras()
    import keras

    record = read()
    rows: dict[str, list[Row]] = record["measured"].setdefault(precision, {})
    probes: dict[Group, list[Row]] = record["probes"].setdefault(
        precision, {group: [] for group in GROUPS}
    )
    for number, case in enumerate(cases()):
        if len(rows.get(case.name, [])) >= rounds:
            continue
        if number % CASES_PER_PROBES == 0 or not probes["overhead"]:
            for group in GROUPS:
                busy = BusyTime([ThisProcess()])
                found = time_training(
                    *probe(group),
                    precision=precision,
                    xla="auto",
                    seconds=PROBE_SECONDS,
                    validate=False,
                )
                probes[group].append(row_of(found, busy))
        row = measure_case(case, precision)
        rows.setdefault(case.name, []).append(row)
        print(f"{precision} {case.name}: {json.dumps(row)}", flush=True)
        write(record)
        keras.utils.clear_session(free_memory=True)


def measure_case(case: Case, precision: Precision) -> Row:
    """Returns the seconds that a network takes."""
    busy = BusyTime([ThisProcess()])
    found = time_training(
        case.candidate, case.spec, precision=precision, xla="auto", seconds=SECONDS
    )
    return {"batch_size": case.candidate.training.batch_size, **row_of(found, busy)}


def row_of(timed: Timed, busy: BusyTime) -> Row:
    """Returns what was measured, and how busy other programs were."""
    seconds = {name: value for name, value in asdict(timed).items() if value is not None}
    return {**seconds, "others_share": round(busy.others_share(), 3)}


def undisturbed(row: Row, part: str) -> float:
    """Returns the seconds that a part takes on a machine with nothing else to do."""
    wall, processor = float(row[part]), float(row[f"{part}_processor"])
    if row["others_share"] <= BUSY_SHARE:
        return wall
    if part == "compiling":
        # One thread traces and compiles until the first step begins.
        tracing = processor - float(row["step_processor"])
        return min(wall, tracing + undisturbed(row, "step"))
    cores = min(CORES_OF_A_STEP, available_cores())
    serial = SERIAL_SECONDS if part == "step" else 0.0
    return min(wall, serial + max(0.0, processor - serial) / cores)


def report(*, fit: bool) -> None:
    """Predicts everything that was measured, and prints how far off that is."""
    start_keras()
    record = read()
    known = {case.name: case for case in cases()}
    record["predicted"], record["errors"] = {}, {}
    for precision in PRECISIONS:
        measured = fastest(record, precision)
        if fit:
            record.setdefault("held_out", {})[precision] = fit_table(known, record, precision)
        speed = first_speed(record, precision)
        rows = record["predicted"][precision] = {
            name: predicted(known[name], speed) for name in measured
        }
        record["errors"][precision] = {
            part: spread([rows[name][part] / measured[name][part] for name in measured])
            for part in PARTS
        }
        for name in sorted(rows, key=lambda one: rows[one]["step"] / measured[one]["step"]):
            show(name, measured[name], rows[name])
        print(precision, json.dumps(record["errors"][precision], indent=2))
    record["environment"] = {
        "processor": cpu_name(),
        "cores": available_cores(),
        "versions": {name: version(name) for name in ("keras", "tensorflow", "numpy")},
    }
    write(record)


def fastest(record: Row, precision: Precision) -> dict[str, Row]:
    """Returns the shortest of each network's times, because disturbances only lengthen them."""
    return {
        name: rows[0] | {part: min(undisturbed(row, part) for row in rows) for part in PARTS}
        for name, rows in record["measured"][precision].items()
    }


def predicted(case: Case, speed: MachineSpeed) -> Row:
    """Returns what a network is predicted to take, of as many images as there may be."""
    cost = predict_cost(case.shape, case.candidate.training, speed, images=10**6)
    return {
        "step": cost.step_seconds,
        "compiling": cost.compiling_seconds,
        "validation": cost.validation_seconds,
    }


def first_speed(record: Row, precision: Precision) -> MachineSpeed:
    """Returns the speed that the first turn of the probes told, as a search would measure it."""
    timed = {
        group: Timed(undisturbed(turns[0], "step"), undisturbed(turns[0], "compiling"))
        for group, turns in record["probes"][precision].items()
    }
    return speed_from(timed, measured_on(precision, "auto"))


def fit_table(known: Mapping[str, Case], record: Row, precision: Precision) -> Row:
    """Prints tables fitted to all networks; returns the errors of fits to the other half."""
    measured = fastest(record, precision)
    names = list(measured)
    halves = names[::2], names[1::2]
    ratios: dict[str, list[float]] = {part: [] for part in PARTS}
    for fitted_on, judged_on in (halves, halves[::-1]):
        prices, compiling = fit_prices_of(known, measured, fitted_on, precision)
        for name in judged_on:
            case, row = known[name], measured[name]
            step = of_step(case.shape, case.candidate.training, row["batch_size"])
            ratios["step"].append(price(step, prices) * 1e-9 / row["step"])
            ratios["validation"].append(
                price(of_validation(case.shape), prices) * 1e-9 / row["validation"]
            )
            compiled = price(step, compiling) + row["step"]
            ratios["compiling"].append(compiled / row["compiling"])
    prices, compiling = fit_prices_of(known, measured, names, precision)
    turns = record["probes"][precision]
    probes = {
        group: [
            min(undisturbed(turn, part) for turn in turns[group]) for part in ("step", "compiling")
        ]
        for group in GROUPS
    }
    for title, table in (("COEFFICIENTS", prices), ("COMPILING_SECONDS", compiling)):
        rounded = {name: float(f"{value:.3g}") for name, value in table.items()}
        print(f"{title}, {precision}:", json.dumps(rounded, indent=4))
    print(f"PROBES, {precision}: {probes}")
    found = {part: spread(values) for part, values in ratios.items()}
    print(f"held-out halves, {precision}:", json.dumps(found, indent=2))
    return found


def fit_prices_of(
    known: Mapping[str, Case],
    measured: Mapping[str, Row],
    names: Sequence[str],
    precision: Precision,
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns nanoseconds of each quantity, and seconds of compiling, fitted to some networks."""
    before = shipped.COEFFICIENTS[precision]
    passes = {name: price for name, price in before.items() if name.startswith("forward_")}
    passes = fit_prices(
        [(of_validation(known[name].shape), measured[name]["validation"] * 1e9) for name in names],
        passes,
    )
    steps = {
        name: of_step(
            known[name].shape, known[name].candidate.training, measured[name]["batch_size"]
        )
        for name in names
    }
    gradients = {name: value for name, value in before.items() if name not in passes}
    gradients = fit_prices(
        [
            # What frozen layers do was found out by validating.
            (steps[name], measured[name]["step"] * 1e9 - price(steps[name], passes))
            for name in names
        ],
        gradients,
    )
    compiling = fit_prices(
        [(steps[name], measured[name]["compiling"] - measured[name]["step"]) for name in names],
        COMPILING_SECONDS,
    )
    return {**gradients, **passes}, compiling


def price(quantities: Mapping[str, float], prices: Mapping[str, float]) -> float:
    """Returns what quantities cost together; those without a price cost nothing."""
    return sum(amount * prices.get(name, 0.0) for name, amount in quantities.items())


def spread(ratios: Sequence[float]) -> Row:
    """Returns how far predictions are off, as shares of what was measured."""
    errors = np.abs(np.array(ratios) - 1)
    return {
        "networks": len(ratios),
        "median_error": round(float(np.median(errors)), 3),
        "90th_percentile": round(float(np.quantile(errors, 0.9)), 3),
        "median_ratio": round(float(np.median(ratios)), 3),
    }


def show(name: str, measured: Row, found: Row) -> None:
    """Prints one network's milliseconds: measured, predicted."""
    columns = "  ".join(
        f"{part} {measured[part] * 1e3:9.3f} {found[part] * 1e3:9.3f} "
        f"{found[part] / measured[part] - 1:+5.0%}"
        for part in PARTS
    )
    print(f"{name:32} x{measured['batch_size']:<4} {columns}")


def read() -> Row:
    """Returns what was measured so far."""
    if RESULTS.exists():
        return dict(json.loads(RESULTS.read_text(encoding="utf-8")))
    return {"command": " ".join(["python -m benchmarks.cost_prediction", *sys.argv[1:]])} | {
        name: {} for name in ("environment", "errors", "predicted", "probes", "measured")
    }


def write(record: Row) -> None:
    """Keeps a record."""
    RESULTS.parent.mkdir(exist_ok=True)
    write_text(RESULTS, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
