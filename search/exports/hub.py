"""Uploads exports to the Hugging Face Hub, only if a repository is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cnn_blocks.errors import UserError
from search.exports.choice import require_packages

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def check_repository(name: str) -> None:
    """Raises UserError if a name is not OWNER/NAME, or huggingface_hub is not installed."""
    if not _REPOSITORY.fullmatch(name):
        raise UserError(
            f"--hub takes a repository as OWNER/NAME; received {name!r}. Fix: write one such as "
            f"my-name/my-model."
        )
    require_packages({"hub": ("huggingface_hub",)})


def upload(repository: str, directory: Path, files: Sequence[str]) -> str:
    """Uploads files and folders of a directory, and returns the repository's address.

    A new repository is private. Raises UserError if the Hub refuses or cannot be reached.
    """
    import huggingface_hub

    patterns = [f"{name}/*" if (directory / name).is_dir() else name for name in files]
    api = huggingface_hub.HfApi()
    try:
        url = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=directory,
            allow_patterns=patterns,
            commit_message="Export by cnn-search",
        )
    except Exception as error:  # errors of the network, the login or the Hub
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"The files are in {directory} but not on the Hub: {reason} Fix: log in with "
            f"`hf auth login` and a token that may write to {repository}, then repeat the command."
        ) from error
    return str(url)
