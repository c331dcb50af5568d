"""The contracts of every registered block, head and backbone, space and shipped study.

Components are discovered: a new file in its folder is tested without a change here.
"""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FixedTrial

from cnn_blocks import registry
from cnn_blocks.backbones.keras_application import KerasApplication
from cnn_blocks.backbones.staged import Stage, Staged
from cnn_blocks.blocks.plain import Plain
from cnn_blocks.build import build_features, build_head, build_model, describe_model
from cnn_blocks.config import (
    Activation,
    Backbone,
    Block,
    Component,
    Head,
    InputSpec,
    ModelConfig,
)
from cnn_blocks.errors import InfeasibleError
from cnn_blocks.heads.pooled import Pooled
from spaces.candidate import Candidate
from spaces.probe import ProbeTrial, Strategy, explore, is_legal
from spaces.suggest import suggest
from spaces.task import Task
from studies.study import StudySpec, list_studies, load_study, shipped_studies

# Larger networks are only described from their shapes, which needs no memory.
LARGEST_BUILT = 300_000
SPEC = InputSpec(
    image_shape=(32, 32, 3),
    class_names=tuple("0123456789"),
    channel_mean=(0.49, 0.48, 0.45),
    channel_deviation=(0.25, 0.24, 0.26),
)


def _spaces() -> dict[str, Callable[[Any], Candidate]]:
    found: dict[str, Callable[[Any], Candidate]] = {}
    for information in pkgutil.iter_modules(importlib.import_module("spaces.shipped").__path__):
        module = importlib.import_module(f"spaces.shipped.{information.name}")
        found[information.name] = getattr(module, information.name)
    return found


BLOCKS = registry.components("block")
HEADS = registry.components("head")
BACKBONES = registry.components("backbone")
SPACES = _spaces()
STUDIES = shipped_studies()

every_block = pytest.mark.parametrize("block", BLOCKS.values(), ids=list(BLOCKS))
every_component = pytest.mark.parametrize(
    "component", [*BLOCKS.values(), *HEADS.values()], ids=[*BLOCKS, *HEADS]
)
every_backbone = pytest.mark.parametrize("component", BACKBONES.values(), ids=list(BACKBONES))
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
every_study = pytest.mark.parametrize("name", STUDIES)
every_task = pytest.mark.parametrize(
    "task",
    [
        Task(image_shape=(height, width, 3), classes=classes, images=images)
        for height, width, classes, images in (
            (8, 8, 10, 1_200),
            (28, 28, 2, 60),
            (32, 32, 10, 50_000),
            (100, 75, 200, 4_000),
        )
    ]
    + [Task(multiply_accumulates=1e8)],
    ids=["8x8", "28x28", "32x32", "100x75", "little time"],
)


def _spec(task: Task) -> InputSpec:
    names = tuple(f"class {number}" for number in range(task.classes))
    return InputSpec(image_shape=task.image_shape, class_names=names)


def _with_and_without_backbones(spec: StudySpec) -> Iterator[StudySpec]:
    yield spec
    if spec.takes_backbones:
        backbone = KerasApplication(family="MobileNetV3Small", weights="none")
        yield spec.model_copy(update={"backbones": (backbone,)})


def _network(part: Component, **stage: Any) -> ModelConfig:
    """Returns a network of one stage that contains the given component."""
    block = part if isinstance(part, Block) else Plain(filters=8)
    head = part if isinstance(part, Head) else Pooled()
    backbone = Staged(stages=(Stage(block=block, **stage),))
    return ModelConfig(preprocessing="standardize", backbone=backbone, head=head)


def _draws(component: type[Component], strategy: Strategy) -> Iterator[Component]:
    """Yields different configurations of a component, with random categories."""
    for seed in range(8):
        yield suggest(ProbeTrial(strategy, seed=seed), component)


def _assert_builds(config: ModelConfig) -> None:
    shape = describe_model(config, SPEC)
    if shape.parameters <= LARGEST_BUILT:
        assert build_model(config, SPEC, pretrained=False).count_params() == shape.parameters


def test_there_is_something_to_test() -> None:
    assert {"plain", "residual"} <= set(BLOCKS)
    assert "pooled" in HEADS
    assert {"staged", "keras_application", "keras_file"} <= set(BACKBONES)
    assert {"depth_filters", "quickstart"} <= set(SPACES)
    assert set(STUDIES) <= set(SPACES)


# Blocks and heads


@every_component
@pytest.mark.parametrize("strategy", ["lowest", "highest"])
def test_a_component_builds_at_its_ends(component: type[Component], strategy: Strategy) -> None:
    for drawn in _draws(component, strategy):
        _assert_builds(_network(drawn))


@every_component
def test_a_component_searches_something_legal(component: type[Component]) -> None:
    trial = ProbeTrial()
    suggest(trial, component)

    assert trial.distributions
    assert component().model_dump()["kind"] == component.kind


@every_component
def test_a_component_survives_json(component: type[Component]) -> None:
    for drawn in _draws(component, "random"):
        config = _network(drawn)
        assert ModelConfig.model_validate_json(config.model_dump_json()) == config


@every_component
def test_a_component_says_what_it_is(component: type[Component]) -> None:
    assert inspect.getdoc(component) not in (None, inspect.getdoc(component.__mro__[1]))
    assert component().summary()


@pytest.mark.parametrize("head", HEADS.values(), ids=list(HEADS))
def test_a_head_alone_is_the_end_of_its_network(head: type[Head]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    for drawn in _draws(head, "lowest"):
        config = _network(drawn, reduction="max")
        whole = build_model(config, SPEC, seed=1)
        features = build_features(config, SPEC, seed=1)
        alone = build_head(config, SPEC, features.output_shape[1:])

        alone.set_weights(whole.get_weights()[-len(alone.weights) :])
        described = features.predict(images, verbose=0)

        np.testing.assert_allclose(
            alone.predict(described, verbose=0), whole.predict(images, verbose=0), atol=1e-5
        )


@every_block
@pytest.mark.parametrize("activation", typing.get_args(Activation))
def test_a_block_without_normalisation_predicts_with_any_activation(
    block: type[Block], activation: str
) -> None:
    fields = {"filters": 8, "activation": activation, "normalization": "none"}
    known = {name: value for name, value in fields.items() if name in block.model_fields}
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)

    model = build_model(_network(block.model_validate(known)), SPEC)

    # In a graph, the backend may fuse layers in ways that an eager call does not.
    fused = model.predict(images, verbose=0)
    np.testing.assert_allclose(fused, np.asarray(model(images)), atol=1e-5)


@every_block
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("reduction", ["none", "max", "average", "stride"])
def test_a_stage_of_a_block_halves_once_or_not_at_all(
    block: type[Block], depth: int, place: str, reduction: str
) -> None:
    config = _network(block(filters=8), depth=depth, place=place, reduction=reduction)

    side = 32 if reduction == "none" else 16
    assert describe_model(config, SPEC).feature_map == (side, side, 8)


@every_block
@pytest.mark.parametrize("reduction", ["max", "average", "stride"])
def test_a_block_halves_odd_sizes(block: type[Block], reduction: str) -> None:
    odd = SPEC.model_copy(update={"image_shape": (15, 9, 3)})

    height, width, _ = describe_model(
        _network(block(filters=8), reduction=reduction), odd
    ).feature_map

    assert height in (7, 8)
    assert width in (4, 5)


# Backbones


@pytest.fixture(scope="module")
def backbone_fields(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Values for required backbone fields: by field name, a small example."""
    path = tmp_path_factory.mktemp("backbones") / "small.keras"
    stages = (Stage(block=Plain(filters=8)),) * 2
    config = ModelConfig(backbone=Staged(stages=stages), head=Pooled())
    build_model(config, SPEC, seed=0).save(path)
    return {"path": str(path), "stages": stages, "weights": "none"}


def _backbone_network(component: type[Backbone], fields: dict[str, Any]) -> ModelConfig:
    known = {name: value for name, value in fields.items() if name in component.model_fields}
    backbone = component.model_validate(known)
    preprocessing = "none" if backbone.own_preprocessing else "standardize"
    return ModelConfig.model_validate(
        {"preprocessing": preprocessing, "backbone": backbone, "head": Pooled()}
    )


@every_backbone
def test_a_backbone_describes_what_it_builds(
    component: type[Backbone], backbone_fields: dict[str, Any]
) -> None:
    config = _backbone_network(component, backbone_fields)
    shape = describe_model(config, SPEC)
    model = build_model(config, SPEC)

    assert shape.parameters == model.count_params()
    assert shape.trainable_parameters == sum(
        int(np.prod(weight.shape)) for weight in model.trainable_weights
    )
    if config.backbone.frozen:
        assert {weight.path.split("/")[0] for weight in model.trainable_weights} == {"logits"}


@every_backbone
def test_a_backbone_survives_json_and_says_what_it_is(
    component: type[Backbone], backbone_fields: dict[str, Any]
) -> None:
    config = _backbone_network(component, backbone_fields)

    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    assert inspect.getdoc(component) not in (None, inspect.getdoc(component.__mro__[1]))
    assert config.backbone.summary()


# Spaces


@every_space
@pytest.mark.parametrize("strategy", ["lowest", "highest"])
def test_a_space_builds_at_its_ends(space: Callable[[Any], Candidate], strategy: Strategy) -> None:
    for seed in range(3):
        _assert_builds(space(ProbeTrial(strategy, seed=seed)).model)


@every_space
def test_most_of_a_space_can_be_built(space: Callable[[Any], Candidate]) -> None:
    feasible = 0
    for seed in range(10):
        try:
            feasible += describe_model(space(ProbeTrial(seed=seed)).model, SPEC).parameters > 0
        except InfeasibleError:
            continue

    assert feasible >= 8


@every_space
def test_a_candidate_survives_json(space: Callable[[Any], Candidate]) -> None:
    for _, candidate in explore(space):
        text = candidate.to_json()
        assert Candidate.from_json(text) == candidate
        assert Candidate.from_json(text).to_json() == text


@every_space
def test_replaying_the_parameters_gives_the_same_candidate(
    space: Callable[[Any], Candidate],
) -> None:
    for probe, candidate in explore(space):
        assert space(FixedTrial(probe.params)).to_json() == candidate.to_json()


@every_space
def test_a_parameter_has_one_distribution(space: Callable[[Any], Candidate]) -> None:
    # Optuna rejects a parameter whose choices change, and samples a changing range poorly.
    known: dict[str, BaseDistribution] = {}
    for probe, _ in explore(space):
        for name, distribution in probe.distributions.items():
            assert known.setdefault(name, distribution) == distribution


@every_space
def test_a_space_says_what_it_searches(space: Callable[[Any], Candidate]) -> None:
    assert inspect.getdoc(space)


# Studies


@every_study
def test_a_study_opens_with_its_command_and_an_expected_result(name: str) -> None:
    document = importlib.import_module(STUDIES[name]).__doc__ or ""
    spec = load_study(name).spec

    assert document.startswith(f"Run it with\n\n    python -m search.run --study {name}")
    assert spec.expected
    assert f"Expect: {spec.expected}" in " ".join(document.split())
    assert "TODO" not in document


@every_study
def test_a_study_states_what_it_is(name: str) -> None:
    spec = load_study(name).spec

    assert spec.name == name
    assert spec.description
    assert "\n" not in spec.description
    assert spec.fixes
    # The time plan decides the length of trials and of the final training.
    assert spec.epochs is None
    assert spec.retrain_epochs is None
    assert isinstance(spec.sampler(0), BaseSampler)
    assert isinstance(spec.make_pruner(), BasePruner)


def _assert_answers(spec: StudySpec, parameters: Mapping[str, Any], task: Task) -> Candidate:
    """Returns the candidate of parameters after checking that each one is valid when suggested."""
    trial = FixedTrial(dict(parameters))
    candidate = spec.candidate(trial, task)
    for parameter, distribution in trial.distributions.items():
        assert is_legal(distribution, parameters[parameter]), parameter
    return candidate


@every_study
@every_task
def test_the_first_trials_answer_every_question_within_its_range(name: str, task: Task) -> None:
    for spec in _with_and_without_backbones(load_study(name).spec):
        for parameters in spec.first_trials(task):
            candidate = _assert_answers(spec, parameters, task)
            trial = FixedTrial(dict(parameters))
            assert spec.candidate(trial, task) == candidate
            assert set(trial.distributions) == set(parameters)
            if not candidate.model.backbone.own_preprocessing:
                describe_model(candidate.model, _spec(task))


@every_study
@every_task
def test_each_variation_changes_a_first_trial_within_its_ranges(name: str, task: Task) -> None:
    for spec in _with_and_without_backbones(load_study(name).spec):
        first = spec.first_trials(task)
        changed = [_assert_answers(spec, trial, task) for trial in first]
        for variation in spec.later_trials(task):
            varied = [_assert_answers(spec, {**trial, **variation}, task) for trial in first]
            # A parameter of one family does not change the others.
            assert any(now != before for now, before in zip(varied, changed, strict=True))
            for candidate in varied:
                if not candidate.model.backbone.own_preprocessing:
                    describe_model(candidate.model, _spec(task))


# Saved models

RELOAD = """
import sys
from pathlib import Path

# An installed copy of the project must not help.
for name in ("cnn_blocks", "spaces", "studies", "search"):
    sys.modules[name] = None

import keras
import numpy as np

folder = Path(sys.argv[1])
images = np.load(folder / "images.npy")
for path in sorted(folder.glob("*.keras")):
    model = keras.saving.load_model(path, safe_mode=True, compile=False)
    np.save(path.with_suffix(".reloaded.npy"), model.predict(images, verbose=0))
"""


def _small_networks() -> dict[str, ModelConfig]:
    networks = {
        f"{component.kind} {number}": _network(drawn)
        for component in (*BLOCKS.values(), *HEADS.values())
        for number, drawn in enumerate(_draws(component, "lowest"))
    }
    networks["mirrored"] = _network(Plain(filters=8)).model_copy(update={"mirror": True})
    for name, space in SPACES.items():
        networks[f"space {name}"] = space(ProbeTrial("lowest")).model
    for spec in list_studies():
        for number, parameters in enumerate(spec.first_trials(Task())):
            candidate = spec.candidate(FixedTrial(dict(parameters)), Task())
            networks[f"study {spec.name} {number}"] = candidate.model
    # Pretrained backbones are large, and are saved once each below.
    unique = {
        config.model_dump_json(): name
        for name, config in networks.items()
        if not config.backbone.own_preprocessing
    }
    return {name: networks[name] for name in unique.values()}


def test_saved_models_open_without_this_project_and_predict_the_same(
    tmp_path: Path, backbone_fields: dict[str, Any]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    networks = _small_networks()
    for kind, component in BACKBONES.items():
        networks[f"backbone {kind}"] = _backbone_network(component, backbone_fields)
    expected = {}
    for number, (name, config) in enumerate(networks.items()):
        # Pretrained weights would require a download.
        model = build_model(config, SPEC, seed=number, pretrained=False)
        model.save(tmp_path / f"{name}.keras")
        expected[name] = model.predict(images, verbose=0)

    done = subprocess.run(
        [sys.executable, "-I", "-c", RELOAD, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    for name, probabilities in expected.items():
        reloaded = np.load(tmp_path / f"{name}.reloaded.npy")
        np.testing.assert_allclose(reloaded, probabilities, atol=1e-5, err_msg=name)
        # A network that ignores its input would pass, too; a deep one with random weights does so.
        if networks[name].backbone.kind != "keras_application":
            assert np.ptp(probabilities, axis=0).max() > 1e-4, name
