"""Files and folders that operating systems and programs create: never images or classes."""

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
    """Returns whether a file or folder of this name does not belong to a data set.

    This includes all hidden names: `.DS_Store`, `._photo.jpg` (AppleDouble), `.thumbnails`,
    `.ipynb_checkpoints`.
    """
    return name.startswith(".") or name.lower() in _NAMES
