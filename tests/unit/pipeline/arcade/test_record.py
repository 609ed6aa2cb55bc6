"""Recording: the same bytes by seed, only what is missing, truth that lies on the frames it speaks of."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.arcade.cabinet import GAMES, play_cabinet
from pipeline.arcade.catalog import GOOD, Recording, catalog, media_path
from pipeline.arcade.encode import encode_recording, to_yuv
from pipeline.arcade.record import is_recorded, play, record_arcade, record_one
from pipeline.arcade.scenes import SCENES
from pipeline.arcade.truth import DIRECTIONS, Truth, load_truth, read_truth, true_states, truth_of
from pipeline.config.source import ArcadeConfig
from pipeline.errors import UserError
from pipeline.storage.home import Home
from tests.engines import use_inline_engine


def one(kind: str = GOOD, **changes: object) -> Recording:
    """Return a recording of two seconds at 320x180, 30 FPS."""
    sample = catalog(ArcadeConfig(videos=1, seconds=2))[0]
    return dataclasses.replace(sample, kind=kind, audio=False, **changes)  # type: ignore[arg-type]


def record(folder: Path, recording: Recording) -> Path:
    (folder / "media").mkdir(parents=True, exist_ok=True)
    record_one(folder, recording)
    return media_path(folder, recording)


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    """Return (time, uint8 (90, 160, 3)) of each frame."""
    with av.open(str(path)) as container:
        return [
            (frame.time, frame.reformat(width=160, height=90, format="rgb24", interpolation="AREA").to_ndarray())
            for frame in container.decode(video=0)
        ]


def scrolled(before: np.ndarray, after: np.ndarray) -> int:
    """Return the direction (-1, 0, 1) in which the camera moved between two frames, by the best match."""

    def difference(shift: int) -> float:
        width = before.shape[1] - abs(shift)
        left, right = max(shift, 0), max(-shift, 0)
        a, b = before[:, left : left + width].astype(float), after[:, right : right + width].astype(float)
        return float(np.abs(a - b).mean())

    return int(np.sign(min(range(-12, 13), key=difference)))


STREAMS = {
    "constant rate": {},
    "60 FPS": {"fps": 60},
    "variable rate": {"variable_rate": True},
    "VP9": {"codec": "vp9", "crf": 34},
    "640x360": {"width": 640, "height": 360},
    "mirrored": {"kind": "mirrored"},
}


@pytest.mark.parametrize("stream", STREAMS)
def test_the_frame_at_k_tenths_shows_state_k_whatever_the_stream(stream: str, tmp_path: Path) -> None:
    recording = one(**{"seconds": 4.0, **STREAMS[stream]})  # type: ignore[arg-type]
    shown = frames_of(record(tmp_path, recording))
    on_screen = [[frame for time, frame in shown if time <= k / 10 + 1e-3][-1] for k in range(40)]
    truth = read_truth(tmp_path, recording.native_id)
    assert truth is not None
    assert truth.directions is not None
    assert len(truth.directions) == 40
    seen = [scrolled(a, b) for a, b in itertools.pairwise(on_screen)]
    assert {-1, 0, 1} <= set(seen)
    assert seen == truth.directions[:39].tolist()


def test_a_variable_rate_recording_drops_frames_but_none_that_a_clip_shows(tmp_path: Path) -> None:
    times = [time for time, _ in frames_of(record(tmp_path, one(variable_rate=True)))]
    assert 20 < len(times) < 60
    assert {round(k / 10, 3) for k in range(20)} <= {round(time, 3) for time in times}


@pytest.mark.heavy
def test_workers_do_not_change_a_byte_and_nothing_is_recorded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ArcadeConfig(videos=4, seconds=1)
    record_arcade(config, tmp_path / "2 workers", workers=2)
    use_inline_engine(monkeypatch)
    record_arcade(config, tmp_path / "here", workers=1)
    trees = [
        {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        for folder in (tmp_path / "here", tmp_path / "2 workers")
    ]
    assert trees[0] == trees[1]
    assert len(trees[0]) == 2 * 4 + 1

    # resume: one file is lost, one truth is of another recording
    recordings = catalog(config)
    lost, foreign, *whole = recordings
    folder = tmp_path / "here"
    stamps = {r.native_id: media_path(folder, r).stat().st_mtime_ns for r in recordings}
    media_path(folder, lost).unlink()
    truth = folder / "truth" / f"{foreign.native_id}.json"
    truth.write_text(truth.read_text("utf-8").replace(foreign.fingerprint, "0" * 16), "utf-8")
    assert [is_recorded(folder, r) for r in recordings] == [False, False, True, True]
    lines: list[str] = []
    record_arcade(config, folder, workers=1, on_progress=lines.append)
    assert "2/2 videos" in lines[-1]
    assert {r.native_id: media_path(folder, r).stat().st_mtime_ns for r in whole} == {
        r.native_id: stamps[r.native_id] for r in whole
    }
    assert all(trees[1][path.relative_to(folder)] == path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_folder_that_cannot_be_made_is_the_users_to_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="arcade folder"):
        record_arcade(ArcadeConfig(videos=1, seconds=1), tmp_path / "file" / "arcade", workers=1)


@pytest.mark.parametrize(("extension", "codec"), [("mp4", "h264"), ("webm", "vp9")])
def test_sound_lasts_as_long_as_the_picture(extension: str, codec: str, tmp_path: Path) -> None:
    recording = dataclasses.replace(one(codec=codec), audio=True)
    path = record(tmp_path, recording)
    assert path.suffix == f".{extension}"
    with av.open(str(path)) as container:
        sound = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert sound == pytest.approx(2.0, abs=0.1)
    assert len(frames_of(path)) == 60


def test_colours_survive_encoding_at_twice_the_size(tmp_path: Path) -> None:
    recording = one()
    played = [frame.astype(float) for frame in play(recording)]
    with av.open(str(record(tmp_path, recording))) as container:
        decoded = [
            frame.to_ndarray(format="rgb24").reshape(90, 2, 160, 2, 3).mean((1, 3))
            for frame in container.decode(video=0)
        ]
    error = np.mean([np.square(a - b).mean() for a, b in zip(played, decoded, strict=True)])
    assert 10 * np.log10(255**2 / error) > 38


def test_white_and_black_become_the_ends_of_the_video_range() -> None:
    for value, luma in ((0, 16), (255, 235)):
        planes = to_yuv(np.full((90, 160, 3), value, np.uint8), 320, 180)
        assert planes.shape == (270, 320)
        assert (planes[:180] == luma).all()
        assert (planes[180:] == 128).all()


def test_colours_are_means_of_four_pixels_at_the_frames_own_size() -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    twice = drawn.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(to_yuv(twice, 32, 16), to_yuv(drawn, 32, 16))
    # pixels of a block that differ, with the same mean
    even = np.where((drawn >= 10) & (drawn <= 245), drawn, 128)
    twice = even.repeat(2, 0).repeat(2, 1)
    twice[::2, ::2] += 10
    twice[1::2, 1::2] -= 10
    assert np.array_equal(to_yuv(twice, 32, 16)[16:], to_yuv(even, 32, 16)[16:])


def test_a_frame_that_stands_still_is_encoded_like_any_other(tmp_path: Path) -> None:
    recording = one()
    moving = list(play(recording))[:20]
    frames = [frame for frame in moving for _ in range(3)]
    path = tmp_path / "still.mp4"
    assert encode_recording(frames, recording, path) == 60
    with av.open(str(path)) as container:
        luma = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert len(luma) == 60
    # each is shown in its own place
    for index in (0, 1, 2, 30, 59):
        errors = [np.abs(luma[index].astype(int) - to_yuv(frame, 320, 180)[:180]).mean() for frame in moving]
        assert errors[index // 3] == min(errors)


@pytest.mark.parametrize("kind", sorted(SCENES))
def test_a_scene_is_the_same_every_time_and_has_all_its_frames(kind: str) -> None:
    runs = [list(SCENES[kind](11, 45, 15)) for _ in range(2)]
    assert len(runs[0]) == 45
    assert all(frame.dtype == np.uint8 and frame.shape[2] == 3 for frame in runs[0])
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))
    assert not np.array_equal(runs[0][0], next(iter(SCENES[kind](12, 45, 15)))) or kind == "black_intro"


@pytest.mark.parametrize("game", sorted(GAMES))
def test_a_sample_game_plays_without_display_the_same_every_time(game: str) -> None:
    runs = [list(play_cabinet(game, 5, 40)) for _ in range(2)]
    assert len(runs[0]) == 40
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))
    assert any(not np.array_equal(runs[0][0], frame) for frame in runs[0])


def test_a_game_that_does_not_run_says_why() -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'chess'"):
        list(play_cabinet("chess", 5, 1))


def test_ratings_are_pure_only_for_pure_parts() -> None:
    truth = Truth("id", "black_intro", 50.0, ((0.0, 15.0, 1), (15.0, 50.0, 5)), None, "")
    assert truth.rating(0, 15) == 1
    assert truth.rating(0, 16) in (2,)
    assert truth.rating(10, 26) == 4
    assert truth.rating(16, 32) == 5
    assert truth.rating(48, 64) is None
    assert truth.rating(5, 5) is None
    assert truth.directions is None


def test_each_kind_has_its_rating() -> None:
    ratings = {r.kind: truth_of(r).rating(0, r.seconds) for r in catalog(ArcadeConfig(videos=50))}
    assert ratings[GOOD] == ratings["duplicate"] == ratings["mirrored"] == 5
    assert ratings["menu"] == ratings["shooter"] == ratings["streamer"] == 1
    assert ratings["montage"] == 2
    assert ratings["bundled_platformer"] == 4


def test_truth_is_read_from_a_home_and_absent_where_nothing_was_recorded(tmp_path: Path) -> None:
    home = Home(tmp_path)
    recording = one()
    assert load_truth(home, recording.native_id) is None
    record(home.arcade, recording)
    truth = load_truth(home, recording.native_id)
    assert truth is not None
    assert truth.actions is not None
    assert np.array_equal(truth.actions, truth_of(recording).actions)
    assert truth.fingerprint == recording.fingerprint
    assert truth.seed == recording.seed
    # a file of an older version has no seed
    path = home.arcade / "truth" / f"{recording.native_id}.json"
    values = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({name: value for name, value in values.items() if name not in ("seed", "mirrored")}))
    old = load_truth(home, recording.native_id)
    assert old is not None
    assert np.array_equal(old.actions, truth.actions)
    assert true_states(old) is None


@pytest.mark.parametrize("kind", [GOOD, "duplicate", "mirrored", "menu"])
def test_the_states_of_a_recording_are_those_that_it_shows(kind: str) -> None:
    recording = one(kind)
    states = true_states(truth_of(recording))
    if kind == "menu":
        assert states is None
        return
    assert states is not None
    frames = list(play(recording))[::3]
    part = states.part(5, len(frames) - 5)
    assert part is not None
    for index, frame in enumerate(frames[5:]):
        assert np.array_equal(part.shown(index), frame)
    assert states.part(5, 1000) is None
    # a key that is held from a state on, named as the recording shows it
    actions = truth_of(recording).actions
    assert actions is not None
    assert part.held(0, int(actions[5]), 1).states == part.states[:2]


def test_a_mirrored_copy_has_the_originals_actions_with_left_and_right_exchanged() -> None:
    original, copy = truth_of(one(seconds=20.0)), truth_of(one("mirrored", seconds=20.0))
    assert original.directions is not None
    assert copy.directions is not None
    assert np.array_equal(original.directions, -copy.directions)
    assert DIRECTIONS.tolist() == [0, -1, 1, 0, -1, 1]
