"""A candidate: a network and how to train it, as data."""

from typing import Annotated, Literal, Self

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import Field, JsonValue, PositiveFloat, PositiveInt, model_validator

from cnn_blocks.augmentation import Augmentation
from cnn_blocks.config import Configuration, ModelConfig, Rate, Strength


class Compilation(Configuration):
    """An optimizer and a loss that a model came compiled with, as Keras serialises them."""

    optimizer: dict[str, JsonValue]
    loss: str | dict[str, JsonValue]


class TrainingConfig(Configuration):
    """How a candidate is trained.

    Attributes:
        optimizer: "sgd" uses Nesterov momentum.
        learning_rate: The peak of the schedule.
        weight_decay: Decoupled decay, for "adamw" and "sgd" (Loshchilov and Hutter, 2017): each
            step takes learning rate x decay off every weight but biases and normalisation's.
        schedule: "cosine" falls to zero; "one_cycle" rises, then falls, along cosines (Smith,
            2017); "step" divides by ten at 50% and 75%; "plateau" halves after three epochs
            without a lower validation loss.
        warmup: Share of all steps in which the rate rises linearly ("cosine" and "step"); the
            rising share of "one_cycle".
        early_stopping: Epochs without a lower validation loss after which training ends with the
            best weights; None trains all epochs.
        class_weights: "balanced" weights each class by the inverse of its frequency.
        compilation: Replaces the optimizer with its rates and schedule and the loss with its
            label smoothing: their settings do nothing then.
    """

    epochs: PositiveInt = 10
    batch_size: Annotated[PositiveInt, IntDistribution(32, 512, log=True)] = 128
    optimizer: Annotated[
        Literal["adam", "adamw", "sgd"], CategoricalDistribution(["adam", "adamw", "sgd"])
    ] = "adamw"
    learning_rate: Annotated[PositiveFloat, FloatDistribution(1e-4, 1e-1, log=True)] = 1e-3
    weight_decay: Annotated[Strength, FloatDistribution(1e-5, 1e-1, log=True)] = 0.0
    momentum: Annotated[Rate, FloatDistribution(0.8, 0.99)] = 0.9
    schedule: Annotated[
        Literal["constant", "cosine", "one_cycle", "step", "plateau"],
        CategoricalDistribution(["cosine", "one_cycle", "step"]),
    ] = "cosine"
    warmup: Annotated[Rate, FloatDistribution(0.0, 0.4)] = 0.1
    label_smoothing: Annotated[Rate, FloatDistribution(0.0, 0.2)] = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    early_stopping: PositiveInt | None = None
    augmentation: Augmentation = Augmentation()
    compilation: Compilation | None = None

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
        return f"{name} {shown}, batch {self.batch_size}"


class Candidate(Configuration):
    """A network and how to train it; what a trial stores and everything is rebuilt from."""

    format_version: Literal[1] = 1
    model: ModelConfig
    training: Annotated[TrainingConfig, Field(default_factory=TrainingConfig)]

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

    def for_retraining(self, epochs: int) -> "Candidate":
        """Returns this candidate for a fixed number of epochs without any validation images.

        Early stopping is off, and the "plateau" schedule, which follows the validation loss,
        becomes "cosine".
        """
        schedule = self.training.schedule
        return self.with_training(
            epochs=epochs,
            early_stopping=None,
            schedule="cosine" if schedule == "plateau" else schedule,
        )
