"""Asks a node how a worker on it died, because Ray itself reports no exit codes."""

from pathlib import Path

from search.system.crash import Death, DeathWatch, last_words

STANDARD_ERROR = 2
# If the node has died too it never answers, and Ray may take a while to notice.
_SECONDS_TO_ANSWER = 30.0


def own_log() -> Path | None:
    """Returns the file to which Ray redirects this process's stderr; None if unknown."""
    try:
        path = Path(f"/proc/self/fd/{STANDARD_ERROR}").readlink()
    except OSError:
        return None
    return path if path.is_file() else None


def ask_node(node: str, watch: DeathWatch, *, log: Path | None, log_start: int) -> Death | None:
    """Asks a node how a worker died there; returns None if the node does not answer.

    `watch` is the worker's own watch from its last message. `log_start` is the position, in bytes,
    at which the worker's last trial starts in its `log`.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_diagnose)
    answer = task.remote(watch, log, log_start)
    try:
        death: Death = ray.get(answer, timeout=_SECONDS_TO_ANSWER)
    except ray.exceptions.RayError:
        ray.cancel(answer)
        return None
    return death


def _diagnose(watch: DeathWatch, log: Path | None, log_start: int) -> Death:
    words = "" if log is None else last_words(log, start=log_start)
    return watch.diagnose_unseen(last_words=words)
