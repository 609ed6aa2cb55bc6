"""An ending that videos share with other files decides nothing: the first bytes do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.sources.endings import HEAD_BYTES, is_other_content, is_transport_stream
from pipeline.sources.folder import FolderSource
from pipeline.storage.store import Store
from tests.media import run_ffmpeg

TYPESCRIPT = b"// Game\nimport { Player } from './player';\n\nexport function jump(player: Player) {}\n"


def packets(distance: int, ahead: int = 0, count: int = 12) -> bytes:
    packet = b"\x47\x40\x11\x10" + bytes(184)
    return bytes(ahead) + b"".join(packet + b"\xff" * (distance - 188) for _ in range(count))


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The beginnings of real files, as ffmpeg writes them."""
    folder = tmp_path_factory.mktemp("streams")
    found = {}
    for name, options in {
        "a.ts": ["-f", "mpegts"], "a.m2ts": ["-f", "mpegts", "-mpegts_m2ts_mode", "1"], "a.vob": ["-f", "vob"],
        "a.mpg": ["-f", "mpeg"], "a.vcd.dat": ["-f", "vcd"], "a.m2v": ["-f", "mpeg2video"], "a.mod": ["-f", "dvd"],
    }.items():  # fmt: skip
        run_ffmpeg(
            "-f", "lavfi", "-i", "color=red:s=64x36:d=1", "-c:v", "mpeg2video", "-b:v", "200k", *options, folder / name
        )
        found[name] = (folder / name).read_bytes()[:HEAD_BYTES]
    return found


def test_every_kind_of_mpeg_is_a_video(streams: dict[str, bytes]) -> None:
    for name, head in streams.items():
        assert not is_other_content(Path(name).suffix, head), name
    assert is_transport_stream(streams["a.ts"])
    assert is_transport_stream(streams["a.m2ts"])
    assert not is_transport_stream(streams["a.vob"])


@pytest.mark.parametrize("distance", [188, 192, 204])
@pytest.mark.parametrize("ahead", [0, 4, 101])
def test_packets_of_a_transport_stream_are_found_at_any_distance_and_offset(distance: int, ahead: int) -> None:
    assert is_transport_stream(packets(distance, ahead))
    assert not is_other_content(".dat", packets(distance, ahead))


@pytest.mark.parametrize(
    "content",
    [
        TYPESCRIPT, TYPESCRIPT * 100, "\ufeff// Größe\n".encode() * 300, b"<?xml version='1.0'?>\n<TS>",
        "export {}".encode("utf-16"), "// café".encode("latin-1"), b"G" * 5000, b"const G = 'G';\n" * 400,
    ],
    ids=["short", "long", "utf-8", "Qt", "utf-16", "latin", "sync bytes", "words"],
)  # fmt: skip
def test_text_is_no_video_whatever_its_ending(content: bytes) -> None:
    for ending in (".ts", ".mts", ".m2ts", ".vob", ".mpg", ".mpeg", ".dat", ".mod", ".tod"):
        if content != b"G" * 5000:
            assert is_other_content(ending, content[:HEAD_BYTES]), ending
    # a web page named .mp4 was meant to be a video: its download says what it is
    assert not is_other_content(".mp4", content)


def test_data_is_no_video_under_an_ending_that_anything_has_and_one_under_an_ending_of_videos() -> None:
    data = bytes(range(256)) * 16
    assert is_other_content(".dat", data)
    assert is_other_content(".mod", data)
    assert is_other_content(".dat", b"")
    assert not is_other_content(".ts", data)  # its download says what is wrong with it
    assert not is_other_content(".ts", b"")


def test_a_folder_with_code_in_it_offers_its_videos_and_counts_the_rest(
    tmp_path: Path, streams: dict[str, bytes]
) -> None:
    (tmp_path / "src").mkdir()
    for number in range(30):
        (tmp_path / "src" / f"{number}.ts").write_bytes(TYPESCRIPT)
    (tmp_path / "src" / "go.mod").write_text("module game\n")
    (tmp_path / "AVSEQ01.DAT").write_bytes(streams["a.vcd.dat"])
    (tmp_path / "level.ts").write_bytes(streams["a.ts"])
    source = FolderSource(tmp_path)
    assert [one.native_id for one in source.search()] == ["AVSEQ01.DAT", "level.ts"]
    assert source.notes == ["31 files not read: 30 .ts (no video by their content), 1 .mod (no video by its content)"]


def test_a_prefix_of_an_object_store_counts_likewise(s3_options: dict[str, str], streams: dict[str, bytes]) -> None:
    store = Store("s3://lampworks-test/endings", s3_options)
    for name, content in {"a.ts": streams["a.ts"], "b.ts": TYPESCRIPT, "c.nfo": b"x", ".d.mp4": b"x"}.items():
        store.write_blob(name, content)
    source = FolderSource("s3://lampworks-test/endings", s3_options)
    (found,) = source.search()
    assert (found.native_id, found.size_bytes) == ("a.ts", len(streams["a.ts"]))
    assert found.etag
    assert source.notes == [
        "2 files not read: 1 .nfo, 1 .ts (no video by its content); and 1 hidden (the name begins with a dot)"
    ]
