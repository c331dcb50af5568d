"""One of our spaces as a HyperModel."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np
import numpy.typing as npt

from cnn_blocks.build import build_model
from cnn_blocks.config import InputSpec
from cnn_blocks.errors import UserError
from search.data import Subset
from search.keras_tuner.parameters import HyperParametersTrial
from search.system import runtime
from search.training.batches import as_input, steps_per_epoch, training_batches
from search.training.callbacks import SeedEpochs
from search.training.network import TrainingNetwork, set_batch_normalization_momentum
from search.training.optimizers import make_optimizer
from search.training.phase import class_weights
from spaces.candidate import Candidate, TrainingConfig
from spaces.probe import parameters
from spaces.suggest import suggest_from
from studies.study import StudySpec

_ENDLESS = 10**9  # steps


class SpaceHyperModel(keras_tuner.HyperModel):  # type: ignore[misc]
    """Builds a study's candidates and trains them according to their `TrainingConfig`.

    `build` returns the inference model (uint8 images to probabilities), compiled for one-hot
    labels. `fit` trains it with Keras and the candidate's training settings: augmentation, class
    weights, batch size and learning-rate schedule. The schedule spans the epochs of one call, so
    each round of Keras Tuner's Hyperband continues from the weights of the previous round with a
    whole schedule and a new optimizer. Training uses float32; early stopping and plateaus are left
    to Keras Tuner's callbacks.
    """

    def __init__(
        self,
        study: StudySpec,
        spec: InputSpec,
        *,
        train: Subset | None = None,
        validation: Subset | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(name=study.name)
        self.study = study
        self.spec = spec
        self.train = train
        self.validation = validation
        self.seed = seed

    def candidate(self, hp: keras_tuner.HyperParameters) -> Candidate:
        """Returns the candidate for hyperparameter values.

        Raises UserError if it trains in two phases, which one Keras `fit` cannot do.
        """
        candidate = self.study.candidate(HyperParametersTrial(hp))
        if candidate.training.fine_tuning is not None:
            raise UserError(
                f"A space for Keras Tuner must train in one phase; {self.study.name!r} fine-tunes "
                f"in a second one. Fix: search it with "
                f"`python -m search.run --study {self.study.name}`."
            )
        return candidate

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """Declares all parameters, including those that the first model does not use.

        Keras Tuner would give a parameter that it first meets later its lowest value in that trial.
        """
        trial = HyperParametersTrial(hp)
        for name, distribution in parameters(self.study.candidate, draws=self.study.probes).items():
            suggest_from(trial, name, distribution)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Returns a compiled model; Keras' own `fit` would train it at a constant rate."""
        candidate = self.candidate(hp)
        model = build_model(candidate.model, self.spec, seed=self.seed)
        # Only `fit` knows the length of the schedule. The kind of schedule stays the same, because
        # it determines the optimizer's variables in Keras Tuner's checkpoints.
        training = candidate.with_training(warmup=0.0).training
        self._compile(model, training, total_steps=_ENDLESS)
        return model

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        x: npt.NDArray[np.uint8] | None = None,
        y: npt.NDArray[Any] | None = None,
        *,
        validation_data: tuple[npt.NDArray[np.uint8], npt.NDArray[Any]] | None = None,
        epochs: int | None = None,
        initial_epoch: int = 0,
        callbacks: Sequence[Any] = (),
        verbose: Any = "auto",
    ) -> Any:
        """Trains a model and returns its Keras history.

        `x` and `y` replace the training images and `validation_data` the validation images: uint8
        images (N, H, W, 3), and class numbers (N,) or one-hot labels (N, C).
        """
        candidate = self.candidate(hp)
        training = candidate.training
        train = self.train if x is None or y is None else _share(x, y)
        validation = self.validation if validation_data is None else _share(*validation_data)
        if train is None:
            raise UserError(
                "A HyperModel needs images; this one was made from an InputSpec and received none. "
                "Fix: give them to `tuner.search(images, labels, ...)`, or make it with `data=`."
            )
        epochs = epochs or training.epochs
        steps = steps_per_epoch(len(train), training.batch_size)
        set_batch_normalization_momentum(model, steps)
        self._compile(model, training, total_steps=steps * max(1, epochs - initial_epoch))
        return model.fit(
            as_input(self._batches(model, candidate, train, initial_epoch)),
            steps_per_epoch=steps,
            epochs=epochs,
            initial_epoch=initial_epoch,
            validation_data=None if validation is None else self._arrays(validation),
            callbacks=[SeedEpochs(self.seed), *callbacks],
            shuffle=False,
            verbose=verbose,
        )

    def _compile(self, model: keras.Model, training: TrainingConfig, *, total_steps: int) -> None:
        model.compile(
            optimizer=make_optimizer(training, total_steps),
            loss=keras.losses.CategoricalCrossentropy(label_smoothing=training.label_smoothing),
            metrics=["accuracy"],
            jit_compile=runtime.jit_compile("auto"),
        )
        model.optimizer.build(model.trainable_variables)

    def _batches(
        self, model: keras.Model, candidate: Candidate, train: Subset, first_epoch: int
    ) -> Iterator[tuple[Any, ...]]:
        """Yields augmented images, one-hot or mixed labels, and with class weights the weights."""
        training = candidate.training
        weights = class_weights(candidate, train, self.spec)
        augment = TrainingNetwork(model, training, weights).augment
        first_step = first_epoch * steps_per_epoch(len(train), training.batch_size)
        for (batch,) in training_batches(
            train, batch_size=training.batch_size, seed=self.seed, first_step=first_step
        ):
            images, labels = augment(batch["images"], self._one_hot(batch["labels"]))
            images, labels = map(keras.ops.convert_to_numpy, (images, labels))
            yield (images, labels) if weights is None else (images, labels, labels @ weights)

    def _arrays(self, subset: Subset) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        images, labels = subset.gather(np.arange(len(subset)))
        return images, self._one_hot(labels)

    def _one_hot(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        one_hot: npt.NDArray[np.float32] = np.eye(self.spec.classes, dtype=np.float32)[labels]
        return one_hot


def _share(images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> Subset:
    numbers = labels.argmax(axis=-1) if labels.ndim == 2 and labels.shape[1] > 1 else labels
    return Subset(images, numbers.reshape(-1).astype(np.int64), np.arange(len(images)))
