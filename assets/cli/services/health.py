"""Whether the services of a deployment work: one question for each part, answered with what is wrong.

storage   Dagster's database answers
store     the tables of the root can be read
code      the code server answers
daemon    all parts of the daemon have reported within the last minutes
pages     the web server answers
metrics   the server of metrics answers
"""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from contextlib import closing

from assets.cli.services.places import TOKEN, Parts, code_address
from assets.passes.postgres import postgres_url, why_no_answer
from pipeline.outside import shown_text

LATE_S = 300.0
"""A part of the daemon that has not reported for this long is taken to hang; it reports every half a minute."""
_ANSWER_S = 5


Answers = dict[str, str | None]
"""Part -> what is wrong with it; None where nothing is."""


def ask_all(parts: Parts, only: Collection[str] = ()) -> Answers:
    """Ask every part, or those named; a part of the deployment that is not asked is left out."""
    questions: dict[str, Callable[[], str | None]] = {"storage": _storage, "store": _store}
    if parts.code_server is not None:
        questions["code"] = lambda: why_no_code(parts.code_server or "")
    if parts.daemon:
        questions["daemon"] = _daemon
    if parts.pages is not None:
        questions["pages"] = lambda: _server(f"{parts.pages}/server_info")
    if parts.metrics is not None:
        questions["metrics"] = lambda: _server(f"{parts.metrics}/live")
    return {name: _answer(ask) for name, ask in questions.items() if not only or name in only}


def _answer(ask: Callable[[], str | None]) -> str | None:
    try:
        return ask()
    except Exception as exc:  # whatever a client raises is the answer: this part does not work
        return shown_text(f"{type(exc).__name__}: {' '.join(str(exc).split())[:300]}")


def _storage() -> str | None:
    url = postgres_url()
    if url is not None:
        return why_no_answer(url)
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        instance.get_runs_count()
    return None


def _store() -> str | None:
    # imported here: with it comes Dagster, which most commands do without, and which takes a second to import
    from assets.graph.resources import Lampworks

    Lampworks().settings().store.version("videos")
    return None


def why_no_code(code_server: str) -> str | None:
    """Return why a code server does not answer; None where it does."""
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    where = code_address(code_server)
    port, path = where.get("port"), where.get("socket")
    client = DagsterGrpcClient(host=where.get("host", "localhost"), port=int(port) if port else None, socket=path)
    try:
        answer = client.ping("ready?")["echo"]
    except DagsterUserCodeUnreachableError as exc:
        return " ".join(str(exc).split())[:300]
    return None if answer == "ready?" else "it answers something else"


def _daemon() -> str | None:
    ages = heartbeat_ages()
    late = [name for name, age in ages.items() if age is None or age > LATE_S]
    return f"no report of {', '.join(sorted(late)).lower()} within {LATE_S:g} s" if late else None


def heartbeat_ages() -> dict[str, float | None]:
    """Return for each part of the daemon how many seconds ago it reported; None where it never did."""
    import dagster as dg

    url = postgres_url()
    if url is not None and (why := why_no_answer(url)):
        raise ConnectionError(why)
    with dg.DagsterInstance.get() as instance:
        known = instance.get_daemon_heartbeats()
        names = instance.get_required_daemon_types()
    return {name: max(0.0, time.time() - known[name].timestamp) if name in known else None for name in names}


def _server(url: str) -> str | None:
    request = urllib.request.Request(url)
    if token := os.environ.get(TOKEN):
        request.add_header("Authorization", f"Bearer {token}")
    # services of one deployment are beside each other: a proxy of the environment does not know them by these names
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with closing(opener.open(request, timeout=_ANSWER_S)):
            return None
    except urllib.error.HTTPError as exc:
        return f"it answers with status {exc.code}"
