"""Networks as data: frozen, validated, convertible to and from JSON."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from cnn_blocks import registry
from cnn_blocks.errors import UserError

if TYPE_CHECKING:
    import keras

Reduction: TypeAlias = Literal["none", "max", "average", "stride"]
Activation: TypeAlias = Literal[
    "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hard_silu", "linear"
]
Normalization: TypeAlias = Literal["batch", "layer", "group", "none"]
Initializer: TypeAlias = Literal["he_uniform", "he_normal", "glorot_uniform", "glorot_normal"]
Rate: TypeAlias = Annotated[float, Field(ge=0.0, lt=1.0)]
Strength: TypeAlias = Annotated[float, Field(ge=0.0)]


class Configuration(BaseModel):
    """Base of all configurations; rejects unknown keys and invalid values."""

    # JSON has no infinity, so a configuration with one could not be stored.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Component(Configuration):
    """A registered part of a network: its fields describe it, calling it adds its layers."""

    kind: ClassVar[str]

    def summary(self) -> str:
        """Returns a short description for display."""
        return self.kind

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {"kind": self.kind, **handler(self)}

    @model_validator(mode="before")
    @classmethod
    def _without_kind(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("kind", cls.kind) == cls.kind:
            return {key: value for key, value in data.items() if key != "kind"}
        return data


class Block(Component):
    """A searchable block: Keras tensor in, Keras tensor out, built-in Keras layers only.

    A call with `reduction` other than "none" must halve height and width
    (`cnn_blocks.layers.convolve` and `pool` do so for most blocks).
    """

    filters: PositiveInt = 32

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        raise NotImplementedError

    def finish(self, x: Any) -> Any:
        """Adds the layers that a network's last block needs before the head; most need none."""
        return x


class Backbone(Component):
    """Everything between the preprocessed image and the head.

    `own_preprocessing` means that it takes pixel values from 0 to 255 and preprocesses them itself.
    """

    own_preprocessing: ClassVar[bool] = False

    def __call__(self, x: Any) -> Any:
        """Maps (N, H, W, 3) to a feature map (N, H', W', C)."""
        raise NotImplementedError

    def load_weights(self, model: "keras.Model") -> None:
        """Loads this backbone's pretrained weights, if any, into its layers of a built model."""

    @property
    def frozen(self) -> bool:
        """Whether training does not change it: an image always has the same features."""
        return False


class Classifier(Backbone):
    """A backbone with its own head: it outputs logits."""

    def logits(self, x: Any, *, classes: int) -> Any:
        """Maps (N, H, W, 3) to logits (N, classes)."""
        raise NotImplementedError


class Head(Component):
    """Everything between the feature map and the logits."""

    def __call__(self, x: Any) -> Any:
        """Maps a feature map (N, H, W, C) to features (N, D); the builder adds the logits."""
        raise NotImplementedError

    @property
    def pooled_only(self) -> bool:
        """Whether the head uses only each channel's mean and maximum.

        It must then implement `from_pooled`. With a frozen backbone, only these values have to be
        cached per image.
        """
        return False

    def from_pooled(self, mean: Any, maximum: Any) -> Any:
        """Maps the channels' mean and maximum (N, C) to the features of a call on the map."""
        raise NotImplementedError


def _resolver(role: str) -> BeforeValidator:
    def resolve(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        kind = value.get("kind")
        if not isinstance(kind, str):
            raise ValueError(f"a {role} needs the key 'kind' with a name; received {kind!r}")
        return registry.find(role, kind).model_validate(value)

    return BeforeValidator(resolve)


AnyBlock: TypeAlias = Annotated[SerializeAsAny[Block], _resolver("block")]
AnyBackbone: TypeAlias = Annotated[SerializeAsAny[Backbone], _resolver("backbone")]
AnyHead: TypeAlias = Annotated[SerializeAsAny[Head], _resolver("head")]


class ModelConfig(Configuration):
    """A whole network, except for the properties defined by the data (`InputSpec`).

    `preprocessing` happens inside the model, in float32: "scale" maps uint8 to [0, 1],
    "standardize" also subtracts the training images' channel mean and divides by their standard
    deviation, "none" keeps values from 0 to 255, for a backbone with its own preprocessing.
    `input_size` is the height and width in pixels to which the model resizes each batch; None keeps
    the images' size.
    `head` is None if the backbone is a `Classifier`.
    `mirror` averages the logits of each image and its mirror image, which doubles the cost of a
    prediction; training uses only one of the two (`for_training`).
    """

    format_version: Literal[1] = 1
    preprocessing: Literal["scale", "standardize", "none"] = "scale"
    input_size: PositiveInt | None = None
    backbone: AnyBackbone
    head: Annotated[AnyHead | None, Field(validate_default=True)] = None
    mirror: bool = False

    @field_validator("head")
    @classmethod
    def _one_head(cls, head: Head | None, info: ValidationInfo) -> Head | None:
        backbone = info.data.get("backbone")
        if backbone is not None and isinstance(backbone, Classifier) != (head is None):
            rule = "needs a head" if head is None else "has its own head and takes no other"
            raise ValueError(
                f"the backbone {backbone.kind!r} {rule}; received {head and head.kind}."
            )
        return head

    @model_validator(mode="after")
    def _preprocesses_once(self) -> Self:
        if self.backbone.own_preprocessing and self.preprocessing != "none":
            raise ValueError(
                f"preprocessing must be 'none' with the backbone {self.backbone.kind!r}, which "
                f"has its own; received {self.preprocessing!r}."
            )
        return self

    @property
    def any_head(self) -> Head:
        """The head; raises UserError for a network without one."""
        if self.head is None:
            raise UserError(
                f"This needs a network with a separate head; the backbone {self.backbone.kind!r} "
                f"has its own. Fix: choose a backbone that takes a head."
            )
        return self.head

    def for_training(self) -> Self:
        """Returns the network to train, which uses one view of each image."""
        return self.model_copy(update={"mirror": False})

    def components(self) -> Iterator[Component]:
        """Yields every registered component of this network."""
        yield from _walk(self)

    def sources(self) -> dict[str, str]:
        """Returns, by kind, the file or module that defines each user-written component."""
        origins = {part.kind: registry.source_of(type(part)) for part in self.components()}
        return {kind: origin for kind, origin in origins.items() if origin is not None}


def _walk(value: Any) -> Iterator[Component]:
    if isinstance(value, Component):
        yield value
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _walk(item)


class InputSpec(Configuration):
    """The properties of a network that the data defines.

    `image_shape` is (height, width, 3) in pixels; `channel_mean` and `channel_deviation` are the
    mean and standard deviation of the training images, with pixels scaled to [0, 1].
    """

    image_shape: tuple[PositiveInt, PositiveInt, Literal[3]]
    class_names: Annotated[tuple[str, ...], Field(min_length=2)]
    channel_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    channel_deviation: tuple[float, float, float] = (0.25, 0.25, 0.25)

    @model_validator(mode="after")
    def _deviations_are_positive(self) -> Self:
        if min(self.channel_deviation) <= 0:
            raise UserError(
                f"Each channel's standard deviation must be positive; received "
                f"{self.channel_deviation}."
            )
        return self

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)
