"""The sockets of a client: where they may connect to, and how long and how much they may read.

Whether a connection is allowed is decided on the address that it goes to, after the name was resolved. So it holds
for redirects, segments, keys and pictures, for odd spellings, and for a name that resolves differently each time.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import PermanentError
from pipeline.sources.addresses import is_local_name, literal_address, why_not_public
from pipeline.sources.allowance import Watch
from pipeline.sources.faults import PRIVATE_ADDRESS
from pipeline.usage import count

SCHEMES = ("http", "https")
_NO_SUCH_NAMES = (".test", ".invalid", ".example", ".onion")
"""Endings that no name server knows (RFC 6761, RFC 7686)."""
_LOOKUP_S = 2.0
_MOST_NAMES = 1024


class _WatchedSocket(socket.socket):
    """A socket whose every wait ends with the allowance of the answer that it is read for."""

    watch: Watch
    patience: float | None = None
    """Seconds of silence that are allowed: what a caller set as its timeout."""
    _current: float | None = None

    def settimeout(self, value: float | None) -> None:
        self.patience = self._current = value
        super().settimeout(value)

    def _begin(self) -> None:
        allowance = self.watch.allowance
        left = None if allowance is None else allowance.seconds_left()
        wanted = self.patience if left is None else left if self.patience is None else min(left, self.patience)
        if wanted != self._current:
            self._current = wanted
            super().settimeout(wanted)

    def _waited(self, work: Callable[..., Any], *arguments: Any) -> Any:
        self._begin()
        try:
            return work(*arguments)
        except TimeoutError:
            # silence, or the end of the allowance: the latter raises here
            self._begin()
            raise

    def _count(self, size: int) -> None:
        count(downloaded=size)
        if self.watch.allowance is not None:
            self.watch.allowance.count_on_wire(size)

    def connect(self, address: Any) -> None:
        self._waited(super().connect, address)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        size = int(self._waited(super().recv_into, buffer, nbytes or 0, flags))
        self._count(size)
        return size

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        data = bytes(self._waited(super().recv, buflen, flags))
        self._count(len(data))
        return data

    def send(self, data: Any, flags: int = 0) -> int:
        return int(self._waited(super().send, data, flags))

    def sendall(self, data: Any, flags: int = 0) -> None:
        self._waited(super().sendall, data, flags)


class _WatchedTLS(_WatchedSocket, ssl.SSLSocket):
    """The same by TLS."""

    def do_handshake(self, block: bool = False) -> None:
        self._waited(super().do_handshake, block)


class Wire:
    """The connections of one client."""

    def __init__(self, *, allow_private: bool = False, site: str = "") -> None:
        """Prepare connections.

        Args:
            allow_private: whether addresses that are not on the public internet are allowed.
            site: the one URL whose own host and port are allowed besides: the embedded site.
        """
        parts = urlsplit(site)
        self.allow_private, self.site = allow_private, (parts.hostname, parts.port)
        self.watch = Watch()
        self._names: dict[str, str | None] = {}
        self.tls = type("_TLS", (_WatchedTLS,), {"watch": self.watch})

    def connect(
        self, host: str, port: int, *, timeout: float | None, source: Any, options: Iterable[Any], is_proxy: bool
    ) -> socket.socket:
        """Return a connected socket.

        Args:
            host: a name or an address.
            port: its port.
            timeout: seconds of silence that are allowed.
            source: the address to connect from, or None.
            options: for `setsockopt`.
            is_proxy: whether it is the proxy that the user configured, which may be anywhere.

        Raises:
            PermanentError: no address of this host is allowed.
            RetryableError: it took longer than the allowance.
            OSError: as of `socket.create_connection`.
        """
        anywhere = is_proxy or self.allow_private or (host, port) == self.site
        if not anywhere and is_local_name(host):
            raise _refusal(host, "127.0.0.1")
        found = self._resolved(host, port)
        if not anywhere:
            found = _public(host, found)
        failure: OSError | None = None
        for family, kind, protocol, address in found:
            connection = _WatchedSocket(family, kind, protocol)
            connection.watch = self.watch
            try:
                for option in options:
                    connection.setsockopt(*option)
                connection.settimeout(timeout)
                if source is not None:
                    connection.bind(source)
                connection.connect(address)
                return connection
            except OSError as error:
                connection.close()
                failure = error
            except BaseException:
                connection.close()
                raise
        try:
            raise failure or OSError(f"no address of {host}")
        finally:
            del failure  # else the error refers to itself, and lives until the garbage collector comes

    def adopt(self, connected: socket.socket) -> socket.socket:
        """Return a connected socket as one that is watched."""
        timeout = connected.gettimeout()
        watched = _WatchedSocket(fileno=connected.detach())
        watched.watch = self.watch
        watched.settimeout(timeout)
        return watched

    def check_beyond_proxy(self, host: str, *, look_up: bool) -> None:
        """Refuse a host that a proxy is to be asked for, as far as it can be known here that it is not public.

        Args:
            host: from the URL.
            look_up: whether names are resolved on this machine too; False where the user asked for the proxy's names.

        Raises:
            PermanentError: its address, or the name's address on this machine, is not public.
        """
        if self.allow_private:
            return
        if host not in self._names:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            self._names[host] = self._known_address(host, look_up)
        address = self._names[host]
        if address is not None and why_not_public(address):
            raise _refusal(host, address)

    def _known_address(self, host: str, look_up: bool) -> str | None:
        literal = literal_address(host)
        if literal is not None:
            return literal
        if is_local_name(host):
            return "127.0.0.1"
        if not look_up or host.rstrip(".").lower().endswith(_NO_SUCH_NAMES):
            return None
        try:
            found = [str(address[0]) for *_, address in _looked_up(host, 0, _LOOKUP_S)]
        except (OSError, UnicodeError):
            return None  # only the proxy knows this name
        return next((address for address in found if why_not_public(address)), None)

    def _resolved(self, host: str, port: int) -> list[tuple[Any, Any, int, Any]]:
        allowance = self.watch.allowance
        if literal_address(host) is not None:
            return _addresses(host, port)
        left = None if allowance is None else allowance.seconds_left()
        try:
            return _looked_up(host, port, left)
        except TimeoutError as error:
            raise (error if allowance is None else allowance.too_slow()) from error


def _addresses(host: str, port: int) -> list[tuple[Any, Any, int, Any]]:
    found = socket.getaddrinfo(host.strip("[]"), port, 0, socket.SOCK_STREAM)
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]


def _looked_up(host: str, port: int, seconds: float | None) -> list[tuple[Any, Any, int, Any]]:
    """Resolve a name, in a thread because the C library cannot be interrupted; TimeoutError where it is slow."""
    found: list[list[tuple[Any, Any, int, Any]] | OSError | UnicodeError] = []

    def ask() -> None:
        try:
            found.append(_addresses(host, port))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise TimeoutError(f"the name {host} was not resolved in {seconds:g} s")
    answer = found.pop()
    if not isinstance(answer, Exception):
        return answer
    try:
        raise answer
    finally:
        del answer


def _public(host: str, found: Sequence[tuple[Any, Any, int, Any]]) -> list[tuple[Any, Any, int, Any]]:
    """Return the addresses that are public; PermanentError where none is."""
    public = [one for one in found if why_not_public(str(one[3][0])) is None]
    if found and not public:
        raise _refusal(host, str(found[0][3][0]))
    return public


def _refusal(host: str, address: str) -> PermanentError:
    who = address if host.strip("[]") == address else f"{host[:253]} is {address}, which"
    return PermanentError(
        f"{who} is not on the public internet ({why_not_public(address)}) and was not asked: set "
        "source.allow_private: true if you trust the list and every page that it names",
        error_class=PRIVATE_ADDRESS,
    )


def refused_scheme(url: str) -> PermanentError:
    """Return the error of a URL that is neither http nor https."""
    scheme = url.partition(":")[0][:20]
    return PermanentError(f"{scheme!r} addresses are not fetched, only http and https", error_class="permanent")
