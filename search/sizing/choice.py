"""Chooses the number of workers and threads and the precision from measured speeds."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from search.system.runtime import Compute, Precision, Xla

# A setting must be this much faster to replace a simpler one; smaller gains are noise.
LEAST_GAIN = 1.1
_MOST_WORKERS_PER_GPU = 4


class Setting(BaseModel):
    """A way to use the machine; `threads` are CPU threads per worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: PositiveInt
    threads: PositiveInt
    precision: Precision
    xla: Xla

    @property
    def compute(self) -> Compute:
        """How each worker computes."""
        return Compute(precision=self.precision, xla=self.xla)


class Measurement(BaseModel):
    """A setting and the images per second that all its workers train on together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    setting: Setting
    images_per_second: PositiveFloat


def choose(measurements: Sequence[Measurement], *, most_workers: int | None = None) -> Measurement:
    """Returns the best measurement: each replaces the one chosen so far if it is 10% faster.

    Measurements are in the order in which they were taken, the simplest setting first. Settings
    with more than `most_workers` are skipped.
    """
    chosen = measurements[0]
    for measurement in measurements[1:]:
        fits = most_workers is None or measurement.setting.workers <= most_workers
        if fits and gains(measurement, chosen):
            chosen = measurement
    return chosen


def gains(measurement: Measurement, other: Measurement) -> bool:
    """Returns whether a measurement is significantly faster than another."""
    return measurement.images_per_second >= LEAST_GAIN * other.images_per_second


def worker_steps(cores: int, gpus: int) -> Iterator[tuple[int, int]]:
    """Yields (workers, threads per worker) to try in turn, starting with one worker.

    On a CPU the threads per worker are halved down to one, and workers use all cores. With GPUs
    there are one, two and four workers per GPU.
    """
    if gpus:
        counts = [gpus * each for each in (1, 2, _MOST_WORKERS_PER_GPU)]
        for workers in counts if gpus == 1 else [1, *counts]:
            yield workers, max(1, cores // max(workers, gpus))
        return
    threads = cores
    while threads:
        yield cores // threads, threads
        threads //= 2
