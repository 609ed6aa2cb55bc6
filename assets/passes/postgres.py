"""The Postgres of a deployment: which one it is, and whether it answers. Nothing here needs its driver before that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import URL

PG_URL = "DAGSTER_PG_URL"
"""Variable that names the Postgres of Dagster's storage, as postgresql://user:password@host:5432/database."""
PATIENCE = "LAMPWORKS_POSTGRES_PATIENCE"
"""Variable: for how many seconds a connection is tried (default 300)."""


def postgres_url() -> URL | None:
    """Return the address of Dagster's Postgres; None where none is named.

    Raises:
        UserError: it is no address of a Postgres, or the driver is missing.
    """
    text = os.environ.get(PG_URL, "").strip()
    if not text:
        return None
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.get_backend_name() != "postgresql":
        raise UserError(f"{PG_URL} names no Postgres: expected postgresql://user:password@host:5432/database")
    try:
        import dagster_postgres  # noqa: F401
    except ImportError as exc:
        raise UserError(f"{PG_URL} is set and its driver is missing: pip install 'lampworks[postgres]'") from exc
    return url


def shown_server(url: URL) -> str:
    """Return host, port and database of an address, without user and password."""
    return f"{url.host or 'localhost'}:{url.port or 5432}/{url.database or ''}"


def with_driver(url: URL) -> URL:
    """Return the address with the driver that Dagster brings: SQLAlchemy 2.1 takes another one by itself."""
    return url.set(drivername="postgresql+psycopg2") if url.drivername == "postgresql" else url


def why_no_answer(url: URL, timeout_s: int = 3) -> str | None:
    """Return why a Postgres does not answer a query, without the password; None where it answers."""
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    engine = create_engine(with_driver(url), poolclass=NullPool, connect_args={"connect_timeout": timeout_s})
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError as exc:
        told = " ".join(str(getattr(exc, "orig", exc)).split())
        return f"Dagster's Postgres ({shown_server(url)}) does not answer: {told}"
    finally:
        engine.dispose()
    return None


def why_it_failed(exc: Exception) -> str | None:
    """Return a sentence where an exception says that Dagster's Postgres is away; None of any other one."""
    from sqlalchemy.exc import DBAPIError

    url = postgres_url()
    if url is None or not (isinstance(exc, DBAPIError) or type(exc).__name__ == "DagsterPostgresException"):
        return None
    return f"Dagster's Postgres ({shown_server(url)}) does not answer: try again once it does"


def why_away() -> str | None:
    """Return why the Postgres that is named does not answer; None where it does, or where none is named."""
    url = postgres_url()
    return None if url is None else why_no_answer(url)


def check_postgres() -> None:
    """Raise UserError where a Postgres is named and does not answer."""
    url = postgres_url()
    why = None if url is None else why_no_answer(url)
    if why is not None:
        raise UserError(
            f"{why}. Start it, or correct {PG_URL}. The data of the root are not concerned, and runs that were at "
            "work go on once it is back."
        )
