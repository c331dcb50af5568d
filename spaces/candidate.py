"""A candidate: a network and how to train it, as data."""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import Field, JsonValue, PositiveFloat, PositiveInt, model_validator

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.config import Configuration, ModelConfig, Rate, Strength
from cnn_blocks.pretrained import Pretrained


class FineTuning(Configuration):
    """Two phases of one training: first the head alone, then the backbone as well.

    Attributes:
        head_share: Share of the epochs in which only the head trains; each phase has at least one.
        learning_rate: The peak of the second phase's schedule, which is the first one's again.
    """

    head_share: Annotated[float, Field(gt=0, lt=1), FloatDistribution(0.1, 0.6)] = 0.4
    learning_rate: Annotated[PositiveFloat, FloatDistribution(1e-6, 1e-3, log=True)] = 1e-4


class Compilation(Configuration):
    """An optimizer and a loss that a model came compiled with, as Keras serialises them."""

    optimizer: dict[str, JsonValue]
    loss: str | dict[str, JsonValue]


class TrainingConfig(Configuration):
    """How a candidate is trained.

    Attributes:
        epochs: Passes over the training images; counts where `steps` is None.
        steps: Optimizer steps of the whole training, whatever the number of images; None trains
            `epochs`.
        optimizer: "sgd" uses Nesterov momentum; "muon" steps convolutions and hidden dense layers
            along orthogonalised matrices, the rest as "adamw" (Jordan et al., 2024).
        learning_rate: The peak of the schedule.
        weight_decay: Decoupled decay, for all but "adam" (Loshchilov and Hutter, 2017): each
            step takes learning rate x decay off every weight but biases and normalisation's.
        clip_norm: Scales the gradients down to this norm where theirs is larger; None leaves them.
        schedule: "cosine" falls to zero; "one_cycle" rises, then falls, along cosines (Smith,
            2017); "step" divides by ten at 50% and 75%; "plateau" halves after three epochs
            without a lower validation loss.
        warmup: Share of all steps in which the rate rises linearly ("cosine" and "step"); the
            rising share of "one_cycle".
        early_stopping: Epochs without a lower validation loss after which training ends with the
            best weights; None trains all epochs.
        class_weights: "balanced" weights each class by the inverse of its frequency,
            "square_root" by the inverse of the frequency's root.
        fine_tuning: Trains a pretrained backbone in a second phase; None trains all that trains
            from the first epoch on.
        compilation: Replaces the optimizer with its rates and schedule and the loss with its
            label smoothing: their settings do nothing then.
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
    class_weights: Literal["none", "square_root", "balanced"] = "none"
    early_stopping: PositiveInt | None = None
    augmentation: Augmentation = Augmentation()
    fine_tuning: FineTuning | None = None
    compilation: Compilation | None = None

    def head_intervals(self, intervals: int) -> int:
        """Returns in how many of a training's intervals the head trains alone.

        Intervals are epochs, or equal parts of the steps; of a single one none is left for it.
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
                f"Use 'adamw'."
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
    """A part of a training with a network, an optimizer and a schedule of its own.

    Spans the intervals from `first` up to and without `last`, of one count; an interval is an
    epoch, or a part of the training's steps.
    """

    candidate: "Candidate"
    first: int
    last: int


class Candidate(Configuration):
    """A network and how to train it; what a trial stores and everything is rebuilt from."""

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
                f"received {backbone.summary()}. Leave fine_tuning out."
            )
        return self

    def to_json(self) -> str:
        """Returns the candidate as compact JSON."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> "Candidate":
        """Rebuilds a candidate; an illegal one raises pydantic's ValidationError."""
        return cls.model_validate_json(text)

    def summary(self) -> str:
        """Returns one readable line, for progress lines and dashboards."""
        parts = (self.model.backbone, self.model.head, self.training)
        return "; ".join(part.summary() for part in parts if part is not None)

    def with_training(self, **changes: object) -> "Candidate":
        """Returns this candidate with some training settings replaced, validated again."""
        training = TrainingConfig.model_validate({**dict(self.training), **changes})
        return self.model_copy(update={"training": training})

    def phases(self, intervals: int | None = None) -> tuple[Phase, ...]:
        """Returns the phases of this candidate's training: one, or two with fine-tuning.

        `intervals` is the whole training's length in them, its epochs if not said. In the first of
        two phases the backbone is frozen, early stopping waits for the second, and images are
        mirrored at most: all else would have to run the backbone on every image anew.
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
        """Returns the length of a part of the training, in the unit that its length is given in."""
        if self.training.steps is None:
            return {"epochs": intervals}
        return {"steps": max(1, round(self.training.steps * intervals / of))}

    def for_retraining(self, **length: int) -> "Candidate":
        """Returns this candidate for fixed `epochs`, or `steps`, without any validation images.

        Early stopping is off, and the "plateau" schedule, which follows the validation loss,
        becomes "cosine".
        """
        schedule = self.training.schedule
        return self.with_length(**length).with_training(
            early_stopping=None,
            schedule="cosine" if schedule == "plateau" else schedule,
        )

    def with_length(self, *, epochs: int | None = None, steps: int | None = None) -> "Candidate":
        """Returns this candidate for so many epochs, or else for so many steps."""
        if epochs is not None:
            return self.with_training(epochs=epochs, steps=None)
        return self if steps is None else self.with_training(steps=steps)
