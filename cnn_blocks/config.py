"""Networks as data: frozen, validated, JSON both ways."""

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
    """Base of all configurations: an unknown key or an illegal value cannot exist in one."""

    # JSON has no infinity: a configuration that holds one would not survive being stored.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Component(Configuration):
    """A registered part of a network: fields say what it is, calling it adds its layers."""

    kind: ClassVar[str]

    def summary(self) -> str:
        """Returns a few words for a person."""
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

    Calling it with `reduction` other than "none" must halve height and width
    (`cnn_blocks.layers.reduce` does it for most).
    """

    filters: PositiveInt = 32

    def __call__(self, x: Any, *, reduction: Reduction = "none") -> Any:
        """Maps (N, H, W, C) to (N, H', W', filters)."""
        raise NotImplementedError

    def finish(self, x: Any) -> Any:
        """Adds what a network's last block still needs before the head; most need nothing."""
        return x


class Backbone(Component):
    """Everything between the preprocessed image and the head.

    `own_preprocessing` says that it takes pixel values from 0 to 255 and preprocesses them itself.
    """

    own_preprocessing: ClassVar[bool] = False

    def __call__(self, x: Any) -> Any:
        """Maps (N, H, W, 3) to a feature map (N, H', W', C)."""
        raise NotImplementedError

    def load_weights(self, model: "keras.Model") -> None:
        """Gives this backbone's layers in a built model their pretrained weights, if it has any."""

    @property
    def frozen(self) -> bool:
        """Whether training leaves it as it is: the same features for an image, every time."""
        return False


class Classifier(Backbone):
    """A backbone that brings its own head: it ends in logits."""

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
        """Whether it reads nothing but each channel's mean and maximum; then `from_pooled` must be.

        Behind a frozen backbone these are all that has to be kept of an image.
        """
        return False

    def from_pooled(self, mean: Any, maximum: Any) -> Any:
        """Maps the channels' mean and maximum (N, C) to what calling it makes of the map."""
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
    """A whole network, apart from what the data decides (`InputSpec`).

    `preprocessing` happens inside the model, in float32: "scale" maps uint8 to [0, 1],
    "standardize" also subtracts the training images' channel mean and divides by their deviation,
    "none" keeps values from 0 to 255, for a backbone that brings its own preprocessing.
    `input_size` is the height and width in pixels that images are resized to inside the model,
    batch by batch; None keeps theirs.
    `head` is None where the backbone is a `Classifier`.
    `mirror` averages the logits of each image and its mirror image, at twice the cost of a
    prediction; training sees one of the two (`for_training`).
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
            rule = "needs a head" if head is None else "brings its own head and takes no other"
            raise ValueError(
                f"the backbone {backbone.kind!r} {rule}; received {head and head.kind}."
            )
        return head

    @model_validator(mode="after")
    def _preprocesses_once(self) -> Self:
        if self.backbone.own_preprocessing and self.preprocessing != "none":
            raise ValueError(
                f"preprocessing must be 'none' with the backbone {self.backbone.kind!r}, which "
                f"brings its own; received {self.preprocessing!r}."
            )
        return self

    @property
    def any_head(self) -> Head:
        """The head, for what only a network with one can be asked."""
        if self.head is None:
            raise UserError(
                f"This needs a network with a head; the backbone {self.backbone.kind!r} brings its "
                f"own. Choose a backbone that takes a head."
            )
        return self.head

    def for_training(self) -> Self:
        """Returns the network that is trained: with one view of each image."""
        return self.model_copy(update={"mirror": False})

    def components(self) -> Iterator[Component]:
        """Yields every registered component of this network."""
        yield from _walk(self)

    def sources(self) -> dict[str, str]:
        """Returns, by kind, the file or module that defines each component of a user's own."""
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
    """What the data decides about a network.

    `image_shape` is (height, width, 3) in pixels; `channel_mean` and `channel_deviation` are the
    training images' statistics with pixels scaled to [0, 1].
    """

    image_shape: tuple[PositiveInt, PositiveInt, Literal[3]]
    class_names: Annotated[tuple[str, ...], Field(min_length=2)]
    channel_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    channel_deviation: tuple[float, float, float] = (0.25, 0.25, 0.25)

    @model_validator(mode="after")
    def _deviations_are_positive(self) -> Self:
        if min(self.channel_deviation) <= 0:
            raise UserError(
                f"A channel's deviation must be positive; received {self.channel_deviation}."
            )
        return self

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)
