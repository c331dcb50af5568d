"""The dashboard of a real run in a real browser."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import search
from studies.study import StudySpec
from tests.support.chromium import chromium
from tests.support.server_process import server_process

WAIT_SECONDS = 120


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A headless Chromium; skips where there is none."""
    with chromium(tmp_path / "profile") as started:
        yield started


def _text_with(browser: webdriver.Chrome, *expected: str) -> str:
    """Waits until the page shows all of some texts and returns its whole text."""

    def shown(driver: webdriver.Chrome) -> str | None:
        text = driver.find_element(By.TAG_NAME, "body").text
        return text if all(part in text for part in expected) else None

    return str(WebDriverWait(browser, WAIT_SECONDS).until(shown, f"the page lacks {expected}"))


def _images(browser: webdriver.Chrome) -> list[str]:
    """Returns where the artifacts that are shown as images come from, once they are loaded."""
    script = (
        "return Array.from(document.images).filter(i => i.src.includes('/artifacts/'))"
        ".map(i => [i.src, i.complete && i.naturalWidth > 0])"
    )

    def loaded(driver: webdriver.Chrome) -> list[str] | None:
        found = driver.execute_script(script)
        complete = found and all(done for _, done in found)
        return [source for source, _ in found] if complete else None

    shown: list[str] | None = WebDriverWait(browser, WAIT_SECONDS).until(
        loaded, "an artifact is not shown"
    )
    return shown or []


def test_the_dashboard_shows_a_run_without_an_error(
    browser: webdriver.Chrome,
    tiny_study: StudySpec,
    tmp_path: Path,
) -> None:
    runs = tmp_path / "runs"
    result = search.run_study(tiny_study, trials=2, places=runs)
    best, study_id = result.study.best_trial, result.study._study_id
    command: list[str | Path] = [
        *(sys.executable, "-m", "search", "dashboard"),
        *("--runs-directory", runs, "--no-browser"),
    ]
    with server_process(command, tmp_path / "dashboard.log") as address:
        browser.get(f"{address}/dashboard/studies/{study_id}")
        study = _text_with(
            browser,
            "validation accuracy by network size",
            "validation accuracy by search time",
            "learning_curve.png",
        )
        browser.get(f"{address}/dashboard/studies/{study_id}/note")
        note = _text_with(browser, "Best so far", "Searched parameters")
        rows = browser.find_elements(By.CSS_SELECTOR, "table tr")
        table = [row.text.replace("\n", " ") for row in rows]
        browser.get(f"{address}/dashboard/studies/{study_id}/trials?numbers={best.number}")
        trial = _text_with(browser, "images_per_second", "trained to its end")
        images = _images(browser)
        log: list[dict[str, Any]] = browser.get_log("browser")  # type: ignore[no-untyped-call]

    assert [line for line in log if line["level"] == "SEVERE"] == []
    assert "tiny" in study
    assert "Filters and dropout of one stage." in note
    assert f"validation accuracy {best.value:.4f}, trial {best.number}" in note
    assert "filters 2 to 8" in table
    for text in (*best.params, "summary", "parameters", "seconds", "epochs_trained", "outcome"):
        assert text in trial
    assert best.user_attrs["summary"] in trial
    assert str(best.user_attrs["parameters"]) in trial.replace(",", "")
    for out_of_sight in ("candidate", "lease", "fingerprint", "time_plan"):
        assert out_of_sight not in trial + study
    assert len(images) == 2
    for name in ("learning_curve.png", "confusion_matrix.png"):
        assert name in trial
