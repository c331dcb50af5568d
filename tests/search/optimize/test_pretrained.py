"""The pretrained network that a study searches by default."""

from pathlib import Path

import pytest

from cnn_blocks.backbones.keras_application import KerasApplication
from search.optimize import pretrained
from spaces.backbones import DEFAULT_BACKBONES


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns an empty folder in which Keras looks for downloaded weights."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_cached_weights_come_first_in_order_of_preference(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "_downloaded", lambda backbone: pytest.fail("not needed"))
    for name in (
        "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "efficientnetv2-b0_notop.h5",
    ):
        (models / name).touch()

    backbones, reason = pretrained.backbones_at_hand()

    assert backbones == (KerasApplication(family="EfficientNetV2B0"),)
    assert "are in Keras' cache" in reason


def test_weights_of_a_complete_classifier_do_not_count(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "_downloaded", lambda backbone: False)
    (models / "efficientnetv2-b0.h5").touch()

    backbones, reason = pretrained.backbones_at_hand()

    assert backbones == ()
    assert "all networks are trained from scratch" in reason


def test_a_small_network_is_downloaded_if_that_is_quick(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "_downloaded", lambda backbone: True)

    backbones, reason = pretrained.backbones_at_hand()

    assert backbones == DEFAULT_BACKBONES[:1]
    assert "weights were downloaded" in reason


def test_without_a_network_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*address: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr(KerasApplication, "source", lambda self: pytest.fail("not reachable"))

    assert not pretrained._downloaded(DEFAULT_BACKBONES[0])
