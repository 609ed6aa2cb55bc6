"""A recording that was taken down is gone, and is not made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.arcade.catalog import Recording, catalog, media_path, read_catalog, write_catalog
from pipeline.arcade.record import record_arcade
from pipeline.arcade.removal import remove_recordings
from pipeline.arcade.truth import truth_of, write_truth
from pipeline.config import ArcadeConfig
from tests.grep import find_bytes

CONFIG = ArcadeConfig(videos=4, seconds=2.0)


def write_stand_ins(folder: Path, recordings: list[Recording]) -> None:
    """Write what a complete folder has, with a few bytes in place of each video."""
    for name in ("media", "truth", "thumbnails", "rungs"):
        (folder / name).mkdir(parents=True)
    for recording in recordings:
        media_path(folder, recording).write_bytes(b"video")
        (folder / "thumbnails" / f"{recording.native_id}-{recording.fingerprint}.jpg").write_bytes(b"picture")
        (folder / "rungs" / f"{recording.native_id}_144p-{recording.fingerprint}.mp4").write_bytes(b"small")
        write_truth(folder, truth_of(recording))
    write_catalog(folder, recordings)


def test_a_recording_that_was_taken_down_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = catalog(CONFIG)
    write_stand_ins(tmp_path, recordings)
    gone, *others = recordings
    assert len(remove_recordings(tmp_path, {gone.native_id})) == 4
    assert find_bytes(tmp_path, [gone.native_id.encode(), gone.title.encode()]) == []
    monkeypatch.setattr("pipeline.arcade.record.make_engine", pytest.fail)
    assert record_arcade(CONFIG, tmp_path) == others == read_catalog(tmp_path)
    assert all(media_path(tmp_path, recording).exists() for recording in others)
    assert remove_recordings(tmp_path, {gone.native_id}) == []


def test_a_folder_that_is_no_arcade_stays_as_it_is(tmp_path: Path) -> None:
    assert remove_recordings(tmp_path, {"a"}) == []
    assert list(tmp_path.iterdir()) == []
