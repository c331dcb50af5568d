"""Measures how well `predict_cost` predicts the time of training steps, validation and compiling.

    python -m benchmarks.cost_prediction

It measures real training steps of the published recipes with custom networks and of 50 candidates
drawn from the from-scratch spaces, in each precision, and compares them with the predictions from
shapes and the speed of this machine. `--fit` also fits the coefficients: it evaluates each half of
the networks with a fit on the other half, and prints a fit on all networks for
`search/sizing/coefficients.py`. If other programs take more than a tenth of the CPU, wall-clock
times are estimated from CPU times. `--rounds 2` measures everything twice and takes the faster
result. Takes about ten minutes on 2 CPU cores. An interrupted run resumes; `--again` measures
everything again. The result is written to benchmarks/results/cost_prediction.json.
"""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cost.cases import Case, cases
from benchmarks.cost.fitting import fit_table, spread
from benchmarks.cost.rows import PARTS, Row, fastest, row_of, undisturbed
from search.sizing.coefficients import GROUPS, Group, Precision
from search.sizing.cost import predict_cost
from search.sizing.machine import available_cores
from search.sizing.machine_speed import MachineSpeed, ThisProcess, measured_on, speed_from
from search.sizing.probes import probe
from search.sizing.timing import Timed, time_training
from search.sizing.timing_process import BusyTime
from search.system.files import write_text
from search.system.runtime import Compute, cpu_name, start_keras

RESULTS = Path(__file__).parent / "results" / "cost_prediction.json"
PRECISIONS: tuple[Precision, ...] = ("bfloat16", "float32")
SECONDS = 1.0
# The probes are measured again after this many networks; their fastest times count.
CASES_PER_PROBES = 12
PROBE_SECONDS = 0.7


def main(
    fit: bool = False,
    again: bool = False,
    rounds: int = 1,
    precision: Annotated[Precision | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measures what is missing, predicts everything, and stores both."""
    if precision is not None:
        measure(precision, rounds)
        return
    if again:
        RESULTS.unlink(missing_ok=True)
    for one in PRECISIONS:
        # Each precision runs in its own process, like a trial's worker.
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
                    compute=Compute(precision=precision),
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
    """Measures one network."""
    busy = BusyTime([ThisProcess()])
    found = time_training(
        case.candidate, case.spec, compute=Compute(precision=precision), seconds=SECONDS
    )
    return {"batch_size": case.candidate.training.batch_size, **row_of(found, busy)}


def report(*, fit: bool) -> None:
    """Predicts every measured network, and prints and stores the errors."""
    start_keras()
    record = read()
    known = {case.name: case for case in cases()}
    record["predicted"], record["errors"] = {}, {}
    for precision in [one for one in PRECISIONS if one in record["measured"]]:
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


def predicted(case: Case, speed: MachineSpeed) -> Row:
    """Returns the predicted seconds of a network with full batches."""
    cost = predict_cost(case.shape, case.candidate.training, speed, images=10**6)
    return {
        "step": cost.step_seconds,
        "compiling": cost.compiling_seconds,
        "validation": cost.validation_seconds,
    }


def first_speed(record: Row, precision: Precision) -> MachineSpeed:
    """Returns the speed from the first measurement of the probes, as a search would find it."""
    timed = {
        group: Timed(undisturbed(turns[0], "step"), undisturbed(turns[0], "compiling"))
        for group, turns in record["probes"][precision].items()
    }
    return speed_from(timed, measured_on(Compute(precision=precision)))


def show(name: str, measured: Row, found: Row) -> None:
    """Prints one network's measured and predicted milliseconds."""
    columns = "  ".join(
        f"{part} {measured[part] * 1e3:9.3f} {found[part] * 1e3:9.3f} "
        f"{found[part] / measured[part] - 1:+5.0%}"
        for part in PARTS
    )
    print(f"{name:32} x{measured['batch_size']:<4} {columns}")


def read() -> Row:
    """Returns the measurements so far."""
    if RESULTS.exists():
        return dict(json.loads(RESULTS.read_text(encoding="utf-8")))
    return {"command": " ".join(["python -m benchmarks.cost_prediction", *sys.argv[1:]])} | {
        name: {} for name in ("environment", "errors", "predicted", "probes", "measured")
    }


def write(record: Row) -> None:
    """Writes the measurements."""
    RESULTS.parent.mkdir(exist_ok=True)
    write_text(RESULTS, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
