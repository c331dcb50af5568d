"""Any .keras file as a backbone: one's own network, or one that a search here has exported."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from cnn_blocks.pretrained import Pretrained, file_digest, require_digest
from cnn_blocks.registry import backbone

if TYPE_CHECKING:
    import keras


@backbone
class KerasFile(Pretrained):
    """The network of a .keras file up to its last feature map.

    A classifier behind that feature map is left out. The file must hold a graph of built-in layers
    (no subclassed model) with one input for RGB images and one output.

    Attributes:
        path: The file.
        weights: "file", or "none" for random ones, to see what the file's are worth.
        values: The smallest and the largest value of the pixels that the network was trained on;
            what a search here exports and what preprocesses inside takes 0 to 255.
        layer: The name of the layer whose output is the feature map; None takes the last one that
            puts out (N, H, W, C).
        sha256: Of the file; found by itself.
    """

    path: str
    weights: Literal["file", "none"] = "file"
    values: tuple[float, float] = (0.0, 255.0)
    layer: str | None = None
    sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _knows_its_file(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("sha256") or "path" not in data:
            return data
        path = user_path(data["path"]).resolve()
        return {**data, "path": str(path), "sha256": file_digest(path)}

    def summary(self) -> str:
        """Returns file, weights and trainable depth, as in "squeezenet.keras, frozen"."""
        weights = " (random weights)" if self.weights == "none" else ""
        return f"{Path(self.path).name}{weights}, {self.trainable_words()}"

    def preprocess(self, x: Any) -> Any:
        """Maps pixel values from 0 to 255, float32, to what the network takes."""
        from keras import layers

        low, high = self.values
        if (low, high) == (0.0, 255.0):
            return x
        scale = (high - low) / 255
        return layers.Rescaling(scale, offset=low, dtype="float32", name="preprocess")(x)

    def architecture(self, shape: tuple[int, ...]) -> "keras.Model":
        """Returns the network up to its feature map; it keeps its own input's shape."""
        import keras

        path = self._checked_path()
        try:
            with zipfile.ZipFile(path) as archive:
                configuration = json.loads(archive.read("config.json"))
            configuration["compile_config"] = None
            network = keras.saving.deserialize_keras_object(configuration)
        except UserError:
            raise
        except Exception as error:
            raise UserError(self._explain(error)) from error
        return self._cut(network)

    def source(self) -> "keras.Model | None":
        """Returns the network with its weights; None where they are random."""
        import keras

        if self.weights == "none":
            return None
        path = self._checked_path()
        try:
            network = keras.saving.load_model(path, compile=False)
        except Exception as error:
            raise UserError(self._explain(error)) from error
        return self._cut(network)

    def _checked_path(self) -> Path:
        path = user_path(self.path)
        require_digest(path, self.sha256)
        if not zipfile.is_zipfile(path):
            raise UserError(
                f"A backbone's file must be a .keras file, as `model.save` writes it; {path} is "
                f"none, or a part of it is missing. Fix: save or copy it again."
            )
        return path

    def _own_classes(self) -> list[str]:
        """Returns the names of the layers in the file that do not come with Keras, and Lambda."""
        try:
            with zipfile.ZipFile(Path(self.path).expanduser()) as archive:
                return sorted(set(_own_classes(json.loads(archive.read("config.json")))))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return []

    def _explain(self, error: Exception) -> str:
        own = self._own_classes()
        if own:
            code = "a Lambda layer" if own == ["Lambda"] else f"own code ({', '.join(own)})"
            return (
                f"A backbone's file must hold built-in layers alone, because it is opened where "
                f"nobody's own code is; {self.path} holds {code}. Fix: build the network from "
                f"built-in layers, or save the part before: keras.Model(model.inputs, "
                f"model.get_layer(NAME).output).save('part.keras')."
            )
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return (
            f"A backbone's file must be a .keras file of built-in layers, as `model.save` writes "
            f"it; {self.path}: {reason}."
        )

    def _cut(self, network: Any) -> "keras.Model":
        import keras

        inputs = getattr(network, "inputs", None) or []
        if not hasattr(network, "operations") and not isinstance(network, keras.Sequential):
            inputs = []
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] != 3:
            raise UserError(
                f"A backbone's file must hold a functional or sequential network that takes RGB "
                f"images (N, H, W, 3); {self.path} takes "
                f"{[item.shape for item in inputs] or 'no such thing'}."
            )
        if isinstance(network, keras.Sequential):
            network = keras.Model(inputs, network.outputs)
        return keras.Model(inputs[0], self._feature_map(network))

    def _feature_map(self, network: "keras.Model") -> Any:
        if self.layer is not None:
            names = [layer.name for layer in network.layers]
            if self.layer not in names:
                raise UserError(
                    f"layer must be one of the layers of {self.path} ({', '.join(names)}); "
                    f"received {self.layer!r}."
                )
            candidates = [network.get_layer(self.layer).output]
        else:
            candidates = [operation.output for operation in network.operations]
        maps = [item for item in candidates if len(getattr(item, "shape", ())) == 4]
        if not maps:
            raise UserError(
                f"A backbone must put out a feature map (N, H, W, C); "
                f"{self.layer or self.path} does not."
            )
        return maps[-1]


def _own_classes(stored: Any) -> Iterator[str]:
    """Yields the names of what Keras stored and cannot make without its author's code."""
    if isinstance(stored, dict):
        name, module = stored.get("class_name"), stored.get("module")
        if isinstance(name, str) and "registered_name" in stored:
            built_in = module is not None and module.partition(".")[0] in ("keras", "builtins")
            if name == "Lambda" or not built_in:
                yield name
        for value in stored.values():
            yield from _own_classes(value)
    elif isinstance(stored, list):
        for value in stored:
            yield from _own_classes(value)
