"""Which files can be backbones, and how changed or missing files are detected."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.backbones.keras_file import KerasFile
from cnn_blocks.build import build_model, describe_model
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.errors import InfeasibleError, UserError
from cnn_blocks.heads.pooled import Pooled

SPEC = InputSpec(image_shape=(16, 16, 3), class_names=("cat", "dog"))


def save(path: Path, *, channels: int = 3, head: bool = True, filters: int = 4) -> Path:
    import keras
    from keras import layers

    parts: list[Any] = [
        keras.Input((16, 16, channels)),
        layers.Conv2D(filters, 3, name="first"),
        layers.Conv2D(2 * filters, 3, name="second"),
    ]
    if head:
        parts += [layers.Flatten(), layers.Dense(3)]
    keras.Sequential(parts).save(path)
    return path


def network(path: Path, **fields: Any) -> ModelConfig:
    backbone = KerasFile.model_validate({"path": str(path), **fields})
    return ModelConfig(preprocessing="none", backbone=backbone, head=Pooled())


def test_the_cut_is_the_last_feature_map_or_a_named_layer(tmp_path: Path) -> None:
    path = save(tmp_path / "a.keras")
    bare = save(tmp_path / "b.keras", head=False)

    assert describe_model(network(path), SPEC).feature_map == (12, 12, 8)
    assert describe_model(network(bare), SPEC).feature_map == (12, 12, 8)
    assert describe_model(network(path, layer="first"), SPEC).feature_map == (14, 14, 4)
    with pytest.raises(UserError, match=r"must be one of the layers.*first, second.*'third'"):
        describe_model(network(path, layer="third"), SPEC)
    with pytest.raises(UserError, match="must output a feature map"):
        describe_model(network(path, layer="dense"), SPEC)


def test_the_configuration_knows_the_files_content(tmp_path: Path) -> None:
    path = save(tmp_path / "network.keras")
    config = network(path)

    stored = ModelConfig.model_validate_json(config.model_dump_json())
    assert stored == config
    assert len(json.loads(config.model_dump_json())["backbone"]["sha256"]) == 64

    save(path, filters=5)
    with pytest.raises(UserError, match="must be the one that the configuration was created with"):
        build_model(stored, SPEC)
    with pytest.raises(UserError, match="must be the one that the configuration was created with"):
        describe_model(stored, SPEC)
    path.unlink()
    # A stored configuration can be read without the file; only building needs the file.
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(UserError, match=r"must exist and be readable.*No such file"):
        build_model(stored, SPEC)
    with pytest.raises(ValueError, match="must exist and be readable"):
        network(path)


def test_what_is_no_backbone_says_why(tmp_path: Path) -> None:
    import keras

    text = tmp_path / "text.keras"
    text.write_text("no network")
    with pytest.raises(UserError, match=r"or is incomplete\. Fix: save or copy"):
        describe_model(network(text), SPEC)
    grey = save(tmp_path / "grey.keras", channels=1)
    with pytest.raises(UserError, match="for RGB images"):
        describe_model(network(grey), SPEC)
    numbers = tmp_path / "numbers.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]).save(numbers)
    with pytest.raises(UserError, match="for RGB images"):
        describe_model(network(numbers), SPEC)
    hidden = tmp_path / "lambda.keras"
    code = keras.layers.Lambda(lambda x: x * 2)
    keras.Sequential([keras.Input((16, 16, 3)), code]).save(hidden)
    with pytest.raises(UserError, match=r"lambda\.keras holds a Lambda layer\. Fix: build"):
        describe_model(network(hidden), SPEC)


def test_own_code_in_a_file_is_named(tmp_path: Path) -> None:
    import keras

    class Square(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * x

    class Whole(keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    layered, whole = tmp_path / "layered.keras", tmp_path / "whole.keras"
    keras.Sequential([keras.Input((16, 16, 3)), Square()]).save(layered)
    model = Whole()
    model(np.zeros((1, 16, 16, 3)))
    model.save(whole)

    with pytest.raises(UserError, match=r"holds custom code \(Square\)\. Fix: build"):
        describe_model(network(layered), SPEC)
    with pytest.raises(UserError, match=r"holds custom code \(Whole\)\. Fix: build"):
        network(whole).backbone.source()  # type: ignore[attr-defined]


def test_images_that_are_too_small_are_infeasible(tmp_path: Path) -> None:
    path = save(tmp_path / "network.keras")
    tiny = SPEC.model_copy(update={"image_shape": (3, 3, 3)})

    with pytest.raises(InfeasibleError, match="at least one pixel"):
        describe_model(network(path), tiny)


def test_a_model_of_ours_is_a_backbone(tmp_path: Path) -> None:
    path = save(tmp_path / "network.keras")
    exported = build_model(network(path), SPEC)
    exported.save(tmp_path / "exported.keras")

    again = network(tmp_path / "exported.keras", trainable="all")
    shape = describe_model(again, SPEC)

    assert shape.feature_map == (12, 12, 8)
    # Everything but the old logits: 3x3x3x4 + 4 and 3x3x4x8 + 8, and new logits 8x2 + 2.
    assert shape.trainable_parameters == 112 + 296 + 18
