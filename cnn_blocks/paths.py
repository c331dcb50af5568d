"""Paths as users type them."""

from pathlib import Path

from cnn_blocks.errors import UserError


def user_path(path: str | Path) -> Path:
    """Returns a path with a leading `~` or `~name` replaced by that user's home folder.

    Raises UserError if the home folder is unknown.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"A path that begins with ~ needs a user with a home folder; received {str(path)!r}, "
            f"but there is none. Fix: write the full path, or set HOME."
        ) from error
