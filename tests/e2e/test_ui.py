"""`lampworks ui`: who may drive it, what a run may choose, and that nothing of it outlives it.

One file, because all of it asks the same Dagster.
"""

from __future__ import annotations

import http.client
import http.server
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from assets.passes.lock import lock_home, marked_processes
from assets.settings import load_settings
from pipeline.errors import UserError
from tests.dagster_ui import Ui, wait_for
from tests.odd_json import ODD_BODIES

pytestmark = pytest.mark.timeout(240)
MUTATION = "mutation {setNuxSeen}"
LAUNCH = "mutation($p: ExecutionParams!) {launchRun(executionParams: $p) {__typename}}"


def start(folder: Path) -> Ui:
    """Start it on an empty root, whose source is an empty folder."""
    (folder / "videos").mkdir()
    settings = load_settings(str(folder / "root"), home=folder / "root")
    return Ui(settings.home, settings.store.root, ["--source", f"folder:{folder / 'videos'}"])


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    ui = start(tmp_path_factory.mktemp("ui"))
    try:
        ui.wait()
        yield ui
    finally:
        ui.stop(signal.SIGKILL)


def send(ui: Ui, method: str, target: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Return the status and the text of an answer; the headers are the whole of those that a browser chooses."""
    connection = http.client.HTTPConnection("127.0.0.1", ui.port, timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, target, body, names)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_a_page_of_this_machines_user_drives_it(ui: Ui) -> None:
    body = json.dumps({"query": MUTATION}).encode()
    own = {"origin": ui.url, "sec_fetch_site": "same-origin", "content_type": "application/json"}
    assert send(ui, "POST", "/graphql", body, **own) == (200, '{"data":{"setNuxSeen":true}}')
    with connect(f"ws://127.0.0.1:{ui.port}/graphql", origin=ui.url, subprotocols=["graphql-ws"], proxy=None) as page:
        page.send('{"type": "connection_init"}')
        assert json.loads(page.recv(30))["type"] == "connection_ack"


@pytest.mark.browser
def test_dagsters_own_page_works_in_a_browser_behind_the_guard(ui: Ui, browser: Any) -> None:
    page = browser.new_page()
    noted: list[str] = []
    page.on("pageerror", lambda error: noted.append(str(error)))
    page.on("console", lambda line: noted.append(line.text) if line.type == "error" else None)
    opened: list[Any] = []
    page.on("websocket", lambda socket: opened.append(socket))
    with page.expect_websocket():
        page.goto(f"{ui.url}/locations/lampworks/jobs/full_pass/playground")
    page.get_by_text("run_driver").first.wait_for(timeout=60_000)
    page.get_by_text("lampworks", exact=True).first.wait_for(timeout=60_000)
    assert {socket.url for socket in opened} == {f"{ui.url.replace('http', 'ws')}/graphql"}
    # the page gives up a websocket that is not acknowledged within a second, and opens the next one
    deadline = time.monotonic() + 60
    while all(socket.is_closed() for socket in opened):
        assert time.monotonic() < deadline, f"{len(opened)} websockets, all closed"
        page.wait_for_timeout(100)
    assert noted == []
    page.close()


@contextmanager
def _other_site() -> Iterator[str]:
    """Serve an empty page at another name and port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.browser
def test_a_page_of_another_site_can_neither_drive_nor_show_it(ui: Ui, browser: Any) -> None:
    page = browser.new_page()
    mutation = 'mutation {setConcurrencyLimit(concurrencyKey: "evil", limit: 5)}'
    asked = f"{ui.url}/graphql?{urlencode({'query': mutation})}"
    # on this machine too: a browser keeps pages of the web away from loopback addresses by itself, or may do so
    with _other_site() as url:
        page.goto(url)
    found = page.evaluate(
        """async ([url, asked, mutation]) => {
            const body = JSON.stringify({query: mutation}), out = {};
            for (const type of ["text/plain; x=application/json", "text/plain", "application/json"])
                await fetch(url + "/graphql", {method: "POST", mode: type.startsWith("app") ? "cors" : "no-cors", body,
                    headers: {"content-type": type}}).catch(() => null);
            const loads = (tag, src) => new Promise((done) => { const one = document.createElement(tag);
                one.onload = () => done(true); one.onerror = () => done(false); one.src = src;
                document.body.append(one); });
            out.picture = await loads("img", asked);
            out.script = await loads("script", asked);
            const socket = url.replace("http", "ws") + "/graphql";
            out.websocket = await new Promise((done) => { const one = new WebSocket(socket, "graphql-ws");
                one.onopen = () => done(true); one.onerror = () => done(false); });
            return out;
        }""",
        [ui.url, asked, mutation],
    )
    assert found == {"picture": False, "script": False, "websocket": False}
    limits = "{instance {concurrencyLimits {concurrencyKey}}}"
    assert "evil" not in str(ui.ask(limits))
    assert ui.ask(mutation) == {"setConcurrencyLimit": True}
    assert "evil" in str(ui.ask(limits)), "this is how it would have shown"
    page.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example", "content_type": "text/plain"},
        {"origin": "http://evil.example", "content_type": "application/json"},
        {"origin": "null", "content_type": "application/json"},
        {"origin": "http://127.0.0.1:9", "content_type": "application/json"},
        {"host": "evil.example", "origin": "http://evil.example", "content_type": "application/json"},
        {"host": "evil.example", "content_type": "application/json"},
        {"sec_fetch_site": "cross-site", "content_type": "application/json"},
        {"content_type": "text/plain"},
        {"content_type": "text/plain; x=application/json"},
        {"content_type": "application/graphql"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "multipart/form-data; boundary=application/json"},
        {},
    ],
    ids=str,
)
def test_no_other_page_can_send_it_a_mutation(ui: Ui, headers: dict[str, str]) -> None:
    body = json.dumps({"query": MUTATION}).encode()
    for target in ("/graphql", f"/graphql?{urlencode({'query': MUTATION})}", "/report_asset_materialization/clips"):
        status, text = send(ui, "POST", target, body, **headers)
        assert status in {403, 415, 421}, (target, text)
        assert "setNuxSeen" not in text


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_mutation_in_the_address_is_not_done(ui: Ui, method: str) -> None:
    for target in (f"/graphql?{urlencode({'query': MUTATION})}", f"/%67raphql?{urlencode({'query': MUTATION})}"):
        status, text = send(ui, method, target, None if method != "POST" else b"", accept="*/*")
        assert status in {405, 415}
        assert "setNuxSeen" not in text
        status, _ = send(ui, method, target, accept="text/html", content_length="0")
        assert status in {405, 415}


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"host": "evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}],
    ids=str,
)
def test_no_other_page_can_open_its_websocket(ui: Ui, headers: dict[str, str]) -> None:
    asked = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
    key = {"sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAAA==", "sec_websocket_protocol": "graphql-ws"}
    status, text = send(ui, "GET", "/graphql", **asked, **key, **headers)
    assert status in {403, 421}
    assert "another site" in text or "not this server" in text


@pytest.mark.parametrize(("body", "says"), ODD_BODIES.values(), ids=ODD_BODIES)
def test_a_body_that_no_page_sends_is_refused_with_what_is_wrong(ui: Ui, body: bytes, says: str) -> None:
    status, text = send(ui, "POST", "/graphql", body, content_type="application/json")
    assert status == 400
    assert says in text


def test_queries_of_another_form_are_refused_without_a_traceback(ui: Ui) -> None:
    deep = "{" + "a{" * 20_000 + "b" + "}" * 20_001
    for query in (
        {}, {"query": 5}, {"query": ["{version}"]}, {"query": "{version}", "variables": [1]},
        {"query": "{version}", "operationName": {}}, {"query": deep}, {"query": "{" * 100_000},
    ):  # fmt: skip
        status, text = send(ui, "POST", "/graphql", json.dumps(query).encode(), content_type="application/json")
        assert status == 400, str(query)[:80]
        assert len(text) < 5000
    long = {"content_type": "application/json", "content_length": str(9 << 20)}
    assert send(ui, "POST", "/graphql", b"{}", **long)[0] == 413
    with connect(f"ws://127.0.0.1:{ui.port}/graphql", origin=ui.url, subprotocols=["graphql-ws"], proxy=None) as page:
        page.send("[" * 100_000)
        with pytest.raises(ConnectionClosedError, match="not one of Dagster's page"):
            page.recv(30)
    assert "Traceback" not in ui.said()


@pytest.mark.parametrize("kind", ["materialization", "check", "observation"])
def test_a_report_that_is_no_object_is_refused_with_what_is_wrong(ui: Ui, kind: str) -> None:
    target = f"/report_asset_{kind}/clips?check_name=x&passed=true&data_version=1"
    for name, (body, says) in ODD_BODIES.items():
        if name == "nothing":
            continue  # a report may stand in its address alone
        status, text = send(ui, "POST", target, body, content_type="application/json")
        assert status == 400, name
        assert says in text
    assert "Traceback" not in ui.said()


@pytest.mark.parametrize(
    "target",
    [
        "/download_debug/nothing", "/download_debug/%ff", "/logs/..%2F..%2F..%2Fetc%2Fpasswd/compute/stdout",
        "/logs/%2e%2e/%2e%2e/etc", "/logs//etc/passwd", "/logs/a/b/c", f"/logs/{'x' * 300}/out",
        "/logs/%00/out",
    ],
)  # fmt: skip
def test_a_log_or_a_run_that_is_none_is_not_found(ui: Ui, target: str) -> None:
    assert send(ui, "GET", target)[0] == 404
    assert "Traceback" not in ui.said()


@pytest.mark.parametrize("name", ["root", "home", "config", "storage_options"])
def test_a_run_cannot_choose_another_root(ui: Ui, tmp_path: Path, name: str) -> None:
    config = {"resources": {"lampworks": {"config": {name: str(tmp_path)}}}}
    for given in (config, json.dumps(config)):  # as an object, and as the launchpad's text
        answer = ui.launch("discover", config=given)
        assert answer["__typename"] == "RunConfigValidationInvalid"
        assert f'unexpected config entry "{name}"' in answer["errors"][0]["message"]
    assert ui.runs() == {}
    assert list(tmp_path.iterdir()) == []


def test_a_run_cannot_choose_where_dagster_keeps_values(ui: Ui, tmp_path: Path) -> None:
    answer = ui.launch("discover", config={"resources": {"io_manager": {"config": {"base_dir": str(tmp_path)}}}})
    assert answer["__typename"] == "RunConfigValidationInvalid"
    assert 'unexpected config entry "base_dir"' in answer["errors"][0]["message"]
    assert ui.runs() == {}


def test_the_next_start_waits_for_what_a_killed_one_left_and_names_what_stays(ui: Ui) -> None:
    with pytest.raises(UserError, match=f"in use by process {ui.process.pid} "), lock_home(ui.home, "r"):
        pass
    children = marked_processes(ui.home)
    assert len(children) >= 4, "pages, two code servers, daemon"
    pages = psutil.Process(ui.process.pid).children()
    for process in pages:
        process.suspend()  # it cannot end the others
    ui.process.kill()
    ui.process.wait(60)
    with pytest.raises(UserError) as refused, lock_home(ui.home, "r", wind_down_s=0):
        pass
    text = str(refused.value)
    assert f"process {pages[0].pid}: Dagster's pages" in text
    assert "Dagster's daemon" in text
    assert all(f" {process.pid}" in text.partition("`kill")[2] for process in children), text
    for process in pages:
        process.resume()
    with lock_home(ui.home, "r", wind_down_s=60) as fresh:
        assert fresh
        assert marked_processes(ui.home) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_it(tmp_path: Path, number: int) -> None:
    ui = start(tmp_path)
    try:
        ui.wait()
        started = marked_processes(ui.home)
        assert len(started) >= 4
    finally:
        ui.stop(number)
    # one that is just ending has no environment any more, by which it would be found, before it is gone
    wait_for(lambda: not any(map(_runs, started)), 30)
    assert not ui.answers()
    # whoever kills the command may interrupt its children in the middle of a line
    assert number == signal.SIGKILL or "Traceback" not in ui.said()


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
