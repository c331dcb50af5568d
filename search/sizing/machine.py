"""The CPU cores and GPUs that a search may use, found without starting Keras."""

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
    """The resources to divide among workers; memory in bytes, `free_gpu_memory` of one GPU."""

    cores: int
    gpus: tuple[str, ...]
    free_memory: int
    free_gpu_memory: int | None


def available_cores(control_groups: Path = _CONTROL_GROUPS) -> int:
    """Returns the number of cores that this process may use, at least one.

    It respects CPU affinity (`taskset`, job schedulers) and control-group quotas (containers).
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([bound or 1, *_quotas(control_groups)]))


def visible_gpus(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the GPUs that CUDA would use: model names by their CUDA_VISIBLE_DEVICES identifier.

    Empty if the driver's nvidia-smi is missing. Keras does not necessarily use these GPUs.
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
    """Parses the output of `nvidia-smi -L` into model names by identifier.

    Identifiers are UUIDs, not numbers: CUDA numbers the fastest GPU first, the driver numbers by
    slot. A GPU that is divided into MIG instances counts as its instances.
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
    """Returns the GPUs that CUDA_VISIBLE_DEVICES (`wanted`) selects, keyed as written there."""
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
            break  # as in CUDA, an invalid identifier hides the ones after it
    return chosen


def _quotas(root: Path) -> list[int]:
    """Returns the whole cores that control groups (version 2 or 1) allow."""
    found = []
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((root / file).read_text() for file in files).split()
            if quota not in ("max", "-1"):
                found.append(int(quota) // int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return found
