"""Every family of keras.applications: its preprocessing, its smallest size, its weights."""

import importlib
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.backbones.keras_application import FAMILIES, KerasApplication
from cnn_blocks.build import build_model, describe_model
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.errors import InfeasibleError, UserError
from cnn_blocks.heads.pooled import DenseLayer, Pooled

SPEC = InputSpec(image_shape=(32, 32, 3), class_names=tuple("0123456789"))


def network(family: str, *, input_size: int | None = None, **fields: Any) -> ModelConfig:
    backbone = KerasApplication.model_validate({"family": family, "weights": "none", **fields})
    return ModelConfig(
        preprocessing="none", input_size=input_size, backbone=backbone, head=Pooled()
    )


def module(family: str) -> Any:
    import keras

    return importlib.import_module(getattr(keras.applications, family).__module__)


def pixels() -> Any:
    return np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")


def test_all_families_are_known() -> None:
    import keras

    assert set(FAMILIES) == {
        name
        for name in dir(keras.applications)
        if name[0].isupper() and callable(getattr(keras.applications, name))
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_preprocessing_is_the_familys_own(family: str) -> None:
    import keras

    backbone = KerasApplication(family=family, weights="none")
    images = keras.Input((8, 8, 3))
    preprocessed = backbone.preprocess(images)
    ours = np.asarray(keras.Model(images, preprocessed)(pixels()))

    theirs = np.asarray(module(family).preprocess_input(pixels()))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)
    # If Keras' preprocessing does nothing, layers of the network do it; all others need ours.
    inside = "inside" in FAMILIES[family].scaling
    assert inside == bool(np.array_equal(theirs, pixels()))
    if inside:
        assert "include_preprocessing=True" in Path(module(family).__file__).read_text() or (
            "layers.Rescaling(1.0 / 255.0)" in Path(module(family).__file__).read_text()
        )


def test_efficientnet_standardises_although_its_weights_hold_the_deviation() -> None:
    import keras
    from keras import layers

    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    images = keras.Input((8, 8, 3))
    x = KerasApplication(family="EfficientNetB0").preprocess(images)
    # Keras' weights file holds the standard deviation as the variance of the normalisation.
    inside = layers.Normalization(mean=mean, variance=deviation)
    ours = keras.Model(images, inside(layers.Rescaling(1 / 255)(x)))(pixels())

    np.testing.assert_allclose(ours, (pixels() / 255 - mean) / deviation, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_smallest_size_is_keras_own(family: str) -> None:
    import keras

    smallest = FAMILIES[family].smallest
    builder = getattr(keras.applications, family)
    with pytest.raises(ValueError, match=f"at least {smallest}"):
        builder(include_top=False, weights=None, input_shape=(smallest - 1, smallest, 3))
    small = SPEC.model_copy(update={"image_shape": (smallest, smallest - 1, 3)})
    with pytest.raises(InfeasibleError, match=f"at least {smallest}x{smallest} pixels.*input_size"):
        describe_model(network(family), small)


@pytest.mark.parametrize(
    ("family", "parameters"),
    # Keras' documentation counts these including the classifier of 1,000 classes.
    [("MobileNetV3Small", 939_120), ("VGG16", 14_714_688), ("EfficientNetB0", 4_049_571)],
)
def test_parameters_are_those_of_the_network_and_the_head(family: str, parameters: int) -> None:
    shape = describe_model(network(family), SPEC)

    channels = shape.feature_map[-1]
    assert shape.parameters == parameters + channels * 10 + 10
    assert shape.trainable_parameters == channels * 10 + 10


@pytest.mark.slow
def test_the_published_inception_resnet_transfer_counts_as_printed() -> None:
    # 003_753b23262839900e.txt: total 55,193,194, trainable 855,178, non-trainable 54,338,016.
    layers = tuple(
        DenseLayer(units=units, batch_normalization=True, dropout=0.5) for units in (512, 128)
    )
    config = network("InceptionResNetV2", input_size=299).model_copy(
        update={"head": Pooled(pooling="average", layers=layers)}
    )

    shape = describe_model(config, SPEC)

    assert shape.parameters == 55_193_194
    assert shape.trainable_parameters == 855_178
    assert shape.frozen_activations > 0.99 * shape.activations


def test_a_model_with_reversed_channels_opens_in_safe_mode(tmp_path: Path) -> None:
    import keras

    images = keras.Input((8, 8, 3))
    model = keras.Model(images, KerasApplication(family="VGG16").preprocess(images))
    model.save(tmp_path / "model.keras")

    opened = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)

    np.testing.assert_array_equal(opened(pixels()), model(pixels()))


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(7)
    keras.layers.Normalization()  # automatic layer names must not matter
    source = keras.applications.MobileNetV3Small(include_top=False, weights=None)
    path = tmp_path / "weights.weights.h5"
    source.save_weights(path)
    config = network("MobileNetV3Small", weights=str(path))

    model = build_model(config, SPEC, seed=0)

    kernel = source.get_layer("conv").get_weights()[0]
    np.testing.assert_array_equal(model.get_layer("backbone_conv").get_weights()[0], kernel)
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    path.write_bytes(b"another file")
    with pytest.raises(UserError, match="must be the one that the configuration was created with"):
        build_model(config, SPEC)
    with pytest.raises(UserError, match="must fit MobileNetV3Small"):
        build_model(network("MobileNetV3Small", weights=str(path)), SPEC)


def test_without_a_network_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras.src.utils import file_utils

    def offline(*arguments: object, **options: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(file_utils, "urlretrieve", offline)
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))

    assert describe_model(network("MobileNetV3Small", weights="imagenet"), SPEC).parameters
    with pytest.raises(UserError, match=r"downloaded once.*URL fetch failure.*copy that folder"):
        build_model(network("MobileNetV3Small", weights="imagenet"), SPEC)


def test_an_unknown_family_or_file_names_the_closest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'MobileNetV2'"):
        KerasApplication(family="mobilenetv2")
    with pytest.raises(ValueError, match="'imagenet', 'none' or an existing file"):
        KerasApplication(family="MobileNetV2", weights="imagnet")
