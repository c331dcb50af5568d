"""Predicts image files, decoded exactly as the model's training images were."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cnn_blocks.errors import UserError
from search.data.image_fit import FORMER_FIT, Fit
from search.results.exported_model import load_model, read_record

if TYPE_CHECKING:
    import keras

    from search.data import Decoding

# Images decoded into memory at a time; the model processes them in smaller batches.
_CHUNK = 512


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's probabilities for image files.

    `probabilities` has shape (files, classes), in the order of `files` and `class_names`.
    `unreadable` holds (file or folder, reason); `notes` are sentences for the user.
    """

    class_names: tuple[str, ...]
    files: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    unreadable: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def best(self, position: int, count: int = 1) -> list[tuple[str, float]]:
        """Returns (class, probability) of a file's `count` most probable classes, best first."""
        row = self.probabilities[position]
        order = np.argsort(-row, kind="stable")[:count]
        return [(self.class_names[number], float(row[number])) for number in order]


class Predictor:
    """A model that a run exported, with what its images must be decoded like.

    For a model without a record of that, `image_size` (pixels, or height and width) and `fit`
    describe the decoding; `notes` are sentences about what was assumed.
    Raises UserError if the model cannot be used.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        image_size: int | tuple[int, int] | None = None,
        fit: Fit | None = None,
    ) -> None:
        record = read_record(model)
        decoding = record.decoding
        if decoding is not None:
            _check_asked(decoding, model, image_size, fit)
        self._network = _load(model)
        notes = []
        if decoding is None:
            decoding, note = _assumed(self._network, model, image_size, fit)
            notes.append(note)
        classes = self._network.output_shape[-1]
        names = record.class_names
        if names is None:
            names = tuple(str(number) for number in range(classes))
            notes.append(f"{model} has no class names: classes are the numbers of its outputs.")
        if len(names) != classes:
            raise UserError(
                f"A model must have one output per class; {model} has {classes} outputs and "
                f"{len(names)} class names. Fix: give the model.keras of a run."
            )
        self.class_names, self.notes = names, tuple(notes)
        self._decoding = decoding

    def predict(
        self,
        files: Sequence[str | Path],
        *,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Predictions:
        """Predicts image files, and all images in folders.

        `on_progress` is called with how many of how many images are done.
        """
        unreadable: list[tuple[str, str]] = []
        found = list(_find(files, unreadable))
        return self._predict(
            ((file, partial(_content, file)) for file in found),
            unreadable,
            lambda done: on_progress(done, len(found)),
        )

    def predict_content(self, content: bytes, name: str = "image") -> Predictions:
        """Predicts the content of one image file."""
        return self._predict([(name, lambda: content)], [], lambda done: None)

    def _predict(
        self,
        images: Iterable[tuple[str, Callable[[], bytes]]],
        unreadable: list[tuple[str, str]],
        on_progress: Callable[[int], None],
    ) -> Predictions:
        from search.data.decoding import strict_decoding
        from search.data.threads import in_threads
        from search.training.prediction import predict_in_batches, prediction_batch_of

        batch_size = prediction_batch_of(self._network)
        read: list[str] = []
        outputs = [np.empty((0, len(self.class_names)), dtype=np.float32)]
        remaining, done = iter(images), 0
        while chunk := list(islice(remaining, _CHUNK)):
            decoded = []
            with strict_decoding():
                results = in_threads(lambda image: _decoded(self._decoding, image[1]), chunk)
                for (file, _), image in zip(chunk, results, strict=True):
                    if isinstance(image, str):
                        unreadable.append((file, image))
                    else:
                        read.append(file)
                        decoded.append(image)
            if decoded:
                outputs.append(
                    predict_in_batches(self._network, np.stack(decoded), batch_size=batch_size)
                )
            done += len(chunk)
            on_progress(done)
        return Predictions(
            self.class_names, tuple(read), np.concatenate(outputs), tuple(unreadable), self.notes
        )


def predict_files(
    model: str | Path,
    files: Sequence[str | Path],
    *,
    image_size: int | tuple[int, int] | None = None,
    fit: Fit | None = None,
) -> Predictions:
    """Predicts image files, and all images in folders, with a model.keras that a run wrote.

    Every file is decoded as the training images were, according to the record in the model file.
    For a model without that record, `image_size` (pixels, or height and width) and `fit` describe
    the decoding; `notes` name the assumptions if they are missing. An unreadable file does not stop
    the prediction of the others.
    Raises UserError if there is no file or the model cannot be used.
    """
    if not files:
        raise UserError("A prediction needs images; received no file. Fix: give files or folders.")
    return Predictor(model, image_size=image_size, fit=fit).predict(files)


def _find(files: Sequence[str | Path], unreadable: list[tuple[str, str]]) -> Iterator[str]:
    """Yields the given files and all images in the given folders."""
    from search.data.formats import READABLE, is_image
    from search.data.tree import FolderTree

    for file in files:
        if not os.path.isdir(file):  # noqa: PTH112 - a Path would raise for some broken names
            yield str(file)
            continue
        images = 0
        try:
            for path, _ in FolderTree(Path(file)).walk():
                if is_image(path):
                    images += 1
                    yield str(Path(file) / path)
        except OSError as error:
            unreadable.append((str(error.filename or file), error.strerror or str(error)))
            continue
        if not images:
            unreadable.append((str(file), f"contains no {READABLE} file"))


def _content(file: str) -> bytes:
    return Path(file).read_bytes()


def _decoded(decoding: "Decoding", read: Callable[[], bytes]) -> "npt.NDArray[np.uint8] | str":
    """Returns the image that a file's content holds, or the reason why it cannot be decoded."""
    from search.data.image_files import reason_of

    try:
        return decoding.decode(read())
    except Exception as error:  # Pillow may raise any exception for damaged content
        return reason_of(error)


def _load(model: str | Path) -> "keras.Model":
    network = load_model(model)
    shapes = network.input_shape, network.output_shape
    if [len(shape) for shape in shapes] != [4, 2] or shapes[0][3] != 3 or shapes[1][1] is None:
        raise UserError(
            f"A model must take RGB images (number, height, width, 3) and return a probability "
            f"per class; {model} takes {shapes[0]} and returns {shapes[1]}. Fix: give the "
            f"model.keras of a run."
        )
    return network


def _check_asked(
    decoding: "Decoding",
    model: str | Path,
    image_size: int | tuple[int, int] | None,
    fit: Fit | None,
) -> None:
    asked = {"fit": fit, "size": None if image_size is None else _pair(image_size)}
    for name, value in asked.items():
        recorded = getattr(decoding, name)
        if value not in (None, recorded):
            raise UserError(
                f"Images must be decoded as the model's training images were; {model} records "
                f"{name} {recorded}, received {value}. Fix: leave out --image-size and --fit."
            )


def _assumed(
    network: "keras.Model",
    model: str | Path,
    image_size: int | tuple[int, int] | None,
    fit: Fit | None,
) -> tuple["Decoding", str]:
    """Returns the given decoding, completed as in older versions, and a note about it."""
    from search.data import Decoding

    size = network.input_shape[1:3] if image_size is None else _pair(image_size)
    if None in size:
        raise UserError(
            f"A prediction needs an image size; {model} accepts any size and records none. Fix: "
            f"give --image-size HEIGHTxWIDTH, the size of its training images."
        )
    assumed = Decoding(size=size, fit=fit or FORMER_FIT)
    return assumed, (
        f"{model} does not record how its training images were decoded. Assumed: "
        f"{size[0]}x{size[1]} pixels (height x width), --fit {assumed.fit}, values from 0 to 255, "
        f"transparency on white."
    )


def _pair(image_size: int | tuple[int, int]) -> tuple[int, int]:
    return (image_size, image_size) if isinstance(image_size, int) else image_size
