"""A proxy may be anywhere, because the user chose it; beyond it, inner addresses are refused where they are known."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import RetryableError
from pipeline.sources.base import Candidate
from pipeline.sources.urls import UrlsSource
from pipeline.sources.ytdlp_read import read_picture
from tests.faultsite import FaultSite
from tests.hostile import HostileSite, dripping_headers

DOWNLOAD = DownloadConfig(socket_timeout_s=5, host_interval_s=0)


def listed(tmp_path: Path, *lines: str, **source: Any) -> list[Candidate]:
    (tmp_path / "list.txt").write_text("\n".join(lines), "utf-8")
    settings = SourceConfig(spec=f"urls:{tmp_path / 'list.txt'}", **source)
    return list(UrlsSource(settings, RulesConfig(), DOWNLOAD).search())


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "localhost", "[::ffff:127.0.0.1]", "inner.lan"])
def test_a_proxy_may_be_anywhere_and_is_not_asked_for_inner_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, clip_file: Path
) -> None:
    real = socket.getaddrinfo

    def resolver(name: Any, port: Any, *more: Any, **named: Any) -> Any:
        return real("10.0.0.7" if name == "inner.lan" else name, port, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    internet = FaultSite()
    try:
        public = internet.add("http://films.test/film.mp4", clip_file.read_bytes())
        moved = internet.add("http://films.test/moved", status=302, headers={"Location": f"http://{host}/film.mp4"})
        internet.add(f"http://{host}/film.mp4", clip_file.read_bytes())
        proxy = {"proxy": internet.proxy_url, "check_certificates": False}
        lines = [public, f"http://{host}/film.mp4", moved, f"https://{host}/film.mp4"]
        found = listed(tmp_path, *lines, **proxy)
        assert [one.error_class for one in found] == [None, *["private_address"] * 3]
        assert {host for host, _ in internet.requests} == {"films.test"}
    finally:
        internet.close()


def socks_proxy(asked: list[str], target: int, closing: threading.Event) -> int:
    """Serve SOCKS5 until closed: note each host that is asked for, connect to one port of this machine instead."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", target)) as site:
            client.recv(client.recv(2)[1])
            client.sendall(b"\x05\x00")
            kind = client.recv(4)[3]
            asked.append(client.recv(client.recv(1)[0]).decode() if kind == 3 else socket.inet_ntoa(client.recv(4)))
            client.recv(2)
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
            back = threading.Thread(target=pump, args=(site, client))
            back.start()
            pump(client, site)
            back.join()

    def accept() -> None:
        with listener:
            while not closing.is_set():
                with contextlib.suppress(TimeoutError):
                    client, _ = listener.accept()
                    client.settimeout(10)
                    threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def test_a_socks_proxy_resolves_names_itself_and_is_not_asked_for_inner_addresses(
    tmp_path: Path, inner: HostileSite, clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    closing = threading.Event()
    inner.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    inner.add("/slow", dripping_headers())
    real, looked_up = socket.getaddrinfo, []

    def resolver(name: Any, *more: Any, **named: Any) -> Any:
        looked_up.append(name)
        return real(name, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    try:
        proxy = f"socks5h://127.0.0.1:{socks_proxy(asked, inner.port, closing)}"
        lines = ["http://films.test/film.mp4", "http://2130706433/film.mp4", "http://localhost/film.mp4"]
        found = listed(tmp_path, *lines, proxy=proxy)
        assert [one.error_class for one in found] == [None, "private_address", "private_address"]
        brief = DownloadConfig(socket_timeout_s=0.5)
        with pytest.raises(RetryableError, match="took longer than 2 s"):
            read_picture("http://films.test/slow", config=brief, extra={"proxy": proxy})
    finally:
        closing.set()
    assert set(asked) == {"films.test"}
    assert "films.test" not in looked_up
