"""Pretrained backbones of a space: a list from the study or from the command line."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from cnn_blocks.backbones.keras_application import FAMILIES, KerasApplication
from cnn_blocks.backbones.keras_file import KerasFile
from cnn_blocks.errors import UserError
from cnn_blocks.pretrained import Pretrained, Trainable
from spaces.suggest import Trial

# Small and fast on a CPU. Keras downloads its weights (4 MB) once.
DEFAULT_BACKBONES: tuple[Pretrained, ...] = (KerasApplication(family="MobileNetV3Small"),)


def parse_backbone(text: str) -> Pretrained:
    """Parses a backbone as given by the user: a network of keras.applications or a .keras file.

    "=" selects other weights: `ResNet50V2=none`, `ResNet50V2=weights.h5`, `my.keras=none`.
    Raises UserError for anything else.
    """
    name, _, weights = text.partition("=")
    if name and name not in FAMILIES:
        _refuse_other_files(name)
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


def _refuse_other_files(name: str) -> None:
    path = Path(name).expanduser()
    rule = "A backbone must be a network of keras.applications or a .keras file"
    if path.suffix in (".h5", ".hdf5"):
        if name.endswith(".weights.h5") or _is_weights_alone(path):
            raise UserError(
                f"{rule}; {name} contains weights without a network. Fix: build the network, then "
                f"model.load_weights({name!r}) and model.save('network.keras'). For weights of a "
                f"network of keras.applications give both: ResNet50V2={name}"
            )
        new = str(path.with_suffix(".keras"))
        raise UserError(
            f"{rule}; {name} has the legacy HDF5 format. Fix: convert it once with "
            f"keras.models.load_model({name!r}, compile=False).save({new!r})"
        )
    if not name.endswith(".keras") and (path.exists() or path.suffix or path.name != name):
        raise UserError(
            f"{rule}; received {name}. Fix: save the network with model.save('network.keras') "
            f"and give that file."
        )


def _is_weights_alone(path: Path) -> bool:
    import h5py  # needed only for this error message

    try:
        with h5py.File(path) as file:
            return "model_config" not in file.attrs
    except OSError:
        return False


def suggest_backbone(
    trial: Trial, backbones: Sequence[Pretrained], *, trainable: Trainable
) -> Pretrained:
    """Returns one of the backbones, suggested if there are several, with `trainable` set."""
    names = backbone_names(backbones)
    name = names[0] if len(names) == 1 else trial.suggest_categorical("backbone", names)
    return backbones[names.index(name)].with_trainable(trainable)


def backbone_names(backbones: Sequence[Pretrained]) -> list[str]:
    """Returns a short name for each backbone; raises UserError if two names are equal."""
    names = [_name(backbone) for backbone in backbones]
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"A space needs one or more backbones with different names; received "
            f"{', '.join(names) or 'none'}. Fix: give each one once."
        )
    return names


def _name(backbone: Pretrained) -> str:
    frozen = backbone.with_trainable("none").summary()
    return frozen.rpartition(", ")[0]
