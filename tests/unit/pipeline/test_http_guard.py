"""Who may talk to a local page."""

import asyncio

import pytest

from pipeline.errors import UserError
from pipeline.http_guard import Guard, check_address, content_policy, open_socket, url_of

TOKEN = "0123456789abcdef"


async def _app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"the page"})


def _ask(guard, method="GET", path="/", query="", **headers):
    headers = {"host": "127.0.0.1:8000", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    answer = dict(sent[0]["headers"])
    return sent[0]["status"], {name.decode(): value.decode() for name, value in answer.items()}, sent[1]["body"]


def test_the_own_address_is_served_with_headers_that_forbid_framing():
    status, headers, body = _ask(Guard(_app, policy="default-src 'self'; frame-ancestors 'none'"))
    assert (status, body) == (200, b"the page")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "[::1]:8000", "LOCALHOST"])
def test_every_name_of_this_machine_is_its_own(host):
    assert _ask(Guard(_app), host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8000", "", "10.0.0.7", "[::1", "a@b"])
def test_a_rebound_or_broken_host_is_refused(host):
    assert _ask(Guard(_app), host=host)[0] == 421


def test_another_sites_script_is_refused_and_the_own_one_is_not():
    guard = Guard(_app)
    assert _ask(guard, "POST", origin="http://evil.example", content_length="0")[0] == 403
    assert _ask(guard, "POST", origin="null", content_length="0")[0] == 403
    assert _ask(guard, "POST", origin="http://127.0.0.1:9999", content_length="0")[0] == 403
    assert _ask(guard, "POST", sec_fetch_site="cross-site", content_length="0")[0] == 403
    assert _ask(guard, "POST", origin="http://127.0.0.1:8000", content_length="0")[0] == 200


def test_a_body_without_length_or_over_the_limit_is_refused():
    guard = Guard(_app, max_body=100)
    assert _ask(guard, "POST")[0] == 411
    assert _ask(guard, "POST", content_length="-5")[0] == 411
    assert _ask(guard, "POST", content_length="101")[0] == 413
    assert _ask(guard, "POST", content_length="9" * 5000)[0] == 411
    assert _ask(guard, "POST", content_length="100", content_type="application/json")[0] == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "text/plain; x=application/json", "application/graphql", "multipart/form-data", ""]
)
def test_a_body_that_a_form_of_another_site_could_send_is_refused(kind):
    assert _ask(Guard(_app), "POST", content_length="2", content_type=kind)[0] == 415
    assert _ask(Guard(_app), "POST", content_length="2", content_type="Application/JSON; charset=utf-8")[0] == 200


def test_another_site_may_link_here_and_may_not_use_a_part_of_this_one():
    guard = Guard(_app)
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert _ask(guard, **link)[0] == 200
    for mode, dest in (
        ("no-cors", "image"),
        ("no-cors", "script"),
        ("cors", "empty"),
        ("navigate", "iframe"),
        ("", ""),
    ):
        for site in ("cross-site", "same-site"):
            parts = {"sec_fetch_site": site, "sec_fetch_mode": mode, "sec_fetch_dest": dest}
            assert _ask(guard, **parts)[0] == 403, parts
    assert _ask(guard, sec_fetch_site="same-origin", sec_fetch_mode="no-cors", sec_fetch_dest="image")[0] == 200


@pytest.mark.parametrize("origin", ["http://[::1", "http://[v1.x]:1", "\\", "http://127.0.0.1:8000@evil.example", ""])
def test_an_origin_that_is_no_address_is_another_site(origin):
    assert _ask(Guard(_app), "POST", origin=origin, content_length="0")[0] == 403


def test_a_very_long_path_is_refused():
    assert _ask(Guard(_app), path="/" + "9" * 5000)[0] == 414


def _open_websocket(guard, extensions=(), **headers):
    """Return what the guard sent for a websocket, and whether the app saw it."""
    headers = {"host": "127.0.0.1:8000", **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "websocket", "path": "/graphql", "query_string": b"", "headers": pairs}
    scope["extensions"] = {name: {} for name in extensions}
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, None, send))
    return sent


async def _accept(scope, receive, send):
    await send({"type": "websocket.accept"})


def test_a_websocket_of_another_site_is_refused_and_the_own_one_is_not():
    guard = Guard(_accept)
    assert _open_websocket(guard, origin="http://127.0.0.1:8000") == [{"type": "websocket.accept"}]
    assert _open_websocket(guard) == [{"type": "websocket.accept"}], "a program of this machine names no origin"
    foreign = [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:8000"}]
    for headers in (*foreign, {"host": "evil.example"}, {"sec_fetch_site": "cross-site"}):
        (closed,) = _open_websocket(guard, **headers)
        assert closed["type"] == "websocket.close", headers
        start, body = _open_websocket(guard, ["websocket.http.response"], **headers)
        assert (start["type"], start["status"] in {403, 421}) == ("websocket.http.response.start", True)
        assert body["body"]


def test_a_websocket_needs_the_token_too():
    guard = Guard(_accept, host="0.0.0.0", token=TOKEN)
    assert _open_websocket(guard, cookie=f"lampworks_token={TOKEN}") == [{"type": "websocket.accept"}]
    assert _open_websocket(guard, authorization=f"Bearer {TOKEN}") == [{"type": "websocket.accept"}]
    for headers in ({}, {"cookie": "lampworks_token=wrong"}):
        assert _open_websocket(guard, **headers)[0]["type"] == "websocket.close"


def test_the_app_gets_a_body_as_a_whole_or_not_at_all():
    seen = []

    async def app(scope, receive, send):
        seen.append(await receive())
        await _app(scope, receive, send)

    def post(*messages):
        waiting, sent = list(messages), []

        async def receive():
            return waiting.pop(0)

        async def send(message):
            sent.append(message)

        headers = {"host": "127.0.0.1", "content-type": "application/json", "content-length": "4"}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": pairs}
        asyncio.run(Guard(app, max_body=4)(scope, receive, send))
        return [message.get("status") for message in sent[:1]]

    part = {"type": "http.request", "body": b"12", "more_body": True}
    assert post(part, {"type": "http.disconnect"}) == []
    assert post(part, part, part) == [413]
    assert seen == []
    assert post(part, {"type": "http.request", "body": b"34"}) == [200]
    assert seen == [{"type": "http.request", "body": b"1234", "more_body": False}]


def test_a_token_opens_by_query_once_then_by_cookie_or_bearer():
    guard = Guard(_app, host="0.0.0.0", token=TOKEN)
    assert _ask(guard, host="192.168.1.5:8000")[0] == 401
    assert _ask(guard, host="192.168.1.5:8000", query="token=wrong")[0] == 401
    status, headers, _ = _ask(guard, host="192.168.1.5:8000", path="/sheet", query=f"token={TOKEN}&n=1")
    assert (status, headers["location"]) == (303, "/sheet?n=1")
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=Strict" in headers["set-cookie"]
    cookie = headers["set-cookie"].split(";")[0]
    assert _ask(guard, host="192.168.1.5:8000", cookie=cookie)[0] == 200
    assert _ask(guard, host="192.168.1.5:8000", authorization=f"Bearer {TOKEN}")[0] == 200
    assert _ask(guard, host="192.168.1.5:8000", cookie="lampworks_token=wrong")[0] == 401
    assert _ask(guard, host="evil.example", cookie=cookie)[0] == 421


def test_the_welcome_never_leads_to_another_site():
    guard = Guard(_app, token=TOKEN)
    for path in ("//evil.example", "/\\evil.example", "///evil.example"):
        assert _ask(guard, path=path, query=f"token={TOKEN}")[1]["location"] == "/evil.example"


def test_an_open_address_asks_for_a_token_that_is_hard_to_guess():
    check_address("127.0.0.1", None)
    check_address("::1", None)
    with pytest.raises(UserError, match="reached by other machines"):
        check_address("0.0.0.0", None)
    with pytest.raises(UserError, match="16 or more"):
        check_address("0.0.0.0", "secret")


def test_a_taken_port_is_named():
    with open_socket("127.0.0.1", 0) as server:
        port = server.getsockname()[1]
        assert url_of("127.0.0.1", server) == f"http://127.0.0.1:{port}/"
        assert url_of("127.0.0.1", server, TOKEN).endswith(f"/?token={TOKEN}")
        with pytest.raises(UserError, match=f"127.0.0.1:{port}"):
            open_socket("127.0.0.1", port)


def test_the_policy_names_the_pages_own_script_alone():
    policy = content_policy("<style>a{}</style><script>go()</script>")
    assert "'unsafe-inline'" not in policy
    assert policy.count("'sha256-") == 2
    assert policy != content_policy("<style>a{}</style><script>go(1)</script>")
