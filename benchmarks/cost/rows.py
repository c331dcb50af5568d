"""One measurement of a network: wall-clock time and CPU time."""

from dataclasses import asdict
from typing import Any, TypeAlias

from search.sizing.coefficients import Precision
from search.sizing.machine import available_cores
from search.sizing.timing import Timed
from search.sizing.timing_process import BusyTime

PARTS = ("step", "validation", "compiling")
# On a busy machine, the wall-clock time of an idle one is estimated from CPU time. granita_final
# and bicocca_cnn kept 1.82 of 2 idle cores busy; about 2 ms of a step are Python, on one core.
BUSY_SHARE = 0.1
CORES_OF_A_STEP = 1.82
SERIAL_SECONDS = 0.002

Row: TypeAlias = dict[str, Any]


def row_of(timed: Timed, busy: BusyTime) -> Row:
    """Returns the measurement with the share of CPU time that other programs took."""
    seconds = {name: value for name, value in asdict(timed).items() if value is not None}
    return {**seconds, "others_share": round(busy.others_share(), 3)}


def undisturbed(row: Row, part: str) -> float:
    """Returns the seconds that a part takes on an idle machine."""
    wall, processor = float(row[part]), float(row[f"{part}_processor"])
    if row["others_share"] <= BUSY_SHARE:
        return wall
    if part == "compiling":
        # Until the first step begins, one thread traces and compiles.
        tracing = processor - float(row["step_processor"])
        return min(wall, tracing + undisturbed(row, "step"))
    cores = min(CORES_OF_A_STEP, available_cores())
    serial = SERIAL_SECONDS if part == "step" else 0.0
    return min(wall, serial + max(0.0, processor - serial) / cores)


def fastest(record: Row, precision: Precision) -> dict[str, Row]:
    """Returns the shortest times of each network, because disturbances only lengthen them."""
    return {
        name: rows[0] | {part: min(undisturbed(row, part) for row in rows) for part in PARTS}
        for name, rows in record["measured"][precision].items()
    }
