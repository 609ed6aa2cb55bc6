"""What a service does beside its own work goes on after a fault."""

from __future__ import annotations

from contextlib import nullcontext

import dagster as dg
import pytest
from dagster_postgres.utils import DagsterPostgresException

from assets.cli.services.roles import say_why_runs_wait_once
from assets.passes import waiting


def test_queued_runs_say_why_they_wait_again_after_the_database_was_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dagster raises an error of its own after a long absence, which is none of SQLAlchemy's."""

    def away() -> dg.DagsterInstance:
        raise DagsterPostgresException("too many retries for DB connection")

    looks: list[object] = []
    monkeypatch.setattr(waiting, "say_why_runs_wait", lambda instance, said: looks.append(instance))
    monkeypatch.setattr(dg.DagsterInstance, "get", away)
    say_why_runs_wait_once({})
    assert "Dagster's runs cannot be read: DagsterPostgresException" in capsys.readouterr().err
    monkeypatch.setattr(dg.DagsterInstance, "get", lambda: nullcontext("the root's"))
    say_why_runs_wait_once({})
    assert looks == ["the root's"]
