"""Training a head on features that its frozen backbone computes once, instead of on images."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cnn_blocks import registry
from cnn_blocks.augmentation import Augmentation
from cnn_blocks.build import build_features
from cnn_blocks.config import InputSpec, ModelConfig
from search.data.dataset import Subset
from search.data.types import Indices
from search.progress.clock import Clock
from search.progress.events import Progress
from search.training.features.cache import (
    Computation,
    FeatureCache,
    FeatureEntry,
    Features,
    FeaturesUnavailableError,
    megabytes,
)
from search.training.prediction import predict_in_batches, prediction_batch_of
from spaces.candidate import Candidate

if TYPE_CHECKING:
    from search.data import Split

View: TypeAlias = Literal["plain", "mirrored"]

# Increase this when the contents of an entry or the way a backbone is run change.
_FORMAT = 1
_BATCHES_AT_ONCE = 16
_MAPS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class FeatureSubset:
    """The features of a subset's images, in its order, with the interface of a subset.

    `arrays` has one array per view, each with the features of all known images. Positions from
    len(subset) on refer to the same images in the next view.
    """

    arrays: tuple[Features, ...] = field(repr=False)
    labels: Indices = field(repr=False)
    rows: Indices = field(repr=False)

    @property
    def views(self) -> int:
        """The number of views per image."""
        return len(self.arrays)

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, positions: Indices) -> tuple[Features, Indices]:
        """Returns copies of the features (n, ...) and labels (n,) at positions."""
        view, position = np.divmod(positions, len(self))
        rows = self.rows[position]
        features = self.arrays[0][rows]
        for number in range(1, self.views):
            features[view == number] = self.arrays[number][rows[view == number]]
        return features, self.labels[rows]


@dataclass(frozen=True, eq=False)
class HeadData:
    """The features for training a head.

    `shape` is the shape of one image's features, `parameters` the backbone's parameter count.
    """

    train: FeatureSubset
    validation: FeatureSubset | None
    shape: tuple[int, ...]
    parameters: int


def views(augmentation: Augmentation) -> tuple[View, ...] | None:
    """Returns all views of an image that an augmentation produces; None if there are too many.

    There is one without augmentation, and two with horizontal flips only, of which training draws
    one each time. Any other augmentation changes an image differently each time and so needs the
    backbone each time.
    """
    if augmentation == Augmentation():
        return ("plain",)
    return ("plain", "mirrored") if augmentation == Augmentation(horizontal_flip=True) else None


class FeatureSource:
    """Provides the features of a split's training and validation images.

    They are computed when a candidate first needs them, and cached in at most `limit` bytes (with
    0 nothing is cached and all candidates train on images). `check` is called regularly during the
    computation; it may raise. Test images are never used.
    """

    def __init__(
        self,
        split: "Split",
        *,
        limit: int | None = None,
        progress: Progress | None = None,
        check: Callable[[], None] = lambda: None,
        cache_directory: Path | None = None,
    ) -> None:
        self._images = split.development.images
        self._rows = split.development.indices
        self._labels = split.development.labels[self._rows]
        self._fingerprint = split.dataset.fingerprint
        self._rows_digest = hashlib.sha256(self._rows.astype("<i8").tobytes()).hexdigest()
        self._cache = FeatureCache(cache_directory, limit=limit)
        self._progress = progress or Progress()
        self._check = check
        self._opened: dict[str, FeatureEntry] = {}
        self._unavailable: set[str] = set()

    def suits(self, candidate: Candidate) -> bool:
        """Returns whether the candidate's head can be trained on features.

        Its backbone must be frozen, and its augmentation must produce only a few views.
        """
        return bool(
            self._cache.limit
            and candidate.model.backbone.frozen
            and views(candidate.training.augmentation) is not None
        )

    def find(
        self,
        candidate: Candidate,
        train: Subset,
        validation: Subset | None,
        *,
        spec: InputSpec,
        seed: int,
        clock: Clock,
    ) -> HeadData | None:
        """Returns the features for the candidate's head, or None if it must train on images.

        Images are needed if features do not suit the candidate, or if they cannot be cached; a
        note says so once.
        """
        wanted = views(candidate.training.augmentation)
        if not self.suits(candidate) or wanted is None:
            return None
        trained = self._find_rows(train)
        validated = None if validation is None else self._find_rows(validation)
        if trained is None or (validated is None and validation is not None):
            return None
        with clock.measure("features"):
            entries = []
            for view in wanted:
                entry = self._fetch(candidate.model, spec, seed, view)
                if entry is None:
                    return None
                entries.append(entry)
        arrays = tuple(entry.features for entry in entries)
        labels = self._labels
        return HeadData(
            train=FeatureSubset(arrays, labels, trained),
            validation=None if validated is None else FeatureSubset(arrays[:1], labels, validated),
            shape=arrays[0].shape[1:],
            parameters=entries[0].parameters,
        )

    def _find_rows(self, subset: Subset) -> Indices | None:
        """Returns the rows of a subset's images among the known ones; None if any is unknown."""
        if subset.images is not self._images:
            return None
        rows = np.searchsorted(self._rows, subset.indices)
        known = rows < len(self._rows)
        if not known.all() or not np.array_equal(self._rows[rows], subset.indices):
            return None
        return rows.astype(np.int64, copy=False)

    def _fetch(
        self, model: ModelConfig, spec: InputSpec, seed: int, view: View
    ) -> FeatureEntry | None:
        key = self._key(model, spec, seed, view, pooled=model.any_head.pooled_only)
        if key in self._unavailable:
            return None
        if key in self._opened:
            self._cache.touch(key)
            return self._opened[key]
        try:
            entry = self._cache.fetch(
                key, lambda: self._computation(model, spec, seed, view), waiting=self._check
            )
        except FeaturesUnavailableError as reason:
            self._unavailable.add(key)
            self._progress.note(
                f"{_describe(model)}: features are not cached, because {reason}; its trials run "
                f"the backbone in every epoch."
            )
            return None
        self._opened[key] = entry
        return entry

    def _key(
        self, model: ModelConfig, spec: InputSpec, seed: int, view: View, *, pooled: bool
    ) -> str:
        import keras

        backbone = model.backbone
        source = registry.source_of(type(backbone))
        code = Path(source) if source else None
        standardized = model.preprocessing == "standardize"
        parts = [
            _FORMAT,
            keras.__version__,
            backbone.model_dump(mode="json"),
            hashlib.sha256(code.read_bytes()).hexdigest() if code and code.is_file() else source,
            # Random weights depend on the seed.
            seed if getattr(backbone, "weights", "none") == "none" else None,
            model.preprocessing,
            [spec.channel_mean, spec.channel_deviation] if standardized else None,
            model.input_size,
            "pooled" if pooled else "maps",
            self._fingerprint,
            self._rows_digest,
            view,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _computation(
        self, model: ModelConfig, spec: InputSpec, seed: int, view: View
    ) -> Computation:
        maps = None
        if model.any_head.pooled_only:
            maps = self._cache.open(self._key(model, spec, seed, view, pooled=False))
        if maps is not None:
            shape = (len(self._rows), 2 * maps.features.shape[-1])
            return Computation(shape, maps.parameters, self._pooled(maps.features))
        network = build_features(model, spec, seed=seed)
        computation = Computation(
            shape=(len(self._rows), *network.output_shape[1:]),
            parameters=network.count_params(),
            batches=self._batches(network, view),
        )
        words = "features" if view == "plain" else "features of the mirrored images"
        self._progress.note(
            f"{_describe(model)}: {words} are computed once for all trials and cached, "
            f"{len(self._rows):,} x {' x '.join(map(str, computation.shape[1:]))} in "
            f"{megabytes(computation.bytes)} under {self._cache.directory}"
        )
        return computation

    def _batches(self, network: Any, view: View) -> Iterator[Features]:
        size = prediction_batch_of(network)
        for start in range(0, len(self._rows), size * _BATCHES_AT_ONCE):
            self._check()
            images = self._images[self._rows[start : start + size * _BATCHES_AT_ONCE]]
            if view == "mirrored":
                images = images[:, :, ::-1]
            yield _as_float16(predict_in_batches(network, images, batch_size=size))

    def _pooled(self, maps: Features) -> Iterator[Features]:
        for start in range(0, len(maps), _MAPS_AT_ONCE):
            self._check()
            part = maps[start : start + _MAPS_AT_ONCE].astype(np.float32)
            yield _as_float16(np.concatenate([part.mean(axis=(1, 2)), part.max(axis=(1, 2))], 1))


def _as_float16(exact: npt.NDArray[np.float32]) -> Features:
    with np.errstate(over="ignore"):
        features = exact.astype(np.float16)
    if not np.isfinite(features).all():
        raise FeaturesUnavailableError(
            f"float16 cannot hold them: their largest value is {np.abs(exact).max():.3g}"
        )
    return features


def _describe(model: ModelConfig) -> str:
    size = "" if model.input_size is None else f" at {model.input_size}x{model.input_size}"
    return f"{model.backbone.summary()}{size}"
