"""How many workers with how many threads, in which precision: chosen from measured speeds."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from search.system.runtime import Compute, Precision, Xla

# What is simpler, or uses less, stays unless another gains this much: less is noise.
LEAST_GAIN = 1.1
_MOST_WORKERS_PER_GPU = 4


class Setting(BaseModel):
    """A way to use the machine; every worker has so many CPU threads."""

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
    """A setting and how many images all its workers train on in a second, together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    setting: Setting
    images_per_second: PositiveFloat


def choose(measurements: Sequence[Measurement], *, most_workers: int | None = None) -> Measurement:
    """Returns the measurement to go by: each replaces the one before if it gains a tenth.

    They stand in the order in which they were taken, the plainest first. Settings of more than
    `most_workers` are passed over.
    """
    chosen = measurements[0]
    for measurement in measurements[1:]:
        fits = most_workers is None or measurement.setting.workers <= most_workers
        if fits and gains(measurement, chosen):
            chosen = measurement
    return chosen


def gains(measurement: Measurement, other: Measurement) -> bool:
    """Returns whether a measurement is faster than another one by enough to count."""
    return measurement.images_per_second >= LEAST_GAIN * other.images_per_second


def worker_steps(cores: int, gpus: int) -> Iterator[tuple[int, int]]:
    """Yields (workers, threads of each) to try in turn, from one process on.

    On a CPU the threads are halved as long as that leaves one; workers take up all cores. With
    GPUs there are one, two and four workers for each.
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
