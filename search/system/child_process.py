"""A child process with a pipe, a log file, and a watch on how it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Pipe
from pathlib import Path

from search.system.crash import Death, DeathWatch, last_words

_SECONDS_TO_EXIT = 10.0


class ChildProcess:
    """Runs `python -m MODULE DESCRIPTOR`, where DESCRIPTOR is the process's end of the pipe.

    The process inherits this environment, updated with `environment`, and can import the modules
    next to the running script. Its output goes to the file `log`. Raises OSError if the system
    cannot start another process.
    """

    def __init__(self, module: str, *, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self.connection, theirs = Pipe()
        command = [sys.executable, "-X", "faulthandler", "-m", module, str(theirs.fileno())]
        with log.open("wb") as words, theirs, _interrupts_held():
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_script_path(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
            )
        self.watch = DeathWatch(self.id)

    @property
    def id(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended; its own children may still run and keep the pipe open."""
        return self._process.poll() is not None

    def send(self, message: object) -> None:
        """Sends a message; does nothing if the process has died."""
        with suppress(OSError):
            self.connection.send(message)

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()

    def wait(self) -> int:
        """Waits for the process to exit and returns its exit code; kills it after ten seconds."""
        try:
            return self._process.wait(_SECONDS_TO_EXIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def last_words(self, *, start: int = 0) -> str:
        """Returns the end of the process's log, at most from byte `start` on."""
        return last_words(self.log, start=start)

    def diagnose(self, *, start: int = 0) -> Death:
        """Waits for the process to end and returns how it died."""
        exit_code = self.wait()
        return self.watch.diagnose(exit_code, last_words=self.last_words(start=start))

    def close(self) -> None:
        """Waits for the process, closes the pipe, and removes the log if it is empty."""
        self.wait()
        self.connection.close()
        if self.log.exists() and self.log.stat().st_size == 0:
            self.log.unlink()


def _script_path() -> dict[str, str]:
    """Returns PYTHONPATH with the folder of the running script added, if there is a script."""
    main = sys.modules["__main__"]
    script = Path(getattr(main, "__file__", None) or "")
    if script.suffix != ".py" or getattr(main, "__spec__", None) is not None:
        return {}
    known = os.environ.get("PYTHONPATH")
    folders = [str(script.resolve().parent), *([known] if known else [])]
    return {"PYTHONPATH": os.pathsep.join(folders)}


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Blocks SIGINT while a child starts; the child inherits the mask and unblocks when ready."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
