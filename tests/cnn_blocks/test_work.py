"""The work of layers, counted from shapes and compared with counts by hand."""

from typing import Any

import keras
import pytest
from keras import layers

from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.build import describe_model
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import DenseLayer, Pooled
from cnn_blocks.work import Work, layer_calls


def work_of(model: keras.Model) -> Work:
    return sum((call.work for call in layer_calls(model)), Work())


def work_of_layer(layer: Any, shape: tuple[int, ...]) -> Work:
    image = keras.Input(shape)
    return work_of(keras.Model(image, layer(image)))


@pytest.mark.parametrize(
    ("layer", "multiplies", "depthwise"),
    [
        (layers.Conv2D(8, 3, padding="same"), 9 * 7 * (3 * 3 * 6) * 8, 0),
        (layers.Conv2D(8, 3, padding="valid"), 7 * 5 * (3 * 3 * 6) * 8, 0),
        (layers.Conv2D(8, 3, strides=2, padding="same"), 5 * 4 * (3 * 3 * 6) * 8, 0),
        (layers.Conv2D(8, (5, 3), strides=2, padding="valid"), 3 * 3 * (5 * 3 * 6) * 8, 0),
        (layers.Conv2D(8, 3, padding="same", groups=2), 9 * 7 * (3 * 3 * 3) * 8, 0),
        (layers.Conv2D(8, 3, padding="same", dilation_rate=2), 9 * 7 * (3 * 3 * 6) * 8, 0),
        (layers.Conv2DTranspose(8, 3, strides=2, padding="same"), 9 * 7 * (3 * 3 * 6) * 8, 0),
        (layers.DepthwiseConv2D(3, padding="same"), 0, 9 * 7 * (3 * 3) * 6),
        (layers.DepthwiseConv2D(5, strides=2, depth_multiplier=2), 0, 3 * 2 * (5 * 5) * 6 * 2),
        (
            layers.SeparableConv2D(8, 3, strides=2, padding="same"),
            5 * 4 * 6 * 8,
            5 * 4 * (3 * 3) * 6,
        ),
        (layers.Dense(8), 9 * 7 * 6 * 8, 0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_multiply_accumulates_of_a_layer(layer: Any, multiplies: int, depthwise: int) -> None:
    work = work_of_layer(layer, (9, 7, 6))

    assert (work.multiplies, work.depthwise) == (multiplies, depthwise)
    assert work.multiply_accumulates == multiplies + depthwise
    assert (work.layers, work.simple, work.smooth) == (1, 0, 0)


def test_what_convolutions_read_and_write_grows_with_the_other_side() -> None:
    work = work_of_layer(layers.Conv2D(8, 3, padding="same", use_bias=False), (9, 7, 6))
    grouped = work_of_layer(layers.Conv2D(8, 3, padding="same", groups=2), (9, 7, 6))

    assert (work.gathered, work.scattered) == (63 * 9 * 6, 63 * 9 * 8)
    assert (work.convolved, work.variables) == (63 * 8, 1)
    assert grouped.gathered == work.gathered


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Activation("relu"), Work(layers=1, simple=378)),
        (layers.LeakyReLU(), Work(layers=1, simple=378)),
        (layers.PReLU(), Work(layers=1, variables=1, simple=378)),
        (layers.Activation("silu"), Work(layers=1, smooth=378)),
        (layers.ELU(), Work(layers=1, smooth=378)),
        (layers.Activation("gelu"), Work(layers=1, gelu=378)),
        (layers.Activation("mish"), Work(layers=1, smooth=2 * 378)),
        (layers.Activation("linear"), Work(layers=1)),
        (layers.BatchNormalization(), Work(layers=1, variables=2, batch_normalized=378)),
        (layers.LayerNormalization(), Work(layers=1, variables=2, normalized=378)),
        (layers.GroupNormalization(2), Work(layers=1, variables=2, normalized=378)),
        (layers.MaxPooling2D(2), Work(layers=1, maximized=378)),
        (layers.AveragePooling2D(2), Work(layers=1, averaged=378)),
        (layers.GlobalAveragePooling2D(), Work(layers=1, simple=378)),
        (layers.Dropout(0.1), Work(layers=1, dropped=378)),
        (layers.SpatialDropout2D(0.1), Work(layers=1, dropped=6, simple=372)),
        (layers.Dropout(0.1, noise_shape=(None, 1, 1, 1)), Work(layers=1, dropped=1, simple=377)),
        (layers.Resizing(18, 14), Work(layers=1, resized=4 * 378)),
        (layers.Flatten(), Work()),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_elements_of_a_layer(layer: Any, expected: Work) -> None:
    assert work_of_layer(layer, (9, 7, 6)) == expected


def test_an_activation_inside_a_layer_counts_as_one_behind_it() -> None:
    work = work_of_layer(layers.Conv2D(8, 1, activation="gelu"), (9, 7, 6))

    assert (work.layers, work.gelu) == (1, 63 * 8)


def test_a_layer_counts_wherever_it_is_called() -> None:
    image = keras.Input((9, 7, 6))
    shared = layers.Conv2D(6, 3, padding="same")
    x = shared(shared(image))
    # This call is not part of the model.
    shared(x)

    assert work_of(keras.Model(image, x)).multiplies == 2 * 63 * 9 * 6 * 6


def test_a_small_network_counted_by_hand() -> None:
    block = Plain(filters=4, normalization="none", activation="relu")
    config = ModelConfig(
        backbone=Staged(stages=(Stage(block=block, depth=2, reduction="max"),)),
        head=Pooled(pooling="flatten", layers=(DenseLayer(units=16),)),
    )
    spec = InputSpec(image_shape=(8, 8, 3), class_names=tuple("01234"))

    shape = describe_model(config, spec)

    convolutions = 64 * 9 * 3 * 4 + 64 * 9 * 4 * 4
    assert shape.multiply_accumulates == convolutions + 4 * 4 * 4 * 16 + 16 * 5
    assert shape.work.multiplies == shape.multiply_accumulates
    assert shape.work.maximized == 64 * 4
    # Only the pixel scaling precedes the trainable layers.
    assert shape.frozen_work == Work(layers=1, simple=64 * 3)
    assert shape.image_elements == 64 * 3


def test_mobilenet_has_its_published_multiply_accumulates() -> None:
    model = keras.applications.MobileNetV2(weights=None)

    # "300M" in table 4 of Sandler et al., 2018.
    assert work_of(model).multiply_accumulates == pytest.approx(300e6, rel=0.01)


@pytest.mark.parametrize("trains", [False, True])
def test_a_nested_model_is_frozen_or_not(trains: bool) -> None:
    inner_image = keras.Input((9, 7, 6))
    inner = keras.Model(inner_image, layers.Conv2D(8, 3, padding="same")(inner_image))
    inner.trainable = trains
    image = keras.Input((9, 7, 6))
    model = keras.Model(image, layers.Dense(5)(inner(image)))

    calls = [call for call in layer_calls(model) if call.work.multiplies]

    assert [call.trained for call in calls] == [trains, True]
    assert [call.work.multiplies for call in calls] == [63 * 9 * 6 * 8, 63 * 8 * 5]


def test_a_gradient_passes_through_a_frozen_model_behind_what_trains() -> None:
    inner_image = keras.Input((9, 7, 6))
    inner = keras.Model(inner_image, layers.Conv2D(8, 3, padding="same")(inner_image))
    inner.trainable = False
    image = keras.Input((9, 7, 6))
    model = keras.Model(image, inner(layers.Dense(6)(image)))

    assert [call.trained for call in layer_calls(model) if call.work.multiplies] == [True, True]
