"""Files of the kinds that people report: one run of their folder, and each ends as its README says.

A 16-bit frame counter and four coloured corners are drawn into most of them, so a clip's frames tell where they are
from. The counter is two rows of eight bits, the high byte above, each bit an eighth of the picture wide.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from pipeline.clips.read import read_clip
from pipeline.clips.stored import decode_clip
from pipeline.storage.store import Store
from tests.e2e.conftest import Command

CASES = Path(os.environ.get("LAMPWORKS_CASES") or "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CASES.name, reason="LAMPWORKS_CASES names no folder of difficult files"),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning"),
]
RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 200, 20), (20, 20, 220), (235, 235, 235)


class Folder:
    """The store after a run over the folder of cases."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.videos = {Path(row["url"]).name: row for row in self.store.read("videos").to_pylist()}
        self.cuts = {row["video_id"]: row for row in self.store.read("clippings").to_pylist()}
        self.rows = sorted(self.store.read("clips").to_pylist(), key=lambda row: row["clip_id"])

    def cut(self, name: str) -> dict[str, Any]:
        """Return the row of `clippings` of a file."""
        return self.cuts[self.videos[name]["video_id"]]

    def clips(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of `clips` of a file, in order."""
        return [row for row in self.rows if row["video_id"] == self.videos[name]["video_id"]]

    @cache  # noqa: B019 (one per session)
    def frames(self, clip_id: str) -> Any:
        """Return the frames of a clip, uint8 (160, 90, 160, 3)."""
        (row,) = (row for row in self.rows if row["clip_id"] == clip_id)
        return decode_clip(read_clip(self.store, row))

    def counters(self, name: str) -> list[list[int]]:
        """Return the counter in each frame of each clip of a file."""
        return [[counter(frame) for frame in self.frames(row["clip_id"])] for row in self.clips(name)]

    def lost_ms(self, name: str) -> int:
        """Return the lost milliseconds of a file, after checking that its sums hold."""
        cut = self.cut(name)
        lost = json.loads(cut["lost"] or "[]")
        assert cut["source_ms"] == cut["clip_ms"] + cut["remainder_ms"] + cut["lost_ms"]
        assert all(one["reason"] for one in lost)
        assert sum(one["end_ms"] - one["start_ms"] for one in lost) == cut["lost_ms"]
        return int(cut["lost_ms"])


def counter(frame: Any) -> int:
    """Return the number that is drawn into a frame (H, W, 3)."""
    height, width = frame.shape[:2]
    luma = frame.astype(np.int32).sum(axis=2)
    columns = [round((bit + 0.5) * width / 8) for bit in range(8)]
    bits = [luma[round(row * height / 180), column] > 384 for row in (70, 110) for column in columns]
    return int("".join("1" if bit else "0" for bit in bits), 2)


def corners(frame: Any) -> list[Any]:
    """Return the colours of the corners: top left, top right, bottom left, bottom right."""
    return [frame[y, x].astype(int) for y in (6, -7) for x in (8, -9)]


def near(found: Any, wanted: tuple[int, int, int], by: int = 40) -> bool:
    return bool(np.abs(found - np.array(wanted)).max() <= by)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    base = tmp_path_factory.mktemp("cases")
    root, lampworks = base / "root", Command(base)
    lampworks.here("run", "--root", str(root), "--source", f"folder:{CASES}", "--select", "+clips")
    state = json.loads(lampworks.here("status", "--root", str(root), "--json"))
    assert state["conserved"] is True
    found = Folder(root)
    endings = {".mp4", ".mkv", ".mov", ".ts", ".flv"}
    assert {path.name for path in CASES.rglob("*") if path.suffix in endings} == found.videos.keys()
    assert {row["verdict"] for row in found.videos.values()} == {"kept"}
    return found


def test_24_damaged_bytes_cost_the_clip_that_they_are_in(folder: Folder) -> None:
    name = "24_bytes_damaged_at_18s_of_36s.mp4"
    assert folder.clips(name)[0]["start_ms"] == 0
    assert folder.counters(name)[0] == [3 * k for k in range(160)]
    assert folder.lost_ms(name) > 0


def test_the_length_is_that_of_the_picture(folder: Folder) -> None:
    for name in ("audio_60s_picture_36s.flv", "stale_duration_tag_90s_of_36s.mkv"):
        cut = folder.cut(name)
        assert (len(folder.clips(name)), folder.lost_ms(name)) == (2, 0)
        assert abs(cut["source_ms"] - 36_000) <= 100
    assert len(folder.clips("cover_art_by_mutagen_first_stream.mp4")) >= 1


def test_a_capture_that_begins_between_key_frames_has_clips_from_its_first_picture_on(folder: Folder) -> None:
    name = "capture_begins_between_keyframes_gop_4s.ts"
    found = folder.counters(name)
    assert found
    assert all(np.diff(clip).min() >= 1 for clip in found)
    assert folder.lost_ms(name) > 0


def test_a_clock_that_restarts_loses_no_second_in_silence(folder: Folder) -> None:
    name = "flv_clock_restarts_72s.flv"
    cut = folder.cut(name)
    assert abs(cut["source_ms"] - 72_000) <= 200
    assert len(folder.clips(name)) == 4 or folder.lost_ms(name) >= 35_000


def test_a_recorder_that_was_killed_leaves_what_plays(folder: Folder) -> None:
    name = "flv_recorder_killed_at_25s.flv"
    (clip,) = folder.clips(name)
    assert (clip["start_ms"], clip["end_ms"]) == (0, 16_000)
    assert folder.cut(name)["remainder_ms"] + folder.lost_ms(name) > 0


def test_hdr_is_flagged_and_has_a_rule_or_looks_as_in_sdr(folder: Folder) -> None:
    clips = folder.clips("hdr_pq_hevc_main10.mp4")
    assert clips
    for clip in clips:
        red = corners(folder.frames(clip["clip_id"])[60])[0]
        assert near(red, RED) or "hdr" in clip["flags"]
        assert clip["transfer"] == "smpte2084"


def test_jumps_of_continuity_counters_are_no_damage(folder: Folder) -> None:
    name = "hls_segments_of_ffmpeg_f_segment_joined.ts"
    assert_whole(folder.counters(name))
    assert folder.lost_ms(name) == 0


def test_a_playlist_of_these_segments_gives_the_same_clips(tmp_path: Path, lampworks: Command) -> None:
    site, root = tmp_path / "site", tmp_path / "root"
    site.mkdir()
    data = (CASES / "hls_segments_of_ffmpeg_f_segment_joined.ts").read_bytes()
    for number, part in enumerate(segments(data)):
        (site / f"seg{number:02d}.ts").write_bytes(part)
    shutil.copyfile(CASES / "hls_of_ffmpeg_f_segment.m3u8", site / "list.m3u8")
    with serving(site) as address:
        (tmp_path / "list.txt").write_text(f"{address}/list.m3u8")
        choices = ("--set", "source.allow_private=true", "--set", "source.apply_rules=false", "--select", "+clips")
        lampworks.here("run", "--root", str(root), "--source", f"urls:{tmp_path / 'list.txt'}", *choices)
    found = Folder(root)
    (name,) = found.videos
    assert_whole(found.counters(name))
    assert found.lost_ms(name) == 0


def assert_whole(clips: list[list[int]]) -> None:
    """Check that two clips show frames 0 to 477 and 480 to 957; the file holds every other one of them, or the next."""
    assert len(clips) == 2
    for start, clip in zip((0, 480), clips, strict=True):
        assert np.abs(np.array(clip) - (start + 3 * np.arange(160))).max() <= 1


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def segments(data: bytes) -> list[bytes]:
    """Cut a joined transport stream where each of its segments began: at its tables."""
    packets = [data[place : place + 188] for place in range(0, len(data), 188)]
    starts = [
        number
        for number, packet in enumerate(packets)
        if int.from_bytes(packet[1:3]) & 0x1FFF == 0x11 and packet[3] & 0x0F == 0
    ]
    assert len(starts) == 6, f"{len(starts)} segments"
    ends = [*starts[1:], len(packets)]
    return [b"".join(packets[start:end]) for start, end in zip(starts, ends, strict=True)]


def test_a_display_matrix_mirrors_and_does_not_turn(folder: Folder) -> None:
    clips = folder.clips("mirrored_display_matrix.mov")
    assert clips
    found = corners(folder.frames(clips[0]["clip_id"])[10])
    assert [near(*pair) for pair in zip(found, (RED, GREEN, BLUE, WHITE), strict=True)] == [True] * 4
    counters = folder.counters("mirrored_display_matrix.mov")[0]
    assert counters == sorted(counters), "the counter is not read backwards"
    assert "mirrored" in clips[0]["changes"]


def test_pixels_that_change_their_shape_fill_the_picture_before_and_after(folder: Folder) -> None:
    name = "pixel_aspect_changes_at_18s_of_36s.ts"
    clips = folder.clips(name)
    assert len(clips) == 2
    for clip, frame in ((clips[0], 10), (clips[1], 150)):
        found = corners(folder.frames(clip["clip_id"])[frame])
        assert [near(*pair) for pair in zip(found, (RED, GREEN, BLUE, WHITE), strict=True)] == [True] * 4


def test_a_picture_that_stands_still_for_minutes_costs_no_clip_beside_it(folder: Folder) -> None:
    name = "still_for_700s_in_the_middle.mkv"
    clips = folder.clips(name)
    cut = folder.cut(name)
    folder.lost_ms(name)
    assert cut["source_ms"] >= 700_000
    assert clips[0]["start_ms"] == 0
    assert clips[-1]["end_ms"] > 700_000


def test_a_recording_that_its_sidecar_calls_live_is_kept(folder: Folder) -> None:
    assert folder.videos["sc_live.mp4"]["verdict"] == "kept"
    assert folder.cut("sc_live.mp4")["state"] == "ok"


def test_a_feed_with_a_bare_ampersand_has_its_entries() -> None:
    from pipeline.sources.feeds import feed_entries

    found = feed_entries((CASES / "feed_with_one_bare_ampersand.xml").read_bytes(), "http://127.0.0.1/feed")
    assert [entry["title"] for entry in found] == ["Tom & Jerry", "ok"]
