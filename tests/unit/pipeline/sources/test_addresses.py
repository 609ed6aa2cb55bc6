"""Which addresses are public, in every spelling."""

from __future__ import annotations

import pytest

from pipeline.sources.addresses import is_local_name, literal_address, why_not_public


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("169.254.169.254", "link-local"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("198.18.0.1", "reserved"),
        ("192.0.2.1", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fe80::1%eth0", "link-local"),
        ("fd00::1", "private"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "reserved"),
        ("2001:0:7f00:1::", "reserved"),
        ("64:ff9b:1::1", "reserved"),
        ("::7f00:1", "reserved"),
        ("::ffff:0:7f00:1", "reserved"),
        # IPv4 inside of IPv6: mapped, NAT64, 6to4
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:a9fe:a9fe", "link-local"),
        ("64:ff9b::10.0.0.1", "private"),
        ("2002:7f00:1::1", "loopback"),
        ("somewhere", "unknown"),
        # the public internet
        ("1.1.1.1", None),
        ("172.32.0.1", None),
        ("100.128.0.1", None),
        ("2606:4700::1111", None),
        ("::ffff:1.1.1.1", None),
        ("64:ff9b::1.1.1.1", None),
    ],
)
def test_an_address_is_public_or_of_a_kind(address: str, kind: str | None) -> None:
    assert why_not_public(address) == kind


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127%2e0.0.1", "127.0.0.1"),
        ("[::ffff:127.0.0.1]", "::ffff:7f00:1"),
        ("[fe80::1%25eth0]", "fe80::1"),
        ("example.org", None),
        ("fade.de", None),
        ("beef", None),
        ("", None),
    ],
)
def test_a_host_is_an_address_in_any_spelling_or_a_name(host: str, address: str | None) -> None:
    assert literal_address(host) == address


def test_some_names_mean_this_machine_everywhere() -> None:
    assert is_local_name("LOCALHOST.")
    assert is_local_name("a.localhost")
    assert not is_local_name("localhost.example.org")
