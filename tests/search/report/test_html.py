"""The report as a page: whole, safe, readable without seeing it, and small."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from search.report.charts.scores import SHADES, shade_of
from search.report.gather import gather
from search.report.html import render_html
from search.results.run_result import RunResult
from search.storage import TrialAttribute
from tests.search.report.conftest import HOSTILE
from tests.support.page import Page

MOST_BYTES = 6_000_000
SECTIONS = [
    *("glance", "learning", "test", "images", "network"),
    *("search", "outcomes", "time", "repeat"),
]


def _check(page: Page) -> None:
    """Asserts what holds for every report."""
    assert len(page.source.encode()) < MOST_BYTES
    for element in page.elements:
        assert element.tag not in ("script", "iframe", "object", "embed", "form", "base")
        assert [name for name in element.attributes if name.startswith("on")] == []
        for name in ("href", "src", "srcset", "action", "xlink:href"):
            target = element.attributes.get(name, "#")
            assert target.startswith(("#", "data:")), target
        if element.tag == "img":
            assert element.attributes["alt"].strip()
        if element.attributes.get("role") == "region":
            assert element.attributes["aria-label"].strip()
    assert not re.search(r"url\(|@import", page.source)
    assert "default-src 'none'" in page.source
    identifiers = page.ids()
    assert len(identifiers) == len(set(identifiers))
    for svg in page.all("svg"):
        assert svg.attributes["role"] == "img"
        assert set(svg.attributes["aria-labelledby"].split()) <= set(identifiers)
    for link in page.all("a"):
        assert link.attributes["href"].removeprefix("#") in identifiers
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", page.source)
    assert "Undefined" not in page.text
    assert not re.search(r"\bNone\b|\bnan\b", page.text)


def _sections(page: Page) -> list[str]:
    return [section.attributes["id"] for section in page.all("section")]


def test_a_finished_study(finished: RunResult, page_of: Callable[..., Page]) -> None:
    page = page_of(finished.study, finished.directory)
    _check(page)
    test = finished.metrics["test"]

    assert [name for name in _sections(page) if name != "parameters"] == SECTIONS
    assert f"{test['accuracy'] * 100:.1f}%" in page.text
    assert "Finished: trained, tested and exported" in page.text
    assert finished.candidate.summary() in page.text
    assert f"{finished.metrics['retraining']['parameters']:,} parameters" in page.text
    assert "Latency of 64 images" in page.text
    assert "Expected calibration error" in page.text
    assert finished.split.dataset.fingerprint in page.text
    assert "The test images of this study were opened once" in page.text
    pictures = json.loads(
        (finished.directory / "report_material" / "material.json").read_text(encoding="utf-8")
    )["pictures"]
    assert len(page.all("img")) == len(pictures) + sum(bool(one["map"]) for one in pictures)


def test_the_confusion_matrix_is_a_table(finished: RunResult, page_of: Callable[..., Page]) -> None:
    page = page_of(finished.study, finished.directory)
    matrix = finished.metrics["test"]["confusion_matrix"]
    cells = re.findall(r'<td class="[hm]\d">(\d+|·)</td>', page.source)

    assert [0 if cell == "·" else int(cell) for cell in cells] == [
        count for row in matrix for count in row
    ]


def test_the_network_has_the_model_s_parameters(finished: RunResult) -> None:
    network = gather(finished.study, finished.directory).network

    assert network is not None
    assert network.parameters == finished.model.count_params()
    assert [stage.title for stage in network.stages] == ["Input", "Stage 1", "Head"]
    assert network.stages[1].block == "plain"
    assert network.stages[-1].shape == (10,)


def test_a_study_in_the_middle(unfinished: optuna.Study, page_of: Callable[..., Page]) -> None:
    page = page_of(unfinished)
    _check(page)

    assert _sections(page)[0] == "glance"
    assert {"test", "images", "learning"}.isdisjoint(_sections(page))
    assert "ended, 1 running and 1 waiting" in page.text
    assert "the test images are closed" in page.text
    for reason in ("MedianPruner at epoch 1", "its process died", "ValueError: <b>broken</b>"):
        assert reason in page.text


def test_a_study_without_a_complete_trial(
    study: optuna.Study, page_of: Callable[..., Page]
) -> None:
    study.add_trial(
        create_trial(
            state=TrialState.FAIL, user_attrs={TrialAttribute.REASON: "ValueError: no layers"}
        )
    )
    page = page_of(study)
    _check(page)

    assert "No trial completed: 1 trial ended" in page.text
    assert "ValueError: no layers" in page.text


def test_a_study_that_has_not_begun(study: optuna.Study, page_of: Callable[..., Page]) -> None:
    page = page_of(study)
    _check(page)

    assert "No trial yet" in page.text


def test_hostile_class_names_stay_text(hostile: RunResult, page_of: Callable[..., Page]) -> None:
    page = page_of(hostile.study, hostile.directory)
    _check(page)

    assert "<script" not in page.source
    for name in HOSTILE:
        assert name.replace("\x1b", "\\x1b") in page.text


def test_hostile_names_of_everything_else(
    study: optuna.Study, page_of: Callable[..., Page]
) -> None:
    attack = "\"'><script>alert(1)</script>\x1b]0;x\x07"
    study.set_user_attr("description", attack)
    study.set_user_attr("data", f"postgresql://me:secret@host/{attack}")
    distributions: dict[str, BaseDistribution] = {
        attack: FloatDistribution(0, 1),
        "n": IntDistribution(1, 9),
    }
    for number in range(8):
        study.add_trial(
            create_trial(
                value=number / 8,
                params={attack: number / 8, "n": number + 1},
                distributions=distributions,
                intermediate_values={1: 0.1, 2: number / 8},
                user_attrs={
                    TrialAttribute.SUMMARY: attack,
                    TrialAttribute.REASON: attack,
                    TrialAttribute.RECIPE: attack,
                    TrialAttribute.PARAMETERS: 100 + number,
                    TrialAttribute.EPOCHS_TRAINED: 2,
                },
            )
        )
    page = page_of(study)
    _check(page)

    assert "<script" not in page.source
    assert "secret" not in page.source
    assert "me:***@host" in page.text


def test_a_hundred_and_twenty_classes(
    many_classes: RunResult, page_of: Callable[..., Page]
) -> None:
    page = page_of(many_classes.study, many_classes.directory)
    _check(page)

    assert 'aria-label="The weakest classes"' in page.source
    assert "All 120 classes" in page.text
    # Names stand on both sides of the matrix, shortened.
    assert page.text.count("species number 003, a rat…") == 2
    assert "Most frequent confusions" in page.text


def test_every_cell_with_images_has_a_shade() -> None:
    assert [shade_of(subset) for subset in (0.0, 1e-6, 0.25, 1.0)] == [0, 1, 4, SHADES]


def test_a_run_without_a_study(finished: RunResult, page_of: Callable[..., Page]) -> None:
    page = page_of(None, finished.directory)
    _check(page)

    assert {"search", "outcomes", "parameters"}.isdisjoint(_sections(page))
    assert {"glance", "test", "network", "repeat"} <= set(_sections(page))


def test_a_run_of_an_earlier_version(
    finished: RunResult, page_of: Callable[..., Page], tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(finished.directory, old)
    shutil.rmtree(old / "report_material")
    page = page_of(finished.study, old)
    _check(page)

    assert "because an earlier version wrote it" in page.text
    assert "images" not in _sections(page)


def test_the_run_of_another_trial_is_said_to_be_one(
    finished: RunResult, page_of: Callable[..., Page], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished.directory, other)
    metrics = json.loads((other / "metrics.json").read_text(encoding="utf-8"))
    metrics["trial"] = finished.configuration.trial + 1 if finished.configuration.trial else 1
    (other / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")

    assert "Run the study's command again" in page_of(finished.study, other).text


def test_other_studies_stand_beside_the_winner(
    finished: RunResult, unfinished: optuna.Study, hostile: RunResult, page_of: Callable[..., Page]
) -> None:
    others = [(unfinished, None), (hostile.study, hostile.directory)]
    page = page_of(finished.study, finished.directory, others=others)
    _check(page)

    assert "Best accuracy so far" in page.source
    assert "other images" in page.text


def test_published_figures_stand_beside_cifar_10(finished: RunResult) -> None:
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    data = gather(finished.study, finished.directory)
    assert data.study is not None
    assert data.run is not None
    assert [row.kind for row in data.comparisons] == ["winner"]

    from search.report.comparison import compare

    test = {
        **data.run.test,
        "per_class": [
            {**row, "name": name}
            for row, name in zip(data.run.test["per_class"], names, strict=True)
        ],
    }
    run = type(data.run)(**{**vars(data.run), "test": test})
    rows = list(compare(data.study, run, data.network))

    published = {row.name: row.test for row in rows if row.kind == "published"}
    assert published["granita_final"] == 0.8637
    assert len(published) > 10


def test_a_large_study_stays_small(
    study: optuna.Study, page_of: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    distributions: dict[str, BaseDistribution] = dict.fromkeys(
        (f"p{axis}" for axis in range(12)), FloatDistribution(0, 1)
    )
    trials = [
        create_trial(
            value=number % 97 / 97,
            params=dict.fromkeys(distributions, number * 7 % 89 / 89),
            distributions=distributions,
            intermediate_values={step: step * (number % 97) / 97 / 30 for step in range(1, 31)},
            user_attrs={
                TrialAttribute.SUMMARY: "plain gelu 64 64 | 128 128 | 256 256; average; adamw",
                TrialAttribute.PARAMETERS: 1000 + number,
                TrialAttribute.EPOCHS_TRAINED: 30,
            },
        )
        for number in range(3000)
    ]
    monkeypatch.setattr(study, "get_trials", lambda **_: trials)
    monkeypatch.setattr(type(study), "best_trial", property(lambda _: trials[96]))
    for number, trial in enumerate(trials):
        trial.number = number
    page = page_of(study)
    _check(page)

    assert len(page.source) < 2_500_000
    assert "300 of 3,000 trials" in page.text


def test_the_same_facts_give_the_same_page(finished: RunResult) -> None:
    data = gather(finished.study, finished.directory)

    assert render_html(data) == render_html(data)
