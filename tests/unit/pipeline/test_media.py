"""Odd media end as one error of this program, whatever PyAV raises on them; what can be done is said."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.clips.decode import open_video
from pipeline.clips.thumbnail import frame_at_a_third
from pipeline.config import ClipConfig
from pipeline.download.verify import verify_media
from pipeline.errors import PermanentError
from pipeline.footage.stream import video_stream
from pipeline.media import open_media, reading_media
from pipeline.workers.engine import LocalEngine
from tests.media import run_ffmpeg
from tests.odd_media import odd_files, small_videos

CLIPS = ClipConfig(seconds=2, fps=8, width=64, height=48)
ODD = [
    *(f"unknown-codec.{suffix}" for suffix in ("mp4", "mkv", "webm", "avi", "wmv")),
]
PLAY = [*(f"latin-1-title.{suffix}" for suffix in ("mp4", "mkv", "flv", "webm", "avi")), "late-stream.flv"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return small_videos(tmp_path_factory.mktemp("whole"))


def cut(path: Path) -> int:
    return sum(1 for _ in open_video(path, CLIPS).clips())


def test_each_odd_file_has_its_case(whole: dict[str, bytes]) -> None:
    assert sorted(odd_files(whole)) == sorted(ODD + PLAY)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize(
    ("read", "classes"),
    [
        (verify_media, {"invalid_media"}),
        (frame_at_a_third, {"invalid_media"}),
        (cut, {"decode_error", "no_video"}),
    ],
    ids=["verify", "thumbnail", "cut"],
)
def test_an_odd_file_has_an_error_class(
    tmp_path: Path, whole: dict[str, bytes], name: str, read: Callable[[Path], object], classes: set[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(odd_files(whole)[name])
    with pytest.raises(PermanentError) as caught:
        read(path)
    assert caught.value.error_class in classes
    assert str(path) not in str(caught.value)


@pytest.mark.parametrize("name", PLAY)
def test_tags_in_another_encoding_and_a_stream_that_appears_late_cost_nothing(
    tmp_path: Path, whole: dict[str, bytes], name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(odd_files(whole)[name])
    assert verify_media(path).duration_s == pytest.approx(8, abs=0.2)
    assert frame_at_a_third(path) is not None
    assert cut(path) == 4


def read_all(item: tuple[str, bytes], folder: str) -> list[str]:
    """Return the types of all errors that escape on one file."""
    name, data = item
    path = Path(folder, name)
    path.write_bytes(data)
    found = []
    for read in (verify_media, cut, frame_at_a_third):
        try:
            read(path)
        except (PermanentError, MemoryError):
            continue
        except Exception as error:  # whatever escapes is what the test is about
            found.append(f"{read.__name__}: {type(error).__name__}: {error}")
    return found


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Return a file with some bytes changed, removed or repeated, mostly in its header or its index."""
    result = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        start, stop = rng.choice([(0, 1500), (len(result) - 1500, len(result)), (0, len(result))])
        place = rng.randrange(max(start, 0), max(min(stop, len(result)), 1))
        length = rng.randrange(1, 9)
        match rng.randrange(4):
            case 0:
                result[place : place + length] = rng.randbytes(length)
            case 1:
                result[place : place + length] = rng.choice([b"\x00", b"\x7f", b"\x80", b"\xff"]) * length
            case 2:
                del result[place : place + 4 * length]
            case _:
                result[place:place] = result[place : place + 4 * length]
    return bytes(result) or b"\0"


@pytest.mark.heavy
def test_no_damage_to_a_file_raises_any_other_error(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(7)
    names = sorted(whole)
    items = [(f"{number}.{name}", damaged(rng, whole[name])) for number, name in enumerate(names * 20)]
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import test_media  # by this name a worker finds it

    engine = LocalEngine(1, max_attempts=1, deadline_s=60, memory_mb=1024)
    # a worker that dies or is ended at a limit is held by the engine
    results = list(engine.run(partial(test_media.read_all, folder=str(tmp_path)), items))
    assert len(results) == len(items)
    assert [found for (_, outcome) in results if outcome.ok for found in outcome.value] == []
    assert sum(outcome.ok for _, outcome in results) > len(items) * 0.9


@pytest.mark.parametrize(
    "error", [IndexError("x"), AttributeError("x"), OverflowError("x"), ZeroDivisionError("x"), TypeError("x")]
)
def test_any_type_of_python_is_the_fault_of_the_file(error: Exception) -> None:
    said = rf"PyAV cannot read it \({type(error).__name__}: x\)"
    with pytest.raises(PermanentError, match=said), reading_media("invalid_media"):
        raise error


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error"), AssertionError("ours")])
def test_a_fault_of_the_machine_or_of_this_program_is_none_of_the_file(error: Exception) -> None:
    with pytest.raises(type(error)), reading_media("invalid_media"):
        raise error


def test_a_file_that_this_user_may_not_read_is_no_invalid_media(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="No such file"),
        reading_media("invalid_media"),
        open_media(tmp_path / "gone.mp4"),
    ):
        pass


def test_a_cover_picture_is_no_video(tmp_path: Path, whole: dict[str, bytes]) -> None:
    sound, cover = tmp_path / "sound.mp4", tmp_path / "cover.jpg"
    run_ffmpeg("-f", "lavfi", "-i", "color=size=64x64", "-frames:v", "1", cover)
    tone = ("-f", "lavfi", "-i", "sine=duration=1")
    run_ffmpeg(*tone, "-i", cover, "-map", "0", "-map", "1", "-c:v", "mjpeg", "-disposition:v", "attached_pic", sound)
    with pytest.raises(PermanentError, match="no video stream"), open_media(sound) as container:
        video_stream(container, "invalid_media")
