"""Uploads: only to a repository that was named, and only what explains itself."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cnn_blocks.errors import UserError
from search.cli import app as cli
from search.exports import choice, exporting
from search.exports.hub import check_repository, upload


class Hub:
    """Stands for huggingface_hub; keeps what it is asked for."""

    def __init__(self) -> None:
        self.created: list[tuple[str, dict[str, Any]]] = []
        self.uploaded: list[dict[str, Any]] = []
        self.is_down = False

    def create_repo(self, name: str, **options: Any) -> str:
        if self.is_down:
            raise OSError("no route to the hub")
        self.created.append((name, options))
        return f"https://hub/{name}"

    def upload_folder(self, **options: Any) -> None:
        self.uploaded.append(options)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    module: Any = SimpleNamespace(HfApi=lambda: made)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setattr(choice, "_is_importable", lambda name: True)
    return made


@pytest.mark.parametrize("name", ["model", "https://hub/owner/name", "owner/", "a b/c"])
def test_a_repository_is_an_owner_and_a_name(name: str, hub: Hub) -> None:
    check_repository("owner/my-model_1.0")

    with pytest.raises(UserError, match="OWNER/NAME"):
        check_repository(name)


def test_the_hub_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_is_importable", lambda name: False)

    with pytest.raises(UserError, match=r'huggingface_hub.*"cnn-search\[hub\]"'):
        check_repository("owner/name")


def test_files_and_folders_go_to_a_private_repository(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "saved_model").mkdir()

    assert upload("me/digits", tmp_path, ["saved_model", "README.md"]) == "https://hub/me/digits"

    assert hub.created == [("me/digits", {"private": True, "exist_ok": True})]
    (call,) = hub.uploaded
    assert (call["repo_id"], call["folder_path"]) == ("me/digits", tmp_path)
    assert call["allow_patterns"] == ["saved_model/*", "README.md"]


def test_a_hub_that_cannot_be_reached_is_an_error_with_the_fix(hub: Hub, tmp_path: Path) -> None:
    hub.is_down = True

    with pytest.raises(UserError, match="no route to the hub Fix: log in with `hf auth login`"):
        upload("me/digits", tmp_path, ["README.md"])


def test_the_command_uploads_only_where_a_repository_is_named(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporting, "latency", lambda predict, images: 1.0)
    command = ["export", "--run", str(run), "--formats", "keras"]

    assert cli.invoke(command) == 0
    assert hub.created == []

    assert cli.invoke([*command, "--hub", "me/digits"]) == 0
    assert capsys.readouterr().out.endswith("https://hub/me/digits\n")
    # Nothing that names a person's images or folders.
    (call,) = hub.uploaded
    explained = {"README.md", "class_names.json", "decoding.json", "exports.json"}
    assert set(call["allow_patterns"]) == {"model.keras", *explained}
    assert all(str(run.parent) not in (run / name).read_text("utf-8") for name in explained)
