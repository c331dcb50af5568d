"""The kernel's control groups, with which containers and job schedulers limit memory."""

from collections.abc import Iterator
from pathlib import Path


def memory_groups(process_id: int | None = None) -> Iterator[Path]:
    """Yields the folders of a process's control groups, innermost first; None is this process.

    They are of version 1 or 2. A version that does not limit memory has no memory files there.
    """
    try:
        groups = Path(f"/proc/{process_id or 'self'}/cgroup").read_text().splitlines()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        for mount in mounts:
            before, _, after = mount.partition(" - ")
            root, point = before.split()[3:5]
            kind, _, options = after.split(" ", 2)
            version_1 = kind == "cgroup" and "memory" in options.split(",")
            if not (version_1 if controllers else kind == "cgroup2"):
                continue
            # A container sees its own group mounted as the root; its path may or may not be full.
            folder = Path(point) / path.removeprefix(root.rstrip("/")).strip("/")
            yield folder
            while folder != Path(point):
                folder = folder.parent
                yield folder
