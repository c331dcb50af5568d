"""The builder: exact parameter counts of published networks, raw pixels in, probabilities out."""

import math

import keras
import numpy as np
import psutil
import pytest

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.build import assign_weights, build_model, describe_model
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.errors import InfeasibleError
from cnn_blocks.heads.pooled import DenseLayer, Pooled


def _plain(filters: int, *, depth: int = 1, dropout: float = 0.0, **fields: object) -> Stage:
    reduction = fields.pop("reduction", "max")
    block = Plain.model_validate({"normalization": "none", "filters": filters, **fields})
    return Stage.model_validate(
        {"block": block, "depth": depth, "dropout": dropout, "reduction": reduction}
    )


def _flatten(*layers: DenseLayer) -> Pooled:
    return Pooled(pooling="flatten", layers=layers)


GRANITA_1 = ModelConfig(
    backbone=Staged(
        stages=(
            _plain(32, padding="valid"),
            _plain(64, padding="valid"),
            _plain(64, padding="valid", reduction="none"),
        )
    ),
    head=_flatten(DenseLayer(units=64)),
)
GRANITA_3 = ModelConfig(
    backbone=Staged(
        stages=(
            *(_plain(filters, l2=0.001) for filters in (64, 128, 256)),
            _plain(256, l2=0.001, reduction="none"),
        )
    ),
    head=_flatten(DenseLayer(units=128), DenseLayer(units=64)),
)
GRANITA_FINAL = ModelConfig(
    backbone=Staged(
        stages=tuple(
            _plain(filters, dropout=dropout, normalization="batch", order="after", l2=0.001)
            for filters, dropout in ((64, 0.2), (128, 0.2), (256, 0.5), (512, 0.5))
        )
    ),
    head=_flatten(DenseLayer(units=128), DenseLayer(units=64)),
)
BICOCCA_CNN = ModelConfig(
    preprocessing="standardize",
    backbone=Staged(
        stages=tuple(
            _plain(
                filters,
                depth=depth,
                dropout=dropout,
                activation="mish",
                normalization="batch",
                order="after",
                l2=0.001,
            )
            for filters, depth, dropout in ((32, 2, 0.2), (64, 2, 0.3), (128, 1, 0.4))
        )
    ),
    head=_flatten(DenseLayer(units=128, activation="mish", batch_normalization=True, dropout=0.5)),
)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (GRANITA_1, 122_570),
        (GRANITA_3, 1_494_218),
        (GRANITA_FINAL, 1_825_994),
        (BICOCCA_CNN, 404_778),
    ],
    ids=["granita_1", "granita_3", "granita_final", "bicocca_cnn"],
)
def test_a_published_network_has_its_published_parameters(
    config: ModelConfig, parameters: int, cifar10_spec: InputSpec
) -> None:
    model = build_model(config, cifar10_spec)
    shape = describe_model(config, cifar10_spec)

    assert model.count_params() == parameters
    assert shape.parameters == model.count_params()
    assert shape.trainable_parameters == sum(
        math.prod(weight.shape) for weight in model.trainable_weights
    )


def test_the_description_counts_what_all_layers_put_out(cifar10_spec: InputSpec) -> None:
    config = ModelConfig(
        backbone=Staged(stages=(_plain(4, activation="linear"),)), head=Pooled(pooling="max")
    )

    shape = describe_model(config, cifar10_spec)

    pixels = 32 * 32 * 3
    layers = [pixels, pixels, 32 * 32 * 4, 16 * 16 * 4, 4, 10, 10]
    assert shape.activations == sum(layers)
    assert shape.feature_map == (16, 16, 4)


def test_describing_allocates_no_weight_then_or_later(
    small_model: ModelConfig, cifar10_spec: InputSpec
) -> None:
    import keras

    huge = ModelConfig(
        backbone=Staged(stages=(_plain(512, reduction="none"),)),
        head=_flatten(DenseLayer(units=4096)),
    )
    describe_model(small_model, cifar10_spec)
    before = psutil.Process().memory_info().rss

    for _ in range(2):
        assert describe_model(huge, cifar10_spec).parameters > 2e9
    # Keras initialises pending variables when a stateless scope ends.
    with keras.StatelessScope():
        pass
    build_model(small_model, cifar10_spec)

    assert psutil.Process().memory_info().rss - before < 8e6


def test_the_model_takes_raw_pixels_and_gives_probabilities(
    small_model: ModelConfig, cifar10_spec: InputSpec
) -> None:
    model = build_model(small_model, cifar10_spec)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)

    probabilities = np.asarray(model(images))

    assert model.input.dtype == "uint8"
    assert probabilities.shape == (5, 10)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert model.get_layer("logits").output.shape == (None, 10)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_preprocessing_and_outputs_are_float32_under_every_policy(
    policy: str, small_model: ModelConfig
) -> None:
    import keras

    spec = InputSpec(
        image_shape=(16, 16, 3),
        class_names=("a", "b"),
        channel_mean=(0.1, 0.2, 0.3),
        channel_deviation=(0.2, 0.3, 0.4),
    )
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)

    model = build_model(small_model, spec, dtype_policy=policy)

    ready = keras.Model(model.input, model.get_layer("standardize").output)(images)
    expected = (images / 255 - np.array([0.1, 0.2, 0.3])) / np.array([0.2, 0.3, 0.4])
    np.testing.assert_allclose(np.asarray(ready), expected, atol=2e-6)
    assert model.get_layer("logits").compute_dtype == "float32"
    assert model.output.dtype == "float32"
    convolution = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    assert convolution.compute_dtype == policy.removeprefix("mixed_")
    assert convolution.kernel.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_images_are_resized_inside_the_model(policy: str, small_model: ModelConfig) -> None:
    import keras

    spec = InputSpec(image_shape=(8, 12, 3), class_names=("a", "b"))
    config = small_model.model_copy(update={"input_size": 16})
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), dtype=np.uint8)

    model = build_model(config, spec, dtype_policy=policy)

    resized = keras.Model(model.input, model.get_layer("resize").output)(images)
    expected = keras.ops.image.resize(images / np.float32(255), (16, 16))
    np.testing.assert_allclose(np.asarray(resized), np.asarray(expected), atol=1e-6)
    assert resized.dtype == "float32"
    assert model.input_shape == (None, 8, 12, 3)
    assert describe_model(config, spec).feature_map == (8, 8, 4)
    assert "resize" not in [layer.name for layer in build_model(small_model, spec).layers]


def test_larger_images_make_a_deep_network_feasible() -> None:
    spec = InputSpec(image_shape=(8, 8, 3), class_names=("a", "b"))
    deep = ModelConfig(backbone=Staged(stages=tuple(_plain(4) for _ in range(4))), head=Pooled())

    with pytest.raises(InfeasibleError, match="8x8 images"):
        describe_model(deep, spec)

    larger = deep.model_copy(update={"input_size": 16})
    assert describe_model(larger, spec).feature_map == (1, 1, 4)


def test_a_seed_repeats_the_initial_weights(
    small_model: ModelConfig, cifar10_spec: InputSpec
) -> None:
    first, again, other = (
        build_model(small_model, cifar10_spec, seed=seed).get_weights() for seed in (1, 1, 2)
    )

    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("head", [Pooled(), _flatten()], ids=["average", "flatten"])
@pytest.mark.parametrize(
    "stages",
    [
        [_plain(4) for _ in range(4)],
        [_plain(4, reduction="average") for _ in range(4)],
        [_plain(4, kernel_size=5, padding="valid", reduction="none") for _ in range(2)],
    ],
    ids=["max", "average", "valid"],
)
def test_a_network_without_a_pixel_left_is_infeasible(stages: list[Stage], head: Pooled) -> None:
    import keras

    spec = InputSpec(image_shape=(8, 8, 3), class_names=("a", "b"))
    config = ModelConfig(backbone=Staged(stages=tuple(stages)), head=head)

    for build in (build_model, describe_model):
        with pytest.raises(InfeasibleError, match=r"at least one pixel.*[Ll]arger images") as error:
            build(config, spec)
        assert error.value.constraint == "buildable"
        assert "\x1b" not in str(error.value)
    assert keras.config.dtype_policy().name == "float32"


def test_a_mirrored_network_averages_an_image_and_its_mirror_image() -> None:
    spec = InputSpec(image_shape=(16, 16, 3), class_names=("a", "b", "c"))
    stages = (_plain(8, normalization="batch"), _plain(16))
    config = ModelConfig(backbone=Staged(stages=stages), head=Pooled(), mirror=True)
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)

    trained, used = build_model(config.for_training(), spec, seed=1), build_model(config, spec)
    assign_weights(used, trained.get_weights())

    assert used.count_params() == trained.count_params()
    logits = keras.Model(trained.input, trained.get_layer("logits").output)
    views = [logits.predict(view, verbose=0) for view in (images, images[:, :, ::-1])]
    mean = keras.activations.softmax(np.mean(views, axis=0))
    np.testing.assert_allclose(used.predict(images, verbose=0), mean, atol=1e-6)
    mirrored = used.predict(images[:, :, ::-1], verbose=0)
    np.testing.assert_allclose(used.predict(images, verbose=0), mirrored, atol=1e-6)
