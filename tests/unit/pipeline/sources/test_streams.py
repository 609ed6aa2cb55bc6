"""Streams without ffmpeg: encrypted HLS is decrypted here and fast, and no child process gets a cookie."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError
from pipeline.sources.ytdlp_fetch import fetch_url
from pipeline.sources.ytdlp_options import connection
from tests.faultsite import watch_page
from tests.hostile import HostileSite, refusal
from tests.media import run_ffmpeg

CONFIG = DownloadConfig(socket_timeout_s=10, min_free_gb=0)
M3U8 = "application/vnd.apple.mpegurl"
KEY = bytes(range(16))
SECRET = "s3cret-session"


@pytest.fixture
def site() -> Iterator[HostileSite]:
    running = HostileSite()
    yield running
    running.close()


def publish_encrypted(site: HostileSite, film: Path, folder: Path) -> bytes:
    """Publish a film as AES-128 HLS, and return what its decrypted segments are, one after the other."""
    (folder / "key").write_bytes(KEY)
    (folder / "keyinfo").write_text(f"{site.url}/key\n{folder / 'key'}\n")
    cut = ["-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "0"]
    run_ffmpeg("-i", film, *cut, folder / "plain.m3u8")
    run_ffmpeg("-i", film, *cut, "-hls_key_info_file", folder / "keyinfo", folder / "secret.m3u8")
    for path in sorted(folder.glob("secret*")):
        site.add(f"/{path.name}", path.read_bytes(), M3U8 if path.suffix == ".m3u8" else "video/mp2t")
    site.add("/key", KEY, "application/octet-stream")
    return b"".join(path.read_bytes() for path in sorted(folder.glob("plain*.ts")))


def options(tmp_path: Path, site: HostileSite) -> dict[str, Any]:
    """Return the options of a source with cookies for this site."""
    path = tmp_path / "cookies.txt"
    path.write_text(f"# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t4102444800\tsession\t{SECRET}\n")
    return connection(SourceConfig(spec="urls:/l", cookies=str(path), allow_private=True), RulesConfig())


def fetched(url: str, tmp_path: Path, extra: dict[str, Any]) -> Path:
    folder = tmp_path / "attempt"
    folder.mkdir()
    return fetch_url(url, folder, CONFIG, extra, extractor="generic").path


def test_encrypted_hls_is_decrypted_as_it_was(tmp_path: Path, site: HostileSite, clip_file: Path) -> None:
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    whole = publish_encrypted(site, clip_file, pieces)
    assert whole not in (pieces / "secret0.ts").read_bytes()
    path = fetched(site.url + "/secret.m3u8", tmp_path, options(tmp_path, site))
    assert path.read_bytes() == whole


def test_encrypted_hls_is_decrypted_by_a_compiled_library(monkeypatch: pytest.MonkeyPatch) -> None:
    # yt-dlp's own decryption in Python does 88 kB a second
    from yt_dlp import aes
    from yt_dlp.dependencies import Cryptodome

    assert Cryptodome.AES is not None
    monkeypatch.setattr(aes, "aes_cbc_decrypt", lambda *arguments: pytest.fail("decrypted in Python"))
    cipher = Cryptodome.AES.new(KEY, Cryptodome.AES.MODE_CBC, KEY)
    data = os.urandom(16 << 10)
    assert aes.aes_cbc_decrypt_bytes(cipher.encrypt(data), KEY, KEY) == data


# -- children -----------------------------------------------------------------------------------------------------

FAKE = """#!{python}
import sys
with open({log!r}, "a") as log:
    log.write(" ".join(sys.argv) + "\\n")
"""


@pytest.fixture
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The command lines of all children, with fake programs of the names that yt-dlp knows first on the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    log = tmp_path / "children.log"
    log.touch()
    for name in ("ffmpeg", "ffprobe", "curl", "wget", "aria2c", "axel", "rtmpdump", "phantomjs", "mplayer"):
        (programs / name).write_text(FAKE.format(python=sys.executable, log=str(log)))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    started: list[str] = []
    real = subprocess.Popen.__init__

    def recorded(self: Any, args: Any, *more: Any, **named: Any) -> None:
        started.append(args if isinstance(args, str) else " ".join(map(str, args)))
        real(self, args, *more, **named)

    monkeypatch.setattr(subprocess.Popen, "__init__", recorded)
    yield started
    assert log.read_text() == ""


PLAYLISTS = {
    "plain": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n/film.ts\n#EXT-X-ENDLIST\n",
    "AES-128": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="/key"\n#EXTINF:4,\n/film.ts\n#EXT-X-ENDLIST\n',
    "SAMPLE-AES": '#EXTM3U\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI="/key"\n#EXTINF:4,\n/film.ts\n#EXT-X-ENDLIST\n',
    "live": "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\n/film.ts\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_no_stream_starts_a_program_or_gives_one_a_cookie(
    tmp_path: Path, site: HostileSite, clip_file: Path, children: list[str], kind: str
) -> None:
    site.add("/film.ts", clip_file.read_bytes() + b"\0" * (-clip_file.stat().st_size % 16), "video/mp2t")
    site.add("/key", KEY, "application/octet-stream")
    site.add("/variant.m3u8", PLAYLISTS[kind].encode(), M3U8)
    site.add("/master.m3u8", b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9,RESOLUTION=160x96\n/variant.m3u8\n", M3U8)
    page = site.add("/watch", watch_page("A film", site.url + "/master.m3u8"))
    _, told = refusal(page, tmp_path / "attempt", CONFIG, options(tmp_path, site))
    assert children == []
    assert SECRET.encode() in site.heads["/variant.m3u8"]
    if kind == "SAMPLE-AES":
        assert "needs ffmpeg or another program" in told
    if kind == "plain":
        assert told == "it was fetched"


@pytest.mark.parametrize("protocol", ["rtmp", "rtmp_ffmpeg", "websocket_frag", "niconico_live", "fc2_live", "mhtml"])
def test_a_format_that_needs_a_program_is_refused_with_that_reason(
    tmp_path: Path, site: HostileSite, children: list[str], protocol: str
) -> None:
    from pipeline.sources.ytdlp import client_for

    client = client_for(CONFIG, options(tmp_path, site))
    info = {"id": "x", "title": "x", "ext": "mp4", "protocol": protocol, "url": site.url + "/film.mp4"}
    with pytest.raises(PermanentError, match="needs ffmpeg or another program"):
        client.dl(str(tmp_path / "film.mp4"), info)
    assert children == []


def test_no_page_is_opened_in_a_browser_that_connects_by_itself(
    tmp_path: Path, site: HostileSite, children: list[str]
) -> None:
    from yt_dlp.extractor.openload import PhantomJSwrapper

    from pipeline.sources.ytdlp import client_for

    client = client_for(CONFIG, options(tmp_path, site))
    with pytest.raises(PermanentError, match="needs ffmpeg or another program"):
        PhantomJSwrapper(client.get_info_extractor("Generic")).get(site.url + "/page")
    assert children == []
