"""Whether a file's footage is in a store: copies with their shift, look-alikes, and nothing for strangers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pipeline.clip_spec import clip_spec
from pipeline.clips.find_copies import FileClip, Match, find_copies_of, looks_of_file
from pipeline.clips.hashes import look_of
from pipeline.config import ClipConfig, Config
from pipeline.ids import clip_id_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.media import write_video
from tests.plays import Luma, fixed_camera, scrolling, second_encode

CONFIG = Config()


def fill(store: Store, films: dict[str, Luma], config: Config = CONFIG) -> None:
    """Put the clips of films in a store, a video each."""
    spec = clip_spec(config.clips)
    for name, film in films.items():
        shared = {"video_id": name, "batch": "2026w47-0001", "clip_spec": spec, "source_sha256": "0"}
        rows = [
            shared | {"clip_id": clip_id_of(name, look.start_ms, spec)} | vars(look) for look in looks(film, config)
        ]
        store.append("videos", [{"video_id": name, "batch": "2026w47-0001", "channel_id": None}])
        store.append("clips", rows)
        store.append("clippings", [shared | {"state": "ok", "num_clips": len(rows)}])


def looks(film: Luma, config: Config = CONFIG) -> list[FileClip]:
    size, fps = config.clips.num_frames, config.clips.fps
    starts = range(0, len(film) - size + 1, size)
    return [FileClip(start * 1000 // fps, **vars(look_of(film[start : start + size], fps))) for start in starts]


def found(store: Store, film: Luma) -> list[tuple[int, str, str, bool, int]]:
    return [
        (match.start_ms // 1000, match.clip_id.rsplit("-", 1)[0], match.kind, match.mirrored, match.shift_ms)
        for match in find_copies_of(store, CONFIG, looks(film))
    ]


@pytest.fixture(scope="module")
def films() -> dict[str, Luma]:
    return {
        "v-a": scrolling(1, 480),
        "v-b": scrolling(2, 320),
        "v-c": fixed_camera(1, 320),
        "v-d": fixed_camera(2, 320),
    }


def test_a_file_that_begins_elsewhere_and_is_mirrored_is_found(store: Store, films: dict[str, Luma]) -> None:
    fill(store, films)
    assert found(store, second_encode(films["v-a"])[32:, :, ::-1]) == [
        (0, "v-a-000000000", "copy", True, 3200),
        (16, "v-a-000016000", "copy", True, 3200),
    ]


def test_another_play_of_one_screen_is_called_a_look_alike(store: Store, films: dict[str, Luma]) -> None:
    fill(store, films)
    kinds = {(name[:3], kind) for _, name, kind, _, _ in found(store, fixed_camera(3, 160))}
    assert kinds == {("v-c", "look-alike"), ("v-d", "look-alike")}
    assert [kind for *_, kind, _, _ in found(store, second_encode(films["v-c"][:160]))] == ["copy"]


def test_nothing_is_found_of_a_stranger_nor_of_what_was_taken_down(store: Store, films: dict[str, Luma]) -> None:
    fill(store, films)
    assert found(store, scrolling(9, 160, level=9)) == []
    assert found(store, scrolling(9, 100, level=9)) == [], "shorter than a clip"
    request_takedown(store, "video", "v-a", "asked by the owner")
    assert found(store, films["v-a"]) == []


def test_a_real_file_is_compared_with_the_clips_as_they_were_cut(store: Store, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, clips=ClipConfig(seconds=8))
    film = fixed_camera(5, 80)
    fill(store, {"v-a": film, "v-b": fixed_camera(6, 80)}, config)
    pictures = np.repeat(np.repeat(film, 2, axis=1), 2, axis=2)[..., None].repeat(3, axis=3)
    path = write_video(tmp_path / "mine.mp4", pictures, fps=10, options={"preset": "ultrafast", "crf": "30"})
    mine = looks_of_file(path, config)
    assert [look.start_ms for look in mine] == [0]
    (match,) = find_copies_of(store, config, mine)
    assert match == Match(0, clip_id_of("v-a", 0, clip_spec(config.clips)), "copy", mirrored=False, shift_ms=0)
