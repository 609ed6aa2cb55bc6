"""Access control in front of every local page, as ASGI middleware that works with any framework.

Every web page that is open in this machine's browser can send requests to 127.0.0.1, so a local address is no
protection by itself. The guard makes these checks, of requests and of websockets:

- Host: the request must name this machine; a foreign name that was rebound to 127.0.0.1 is refused.
- Origin: a request from another site's script, form, picture or frame is refused; a link may lead here.
- Body: JSON by name, of a known length below a limit, and complete before the app learns of it. Addresses that take
  pictures take any type of body but those that a form of another site can send.
- Token: an address that other machines can reach needs one, as `?token=...` once (then kept in a cookie) or as a
  bearer token.

    server = Guard(app, host="127.0.0.1", token=None)

Serve it on the socket of `open_socket(host, port)`; for port 0 the socket knows the port that it got.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pipeline.errors import UserError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "lampworks_token"
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_MAX_PATH = 2048
_FORM_TYPES = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
_MOST_UPLOADS, _MB = 4, 1 << 20
_NO_UPLOADS: Mapping[str, int] = MappingProxyType({})
# headers of the app that the guard's own replace; a second policy is no conflict: browsers obey both
_OURS = frozenset({b"x-content-type-options", b"referrer-policy", b"cross-origin-resource-policy"})


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a name or address."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_address(host: str, token: str | None) -> None:
    """Raise UserError if other machines could reach the page without a token, or if the token is easy to guess."""
    if token is None and not is_loopback(host):
        raise UserError(
            f"host {host!r} can be reached by other machines: give --token (16 characters or more), or use "
            "--host 127.0.0.1"
        )
    if token is not None and not re.fullmatch(r"[A-Za-z0-9_-]{16,}", token):
        raise UserError(
            "the token must be 16 or more letters, digits, '-' and '_', as `openssl rand -hex 16` prints them"
        )


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket (port 0: any free port); UserError if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host.strip("[]"), port))
        server.listen(128)
    except OSError as exc:
        server.close()
        raise UserError(
            f"cannot serve on {host}:{port}: {exc.strerror or exc}. Choose another --host or --port (0: a free one)"
        ) from exc
    return server


def url_of(host: str, server: socket.socket, token: str | None = None) -> str:
    """Return the address to open in a browser, with the token if there is one."""
    name = f"[{host.strip('[]')}]" if ":" in host else host
    query = f"?token={quote(token, safe='')}" if token else ""
    return f"http://{name}:{server.getsockname()[1]}/{query}"


def content_policy(html: str) -> str:
    """Return a Content-Security-Policy that allows a page's own inline scripts and styles and no others."""

    def sources(tag: str) -> str:
        bodies = re.findall(rf"<{tag}(?:\s[^>]*)?>(.*?)</{tag}>", html, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies]
        return " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)])

    return (
        f"default-src 'none'; script-src {sources('script')}; style-src {sources('style')}; "
        "img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Guard:
    """An ASGI app that passes on the requests of this machine's user and refuses all others.

    The app gets a request once its body is there as a whole; of one that breaks off it learns nothing.
    """

    def __init__(
        self,
        app: App,
        *,
        host: str = "127.0.0.1",
        token: str | None = None,
        policy: str = "default-src 'self'; frame-ancestors 'none'",
        max_body: int = 1 << 20,
        uploads: Mapping[str, int] = _NO_UPLOADS,
    ) -> None:
        """Wrap an app.

        Args:
            app: any ASGI app.
            host: the address that it is served on.
            token: secret that a request must carry; required where other machines can reach `host`.
            policy: the Content-Security-Policy of every response, see `content_policy`; it is added to the app's own.
            max_body: largest body in bytes of a request.
            uploads: path of an address that takes files -> largest file in bytes. At most four arrive at a time, so
                that their memory is bounded; refusals there are JSON, `{"error": sentence}`.
        """
        check_address(host, token)
        self._app, self._host, self._token, self._max_body = app, host.strip("[]").lower(), token, max_body
        self._uploads, self._arriving = dict(uploads), 0
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one websocket of ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            raise ValueError(f"the guard serves http and websockets only, not {scope['type']!r}")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        socket_asked = scope["type"] == "websocket"
        # a websocket is opened by a GET, and can do all that a POST can
        method = "WEBSOCKET" if socket_asked else str(scope["method"])
        refusal = self._refusal(method, str(scope["path"]), headers)
        if refusal is not None:
            await self._answer(scope, send, *refusal)
            return
        if self._token is not None:
            query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
            shown = query.pop("token", None)
            if shown is not None and self._is_token(shown) and method in _SAFE_METHODS:
                await self._welcome(scope, send, str(scope["path"]), query)
                return
            if not self._knows_token(headers):
                await self._answer(scope, send, 401, "open the address with ?token=... that the server printed")
                return
        if socket_asked:
            await self._app(scope, receive, send)
        else:
            await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_upload = scope["path"] in self._uploads and scope["method"] not in _SAFE_METHODS
        if not is_upload:
            await self._pass_whole(scope, receive, send)
            return
        if self._arriving >= _MOST_UPLOADS:
            await self._answer(scope, send, 503, f"{_MOST_UPLOADS} files are on their way here already: try again")
            return
        self._arriving += 1
        try:
            await self._pass_whole(scope, receive, send)
        finally:
            self._arriving -= 1

    async def _pass_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if scope["method"] not in _SAFE_METHODS:
            try:
                body = await _whole_body(receive, self._most(str(scope["path"])))
            except ValueError as exc:
                await self._answer(scope, send, 413, str(exc))
                return
            except EOFError:
                return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_whole() -> Message:
            return waiting.pop() if waiting else await receive()

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", []) if bytes(pair[0]).lower() not in _OURS]
                message = {**message, "headers": [*kept, *self._headers]}
            await send(message)

        await self._app(scope, receive_whole, send_guarded)

    def _refusal(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_own(host):
            return 421, f"host {host!r} is not this server; open it as http://{self._host}"
        if len(path) > _MAX_PATH:
            return 414, f"the path has {len(path)} characters, the limit is {_MAX_PATH}"
        origin = headers.get("origin")
        if origin is not None and not _is_origin_of(origin, host):
            return 403, f"origin {origin!r} is another site"
        if headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            if method not in _SAFE_METHODS:
                return 403, "another site sent this request"
            # a link may lead here; a picture, a script or a frame of another site may not
            if (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) != ("navigate", "document"):
                return 403, "another site asked for this as a part of its own page"
        if method in _SAFE_METHODS or method == "WEBSOCKET":
            return None
        # without a length the body could be endless; browsers always send one
        length = headers.get("content-length", "")
        if not re.fullmatch(r"[0-9]{1,18}", length):
            return 411, "the request's length is missing"
        if int(length) > self._most(path):
            return 413, _too_long(int(length), self._most(path))
        kind = media_type(headers.get("content-type", ""))
        if path in self._uploads:
            # a form of another site can send any bytes, but under these names only, and a script of it under none
            if not kind or kind in _FORM_TYPES:
                return 415, "a file is sent under its own type, or as application/octet-stream"
            return None
        # a form of another site can send any text, but not under this name
        if int(length) and kind != "application/json":
            return 415, "requests are sent as application/json"
        return None

    def _most(self, path: str) -> int:
        return self._uploads.get(path, self._max_body)

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if not name:
            return False
        if is_loopback(name) or name == self._host:
            return True
        if self._token is None:
            return False
        # no name server can rebind an address in numbers, or this machine's own name
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == socket.gethostname().lower()
        return True

    def _is_token(self, shown: str) -> bool:
        return self._token is not None and hmac.compare_digest(shown.encode(), self._token.encode())

    def _knows_token(self, headers: dict[str, str]) -> bool:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(value.strip()):
            return True
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return morsel is not None and self._is_token(morsel.value)

    async def _welcome(self, scope: Scope, send: Send, path: str, query: dict[str, str]) -> None:
        # the token moves from the address bar into a cookie, so that history and shared screens do not show it
        assert self._token is not None
        cookie: SimpleCookie = SimpleCookie({COOKIE: self._token})
        cookie[COOKIE]["path"] = "/"
        cookie[COOKIE]["httponly"] = True
        cookie[COOKIE]["samesite"] = "Strict"
        target = "/" + quote(path.lstrip("/\\")) + (f"?{urlencode(query)}" if query else "")
        headers = [(b"location", target.encode()), (b"set-cookie", cookie[COOKIE].OutputString().encode("latin-1"))]
        await self._answer(scope, send, 303, "", headers)

    async def _answer(
        self, scope: Scope, send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        kind = "http.response"
        if scope["type"] == "websocket":
            if "websocket.http.response" not in scope.get("extensions", {}):
                # closed before it was accepted: the server answers 403
                await send({"type": "websocket.close", "code": 1008, "reason": text[:120]})
                return
            kind = "websocket.http.response"
        body, form = text.encode(errors="replace"), b"text/plain; charset=utf-8"
        if text and scope["path"] in self._uploads:
            body, form = json.dumps({"error": text}).encode(), b"application/json"
        head = [(b"content-type", form), (b"content-length", str(len(body)).encode())]
        await send({"type": f"{kind}.start", "status": status, "headers": [*head, *(headers or []), *self._headers]})
        await send({"type": f"{kind}.body", "body": body})


def media_type(content_type: str) -> str:
    """Return the media type that a Content-Type header names, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def _too_long(count: int, limit: int) -> str:
    if limit >= _MB and limit % _MB == 0:
        return f"the request has {count / _MB:.1f} MB, the limit is {limit // _MB} MB"
    return f"the request has {count} bytes, the limit is {limit}"


def _is_origin_of(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # not an address
        return False


async def _whole_body(receive: Receive, limit: int) -> bytes:
    """Return a request's body; ValueError where it is longer than the limit, EOFError where it breaks off."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise EOFError
        body += message.get("body", b"")
        if len(body) > limit:
            raise ValueError(f"the request has more than {limit} bytes")
        if not message.get("more_body", False):
            return bytes(body)
