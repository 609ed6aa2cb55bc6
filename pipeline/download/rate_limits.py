"""Rate limits of a site: downloads at a time, seconds between two starts, and downloads a day.

The limits hold for this machine's address, not for a run: the counts are in a SQLite file of the home, so that runs
side by side share them, and a new run continues them. The slots of a process that died are free again.
"""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.config import DownloadConfig
from pipeline.sources.politeness import limit_of

_LOGGER = logging.getLogger(__name__)
_DAY_S = 86400.0
_POLL_S = 2.0
"""Seconds until the next look for a slot that another process holds."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS starts (site TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS starts_by_site ON starts (site, at);
CREATE TABLE IF NOT EXISTS next_start (site TEXT PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS running (site TEXT NOT NULL, pid INTEGER NOT NULL, born REAL NOT NULL, token INTEGER);
"""


@dataclass(frozen=True)
class Wait:
    """How long a download must wait before it may start."""

    seconds: float
    daily: int | None = None
    """The daily limit, where that is the reason."""


class SiteLimits:
    """Download slots of all sites, shared by the processes of this machine; a context manager."""

    def __init__(self, path: Path, source: str, config: DownloadConfig) -> None:
        self.source, self.config = source, config
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._mine = (os.getpid(), psutil.Process().create_time())
        self._token = random.getrandbits(62)

    def __enter__(self) -> SiteLimits:
        return self

    def __exit__(self, *error: object) -> None:
        if self._connection is not None:
            with self._write() as connection:
                connection.execute("DELETE FROM running WHERE token = ?", (self._token,))
            self._connection.close()
            self._connection = None

    def start(self, site: str) -> Wait | None:
        """Take a slot for one download and return None; where there is none, return how long to wait and why."""
        limit = limit_of(self.source, site, self.config)
        if limit.is_none:
            return None
        now = time.time()
        with self._write() as connection:
            if limit.daily is not None:
                since = now - _DAY_S
                # those in the future were counted before the clock was set back
                connection.execute("DELETE FROM starts WHERE site = ? AND (at < ? OR at > ?)", (site, since, now))
                query = "SELECT COUNT(*), MIN(at) FROM starts WHERE site = ?"
                count, first = connection.execute(query, (site,)).fetchone()
                if count >= limit.daily:
                    # until the first of them is a day old
                    return Wait(max(first + _DAY_S - now, _POLL_S) if first else _DAY_S, limit.daily)
            ready = connection.execute("SELECT at FROM next_start WHERE site = ?", (site,)).fetchone()
            # a clock that was set back must not block a site forever
            if ready and 0 < ready[0] - now <= 2 * limit.interval_s:
                return Wait(ready[0] - now)
            if limit.workers is not None and self._running(connection, site) >= limit.workers:
                return Wait(_POLL_S)
            if limit.workers is not None:
                connection.execute("INSERT INTO running VALUES (?, ?, ?, ?)", (site, *self._mine, self._token))
            if limit.daily is not None:
                connection.execute("INSERT INTO starts VALUES (?, ?)", (site, now))
            if limit.interval_s:
                later = now + limit.interval_s * random.uniform(1.0, 1.5)
                connection.execute("INSERT OR REPLACE INTO next_start VALUES (?, ?)", (site, later))
        return None

    def finish(self, site: str) -> None:
        """Release the slot of one download."""
        if limit_of(self.source, site, self.config).workers is None:
            return
        with self._write() as connection:
            connection.execute(
                "DELETE FROM running WHERE rowid = (SELECT rowid FROM running WHERE site = ? AND token = ? LIMIT 1)",
                (site, self._token),
            )

    @staticmethod
    def _running(connection: sqlite3.Connection, site: str) -> int:
        """Return the number of slots that living processes hold; delete those of dead ones."""
        count = 0
        rows = connection.execute("SELECT pid, born, COUNT(*) FROM running WHERE site = ? GROUP BY pid, born", (site,))
        for pid, born, places in rows.fetchall():
            if _lives(pid, born):
                count += places
            else:
                connection.execute("DELETE FROM running WHERE pid = ? AND born = ?", (pid, born))
        return count

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._connection = _opened(self._path)
            except sqlite3.OperationalError:
                raise  # locked, or no room
            except sqlite3.DatabaseError as exc:
                aside = self._path.with_suffix(".damaged")
                _LOGGER.warning(
                    "%s is damaged (%s): it is kept as %s, and counting begins anew", self._path, exc, aside
                )
                self._path.replace(aside)
                self._connection = _opened(self._path)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # a power cut may lose the last counts: losing them only affects politeness
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _lives(pid: int, born: float) -> bool:
    # another process may have the same number by now
    try:
        return abs(psutil.Process(pid).create_time() - born) < 1.0
    except psutil.Error:
        return False
