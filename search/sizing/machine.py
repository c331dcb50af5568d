"""What this machine lets a search use: processor cores and GPUs, found without starting Keras."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_GPU = re.compile(r"^GPU \d+: (?P<name>.+) \(UUID: (?P<id>[\w-]+)\)$")
_PART_OF_GPU = re.compile(r"^\s+MIG (?P<name>\S+) +Device +\d+: \(UUID: (?P<id>[\w/-]+)\)$")


@dataclass(frozen=True)
class Machine:
    """What there is to share out; memory in bytes, that of one GPU where there are any."""

    cores: int
    gpus: tuple[str, ...]
    free_memory: int
    free_gpu_memory: int | None


def available_cores(control_groups: Path = _CONTROL_GROUPS) -> int:
    """Returns the cores that this process may keep busy, at least one.

    What it is bound to counts (`taskset`, job schedulers) and a control group's quota (containers).
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([bound or 1, *_quotas(control_groups)]))


def visible_gpus(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the model names of the GPUs that CUDA would use, by what CUDA_VISIBLE_DEVICES takes.

    Empty where the driver's nvidia-smi is missing. Whether Keras uses them is another question.
    """
    if shutil.which("nvidia-smi") is None:
        return {}
    try:
        answer = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return chosen_gpus(parse_gpus(answer.stdout), environment.get("CUDA_VISIBLE_DEVICES"))


def parse_gpus(listing: str) -> dict[str, str]:
    """Returns model names by identifier from what `nvidia-smi -L` prints.

    Identifiers are not numbers: CUDA counts the fastest GPU first, the driver by slot. A GPU that
    is divided counts as its parts.
    """
    found: dict[str, str] = {}
    whole = ""
    for line in listing.splitlines():
        if match := _GPU.match(line):
            whole = match["id"]
            found[whole] = match["name"]
        elif match := _PART_OF_GPU.match(line):
            name = found.pop(whole, None) or next(reversed(found.values()), "").split(",")[0]
            found[match["id"]] = f"{name}, part {match['name']}"
    return found


def chosen_gpus(found: Mapping[str, str], wanted: str | None) -> dict[str, str]:
    """Returns those of the GPUs that CUDA_VISIBLE_DEVICES names, as it names them."""
    if wanted is None:
        return dict(found)
    names = list(found.values())
    chosen: dict[str, str] = {}
    for identifier in (part.strip() for part in wanted.split(",")):
        matching = [name for known, name in found.items() if identifier and identifier in known]
        if identifier.isdecimal() and int(identifier) < len(names):
            chosen[identifier] = names[int(identifier)]
        elif matching and not identifier.isdecimal():
            chosen[identifier] = matching[0]
        else:
            break  # as CUDA does, which sees what stands before an invalid one
    return chosen


def _quotas(root: Path) -> list[int]:
    """Returns the whole cores that version 2 or 1 of the kernel's control groups allows."""
    found = []
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((root / file).read_text() for file in files).split()
            if quota not in ("max", "-1"):
                found.append(int(quota) // int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return found
