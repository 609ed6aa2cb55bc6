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
    assert _ask(guard, "POST", content_length="100")[0] == 200


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
