"""yt-dlp's HTTP client over the sockets of `wire`: its only way to a network, for http and https alone.

yt-dlp has a client for each library that is installed. This package uses the one of `requests`, which keeps
connections and decodes a body piece by piece. The others (urllib, websockets, curl) are left out, with their schemes.
"""

from __future__ import annotations

import re
import socket
from typing import Any

import requests
import urllib3
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError
from yt_dlp.networking._requests import (
    RequestsHTTPAdapter,
    RequestsRH,
    RequestsSession,
    SocksHTTPConnection,
    SocksHTTPSConnection,
)
from yt_dlp.networking.exceptions import RequestError
from yt_dlp.utils.networking import select_proxy

from pipeline.errors import PermanentError, RetryableError
from pipeline.sources.wire import SCHEMES, Wire, refused_scheme

_ENDLESS_COOKIE = re.compile(r"max-age\s*=\s*[\"']?[+-]?\d{15}", re.IGNORECASE)


class WireError(RequestError):
    """Carries an error of this package through yt-dlp, which would otherwise try its next client."""

    def __init__(self, error: PermanentError | RetryableError) -> None:
        super().__init__(str(error))
        self.error = error


class GuardedRequestsRH(RequestsRH):
    """yt-dlp's client of `requests`, over the sockets of a wire."""

    RH_NAME = "requests"

    def __init__(self, *, wire: Wire, **arguments: Any) -> None:
        self.wire = wire
        super().__init__(**arguments)

    def _check_url_scheme(self, request: Any) -> str:
        scheme = str(request.url).partition(":")[0].lower()
        if scheme not in SCHEMES:
            raise WireError(refused_scheme(request.url))
        return scheme

    def _create_instance(self, cookiejar: Any, legacy_ssl_support: bool | None = None) -> requests.Session:
        context = self._make_sslcontext(legacy_ssl_support=legacy_ssl_support)
        context.sslsocket_class = self.wire.tls
        session = _Session()
        adapter = _Adapter(
            self.wire,
            ssl_context=context,
            source_address=self.source_address,
            max_retries=urllib3.util.retry.Retry(False),
        )
        session.adapters.clear()
        session.headers = CaseInsensitiveDict()
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        session.cookies = cookiejar
        # yt-dlp reads the proxies of the environment itself
        session.trust_env = False
        return session

    def _send(self, request: Any) -> Any:
        try:
            return super()._send(request)
        except (PermanentError, RetryableError) as error:
            raise WireError(error) from error


class _Session(RequestsSession):
    def get_adapter(self, url: str) -> Any:
        """Return the adapter of a URL; PermanentError where a redirect leaves http and https."""
        if url.partition(":")[0].lower() not in SCHEMES:
            raise refused_scheme(url)
        return super().get_adapter(url)


class _Adapter(RequestsHTTPAdapter):
    """Connects by the wire, and reads no body of a redirect."""

    def __init__(self, wire: Wire, **arguments: Any) -> None:
        self.wire, self.pools, self.socks_pools = wire, _pools(wire), _socks_pools(wire)
        super().__init__(**arguments)

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = self.pools

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **named)
        manager.pool_classes_by_scheme = self.socks_pools if proxy.lower().startswith("socks") else self.pools
        return manager

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        """Return an answer, without cookies whose numbers Python cannot hold: its jars would print a traceback."""
        message: Any = getattr(getattr(resp, "_original_response", None), "msg", None)
        cookies = message.get_all("Set-Cookie", ()) if message is not None else ()
        if any(_ENDLESS_COOKIE.search(cookie) for cookie in cookies):
            del message["Set-Cookie"]
            for cookie in cookies:
                if not _ENDLESS_COOKIE.search(cookie):
                    message["Set-Cookie"] = cookie
        return super().build_response(req, resp)

    def send(self, request: Any, *arguments: Any, proxies: Any = None, **named: Any) -> requests.Response:
        proxy = select_proxy(request.url, proxies)
        if proxy:
            host = urllib3.util.parse_url(request.url).host or ""
            # these two ask the proxy to resolve names: a look-up here would tell them to others
            remote = proxy.lower().startswith(("socks5h:", "socks4a:"))
            self.wire.check_beyond_proxy(host, look_up=not remote)
        response: requests.Response = super().send(request, *arguments, proxies=proxies, **named)
        if response.is_redirect:
            # `requests` would read it whole, and unpack it, before it goes on
            response._content, response._content_consumed = b"", True
            response.raw.close()
        return response


def _pools(wire: Wire) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Return urllib3's pools by scheme, whose connections are made by a wire."""

    def connected(connection: Any) -> socket.socket:
        host = connection._dns_host
        try:
            return wire.connect(
                host,
                connection.port,
                timeout=connection.timeout,
                source=connection.source_address,
                options=connection.socket_options or (),
                is_proxy=connection.proxy is not None,
            )
        except UnicodeError as error:
            raise LocationParseError(f"{host!r}, label empty or too long") from error
        except socket.gaierror as error:
            raise NameResolutionError(host, connection, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(connection, f"Connection to {host} timed out") from error
        except OSError as error:
            raise NewConnectionError(connection, f"Failed to establish a new connection: {error}") from error

    class HTTPConnection(urllib3.connection.HTTPConnection):
        _new_conn = connected

    class HTTPSConnection(urllib3.connection.HTTPSConnection):
        _new_conn = connected

    return _pool_classes(HTTPConnection, HTTPSConnection)


def _socks_pools(wire: Wire) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Return the pools for a SOCKS proxy: the connection is the proxy's, and then watched like any other."""

    class HTTPConnection(SocksHTTPConnection):
        def _new_conn(self) -> socket.socket:
            return wire.adopt(super()._new_conn())

    class HTTPSConnection(SocksHTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return wire.adopt(super()._new_conn())

    return _pool_classes(HTTPConnection, HTTPSConnection)


def _pool_classes(plain: Any, tls: Any) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    class Http(urllib3.HTTPConnectionPool):
        ConnectionCls = plain

    class Https(urllib3.HTTPSConnectionPool):
        ConnectionCls = tls

    return {"http": Http, "https": Https}
