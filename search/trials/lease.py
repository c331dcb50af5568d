"""A lease on a running trial: which process owns it, and a heartbeat that shows it is alive.

It uses Optuna's storage API alone, so it works with any database and over the gRPC proxy. Optuna's
own heartbeat exists only in its RDB storage and only under `optimize()`.
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

from search.storage.attributes import TrialAttribute, set_trial_attribute, trial_attribute
from search.system.processes import host_identity, process_identity

LEASE_SECONDS = 120.0
# Heartbeats per lease. A slow storage or a busy machine may miss this many before it expires.
_BEATS_PER_LEASE = 8
# The leases held by this process now. A lease that an error left behind names this process, too.
_holders: set[str] = set()


class Lease:
    """Holds a trial for this process while the block runs; a thread writes the heartbeat.

    `worker` is the name of this process if its parent supervises it, else None. `lost` becomes true
    when another process has ended the trial because this one was suspended; nothing may be written
    to the trial after that.
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
                # The storage is unavailable for now; the trial itself notices if it stays so.
                continue

    def _write(self) -> None:
        lease = {**self._holder, "beat": self._beat}
        set_trial_attribute(self._storage, self._trial_id, TrialAttribute.LEASE, lease)


class LeaseWatch:
    """Finds running trials that no process works on any more.

    A process of this machine is looked up directly. For a process of another machine the heartbeat
    must stand still for `seconds` of this process's monotonic clock, so that neither another
    machine's clock nor a clock change matters. The same holds for a trial without a lease, whose
    process may have died before writing one, and for a dead worker whose supervisor is alive: the
    supervisor alone knows how the worker died.
    """

    def __init__(
        self, *, seconds: float = LEASE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._looked: float | None = None
        self._seen: dict[int, tuple[Any, float]] = {}

    def lapsed(self, running: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """Returns the running trials that are known to be abandoned by now."""
        now = self._clock()
        # No heartbeat could arrive while the storage was unavailable or this process suspended:
        # such a gap alone expires no lease.
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
    """Returns a trial's lease; empty if none was written."""
    lease: dict[str, Any] = trial_attribute(trial, TrialAttribute.LEASE) or {}
    return lease


def is_here(lease: dict[str, Any]) -> bool:
    """Returns whether a process of this machine holds a lease."""
    return lease.get("host") == host_identity()


def is_gone(lease: dict[str, Any]) -> bool:
    """Returns whether a lease belonged to a process of this machine that died or released it."""
    if not is_here(lease):
        return False
    if lease["process"] == os.getpid() and lease.get("worker") not in _holders:
        return True
    return not _runs(lease)


def _process(process_id: int) -> dict[str, Any]:
    return {"process": process_id, "started": process_identity(process_id)}


def _runs(process: dict[str, Any]) -> bool:
    # Other users' processes may be invisible: an identity of None proves nothing.
    started = process["started"]
    return started is not None and process_identity(int(process["process"])) == started


def _is_abandoned(lease: dict[str, Any], *, lapsed: bool) -> bool:
    if is_gone(lease):
        return lapsed or not _is_supervised(lease)
    return lapsed and not _is_at_work(lease)


def _is_supervised(lease: dict[str, Any]) -> bool:
    """Whether a living supervisor on this machine will record how a dead holder ended."""
    supervisor = lease.get("supervisor")
    return supervisor is not None and supervisor["process"] != os.getpid() and _runs(supervisor)


def _is_at_work(lease: dict[str, Any]) -> bool:
    """Whether the holder runs on this machine: a slow storage alone must not cost it its trial."""
    if not is_here(lease):
        return False
    try:
        return psutil.Process(int(lease["process"])).status() != psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False
