"""Files and folders that systems and programs leave behind: never images, never classes."""

from __future__ import annotations

_NAMES = frozenset(
    {
        "__macosx",  # macOS, in .zip archives
        "@eadir",  # Synology: thumbnails
        "#recycle",
        "@recycle",  # QNAP
        "$recycle.bin",
        "system volume information",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "lost+found",
        "__pycache__",
    }
)


def is_leftover(name: str) -> bool:
    """Returns whether a file or folder of this name is no part of a data set.

    Hidden names count: `.DS_Store`, `._photo.jpg` (AppleDouble), `.thumbnails`,
    `.ipynb_checkpoints`.
    """
    return name.startswith(".") or name.lower() in _NAMES
