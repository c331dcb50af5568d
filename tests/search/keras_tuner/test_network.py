"""The networks of HyperModels: logits, probabilities, cost and storage."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_blocks.build import build_model, describe_model
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.errors import InfeasibleError, UserError

SPEC = InputSpec(image_shape=(8, 8, 3), class_names=tuple("0123456789"))
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
XCEPTION = {
    "activation": "relu",
    "conv2d_num_filters": 32,
    "kernel_size": 3,
    "initial_strides": 2,
    "sep_num_filters": 128,
    "num_residual_blocks": 2,
    "pooling": "avg",
    "num_dense_layers": 1,
    "dropout_rate": 0.0,
    "dense_use_bn": 1,
    "learning_rate": 0.001,
}
SCOPED = {
    "kind": "plain",
    "units": 7,
    "more": 1,
    "more_0": 4,
    "normalize": True,
    "dropout": 0.25,
    "rate": 0.01,
    "momentum": 0.5,
}


def network(reference: str, values: dict[str, Any]) -> ModelConfig:
    from search.keras_tuner.network import KerasTunerModel

    return ModelConfig(backbone=KerasTunerModel(hypermodel=reference, values=values))


def original(reference: str, values: dict[str, Any]) -> Any:
    """Returns the model that the HyperModel itself builds from these values."""
    import keras_tuner

    from search.keras_tuner.loading import load_hypermodel

    hp = keras_tuner.HyperParameters()
    hp.values.update(values)
    return load_hypermodel(reference)(SPEC.image_shape, SPEC.classes).build(hp)


def test_a_network_that_ends_in_softmax_is_the_hypermodels_own() -> None:
    reference = "keras_tuner.applications.HyperXception"
    model = build_model(network(reference, XCEPTION), SPEC, seed=0)
    theirs = original(reference, XCEPTION)
    theirs.set_weights(model.get_weights())

    assert model.get_layer("logits").output.shape == (None, 10)
    expected = theirs.predict(IMAGES / np.float32(255), verbose=0)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "values", "ending"),
    [
        ("Scoped", SCOPED, "softmax"),  # ends in logits and has a loss with from_logits
        ("build_plain", {"units": 9}, "normalised"),  # ends in a sigmoid per class
        ("Augmented", {"factor_rotate": 0.2}, "as it is"),  # ends in a softmax layer
    ],
)
def test_other_endings_become_probabilities(
    own_file: Path, name: str, values: dict[str, Any], ending: str
) -> None:
    reference = f"{own_file}:{name}"
    model = build_model(network(reference, _all_values(name, values)), SPEC, seed=0)
    theirs = original(reference, _all_values(name, values))
    theirs.set_weights(model.get_weights())

    outputs = np.asarray(theirs(IMAGES / np.float32(255), training=False), dtype=np.float64)
    if ending == "softmax":
        outputs = np.exp(outputs)
    expected = outputs / outputs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("scaling", "scaled"),
    [
        ("layers.Rescaling(1 / 255)(x)", True),
        ("layers.Rescaling(1 / 127.5, offset=-1)(x)", True),
        ("layers.Normalization(mean=[120.0, 120, 110], variance=[3600.0] * 3)(x)", True),
        ("x / 255", True),
        ("x * (1 / 255)", True),
        ("keras.Sequential([layers.Rescaling(1 / 255)])(x)", True),
        ("layers.Rescaling(2.0, offset=-1)(x)", False),
        ("x / 2", False),
        ("layers.Conv2D(4, 1)(x) * 0.01", False),
        ("x", False),
    ],
)
def test_a_network_that_rescales_images_itself_gets_pixel_values(
    tmp_path: Path, scaling: str, scaled: bool
) -> None:
    path = tmp_path / "rescaling.py"
    path.write_text(
        "import keras\n"
        "from keras import layers\n"
        "def build(hp):\n"
        "    x = inputs = keras.Input((8, 8, 3))\n"
        f"    x = {scaling}\n"
        "    return keras.Model(inputs, layers.Dense(10, 'softmax')(layers.Flatten()(x)))\n"
    )
    model = build_model(network(f"{path}:build", {}), SPEC, seed=0)
    theirs = original(f"{path}:build", {})
    theirs.set_weights(model.get_weights())

    images = IMAGES.astype(np.float32) if scaled else IMAGES / np.float32(255)
    np.testing.assert_allclose(
        model.predict(IMAGES, verbose=0), theirs.predict(images, verbose=0), atol=1e-5
    )


def test_mixed_precision_stays_inside(own_file: Path) -> None:
    model = build_model(
        network("keras_tuner.applications.HyperXception", XCEPTION),
        SPEC,
        dtype_policy="mixed_bfloat16",
    )

    body = model.get_layer("hypermodel")
    assert body.layers[1].compute_dtype == "bfloat16"
    assert body.layers[-1].compute_dtype == "float32"
    assert model.get_layer("logits").output.dtype == model.output.dtype == "float32"


def test_augmentation_inside_acts_in_training_alone(own_file: Path) -> None:
    values = _all_values("Augmented", {"factor_rotate": 0.4, "factor_translate_x": 0.4})
    model = build_model(network(f"{own_file}:Augmented", values), SPEC, seed=0)

    quiet = np.asarray(model(IMAGES))
    np.testing.assert_allclose(np.asarray(model(IMAGES)), quiet, atol=1e-7)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), quiet, atol=1e-6)
    assert np.abs(np.asarray(model(IMAGES, training=True)) - quiet).max() > 1e-3


def test_a_saved_network_needs_neither_keras_tuner_nor_this_project(
    own_file: Path, tmp_path: Path
) -> None:
    values = _all_values("Augmented", {"factor_rotate": 0.4})
    model = build_model(network(f"{own_file}:Augmented", values), SPEC, seed=0)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    program = """
import sys, numpy, keras
model = keras.saving.load_model("model.keras", safe_mode=True)
numpy.save("answer.npy", model(numpy.load("images.npy")))
assert not {"search", "cnn_blocks", "keras_tuner"} & set(sys.modules)
"""
    answer = subprocess.run(
        [sys.executable, "-I", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert answer.returncode == 0, answer.stderr
    expected = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), expected, atol=1e-6)


def test_shapes_are_known_before_any_weight_is_allocated() -> None:
    config = network("keras_tuner.applications.HyperXception", XCEPTION)
    shape = describe_model(config, SPEC)
    model = build_model(config, SPEC)

    assert shape.parameters == model.count_params()
    # Inner layers count: 32 + 2 x 128 channels at 4x4 pixels, and more.
    assert shape.activations > 20 * 4 * 4 * 128
    huge = SPEC.model_copy(update={"image_shape": (4096, 4096, 3)})
    flat = network("keras_tuner.applications.HyperXception", XCEPTION | {"pooling": "flatten"})
    assert describe_model(flat, huge).parameters > 2**28


def test_efficientnet_builds_without_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    import functools

    import keras
    from keras_tuner.src.applications import efficientnet

    bare = functools.partial(keras.applications.EfficientNetB0, weights=None)
    monkeypatch.setitem(efficientnet.EFFICIENTNET_MODELS, "B0", bare)
    values = {"version": "B0", "pooling": "avg", "top_dropout_rate": 0.2, "learning_rate": 0.01}
    config = network("keras_tuner.applications.HyperEfficientNet", values)

    shape = describe_model(config, SPEC)

    assert shape.parameters == 4_049_571 + 1280 * 10 + 10


def test_a_network_for_other_classes_is_infeasible(own_file: Path) -> None:
    three = SPEC.model_copy(update={"class_names": tuple("abc")})

    with pytest.raises(InfeasibleError, match=r"3 classes.*\(10,\)"):
        describe_model(network(f"{own_file}:build_plain", {"units": 8}), three)


def test_a_question_that_is_new_is_an_error_of_the_person(own_file: Path) -> None:
    values = {name: value for name, value in SCOPED.items() if name != "rate"}

    with pytest.raises(UserError, match="'rate'") as raised:
        describe_model(network(f"{own_file}:Scoped", values), SPEC)
    assert not isinstance(raised.value, InfeasibleError)


def test_a_network_survives_json_with_the_types_of_its_values() -> None:
    config = network("keras_tuner.applications.HyperXception", XCEPTION | {"flag": True, "n": 1})
    again = ModelConfig.model_validate_json(config.model_dump_json())

    assert again == config
    values = again.model_dump()["backbone"]["values"]
    assert values["flag"] is True
    assert type(values["n"]) is int
    assert type(values["dropout_rate"]) is float
    assert config.sources() == {"keras_tuner_model": "search.keras_tuner.network"}


def test_it_takes_no_head_and_others_need_one() -> None:
    backbone = network("package.Model", {}).model_dump()["backbone"]
    staged = {"kind": "staged", "stages": [{"block": {"kind": "plain"}}]}

    with pytest.raises(ValueError, match="has its own head"):
        ModelConfig.model_validate({"backbone": backbone, "head": {"kind": "pooled"}})
    with pytest.raises(ValueError, match="'staged' needs a head"):
        ModelConfig.model_validate({"backbone": staged})
    with pytest.raises(UserError, match="Fix: choose a backbone that takes a head"):
        network("package.Model", {}).any_head  # noqa: B018 - reading it is the point


def test_summary_is_one_short_line() -> None:
    config = network("/somewhere/own_models.py:Scoped", {"kind": "plain", "rate": 0.01})

    assert config.backbone.summary() == "Scoped kind=plain rate=0.01"


def _all_values(name: str, values: dict[str, Any]) -> dict[str, Any]:
    if name != "Augmented":
        return values
    return {"factor_rotate": 0.2, "factor_translate_x": 0.0, "factor_translate_y": 0.0} | values
