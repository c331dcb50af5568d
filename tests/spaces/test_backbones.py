"""Parsing backbones, and choosing among them in a space."""

from pathlib import Path

import h5py
import pytest

from cnn_blocks.backbones.keras_application import KerasApplication
from cnn_blocks.backbones.keras_file import KerasFile
from cnn_blocks.errors import UserError
from spaces.backbones import parse_backbone, suggest_backbone
from spaces.probe import ProbeTrial, is_space, parameters
from spaces.shipped.homebrew_or_transfer import homebrew_or_transfer


def test_a_backbone_is_a_network_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.keras"
    path.write_bytes(b"content")
    weights = tmp_path / "weights.h5"
    weights.write_bytes(b"content")

    assert parse_backbone("ResNet50V2") == KerasApplication(family="ResNet50V2")
    assert parse_backbone("ResNet50V2=none") == KerasApplication(
        family="ResNet50V2", weights="none"
    )
    from_file = parse_backbone(f"ResNet50V2={weights}")
    assert isinstance(from_file, KerasApplication) and from_file.sha256 is not None
    assert parse_backbone(str(path)) == KerasFile(path=str(path))
    assert parse_backbone(f"{path}=none") == KerasFile(path=str(path), weights="none")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("resnet50v2", "Did you mean 'ResNet50V2'"),
        ("nowhere.keras", "nowhere.keras: No such file"),
        ("ResNet50V2=nowhere.h5", "'none' or an existing file"),
        ("", "received ''"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        parse_backbone(text)


def test_files_of_other_kinds_get_their_own_sentence(tmp_path: Path) -> None:
    whole, bare = str(tmp_path / "whole.h5"), str(tmp_path / "bare.h5")
    with h5py.File(whole, "w") as file:
        file.attrs["model_config"] = "{}"
    h5py.File(bare, "w").close()

    with pytest.raises(UserError, match=r"legacy HDF5 format\. Fix: .*whole\.keras"):
        parse_backbone(whole)
    for weights in (bare, "mine.weights.h5"):
        with pytest.raises(UserError, match=r"weights without a network.*ResNet50V2="):
            parse_backbone(weights)
    for other in (str(tmp_path), "networks/mine.onnx", "mine.pt"):
        with pytest.raises(UserError, match=rf"received {other}\. Fix: save the network"):
            parse_backbone(other)


def test_only_several_backbones_are_a_choice(tmp_path: Path) -> None:
    one = KerasApplication(family="VGG16")
    other = KerasApplication(family="VGG16", weights="none")
    alone, both = ProbeTrial(), ProbeTrial()

    assert suggest_backbone(alone, [one], trainable=2) == one.with_trainable(2)
    assert alone.params == {}
    assert suggest_backbone(both, [one, other], trainable="none") in (one, other)
    assert list(both.params) == ["backbone"]
    with pytest.raises(UserError, match="with different names; received VGG16 imagenet, VGG16 im"):
        suggest_backbone(ProbeTrial(), [one, one], trainable="all")


def test_the_two_families_have_parameters_of_their_own() -> None:
    found = parameters(homebrew_or_transfer)

    families = {name.split("_")[0] for name in found}
    assert families == {"family", "homebrew", "transfer"}
    for seed in range(8):
        trial = ProbeTrial(seed=seed)
        candidate = homebrew_or_transfer(trial)
        chosen = trial.params["family"]
        assert {name.split("_")[0] for name in trial.params} == {"family", chosen}
        assert (candidate.training.fine_tuning is not None) == (chosen == "transfer")


def test_a_space_is_a_function_of_a_trial_and_options() -> None:
    assert is_space(homebrew_or_transfer)
    assert not is_space(suggest_backbone)
    assert not is_space(lambda: None)
    assert not is_space(ProbeTrial)
