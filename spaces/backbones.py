"""How a space gets its pretrained backbone: a list of them, from a study or a person's words."""

from collections.abc import Sequence

from pydantic import ValidationError

from cnn_blocks.backbones.keras_application import KerasApplication
from cnn_blocks.backbones.keras_file import KerasFile
from cnn_blocks.errors import UserError
from cnn_blocks.pretrained import Pretrained, Trainable
from spaces.suggest import Trial

# Small and quick on a CPU. Keras downloads its weights (4 MB) once.
DEFAULT_BACKBONES: tuple[Pretrained, ...] = (KerasApplication(family="MobileNetV3Small"),)


def parse_backbone(text: str) -> Pretrained:
    """Returns the backbone that a person names: a network of keras.applications, or a .keras file.

    Other weights stand behind "=": `ResNet50V2=none`, `ResNet50V2=weights.h5`, `my.keras=none`.
    Raises UserError for anything else.
    """
    name, _, weights = text.partition("=")
    try:
        if name.endswith(".keras"):
            return KerasFile.model_validate({"path": name, "weights": weights or "file"})
        return KerasApplication(family=name, weights=weights or "imagenet")
    except ValidationError as error:
        problem = error.errors()[0]
        reason = problem.get("ctx", {}).get("error", problem["msg"])
        raise UserError(
            f"A backbone must be a network of keras.applications or a .keras file: {reason}"
        ) from error


def suggest_backbone(
    trial: Trial, backbones: Sequence[Pretrained], *, trainable: Trainable
) -> Pretrained:
    """Suggests one of the backbones, where there are several, and trains so much of it."""
    names = backbone_names(backbones)
    name = names[0] if len(names) == 1 else trial.suggest_categorical("backbone", names)
    return backbones[names.index(name)].with_trainable(trainable)


def backbone_names(backbones: Sequence[Pretrained]) -> list[str]:
    """Returns a short name for each backbone; two of one name are refused."""
    names = [_name(backbone) for backbone in backbones]
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"A space needs one or more backbones of different names; received "
            f"{', '.join(names) or 'none'}. Name each one once."
        )
    return names


def _name(backbone: Pretrained) -> str:
    frozen = backbone.with_trainable("none").summary()
    return frozen.rpartition(", ")[0]
