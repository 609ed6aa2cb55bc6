"""Which database keeps Dagster's runs is said by one variable, and its password is said by nothing."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import QueuePool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from assets.passes.instance import POSTGRES_TEMPLATE, TEMPLATE, open_instance, prepare_home
from assets.passes.patient_storage import _try_before_use, wait_for_server
from assets.passes.postgres import PATIENCE, PG_URL, postgres_url, why_it_failed, with_driver
from pipeline.errors import UserError
from pipeline.storage.home import Home

NOBODY = "postgresql://me:secret@127.0.0.1:1/dagster"
SETTINGS = "dagster.yaml"


def test_the_variable_chooses_the_settings_of_a_home_and_no_file_holds_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    monkeypatch.delenv(PG_URL, raising=False)
    settings = prepare_home(home) / SETTINGS
    assert settings.read_text() == TEMPLATE.read_text()
    monkeypatch.setenv(PG_URL, NOBODY)
    prepare_home(home)
    assert settings.read_text() == POSTGRES_TEMPLATE.read_text()
    assert "secret" not in settings.read_text()
    settings.write_text(settings.read_text() + "# mine\n")
    prepare_home(home)
    assert settings.read_text().endswith("# mine\n")


def test_a_home_and_a_variable_that_disagree_are_refused_and_what_the_error_says_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    monkeypatch.setenv(PG_URL, NOBODY)
    settings = prepare_home(home) / SETTINGS
    monkeypatch.delenv(PG_URL)
    with pytest.raises(UserError, match=f"set {PG_URL} to its address, or delete the file"):
        prepare_home(home)
    settings.unlink()
    prepare_home(home)
    edited = TEMPLATE.read_text() + "# mine\n"
    settings.write_text(edited)
    monkeypatch.setenv(PG_URL, NOBODY)
    with pytest.raises(UserError, match="take over the section `storage`") as refused:
        prepare_home(home)
    assert str(POSTGRES_TEMPLATE) in str(refused.value)
    template = POSTGRES_TEMPLATE.read_text()
    storage = template[template.index("storage:") : template.index("concurrency:")]
    settings.write_text(edited + storage)
    prepare_home(home)
    assert settings.read_text() == edited + storage


@pytest.mark.parametrize("text", ["mysql://me:secret@h/x", "postgresql://me:secret@h:port/x", "me:secret", "://"])
def test_an_address_of_something_else_is_refused_without_its_password(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PG_URL, text)
    with pytest.raises(UserError, match="names no Postgres: expected postgresql://") as refused:
        postgres_url()
    assert "secret" not in str(refused.value)


def test_a_server_that_does_not_answer_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PG_URL, NOBODY)
    away = r"Postgres \(127.0.0.1:1/dagster\) does not answer"
    with pytest.raises(UserError, match=away) as refused, open_instance(Home(tmp_path)):
        pass
    assert f"Start it, or correct {PG_URL}" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_connection_waits_for_a_server_that_is_away_once_for_all_that_need_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PATIENCE, "0.3")
    caplog.set_level(logging.WARNING, "assets")
    monkeypatch.setattr(logging.getLogger("assets"), "propagate", True)
    engine = create_engine(with_driver(make_url(NOBODY)))
    calls = []
    connect = engine.dialect.connect
    monkeypatch.setattr(engine.dialect, "connect", lambda *given, **more: calls.append(1) or connect(*given, **more))
    wait_for_server(engine)
    with pytest.raises(OperationalError):
        engine.connect()
    assert len(calls) >= 2
    waited = len(calls)
    with pytest.raises(OperationalError):
        engine.connect()
    assert len(calls) == waited + 1, "the same absence is not waited for again"
    assert "does not answer: waiting up to 0.3 s for it" in caplog.text
    assert "secret" not in caplog.text


def test_a_thread_may_find_the_server_back_while_another_one_says_that_it_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = create_engine(with_driver(make_url(NOBODY)))
    answers = iter([engine.dialect.loaded_dbapi.OperationalError("connection refused"), None, None])

    def connect(*given: object, **options: object) -> sqlite3.Connection:
        if (error := next(answers)) is not None:
            raise error
        return sqlite3.connect(":memory:")

    monkeypatch.setattr(engine.dialect, "connect", connect)
    wait_for_server(engine)
    [hook] = engine.dialect.dispatch.do_connect
    opened = []

    class Another(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "does not answer" in record.msg:
                opened.append(hook(engine.dialect, None, [], {}))

    another = Another()
    logging.getLogger("assets.passes.patient_storage").addHandler(another)
    try:
        opened.append(hook(engine.dialect, None, [], {}))
    finally:
        logging.getLogger("assets.passes.patient_storage").removeHandler(another)
    assert len(opened) == 2
    for connection in opened:
        connection.close()


def test_a_kept_connection_to_a_server_that_was_restarted_is_replaced_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=1)
    alive, pinged = [True], []

    def ping(connection: object) -> bool:
        pinged.append(connection)
        if alive.pop():
            alive.append(True)
            return True
        alive.append(True)
        raise sqlite3.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(engine.dialect, "do_ping", ping)
    _try_before_use(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    alive[:] = [False]
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    assert len({id(one) for one in pinged}) == 2
    engine.dispose()


def test_an_error_of_the_database_becomes_a_sentence_and_any_other_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = OperationalError("SELECT 1", {}, Exception("connection refused"))
    monkeypatch.delenv(PG_URL, raising=False)
    assert why_it_failed(gone) is None
    monkeypatch.setenv(PG_URL, NOBODY)
    assert why_it_failed(gone) == "Dagster's Postgres (127.0.0.1:1/dagster) does not answer: try again once it does"
    assert why_it_failed(KeyError("x")) is None
