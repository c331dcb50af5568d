"""Frozen and trained parts of a pretrained backbone, and the effect of each mistake."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.backbones.keras_file import KerasFile
from cnn_blocks.build import build_model, describe_model
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.errors import UserError
from cnn_blocks.heads.pooled import Pooled
from cnn_blocks.pretrained import Trainable, file_digest

SPEC = InputSpec(image_shape=(32, 32, 3), class_names=("cat", "dog", "newt"))
STAGES = (
    ["backbone_stem", "backbone_stem_norm"],
    ["backbone_middle", "backbone_middle_norm", "backbone_squeeze"],
    ["backbone_top"],
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of three stages and a classifier, with weights as if trained."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    images = keras.Input((48, 48, 3), name="images")
    x = layers.Conv2D(8, 3, padding="same", name="stem")(images)
    x = layers.BatchNormalization(name="stem_norm")(x)
    x = layers.Activation("relu")(x)
    x = layers.Dropout(0.5, name="stem_dropout")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(8, 3, padding="same", name="middle", kernel_regularizer="l2")(x)
    x = layers.BatchNormalization(name="middle_norm")(x)
    # The size of a tensor that describes the whole image does not indicate its stage.
    squeezed = layers.GlobalAveragePooling2D(keepdims=True, name="describe")(x)
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid", name="squeeze")(squeezed)])
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(12, 3, strides=2, name="top", kernel_regularizer="l2")(x)
    outputs = layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, outputs)
    random = np.random.default_rng(0)
    for name, scale in (("stem_norm", 100.0), ("middle_norm", 1.0)):
        gamma, beta, mean, variance = model.get_layer(name).get_weights()
        mean = random.normal(0, scale, mean.shape)
        variance = random.uniform(1, 2, variance.shape) * scale**2
        model.get_layer(name).set_weights([gamma, beta, mean, variance])
    path = tmp_path_factory.mktemp("backbones") / "network.keras"
    model.save(path)
    return path


@pytest.fixture
def images() -> Any:
    """Four images of noise."""
    return np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def network(file: Path, **fields: Any) -> ModelConfig:
    backbone = KerasFile.model_validate({"path": str(file), **fields})
    return ModelConfig(preprocessing="none", backbone=backbone, head=Pooled())


def features(model: Any, images: Any, *, training: bool = False) -> Any:
    import keras

    pooling = next(
        layer for layer in model.layers if layer.name.startswith("global_average_pooling2d")
    )
    maps = keras.Model(model.input, pooling.input)
    return np.asarray(maps(images, training=training))


def _step(model: Any, images: Any) -> None:
    """Runs one training step with a strong weight decay, as `fit` does."""
    import keras

    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
    model.train_on_batch(images, np.arange(4) % 3)


def test_features_are_those_of_the_file(file: Path, images: Any) -> None:
    import keras

    original = keras.models.load_model(file)
    maps = keras.Model(original.input, original.get_layer("top").output)
    wide = SPEC.model_copy(update={"image_shape": (48, 48, 3)})
    pixels = np.random.default_rng(2).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)

    built = build_model(network(file), wide, seed=0)

    expected = np.asarray(maps(pixels.astype("float32")))
    np.testing.assert_allclose(features(built, pixels), expected, rtol=1e-5, atol=1e-5)
    # Images with a different size from the file's network.
    assert features(build_model(network(file), SPEC), images).shape == (4, 8, 8, 12)


@pytest.mark.parametrize(("trainable", "stages"), [("none", 0), (1, 1), (2, 2), (9, 3), ("all", 3)])
def test_the_last_stages_train(file: Path, trainable: Trainable, stages: int) -> None:
    model = build_model(network(file, trainable=trainable), SPEC)

    wanted = {name for stage in STAGES[len(STAGES) - stages :] for name in stage}
    trained = {weight.path.split("/")[0] for weight in model.trainable_weights}
    assert trained == wanted | {"logits"}
    shape = describe_model(network(file, trainable=trainable), SPEC)
    assert shape.parameters == model.count_params()
    assert shape.trainable_parameters == sum(
        int(np.prod(weight.shape)) for weight in model.trainable_weights
    )


def test_frozen_layers_stay_in_inference_mode_while_training(file: Path, images: Any) -> None:
    frozen = build_model(network(file), SPEC, seed=0)
    before = frozen.get_layer("backbone_stem_norm").get_weights()

    _step(frozen, images)

    expected = features(frozen, images)
    np.testing.assert_array_equal(features(frozen, images, training=True), expected)
    for old, new in zip(before, frozen.get_layer("backbone_stem_norm").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

    # The mistake: with batch statistics, the head gets other features in training than at
    # inference, and the statistics from the file change.
    mistaken = build_model(network(file, trainable="all"), SPEC, seed=0)
    mistaken.get_layer("backbone_stem").trainable = False
    in_use = features(mistaken, images)
    in_training = features(mistaken, images, training=True)
    assert np.abs(in_training - in_use).mean() > 0.5 * np.abs(in_use).mean()
    _step(mistaken, images)
    assert np.abs(mistaken.get_layer("backbone_stem_norm").get_weights()[2] - before[2]).max() > 0.1


def test_penalties_and_decay_touch_only_what_trains(file: Path, images: Any) -> None:
    frozen = build_model(network(file), SPEC, seed=0)
    partly = build_model(network(file, trainable=1), SPEC, seed=0)
    whole = build_model(network(file, trainable="all"), SPEC, seed=0)

    assert [len(model.losses) for model in (frozen, partly, whole)] == [0, 1, 2]

    kernel = partly.get_layer("backbone_middle").get_weights()[0]
    _step(partly, images)
    _step(whole, images)
    np.testing.assert_array_equal(partly.get_layer("backbone_middle").get_weights()[0], kernel)
    # The mistake: weight decay pulls weights without gradients towards zero.
    assert np.abs(whole.get_layer("backbone_middle").get_weights()[0] - kernel).max() > 1e-3


def test_trained_layers_drop_and_frozen_ones_do_not(file: Path) -> None:
    def dropouts(trainable: Trainable) -> list[str]:
        model = build_model(network(file, trainable=trainable), SPEC)
        return [layer.name for layer in model.layers if "dropout" in layer.name]

    assert dropouts("none") == dropouts(2) == []
    assert dropouts("all") == ["backbone_stem_dropout"]


def test_random_weights_are_a_matter_of_the_seed(file: Path, images: Any) -> None:
    config = network(file, weights="none")
    first, again, other = (build_model(config, SPEC, seed=seed) for seed in (1, 1, 2))
    real = build_model(network(file), SPEC, seed=1)

    np.testing.assert_array_equal(features(first, images), features(again, images))
    assert np.abs(features(first, images) - features(other, images)).max() > 1e-3
    assert np.abs(features(first, images) - features(real, images)).max() > 1e-3


def test_in_mixed_precision_pixels_stay_exact(file: Path) -> None:
    config = network(file, values=(-1.0, 1.0))
    model = build_model(config, SPEC, dtype_policy="mixed_bfloat16")

    dtypes = {layer.name: layer.compute_dtype for layer in model.layers}
    assert dtypes["scale"] == dtypes["preprocess"] == dtypes["logits"] == "float32"
    assert dtypes["backbone_stem"] == "bfloat16"


def test_nested_networks_and_their_augmentation_are_laid_open(tmp_path: Path, images: Any) -> None:
    import keras
    from keras import layers

    inner_input = keras.Input((32, 32, 3))
    x = layers.RandomFlip("horizontal")(inner_input)
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="deep")(x)
    inner = keras.Model(inner_input, x, name="inner")
    outer = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.RandomRotation(0.5),
            inner,
            layers.Conv2D(6, 3, strides=2, padding="same", name="shallow"),
        ]
    )
    outer.save(tmp_path / "nested.keras")

    config = network(tmp_path / "nested.keras", trainable=1)
    model = build_model(config, SPEC)

    trained = {weight.path.split("/")[0] for weight in model.trainable_weights}
    assert trained == {"backbone_shallow", "logits"}
    np.testing.assert_array_equal(features(model, images), features(model, images, training=True))
    expected = outer.layers[-1](inner.get_layer("deep")(images.astype("float32")))
    np.testing.assert_allclose(features(model, images), np.asarray(expected), rtol=1e-4, atol=1e-3)


def test_preprocessing_twice_is_refused(file: Path) -> None:
    backbone = KerasFile(path=str(file))

    with pytest.raises(ValueError, match=r"preprocessing must be 'none'.*received 'scale'"):
        ModelConfig(backbone=backbone, head=Pooled())


def test_the_wrong_range_of_pixels_ruins_real_features(real_data: Path) -> None:
    path = real_data / "squeezenet_v11_imagenet.keras"
    if not path.is_file():
        pytest.skip(f"no real backbone: there is no {path}")
    pixels = np.linspace(0, 255, 2 * 64 * 64 * 3).reshape(2, 64, 64, 3).astype(np.uint8)
    spec = SPEC.model_copy(update={"image_shape": (64, 64, 3)})

    right = features(build_model(network(path), spec), pixels)
    wrong = features(build_model(network(path, values=(0.0, 1.0)), spec), pixels)

    # If all images look black to the network, their features are the same.
    assert np.abs(right[0] - right[1]).mean() > 5 * np.abs(wrong[0] - wrong[1]).mean()


def test_describing_allocates_no_weights(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a description needs no weights")

    monkeypatch.setattr(KerasFile, "source", refuse)

    assert describe_model(network(file), SPEC).parameters > 0
    with pytest.raises(AssertionError):
        build_model(network(file), SPEC)


def test_a_file_that_is_not_there_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No such file or directory\. Fix: correct its path"):
        file_digest(tmp_path / "absent.keras")
