# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL for tests: Debian's binaries, its own data folder and port, a new database for each test.

``postgres_server`` starts one server for a session of tests, ``postgres_url`` gives a test an empty database on it,
and ``database_url`` runs a test twice, on SQLite and on PostgreSQL. Skipped visibly where the binaries are absent; an
error in CI.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

START_TIMEOUT_S = 60.0
USER, PASSWORD = "keeper", "correct-horse-battery"
# Safe only where nothing must survive a power cut.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def find_binaries() -> Path | None:
    """Folder of ``initdb`` and ``postgres``, as Debian installs them or on the path."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found and shutil.which("postgres") else None


class PostgresServer:
    """A server of its own: started, stopped, killed and frozen at will.

    Parameters
    ----------
    binaries
        Folder of ``initdb`` and ``postgres``.
    options
        Settings of ``postgresql.conf`` beside those that make it fast.
    """

    def __init__(self, binaries: Path, **options: str) -> None:
        self._binaries = binaries
        self._options = {**FAST, **options}
        self.folder = Path(tempfile.mkdtemp(prefix="ballast-postgres-"))
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        (self.folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:  # the server refuses to run as root
            owner = pwd.getpwnam("postgres")
            for path in (self.folder, self.folder / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        arguments = ["-U", USER, "-A", "scram-sha-256", "--pwfile", str(self.folder / "password"), "-E", "UTF8"]
        command = [str(binaries / "initdb"), "-D", str(self.data), "--no-sync", "--locale=C", *arguments]
        run = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, **_as_postgres())
        assert run.returncode == 0, run.stderr

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start and wait until it answers."""
        options = {
            **self._options,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "60",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", str(self.data), *settings],
                cwd="/", stdout=log, stderr=subprocess.STDOUT, **_as_postgres(),
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log_text = (self.folder / "log").read_text(errors="replace")
                    raise AssertionError(f"PostgreSQL did not start ({error}): {log_text[-2_000:]}") from error
                time.sleep(0.05)

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, as an operator's restart does."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Immediate shutdown without a checkpoint: as a crash; the next start recovers."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=60)

    def close(self) -> None:
        """Stop and remove everything."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, *, password: str = PASSWORD, port: int | None = None) -> str:
        """URL as an operator writes it, without a driver's name."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{port or self.port}/{database}"

    def create(self) -> str:
        """Create an empty database and return its URL."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database with all its sessions."""
        self.sql(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def _as_postgres() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    owner = pwd.getpwnam("postgres")
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _binaries() -> Path:
    folder = find_binaries()
    if folder is None:
        message = "no PostgreSQL: install Debian's package postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests of a session; tests do not stop it."""
    server = PostgresServer(_binaries())
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server of a test's own, to stop, kill and start again."""
    server = PostgresServer(_binaries())
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database."""
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, on SQLite and then on PostgreSQL."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/keeper.sqlite"
