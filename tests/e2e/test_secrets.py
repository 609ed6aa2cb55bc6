"""Secrets of listed addresses stay in the tables, which need them to fetch: nothing that is shown or kept has them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from assets.cli.main import main
from pipeline.storage.store import Store
from tests.engines import InlineEngine
from tests.faultsite import FaultSite, feed, player_page, watch_page

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning"),
]
USER, QUERY = "fox:SECRET-password", "token=SECRET-token"


@pytest.fixture
def site() -> Iterator[FaultSite]:
    internet = FaultSite()
    yield internet
    internet.close()


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(("LAMPWORKS_", "DAGSTER_HOME"))]:
        monkeypatch.delenv(name)
    yield
    for name in ("assets", "classifier", "models", "pipeline"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


@pytest.fixture
def listed(site: FaultSite, make_video: Callable[..., Path], tmp_path: Path) -> list[str]:
    """Addresses with secrets: pages, files and feeds that work, and that fail in every way with a message."""
    film = make_video(
        tmp_path / "film.mp4", np.random.default_rng(0).integers(0, 255, (40, 96, 160, 3), np.uint8), fps=10
    )

    def publish(path: str, body: bytes = b"", kind: str = "text/html", **faults: Any) -> str:
        site.add(f"http://127.0.0.1/{path}?{QUERY}", body, kind, **faults)
        return f"http://{USER}@127.0.0.1/{path}?{QUERY}"

    media = publish("a.mp4", film.read_bytes(), "video/mp4")
    for name, status in (("bare", 404), ("bare.mp4", 200), ("bare.xml", 200)):
        site.add(f"http://127.0.0.1/{name}?SECRET-bare", b"<rss>" if name.endswith("xml") else b"none", status=status)
    return [
        media,
        "http://127.0.0.1/bare?SECRET-bare",
        "http://127.0.0.1/bare.mp4?SECRET-bare",
        "http://127.0.0.1/bare.xml?SECRET-bare",
        f"http://127.0.0.1/gone?{QUERY}#access_token=SECRET-fragment",
        "http://SECRET-name@127.0.0.1/nobody",
        "http://127.0.0.1/alone#access_token=SECRET-fragment",
        "http://fox:SECRET-password/with/slash@127.0.0.1/x",
        "http:///fox:SECRET-password@127.0.0.1/x",
        publish("watch", watch_page("a video", media, thumbnailUrl=publish("t.jpg", b"no picture", "image/jpeg"))),
        publish("player", player_page("another", publish("b.mp4", film.read_bytes(), "video/mp4"))),
        publish("feed.xml", feed({"of a feed": publish("c.mp4", status=404)}), "application/rss+xml"),
        publish("broken.xml", b"<rss><channel>", "application/rss+xml"),
        publish("gone", status=404),
        publish("later", status=503, headers={"Retry-After": "9"}),
        publish("closed", status=403),
        publish("text", b"<html><title>no video</title></html>"),
        publish("moved", status=302, headers={"Location": f"http://{USER}@127.0.0.1/nowhere?{QUERY}"}),
        publish("away", status=302, headers={"Location": f"ftp://{USER}@127.0.0.1/nowhere?{QUERY}"}),
        publish("broken.mp4", b"no video", "video/mp4"),
        publish("list.m3u8", b"#EXTM3U\n#EXT-X-ENDLIST\n", "application/vnd.apple.mpegurl"),
        f"http://{USER}@[::1/bad?{QUERY}",
        f"http://{USER}@unknown.test/x?{QUERY}",
        f"rtmp://{USER}@127.0.0.1/x?{QUERY}",
        f"{USER}@127.0.0.1/x?{QUERY}",
    ]


def run(arguments: list[str], site: FaultSite, root: Path) -> None:
    settings = {
        "source.proxy": f"http://{USER}@{site.proxy_url.removeprefix('http://')}", "source.allow_private": True,
        "download.min_free_gb": 0, "download.max_wait_s": 0, "download.max_failed_share": 1, "engine.workers": 1,
        "download.host_interval_s": 0, "download.socket_timeout_s": 5, "download.workers": 1,
        "rules.blocked": [f"http://{USER}@127.0.0.1/text?{QUERY}"],
    }  # fmt: skip
    options = [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    assert main([*arguments, "--root", str(root), *options]) in {0, 1}


def kept_files(root: Path) -> list[Path]:
    """Return every file below a root but the tables' own and the configuration, which need addresses to fetch."""
    return [
        path
        for path in root.rglob("*")
        if path.is_file() and "tables" not in path.relative_to(root).parts and path.name != "config.yaml"
    ]


def test_no_page_log_database_or_output_holds_the_secrets_of_a_list(
    site: FaultSite,
    listed: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # what a worker prints is seen of the downloads: the others need no process of their own
    for module in ("pipeline.workers.ask", "pipeline.search.spot_check_pictures", "assets.report.contact_sheets"):
        monkeypatch.setattr(f"{module}.make_engine", lambda *arguments, **options: InlineEngine())
    root = tmp_path / "root"
    (tmp_path / "list.txt").write_text("\n".join(listed))
    source = f"urls:{tmp_path / 'list.txt'}"
    run(["run", "--source", source, "--select", "search_results,raw_videos", "-vv"], site, root)
    store = Store(root)
    rows = store.read("videos").to_pylist()
    assert sum("SECRET" in row["url"] for row in rows) >= len(listed) - 1
    states = {row["state"] for row in store.read("downloads").to_pylist()}
    assert {"ok", "failed"} <= states
    for command in (["spot-check"], ["report"], ["status"], ["status", "--json"], ["config"], ["config", "--json"]):
        main([*command, "--root", str(root)])
    (tmp_path / "labels.csv").write_text(f"video,start_s,rating\nhttp://{USER}@127.0.0.1/absent?{QUERY},0,3\n")
    main(["label", "import", str(tmp_path / "labels.csv"), "--root", str(root)])
    for number, row in enumerate(sorted(rows, key=lambda row: row["url"])[1::2]):
        main(["why", row["video_id"], "--root", str(root), *(["--json"] if number % 3 == 0 else [])])
    output = "".join(capfd.readouterr())
    assert "127.0.0.1/watch" in output, output[-3000:]
    assert [line for line in output.splitlines() if "SECRET" in line] == []
    files = kept_files(root)
    assert any(path.suffix == ".db" for path in files)
    assert (root / "reports" / "spot-check.html") in files
    assert [str(path) for path in files if b"SECRET" in path.read_bytes()] == []


@pytest.mark.slow
def test_a_feed_whose_address_is_a_secret_is_the_source_and_is_shown_without_it(
    site: FaultSite, listed: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, query = tmp_path / "root", f"http://{USER}@127.0.0.1/all.xml?{QUERY}"
    site.add(f"http://127.0.0.1/all.xml?{QUERY}", feed({"a": listed[0], "lost": listed[5]}), "application/rss+xml")
    run(["run", "--source", f"urls:{query}", "--select", "search_results"], site, root)
    assert Store(root).read("searches").to_pylist()[0]["query"] == query
    # a list that is gone: the error of the run names it
    site.add(f"http://127.0.0.1/all.xml?{QUERY}", status=404)
    run(["run", "--select", "search_results"], site, root)
    for command in (["spot-check"], ["status"], ["config", "source"], ["run", "--plan"]):
        main([*command, "--root", str(root)])
    output = "".join(capfd.readouterr())
    assert 'source.spec = "urls:http://***@127.0.0.1/all.xml?***"' in output
    assert [line for line in output.splitlines() if "SECRET" in line] == []
    assert [str(path) for path in kept_files(root) if b"SECRET" in path.read_bytes()] == []
    # the next run needs it
    remembered = root / "config.yaml"
    assert yaml.safe_load(remembered.read_text())["source"]["spec"] == f"urls:{query}"
    assert remembered.stat().st_mode & 0o077 == 0
