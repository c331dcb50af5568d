"""A private PostgreSQL server in a temporary folder, on loopback, removed afterwards."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest

from tests.support.server_process import free_port

# initdb refuses to run as root; then this user owns the cluster.
_USER_WITHOUT_RIGHTS = "nobody"
_SECONDS = 60
_PROGRAMS = ("initdb", "pg_ctl", "postgres")


@dataclass(frozen=True, eq=False)
class Cluster:
    """A running PostgreSQL server; `url` is that of its first database, for its only user."""

    folder: Path
    port: int
    password: str
    databases: list[str] = field(default_factory=lambda: ["postgres"])

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the server's initial database."""
        return self.url_of(self.databases[0])

    def url_of(self, database: str, *, password: str | None = None) -> str:
        """Returns the SQLAlchemy URL of a database, which need not exist."""
        return (
            f"postgresql+psycopg://studies:{password or self.password}@127.0.0.1:{self.port}"
            f"/{database}"
        )

    def new_database(self) -> str:
        """Creates an empty database and returns its URL."""
        import psycopg

        name = f"database_{len(self.databases)}"
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        self.databases.append(name)
        return self.url_of(name)

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        self._control("start", "-l", str(self.folder / "log"))

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stops the server: "fast" rolls back and disconnects, "immediate" is a crash."""
        self._control("stop", "-m", mode)

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stops the server, even with open connections, and starts it again."""
        self.stop(mode)
        self.start()

    def _control(self, *arguments: str) -> None:
        data = str(self.folder / "data")
        _run(self.folder, "pg_ctl", "-D", data, "-w", "-t", str(_SECONDS), *arguments)


@contextmanager
def private_cluster() -> Iterator[Cluster]:
    """Creates and starts a PostgreSQL server for the block, and removes it afterwards.

    It listens on loopback only, requires a password, and does not sync its files to disk.
    """
    # Not below pytest's folder, which other users cannot access.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        cluster = _make(folder)
        cluster.start()
        try:
            yield cluster
        finally:
            # A test may have stopped the server.
            if (folder / "data" / "postmaster.pid").exists():
                cluster.stop("immediate")
    finally:
        shutil.rmtree(folder)


def what_is_missing() -> str | None:
    """Returns why no server can be created here; None if one can."""
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            return f"no PostgreSQL server: {program} is not on PATH"
    if find_spec("psycopg") is None:
        return "psycopg is not installed: pip install 'psycopg[binary]'"
    return None


@pytest.fixture(scope="session")
def postgresql_cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that the tests share; each test creates its own database.

    Skips the test, with the reason, if no server can be started.
    """
    missing = what_is_missing()
    if missing is not None:
        pytest.skip(missing)
    with private_cluster() as cluster:
        yield cluster


def _make(folder: Path) -> Cluster:
    cluster = Cluster(folder, free_port(), secrets.token_hex(8))
    password = folder / "password"
    password.write_text(cluster.password)
    user = _user()
    if user is not None:
        for path in (folder, password):
            os.chown(path, user.pw_uid, user.pw_gid)
    _run(
        folder,
        *("initdb", "-D", str(folder / "data"), "-U", "studies", "--encoding=UTF8"),
        *("--no-locale", "--no-sync", "--auth=scram-sha-256", f"--pwfile={password}"),
    )
    with (folder / "data" / "postgresql.conf").open("a") as settings:
        settings.write(
            f"port = {cluster.port}\nlisten_addresses = '127.0.0.1'\n"
            "unix_socket_directories = ''\nfsync = off\nmax_connections = 300\n"
        )
    return cluster


def _run(folder: Path, *command: str) -> None:
    user = _user()
    # A file, not a pipe: the server inherits it and would keep a pipe open.
    with (folder / "commands").open("a+") as printed:
        done = subprocess.run(
            command,
            cwd=folder,
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0:
            printed.seek(0)
            log = folder / "log"
            server = log.read_text() if log.exists() else ""
            raise RuntimeError(f"{command[0]} failed: {printed.read()}\n{server}")


def _user() -> pwd.struct_passwd | None:
    return pwd.getpwnam(_USER_WITHOUT_RIGHTS) if os.geteuid() == 0 else None
