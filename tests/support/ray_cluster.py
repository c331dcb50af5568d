"""A real Ray cluster on this machine's loopback address: two nodes of one CPU each."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psutil
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STORE_BYTES = 80 * 2**20
_SECONDS = 90.0

# Ray replaces a loopback address by the machine's own, unless multi-machine clusters are disabled.
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "PYTHONPATH": str(REPOSITORY),
}
# Runs the head, and a node for each address that it reads, until its standard input ends.
_NODES = """
import sys
from ray.cluster_utils import Cluster

store = int(sys.argv[1])
node = dict(num_cpus=1, num_gpus=0, object_store_memory=store, node_ip_address="127.0.0.1")
cluster = Cluster(initialize_head=True, head_node_args=dict(node, include_dashboard=False))
def raylet(node):
    return node.all_processes["raylet"][0].process.pid
print(cluster.address, raylet(cluster.head_node), flush=True)
for line in sys.stdin:
    node["node_ip_address"] = line.strip()
    print(raylet(cluster.add_node(**node)), flush=True)
cluster.shutdown()
"""


class LoopbackCluster:
    """A cluster whose nodes are processes on this machine; `raylets` are the nodes' process IDs."""

    def __init__(
        self,
        folder: Path,
        *,
        store: int = STORE_BYTES,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        # Ray puts its sockets there, and socket paths must be short.
        self._sockets = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
        self._log = (folder / "cluster.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NODES, str(store)],
            env={**os.environ, **ENVIRONMENT, **environment, "RAY_TMPDIR": str(self._sockets)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
            cwd=folder,
        )
        try:
            self.address, raylet = self._answer().split()
        except BaseException:
            self.close()
            raise
        self.raylets = [int(raylet)]

    def add_node(self, *, address: str = "127.0.0.1") -> int:
        """Adds a node with one CPU; returns the process ID of its raylet."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{address}\n".encode())
        self._process.stdin.flush()
        self.raylets.append(int(self._answer()))
        return self.raylets[-1]

    def kill_node(self, raylet: int) -> list[int]:
        """Kills a node with all its processes at once; returns their process IDs."""
        members = [psutil.Process(raylet), *psutil.Process(raylet).children(recursive=True)]
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        return [member.pid for member in members]

    def close(self) -> None:
        """Ends all nodes."""
        assert self._process.stdin is not None and self._process.stdout is not None
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid).children(recursive=True)
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()
        self._log.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        assert line, f"the cluster ended: {Path(self._log.name).read_text()[-3000:]}"
        return line


def require_ray() -> None:
    """Skips the test if Ray is not installed."""
    pytest.importorskip("ray", reason="Ray is not installed")
