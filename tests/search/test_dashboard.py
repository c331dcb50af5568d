"""optuna-dashboard in a real browser over a real study."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import search
from studies.study import StudySpec
from tests.support.chromium import chromium
from tests.support.server_process import server_process

WAIT_SECONDS = 60


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A headless Chromium; skips where there is none."""
    with chromium(tmp_path / "profile") as started:
        yield started


def _text_with(browser: webdriver.Chrome, expected: str) -> str:
    """Waits until the page shows a text and returns all of its text."""

    def shown(driver: webdriver.Chrome) -> str | None:
        text = driver.find_element(By.TAG_NAME, "body").text
        return text if expected in text else None

    return str(WebDriverWait(browser, WAIT_SECONDS).until(shown))


def test_the_dashboard_shows_parameters_and_attributes(
    browser: webdriver.Chrome,
    tiny_study: StudySpec,
    tmp_path: Path,
) -> None:
    storage = f"sqlite:///{tmp_path / 'studies.db'}"
    result = search.run_study(tiny_study, storage=storage, trials=2, places=tmp_path / "runs")
    trial, study_id = result.study.trials[0], result.study._study_id
    dashboard = Path(sys.executable).with_name("optuna-dashboard")
    command: list[str | Path] = [dashboard, storage]
    with server_process(command, tmp_path / "dashboard.log") as address:
        browser.get(f"{address}/dashboard/studies/{study_id}")
        page = _text_with(browser, "validation accuracy")
        assert "tiny" in page
        browser.get(f"{address}/dashboard/studies/{study_id}/trials?numbers=0")
        page = _text_with(browser, "images_per_second")
    for parameter in trial.params:
        assert parameter in page
    for attribute in ("summary", "parameters", "seconds", "epochs_trained", "outcome"):
        assert attribute in page
    assert trial.user_attrs["summary"] in page
    assert str(trial.user_attrs["parameters"]) in page.replace(",", "")
