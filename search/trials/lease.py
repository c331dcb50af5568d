"""The lease of a running trial: who works on it, and a beat that shows that he still does.

It is kept through Optuna's storage API alone, so that it works over any database and over the gRPC
proxy. Optuna's own heartbeat exists in one kind of storage, and under `optimize()` only.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from search.storage import TrialAttribute
from search.system.processes import host_identity, process_identity

LEASE_SECONDS = 120.0
# So many beats may be lost to a slow storage or a busy machine before a lease lapses.
_BEATS_PER_LEASE = 8
# Who holds a trial in this process now: one that an error left behind names this process too.
_holders: set[str] = set()


class Lease:
    """Holds a trial for this process, while the block runs; a thread beats.

    `worker` is the name of a worker that this process' parent supervises; None where nobody does.
    Where another process ended the trial meanwhile, because this one was suspended, `lost` is true
    and nothing of the trial may be written any more.
    """

    def __init__(
        self, trial: optuna.Trial, *, worker: str | None = None, seconds: float = LEASE_SECONDS
    ) -> None:
        self.lost = False
        self._storage = trial.storage
        self._trial_id = trial._trial_id
        self._worker = worker or uuid.uuid4().hex
        self._holder = {
            "worker": self._worker,
            "host": host_identity(),
            **_process(os.getpid()),
            "supervisor": None if worker is None else _process(os.getppid()),
        }
        self._interval = seconds / _BEATS_PER_LEASE
        self._beat = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        _holders.add(self._worker)
        try:
            self._write()
        except BaseException:
            _holders.discard(self._worker)
            raise
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        _holders.discard(self._worker)

    def _keep(self) -> None:
        while not self._over.wait(self._interval):
            self._beat += 1
            try:
                self._write()
            except (UpdateFinishedTrialError, KeyError):
                self.lost = True
                return
            except Exception:
                # The storage is away for a moment: the trial itself notices if it stays away.
                continue

    def _write(self) -> None:
        lease = {**self._holder, "beat": self._beat}
        self._storage.set_trial_user_attr(self._trial_id, TrialAttribute.LEASE, lease)


class LeaseWatch:
    """Tells which running trials nobody works on any more.

    A process of this machine is looked at. For another machine's the beat must stand still for
    `seconds` by this process' monotonic clock: no clock of another machine is read, and none that
    can be set. A trial without a lease is treated so too: its process may have died before it
    wrote one; and that of a dead worker whose supervisor runs, who alone knows how it died.
    """

    def __init__(
        self, *, seconds: float = LEASE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._looked: float | None = None
        self._seen: dict[int, tuple[Any, float]] = {}

    def lapsed(self, running: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """Returns those of the running trials that are abandoned, as far as can be said now."""
        now = self._clock()
        # While the storage was away, or this process suspended, nobody's beat could arrive: such a
        # gap alone makes no lease lapse.
        gap = min(now - (now if self._looked is None else self._looked), self.seconds / 2)
        self._looked = now
        found, seen = [], {}
        for trial in running:
            lease = lease_of(trial)
            beat = lease.get("worker"), lease.get("beat")
            known, still = self._seen.get(trial._trial_id, (None, 0.0))
            still = still + gap if known == beat else 0.0
            seen[trial._trial_id] = beat, still
            if _is_abandoned(lease, lapsed=still >= self.seconds):
                found.append(trial)
        self._seen = seen
        return found


def lease_of(trial: FrozenTrial) -> dict[str, Any]:
    """Returns a trial's lease; empty where none was written."""
    lease: dict[str, Any] = trial.user_attrs.get(TrialAttribute.LEASE) or {}
    return lease


def is_here(lease: dict[str, Any]) -> bool:
    """Returns whether a lease is held by a process of this machine."""
    return lease.get("host") == host_identity()


def is_gone(lease: dict[str, Any]) -> bool:
    """Returns whether a lease was held by a process of this machine that has died or let it go."""
    if not is_here(lease):
        return False
    if lease["process"] == os.getpid() and lease.get("worker") not in _holders:
        return True
    return not _runs(lease)


def _process(process_id: int) -> dict[str, Any]:
    return {"process": process_id, "started": process_identity(process_id)}


def _runs(process: dict[str, Any]) -> bool:
    # A user may not be shown the processes of others: an identity of None says nothing.
    started = process["started"]
    return started is not None and process_identity(int(process["process"])) == started


def _is_abandoned(lease: dict[str, Any], *, lapsed: bool) -> bool:
    if is_gone(lease):
        return lapsed or not _is_supervised(lease)
    return lapsed and not _is_at_work(lease)


def _is_supervised(lease: dict[str, Any]) -> bool:
    """Whether another process of this machine is there to say how a dead holder ended."""
    supervisor = lease.get("supervisor")
    return supervisor is not None and supervisor["process"] != os.getpid() and _runs(supervisor)


def _is_at_work(lease: dict[str, Any]) -> bool:
    """Whether a process of this machine runs: a slow storage alone must not cost it its trial."""
    if not is_here(lease):
        return False
    try:
        return psutil.Process(int(lease["process"])).status() != psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False
