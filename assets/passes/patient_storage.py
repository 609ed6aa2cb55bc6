"""Dagster's storage in a Postgres that may be away for a while: a restart of the server ends no run.

Dagster tries a connection for six seconds, then the run that needed it crashes. Here a connection is tried for
`PATIENCE_S`, and an event whose connection broke is written again. A run whose server stays away for longer crashes
with a sentence; the daemon starts it again once the server is back (`run_retries` in `dagster.yaml`).

`dagster.yaml` names the class:

    storage:
      custom: {module: assets.passes.patient_storage, class: PatientPostgresStorage, config: {postgres_url: ...}}
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Self

import dagster as dg
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy import Engine, event, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from assets.passes.postgres import PATIENCE, shown_server, with_driver

PATIENCE_S = 300.0
"""How long a connection is tried for."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0
_LOGGER = logging.getLogger(__name__)


class PatientPostgresStorage(DagsterPostgresStorage):
    """Postgres storage of Dagster whose processes wait for a server that is away."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        postgres_url = with_driver(make_url(postgres_url)).render_as_string(hide_password=False)
        super().__init__(postgres_url, inst_data=inst_data)
        self._event_log_storage = _PatientEventLog(postgres_url, should_autocreate_tables=False)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            wait_for_server(storage._engine)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Return the storage that `dagster.yaml` names."""
        return cls(pg_url_from_config(config_value), inst_data)


class _PatientEventLog(PostgresEventLogStorage):
    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event, and once more where the connection broke meanwhile: twice is better than never."""
        try:
            super().store_event(event)
        except DBAPIError as exc:
            if not _is_broken(exc):
                raise
            _LOGGER.warning("the connection to Dagster's Postgres broke: the event is written again")
            super().store_event(event)


def _is_broken(exc: DBAPIError) -> bool:
    # "terminating connection due to administrator command" has a code; a killed server has none
    return exc.connection_invalidated or getattr(exc.orig, "pgcode", None) in {None, "57P01", "57P02", "57P03"}


class _Absence:
    """Since when a server does not answer, for all threads that need it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None

    def seconds(self) -> float | None:
        """Return for how long the server is away; None where this is the first that is noticed of it."""
        with self._lock:
            now = time.monotonic()
            first = self._since is None
            self._since = now if self._since is None else self._since
            return None if first else now - self._since

    def end(self) -> bool:
        """Note that the server answers; return whether it was away."""
        with self._lock:
            was_away, self._since = self._since is not None, None
            return was_away


def wait_for_server(engine: Engine) -> None:
    """Have new connections of an engine wait until the server answers, for `PATIENCE_S` of one absence together."""
    absence = _Absence()

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Dialect, record: ConnectionPoolEntry, args: list[Any], options: dict[str, Any]) -> Any:
        patience, wait = float(os.environ.get(PATIENCE, PATIENCE_S)), _FIRST_WAIT_S
        while True:
            try:
                connection = dialect.connect(*args, **options)
            except dialect.loaded_dbapi.OperationalError as exc:
                away_s = absence.seconds()
                if away_s is None:
                    text = "Dagster's Postgres (%s) does not answer: waiting up to %g s for it (%s)"
                    _LOGGER.warning(text, shown_server(engine.url), patience, " ".join(str(exc).split()))
                if (away_s or 0.0) > patience or not _may_come_back(exc):
                    raise
            else:
                if absence.end():
                    _LOGGER.warning("Dagster's Postgres (%s) answers again", shown_server(engine.url))
                return connection
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)


def try_before_use(instance: dg.DagsterInstance) -> None:
    """Have connections that the pages keep open be tried first: a server may have been restarted."""
    for storage in (instance.run_storage, instance.event_log_storage, instance.schedule_storage):
        engine = getattr(storage, "_engine", None)
        if isinstance(engine, Engine):
            _try_before_use(engine)


def _try_before_use(engine: Engine) -> None:
    @event.listens_for(engine, "checkout")
    def test(connection: Any, record: ConnectionPoolEntry, proxy: object) -> None:
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as exc:
            raise DisconnectionError("the server was restarted") from exc


def _may_come_back(exc: Exception) -> bool:
    """Tell whether waiting may help: not where the server refuses the user, the password or the database."""
    text = str(exc)
    return not any(part in text for part in ("authentication failed", "does not exist", "no pg_hba.conf entry"))
