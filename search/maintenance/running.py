"""Finds the owner of a RUNNING trial, as far as this machine can tell."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from search.trials.lease import is_gone, is_here

Holder: TypeAlias = Literal["at work", "gone", "on another machine", "unknown"]


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A RUNNING trial and the owner named in its lease; host and process are None without one."""

    number: int
    holder: Holder
    host: str | None = None
    process: int | None = None

    def describe(self) -> str:
        """Returns one line."""
        if self.holder == "unknown":
            return f"trial {self.number}: it has no lease, so its process is unknown"
        return f"trial {self.number}: process {self.process} on {self.host}, {self.holder}"


def running_trial(number: int, lease: dict[str, Any] | None) -> RunningTrial:
    """Returns a RUNNING trial with the owner that its lease names."""
    if not lease:
        return RunningTrial(number=number, holder="unknown")
    holder: Holder = "on another machine"
    if is_here(lease):
        holder = "gone" if is_gone(lease) else "at work"
    return RunningTrial(
        number=number, holder=holder, host=str(lease["host"]), process=int(lease["process"])
    )
