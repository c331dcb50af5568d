"""The files beside the code: what hooks run, how to cite, what a pull request is asked."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent


def _yaml(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / name).read_text(encoding="utf-8"))


def test_the_hooks_run_what_make_lint_runs() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"(?m)^lint: .*\n((?:\t.*\n)+)", makefile)
    wanted = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]

    (repository,) = _yaml(".pre-commit-config.yaml")["repos"]

    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == wanted
    for hook in repository["hooks"]:
        # On the whole project, as make does, and not on the changed files.
        assert (hook["language"], hook["pass_filenames"]) == ("system", False)
        assert hook["always_run"]


def test_the_citation_follows_the_project() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]

    citation = _yaml("CITATION.cff")

    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert citation["authors"]
    assert citation["title"] == project["name"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]


def test_the_check_list_names_files_that_exist() -> None:
    template = (REPOSITORY / ".github" / "pull_request_template.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w./-]+(?:\.md|/|/results))`", template)

    assert len(re.findall(r"(?m)^- \[ \] ", template)) >= 5
    assert named
    assert all((REPOSITORY / name).exists() for name in named)
