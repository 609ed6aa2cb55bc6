"""Tell which addresses lie on the public internet: a stranger's page must not make this machine ask its own network.

The lists are those of the IANA registries of special-purpose addresses. They stand here because what the standard
library calls global differs from one release of Python to the next.

    why_not_public("127.0.0.1")         # "loopback"
    why_not_public("::ffff:10.0.0.1")   # "private"
    why_not_public("1.1.1.1")           # None
    literal_address("0x7f.1")           # "127.0.0.1"
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import unquote

_KINDS_4 = tuple(
    (ipaddress.IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_KINDS_6 = tuple(
    (ipaddress.IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        # IETF protocols, among them Teredo, which carries an IPv4 address of its own
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved"),
        ("3fff::/20", "reserved"),
    )
)
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
# network, and how many bits stand after the IPv4 address that an address in it carries
_CARRIERS = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)


def why_not_public(address: str) -> str | None:
    """Return the kind of an address that is not on the public internet, as `loopback`; None where it is public.

    Args:
        address: IPv4 or IPv6 as the resolver writes it, with or without a zone. Anything else counts as unknown.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return next((kind for network, kind in _KINDS_4 if parsed in network), None)
    for network, bits in _CARRIERS:
        if parsed in network:
            return why_not_public(str(ipaddress.IPv4Address(int(parsed) >> bits & 0xFFFFFFFF)))
    kind = next((kind for network, kind in _KINDS_6 if parsed in network), None)
    return kind or (None if parsed in _PUBLIC_6 else "reserved")


def literal_address(host: str) -> str | None:
    """Return the address that a host is in any spelling (`2130706433`, `0x7f.1`, `[::1]`); None where it is a name."""
    host = unquote(host).strip("[]").rstrip(".")
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    if not host or not set(host) <= set("0123456789abcdefxABCDEFX."):
        return None
    try:
        # the C library's rules, by which a resolver or a proxy would read it
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def is_local_name(host: str) -> bool:
    """Return whether a name means this machine wherever it is resolved."""
    name = unquote(host).rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")
