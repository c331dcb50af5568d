"""A candidate: a network and its training, as data."""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import Field, JsonValue, PositiveFloat, PositiveInt, model_validator

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.config import Configuration, ModelConfig, Rate, Strength
from cnn_blocks.pretrained import Pretrained


class FineTuning(Configuration):
    """A training in two phases: first only the head, then the backbone as well.

    Attributes:
        head_share: Subset of the epochs in which only the head trains; each phase has at least one.
        learning_rate: The peak of the second phase's schedule, which has the shape of the first's.
    """

    head_share: Annotated[float, Field(gt=0, lt=1), FloatDistribution(0.1, 0.6)] = 0.4
    learning_rate: Annotated[PositiveFloat, FloatDistribution(1e-6, 1e-3, log=True)] = 1e-4


class Compilation(Configuration):
    """The optimizer and loss that a model was compiled with, as Keras serialises them."""

    optimizer: dict[str, JsonValue]
    loss: str | dict[str, JsonValue]


class TrainingConfig(Configuration):
    """How a candidate is trained.

    Attributes:
        epochs: Passes over the training images; used if `steps` is None.
        steps: Optimizer steps of the whole training, whatever the number of images; None trains
            for `epochs`.
        optimizer: "sgd" uses Nesterov momentum; "muon" orthogonalises the updates of convolutions
            and hidden dense layers and uses "adamw" for the rest (Jordan et al., 2024).
        learning_rate: The peak of the schedule.
        weight_decay: Decoupled decay, for all optimizers but "adam" (Loshchilov and Hutter, 2017):
            each step subtracts learning rate x decay x weight, except for biases and normalisation.
        clip_norm: The global gradient norm to which larger gradients are scaled; None disables it.
        schedule: "cosine" falls to zero; "one_cycle" rises, then falls, along cosines (Smith,
            2017); "step" divides by ten at 50% and 75%; "plateau" halves after three epochs
            without a lower validation loss.
        warmup: Subset of all steps in which the rate rises linearly ("cosine" and "step"); the
            rising share of "one_cycle".
        early_stopping: Epochs without a lower validation loss after which training ends with the
            best weights; None trains all epochs.
        whitening: Starts a network from scratch with the principal components of the training
            images' patches as filters of its first convolution (Jordan, 2024).
        class_weights: "balanced" weights each class by the inverse of its frequency,
            "square_root" by the inverse square root of its frequency.
        fine_tuning: Trains a pretrained backbone only in a second phase; None trains all trainable
            layers from the first epoch.
        compilation: Replaces the optimizer, its rates and schedule, and the loss with its label
            smoothing; the corresponding settings have no effect then.
    """

    epochs: PositiveInt = 10
    steps: PositiveInt | None = None
    batch_size: Annotated[PositiveInt, IntDistribution(32, 512, log=True)] = 128
    optimizer: Annotated[
        Literal["adam", "adamw", "sgd", "muon"], CategoricalDistribution(["adam", "adamw", "sgd"])
    ] = "adamw"
    learning_rate: Annotated[PositiveFloat, FloatDistribution(1e-4, 1e-1, log=True)] = 1e-3
    weight_decay: Annotated[Strength, FloatDistribution(1e-5, 1e-1, log=True)] = 0.0
    clip_norm: PositiveFloat | None = None
    momentum: Annotated[Rate, FloatDistribution(0.8, 0.99)] = 0.9
    schedule: Annotated[
        Literal["constant", "cosine", "one_cycle", "step", "plateau"],
        CategoricalDistribution(["cosine", "one_cycle", "step"]),
    ] = "cosine"
    warmup: Annotated[Rate, FloatDistribution(0.0, 0.4)] = 0.1
    label_smoothing: Annotated[Rate, FloatDistribution(0.0, 0.2)] = 0.0
    whitening: bool = False
    class_weights: Literal["none", "square_root", "balanced"] = "none"
    early_stopping: PositiveInt | None = None
    augmentation: Augmentation = Augmentation()
    fine_tuning: FineTuning | None = None
    compilation: Compilation | None = None

    def head_intervals(self, intervals: int) -> int:
        """Returns the number of a training's intervals in which only the head trains.

        Intervals are epochs or equal parts of the steps. A training of one interval has none.
        """
        if self.fine_tuning is None:
            return 0
        wanted = max(1, round(self.fine_tuning.head_share * intervals))
        return min(wanted, intervals - 1)

    @model_validator(mode="after")
    def _decay_needs_a_decoupling_optimizer(self) -> Self:
        if self.optimizer == "adam" and self.weight_decay:
            raise ValueError(
                f"weight_decay must be 0 with optimizer 'adam'; received {self.weight_decay}. "
                f"Fix: use 'adamw'."
            )
        return self

    def summary(self) -> str:
        """Returns optimizer, learning rate and batch size, as in "adamw 0.001, batch 128"."""
        name: object = self.optimizer
        rate: object = self.learning_rate
        if self.compilation is not None:
            name = str(self.compilation.optimizer["class_name"]).lower()
            settings = self.compilation.optimizer["config"]
            rate = settings.get("learning_rate") if isinstance(settings, dict) else None
        shown = f"{rate:.2g}" if isinstance(rate, float) else "scheduled"
        if self.fine_tuning is not None:
            shown += f" then {self.fine_tuning.learning_rate:.2g}"
        return f"{name} {shown}, batch {self.batch_size}"


@dataclass(frozen=True)
class Phase:
    """A part of a training with its own network, optimizer and schedule.

    It covers the intervals `first` to `last`, excluding `last`, counted over the whole training. An
    interval is an epoch, or an equal part of the training's steps.
    """

    candidate: "Candidate"
    first: int
    last: int


class Candidate(Configuration):
    """A network and its training; trials store it, and everything is rebuilt from it."""

    format_version: Literal[1] = 1
    model: ModelConfig
    training: Annotated[TrainingConfig, Field(default_factory=TrainingConfig)]

    @model_validator(mode="after")
    def _fine_tunes_what_is_pretrained(self) -> Self:
        backbone = self.model.backbone
        if self.training.fine_tuning is not None and (
            not isinstance(backbone, Pretrained) or backbone.frozen
        ):
            raise ValueError(
                f"fine_tuning needs a pretrained backbone whose `trainable` is not 'none'; "
                f"received {backbone.summary()}. Fix: leave fine_tuning out."
            )
        return self

    def to_json(self) -> str:
        """Returns the candidate as compact JSON."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> "Candidate":
        """Rebuilds a candidate; an invalid one raises pydantic's ValidationError."""
        return cls.model_validate_json(text)

    def summary(self) -> str:
        """Returns a one-line description for progress lines and dashboards."""
        parts = (self.model.backbone, self.model.head, self.training)
        return "; ".join(part.summary() for part in parts if part is not None)

    def with_training(self, **changes: object) -> "Candidate":
        """Returns this candidate with some training settings replaced and validated."""
        training = TrainingConfig.model_validate({**dict(self.training), **changes})
        return self.model_copy(update={"training": training})

    def phases(self, intervals: int | None = None) -> tuple[Phase, ...]:
        """Returns the phases of this candidate's training: one, or two with fine-tuning.

        `intervals` is the number of intervals of the whole training, by default its epochs. In the
        first of two phases the backbone is frozen, early stopping is off, and horizontal flips are
        the only augmentation: any other would run the backbone on every image in every epoch.
        """
        training = self.training
        length = training.epochs if intervals is None else intervals
        first = training.head_intervals(length)
        if training.fine_tuning is None or not isinstance(self.model.backbone, Pretrained):
            return (Phase(self, 0, length),)
        tuned = self.with_training(
            **self._part(length - first, length),
            learning_rate=training.fine_tuning.learning_rate,
            fine_tuning=None,
        )
        frozen = self.model.backbone.with_trainable("none")
        head = self.model_copy(update={"model": self.model.model_copy(update={"backbone": frozen})})
        head = head.with_training(
            **self._part(max(1, first), length),
            early_stopping=None,
            fine_tuning=None,
            augmentation=Augmentation(horizontal_flip=training.augmentation.horizontal_flip),
        )
        phases = (Phase(head, 0, first), Phase(tuned, first, length))
        return phases if first else phases[1:]

    def _part(self, intervals: int, of: int) -> dict[str, int]:
        """Returns the length of a part of the training, in epochs or steps like the whole."""
        if self.training.steps is None:
            return {"epochs": intervals}
        return {"steps": max(1, round(self.training.steps * intervals / of))}

    def for_retraining(self, **length: int) -> "Candidate":
        """Returns this candidate for a fixed number of `epochs` or `steps` without validation.

        Early stopping is off, and the "plateau" schedule, which follows the validation loss,
        becomes "cosine".
        """
        schedule = self.training.schedule
        return self.with_length(**length).with_training(
            early_stopping=None,
            schedule="cosine" if schedule == "plateau" else schedule,
        )

    def with_length(self, *, epochs: int | None = None, steps: int | None = None) -> "Candidate":
        """Returns this candidate with a length in epochs or, without `epochs`, in steps."""
        if epochs is not None:
            return self.with_training(epochs=epochs, steps=None)
        return self if steps is None else self.with_training(steps=steps)
