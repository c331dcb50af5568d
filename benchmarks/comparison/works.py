"""What is compared: works (images and a time budget), methods, and the seeds of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Images = Literal["cifar10", "cifar10_5000", "signs", "digits"]

OURS = ("auto", "depth_filters", "quickstart", "default")
PEERS = ("optuna", "keras_tuner")
METHODS = (*OURS, *PEERS)

_THREE = (0, 1, 2)
_FIVE = (0, 1, 2, 3, 4)
_AGAINST_PEERS: dict[str, tuple[int, ...]] = {
    "auto": _FIVE,
    "depth_filters": _THREE,
    "default": _FIVE,
    "optuna": _THREE,
    "keras_tuner": _THREE,
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """One task: images and minutes.

    `methods` holds the seeds of each method; a method without seeds runs only if requested by name.
    `least` and `goal` are test accuracies that every seed of ours should reach.
    """

    name: str
    images: Images
    minutes: float
    methods: Mapping[str, Sequence[int]]
    backbone: bool = False
    least: float | None = None
    goal: float | None = None
    quick: bool = False


WORKS = (
    Work(
        name="cifar10_5000",
        images="cifar10_5000",
        minutes=8,
        methods=_AGAINST_PEERS,
        least=0.73,
        goal=0.77,
    ),
    Work(
        name="sign_digits_8m",
        images="signs",
        minutes=8,
        methods=_AGAINST_PEERS,
        least=0.99,
        # At most one error on about 309 test images.
        goal=308 / 309,
    ),
    Work(
        name="sign_digits_2m",
        images="signs",
        minutes=2,
        methods={
            "auto": _THREE,
            "depth_filters": _THREE,
            "default": (),
            "optuna": _THREE,
            "keras_tuner": _THREE,
        },
        least=0.97,
        goal=0.99,
    ),
    Work(
        name="cifar10_5000_backbone",
        images="cifar10_5000",
        minutes=4,
        methods={"auto": _THREE, "default": ()},
        backbone=True,
        least=0.76,
        goal=0.80,
    ),
    Work(
        name="digits",
        images="digits",
        minutes=1,
        methods={"quickstart": _THREE, "optuna": (), "keras_tuner": ()},
        least=0.98,
        goal=0.99,
    ),
    Work(
        name="cifar10_all",
        images="cifar10",
        minutes=63,
        methods={
            "auto": (0,),
            "depth_filters": (),
            "default": (),
            "optuna": (),
            "keras_tuner": (),
        },
        least=0.89,
        goal=0.91,
    ),
    Work(
        name="cifar10_5000_2m",
        images="cifar10_5000",
        minutes=2,
        methods={"auto": (0,), "depth_filters": (0,), "default": (), "optuna": ()},
        quick=True,
    ),
)

# Seven minutes in total, to compare commits with each other, not with peers.
_QUICK = (
    ("sign_digits_2m", "auto"),
    ("digits", "quickstart"),
    ("cifar10_5000_2m", "auto"),
    ("cifar10_5000_2m", "depth_filters"),
)


@dataclass(frozen=True)
class Job:
    """One row to measure."""

    work: Work
    method: str
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """Identifies its row."""
        return self.work.name, self.method, self.seed

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.work.name}-{self.method}-{self.seed}"


def find_work(name: str) -> Work:
    """Returns a work by name; raises KeyError if there is none."""
    return {work.name: work for work in WORKS}[name]


def planned(
    *,
    works: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> Iterator[Job]:
    """Yields the jobs in the order of the works; None means each work's own methods and seeds.

    Raises KeyError for an unknown work or method.
    """
    unknown = set(methods or ()) - set(METHODS)
    if unknown:
        raise KeyError(", ".join(sorted(unknown)))
    chosen = [work for work in WORKS if not work.quick] if works is None else map(find_work, works)
    for work in chosen:
        for method, own in work.methods.items():
            if own if methods is None else method in methods:
                for seed in seeds or own or (0,):
                    yield Job(work, method, seed)


def planned_quickly(seed: int = 0) -> Iterator[Job]:
    """Yields the jobs of the quick comparison, at most ten minutes in total."""
    for name, method in _QUICK:
        yield Job(find_work(name), method, seed)
