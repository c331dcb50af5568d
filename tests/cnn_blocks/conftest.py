"""Shared by the tests of networks: a small input specification and a small network."""

import sys
from collections.abc import Iterator

import pytest

from cnn_blocks import registry, source_files
from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.config import InputSpec, ModelConfig
from cnn_blocks.heads.pooled import Pooled


@pytest.fixture
def cifar10_spec() -> InputSpec:
    """32x32 images of ten classes."""
    return InputSpec(image_shape=(32, 32, 3), class_names=tuple("0123456789"))


@pytest.fixture
def small_model() -> ModelConfig:
    """One stage of four filters."""
    return ModelConfig(
        preprocessing="standardize",
        backbone=Staged(stages=(Stage(block=Plain(filters=4)),)),
        head=Pooled(),
    )


@pytest.fixture
def forgets_components(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Unregisters the components and unloads the files that a test loads."""
    for role in registry.ROLES:
        registry.components(role)
    copies = {role: dict(known) for role, known in registry._registered.items()}
    monkeypatch.setattr(registry, "_registered", copies)
    monkeypatch.setattr(source_files, "_folders", set())
    monkeypatch.setattr(source_files, "_appended", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith(("cnn_search_user_", "my_")):
            del sys.modules[name]
