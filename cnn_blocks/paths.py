"""Paths as a person types them."""

from pathlib import Path

from cnn_blocks.errors import UserError


def user_path(path: str | Path) -> Path:
    """Returns a path whose leading `~` or `~name` is that user's home folder.

    Raises UserError where the home folder is unknown.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"A path that begins with ~ needs a user with a home folder; received {str(path)!r}, "
            f"and there is none. Fix: write the whole path, or set HOME."
        ) from error
