"""Any .keras file as a backbone: a user's own network, or one exported by an earlier search."""

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

    A classifier after that feature map is dropped. The file must hold a graph of built-in layers
    (not a subclassed model) with one input for RGB images and one output.

    Attributes:
        path: The file.
        weights: "file", or "none" for random weights, to measure the benefit of the file's weights.
        values: The smallest and largest pixel value that the network expects; 0 to 255 for models
            exported by a search and for other models with preprocessing inside.
        layer: The name of the layer whose output is the feature map; None uses the last one with
            output (N, H, W, C).
        sha256: The SHA-256 of the file; computed if it is missing.
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
        """Maps float32 pixel values from 0 to 255 to the input range of the network."""
        from keras import layers

        low, high = self.values
        if (low, high) == (0.0, 255.0):
            return x
        scale = (high - low) / 255
        return layers.Rescaling(scale, offset=low, dtype="float32", name="preprocess")(x)

    def architecture(self, shape: tuple[int, ...]) -> "keras.Model":
        """Returns the network up to its feature map; it keeps its own input shape."""
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
        """Returns the network with its weights; None for random weights."""
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
                f"A backbone file must be a .keras file, as `model.save` writes it; {path} is not, "
                f"or is incomplete. Fix: save or copy it again."
            )
        return path

    def _own_classes(self) -> list[str]:
        """Returns the class names in the file that are not part of Keras, and Lambda."""
        try:
            with zipfile.ZipFile(Path(self.path).expanduser()) as archive:
                return sorted(set(_own_classes(json.loads(archive.read("config.json")))))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return []

    def _explain(self, error: Exception) -> str:
        own = self._own_classes()
        if own:
            code = "a Lambda layer" if own == ["Lambda"] else f"custom code ({', '.join(own)})"
            return (
                f"A backbone file must hold only built-in layers, because it is opened without "
                f"your own code; {self.path} holds {code}. Fix: build the network from "
                f"built-in layers, or save the part before: keras.Model(model.inputs, "
                f"model.get_layer(NAME).output).save('part.keras')."
            )
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return (
            f"A backbone file must be a .keras file of built-in layers, as `model.save` writes "
            f"it; {self.path}: {reason}."
        )

    def _cut(self, network: Any) -> "keras.Model":
        import keras

        inputs = getattr(network, "inputs", None) or []
        if not hasattr(network, "operations") and not isinstance(network, keras.Sequential):
            inputs = []
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] != 3:
            raise UserError(
                f"A backbone file must hold a functional or sequential model with one input for "
                f"RGB images (N, H, W, 3); {self.path} has input shapes "
                f"{[item.shape for item in inputs] or 'unknown'}."
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
                f"A backbone must output a feature map (N, H, W, C); "
                f"{self.layer or self.path} does not."
            )
        return maps[-1]


def _own_classes(stored: Any) -> Iterator[str]:
    """Yields the names of stored classes that Keras cannot create without their author's code."""
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
