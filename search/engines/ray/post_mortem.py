"""How a worker on a Ray cluster died, as its node can tell: Ray itself takes no exit codes."""

from pathlib import Path

from search.system.crash import Death, DeathWatch, last_words

STANDARD_ERROR = 2
# A node that has died too does not answer, and Ray may take a while to notice.
_SECONDS_TO_ANSWER = 30.0


def own_log() -> Path | None:
    """Returns the file that Ray lets this process' words go to, where that can be told."""
    try:
        path = Path(f"/proc/self/fd/{STANDARD_ERROR}").readlink()
    except OSError:
        return None
    return path if path.is_file() else None


def ask_node(node: str, watch: DeathWatch, *, log: Path | None, log_start: int) -> Death | None:
    """Asks a node how a worker died there; None where it does not answer.

    `watch` is the worker's own one as it was last heard of. What stands in its log before
    `log_start`, in bytes, is not of its last trial.
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
