"""The report in a real browser: no errors, no requests, no sideways scrolling, both themes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

from search.report.writing import write_report
from search.results.run_result import RunResult
from tests.support.chromium import chromium

pytestmark = pytest.mark.slow
PHONE, DESKTOP = 360, 1280


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def show(browser: webdriver.Chrome, tmp_path: Path) -> Callable[..., None]:
    """Returns what shows a run's report in a window of a width, light or dark."""

    def show(result: RunResult, width: int, *, scheme: str = "light") -> None:
        page = write_report(result.study, result.directory, to=tmp_path / "report.html")
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        for kind in ("browser", "performance"):
            _log(browser, kind)  # what came before does not count
        browser.get(page.as_uri())

    return show


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("fixture", ["finished", "hostile", "many_classes"])
def test_nothing_scrolls_sideways_and_nothing_goes_wrong(
    fixture: str,
    width: int,
    browser: webdriver.Chrome,
    show: Callable[..., None],
    request: pytest.FixtureRequest,
) -> None:
    show(request.getfixturevalue(fixture), width)

    wide, shown = browser.execute_script(
        "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    )
    assert wide == shown > width - 20  # but for a scroll bar
    assert _log(browser, "browser") == []
    requested = [url for url in _requested(browser) if not url.startswith(("file:", "data:"))]
    assert requested == []


def _log(browser: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


def _requested(browser: webdriver.Chrome) -> Iterator[str]:
    for entry in _log(browser, "performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def test_both_themes_have_contrast(
    browser: webdriver.Chrome, show: Callable[..., None], finished: RunResult
) -> None:
    for scheme in ("light", "dark"):
        show(finished, DESKTOP, scheme=scheme)
        ground = _luminance(_style(browser, "body", "backgroundColor"))
        assert (ground > 0.5) == (scheme == "light")
        card = _luminance(_style(browser, ".card", "backgroundColor"))
        for selector, property_, behind, least in (
            ("body", "color", ground, 7),
            (".soft", "color", ground, 4.5),
            (".soft", "color", card, 4.5),
            (".status", "color", ground, 4.5),
            ("nav a", "color", ground, 4.5),
            ("svg .label", "fill", card, 4.5),
            ("svg.chart", "fill", card, 4.5),
            ("path.s-train", "stroke", card, 3),
            ("line.s-test", "stroke", card, 3),
            ("path.s-winner", "stroke", card, 3),
        ):
            found = _luminance(_style(browser, selector, property_))
            ratio = (max(found, behind) + 0.05) / (min(found, behind) + 0.05)
            assert ratio >= least, (scheme, selector, ratio)


def _style(browser: webdriver.Chrome, selector: str, name: str) -> Any:
    return browser.execute_script(
        "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
        selector,
        name,
    )


def _luminance(color: str) -> float:
    """Returns the relative luminance (WCAG 2) of `rgb(r, g, b)`."""
    channels = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_it_prints(
    browser: webdriver.Chrome, show: Callable[..., None], finished: RunResult
) -> None:
    show(finished, DESKTOP, scheme="dark")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})

    assert len(printed["data"]) > 20_000
