"""A feed that no parser reads is told with the parser's own line: on the console, in its row and in `why`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import Config, DownloadConfig, SourceConfig
from pipeline.inspect.why import why
from pipeline.inspect.why_text import format_why
from pipeline.job import Job
from pipeline.progress import Notice
from pipeline.search.search import search_videos
from pipeline.storage.arrow import pc
from pipeline.storage.home import home_of
from pipeline.storage.store import Store


@pytest.mark.parametrize("words", [True, False])
def test_a_malformed_feed_is_no_video_and_is_read_once_it_is_mended(
    store: Store, tmp_path: Path, site, clip_file: Path, words: bool
) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    item = f"<item><title>Super Mario playthrough</title><enclosure url='{media}' type='video/mp4'/></item>"
    feed = site.add("/feed.xml", f"<rss><channel>{item}</chanel></rss>".encode(), "text/xml")
    (tmp_path / "list.txt").write_text(f"{feed}\n{site.add('/other.mp4', clip_file.read_bytes(), 'video/mp4')}\n")
    source = SourceConfig(spec=f"urls:{tmp_path / 'list.txt'}", allow_private=True, apply_rules=words)
    config = Config(source=source, download=DownloadConfig(socket_timeout_s=5))
    told: list[str] = []
    job = Job(
        store, config, home_of(store), lambda event: told.append(str(event)) if isinstance(event, Notice) else None
    )

    report = search_videos(job)

    line = r"malformed feed: mismatched tag: line 1, column "
    assert report.rejected["no metadata: malformed_feed"] == 1
    assert any(f"{feed}: line 1: {line}" in text for text in told)
    assert line in report.failures[feed]
    text = format_why(why(store, config, feed))
    assert line in text
    assert "rejected: no metadata: malformed_feed" in text

    site.add("/feed.xml", f"<rss><channel>{item}</channel></rss>".encode(), "text/xml")
    search_videos(job)
    (row,) = store.read("videos", where=pc.field("title") == "Super Mario playthrough").to_pylist()
    assert row["message"] is None
    assert not row["rule"].startswith("no metadata")
