"""Who works on a RUNNING trial, as far as this machine can say."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from search.trials.lease import is_gone, is_here

Holder: TypeAlias = Literal["at work", "gone", "on another machine", "unknown"]


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A RUNNING trial and the process that its lease names; None without a lease."""

    number: int
    holder: Holder
    host: str | None = None
    process: int | None = None

    def describe(self) -> str:
        """Returns one line."""
        if self.holder == "unknown":
            return f"trial {self.number}: no lease says who works on it"
        return f"trial {self.number}: process {self.process} on {self.host}, {self.holder}"


def running_trial(number: int, lease: dict[str, Any] | None) -> RunningTrial:
    """Says who works on a trial with this lease."""
    if not lease:
        return RunningTrial(number=number, holder="unknown")
    holder: Holder = "on another machine"
    if is_here(lease):
        holder = "gone" if is_gone(lease) else "at work"
    return RunningTrial(
        number=number, holder=holder, host=str(lease["host"]), process=int(lease["process"])
    )
