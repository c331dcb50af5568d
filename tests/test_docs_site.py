"""The site: pages made from the code are whole, and the strict build has no warnings."""

import importlib.util
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer

from cnn_blocks import registry
from docs_site.commands import commands_page
from docs_site.components import components_page
from docs_site.links import redirected
from docs_site.recipes import recipes_page
from docs_site.studies import studies_page
from search.cli.app import app
from search.cli.available import available
from spaces.recipes import RECIPES
from tests.support.documents import REPOSITORY


def test_every_command_and_option_is_documented() -> None:
    page = commands_page()
    waiting: list[tuple[str, Any]] = [("", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        subcommands = getattr(command, "commands", {})
        waiting += [(f"{name} {each}".strip(), found) for each, found in subcommands.items()]
        section = page.split(f"\n## {name or 'cnn-search'}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert f"`{' / '.join([*parameter.opts, *parameter.secondary_opts])}`" in section
            assert parameter.help.split("  [")[0].split("|")[0] in section


def test_the_rows_of_options_hold_values_defaults_and_limits() -> None:
    page = commands_page()

    assert "| `--fit` | `crop`, `pad`, `stretch` | crop | For images of another shape:" in page
    assert (
        "| `--port` | number | 13000 | The port; 0 chooses a free one. From 0 to 65535. |" in page
    )
    assert "| `--to` | file | required | The new file; it must not exist yet. |" in page
    assert "| `--retrain / --no-retrain` |  | retrain |" in page
    assert "cnn-search predict <file or folder>... [OPTIONS]" in page
    assert "default:" not in page


@pytest.mark.parametrize("role", registry.ROLES)
def test_every_component_is_documented_with_its_fields(role: str) -> None:
    page = components_page()

    for entry in available(f"{role}s"):  # type: ignore[arg-type]
        if registry.source_of(registry.find(role, entry.name)) is not None:
            continue  # registered from outside of cnn_blocks, by other tests' imports
        section = page.split(f"\n### {entry.name}\n")[1].split("\n### ")[0]
        assert entry.description.split(".")[0] in " ".join(section.split())
        for field in registry.find(role, entry.name).model_fields:
            assert f"| `{field}` |" in section


def test_fields_have_their_searched_range() -> None:
    page = components_page()

    assert "| `filters` | integer, above 0 | `32` | 16 to 256, logarithmic |" in page
    assert "| `layers` | list of `DenseLayer` | `()` |  |" in page
    assert "\n#### DenseLayer\n" in page


def test_every_study_and_space_is_documented() -> None:
    page = studies_page()

    for entry in available("studies"):
        section = page.split(f"\n## {entry.name}\n")[1].split("\n## ")[0]
        assert entry.description in section
        assert f"python -m search run --study {entry.name}" in section
    for entry in available("spaces"):
        assert f"**Space `{entry.name}`**" in page
    assert (
        "| `family` | plain, residual, inverted_residual, convnext, features, fine_tuning |" in page
    )


def test_every_recipe_is_documented_with_parameters_and_published_accuracy() -> None:
    page = recipes_page()

    for name, recipe in RECIPES.items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert f"{recipe.parameters:,}, of which {recipe.trainable_parameters:,} train" in section
        assert recipe.published_line() in section
        assert all(assumed in section for assumed in recipe.assumed)
    assert "| [`g3_homebrew`](#g3_homebrew) | 416,490 | 415,978 | 88.23% |" in page


@pytest.mark.parametrize(
    ("source", "target", "link", "expected"),
    [
        ("docs/a.md", "a.md", "storage.md#x", "storage.md#x"),
        ("docs/a.md", "a.md", "../CONTRIBUTING.md#x", "contributing.md#x"),
        ("docs/a.md", "a.md", "../examples/own_block.py", "SITE/blob/main/examples/own_block.py"),
        ("docs/a.md", "a.md", "../spaces/shipped", "SITE/tree/main/spaces/shipped"),
        ("CONTRIBUTING.md", "contributing.md", "docs/storage.md", "storage.md"),
        ("CONTRIBUTING.md", "contributing.md", "README.md", "SITE/blob/main/README.md"),
        ("docs/a.md", "a.md", "#x", "#x"),
        ("docs/a.md", "a.md", "https://keras.io/", "https://keras.io/"),
        ("docs/a.md", "a.md", "../no_such_file.py", "../no_such_file.py"),
    ],
)
def test_links_are_redirected(source: str, target: str, link: str, expected: str) -> None:
    pages = {"docs/storage.md": "storage.md", "CONTRIBUTING.md": "contributing.md"}

    text = redirected(
        f"See [this]({link}).\n\n```\n[code]({link})\n```\n",
        source=source,
        target=target,
        repository=REPOSITORY,
        address="SITE",
        pages=pages,
    )

    assert text == f"See [this]({expected}).\n\n```\n[code]({link})\n```\n"


class _Fetched(HTMLParser):
    """Collects what a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        address = found.get("href") if tag == "link" else found.get("src")
        if address is not None and found.get("rel") != "canonical":
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the site as `make docs` does."""
    if importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed: `make docs` installs it")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_has_every_page(site: Path) -> None:
    documents = {f"{page.stem}.html" for page in (REPOSITORY / "docs").glob("*.md")}
    reference = {"commands.html", "components.html", "recipes.html", "studies.html"}

    assert documents | {"contributing.html", "changelog.html"} <= {
        page.name for page in site.glob("*.html")
    }
    assert reference == {page.name for page in (site / "reference").iterdir()}
    assert "--stall-timeout" in (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "granita_final" in (site / "search" / "search_index.json").read_text(encoding="utf-8")


def test_the_site_fetches_nothing_from_other_servers(site: Path) -> None:
    pages = list(site.rglob("*.html"))

    for page in pages:
        reader = _Fetched()
        reader.feed(page.read_text(encoding="utf-8"))
        assert reader.addresses
        assert [each for each in reader.addresses if "//" in each] == [], page.name
        # The theme's script would ask GitHub for the stars of a repository named like this.
        assert 'data-md-component="source"' not in reader.rawdata
    assert len(pages) > 20
