"""A label is of the picture that its clip showed: it stays where the file changed and the picture did not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.same_picture import same_picture
from pipeline.download.batch import download_batch
from pipeline.inspect.status import status
from pipeline.inspect.status_text import format_status
from pipeline.inspect.why import why
from pipeline.inspect.why_text import format_why
from pipeline.label_events import load_labels
from pipeline.storage.store import Store
from tests.folders import Folder, play
from tests.media import run_ffmpeg, video_bytes

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def folder(store: Store, tmp_path: Path) -> Folder:
    found = Folder(store, tmp_path / "videos")
    found.write(1, 4)
    found.collect()
    return found


def clip_ids(folder: Folder) -> list[str]:
    return sorted(folder.store.read("clips", ["clip_id"])["clip_id"].to_pylist())


def rate(folder: Folder, name: str, rating: int = 5, **event: Any) -> None:
    """Append a rating of a clip, as the page or an import does."""
    moment = event.pop("labelled_at", datetime.now(UTC))
    row = {"event_id": name, "rating": rating, "kind": "rate", "annotator": "ann", "labelled_at": moment, **event}
    folder.store.append("labels", [row])


def ratings(folder: Folder) -> dict[str, int]:
    return dict(load_labels(folder.store, folder.config).ratings)


@pytest.mark.slow
def test_the_labels_of_a_recording_that_grew_stay(folder: Folder) -> None:
    first, second = clip_ids(folder)
    rate(folder, "a", 5, clip_id=first)
    rate(folder, "b", 1, clip_id=second)
    folder.write(1, 6)
    folder.collect()
    assert ratings(folder) == {first: 5, second: 1}
    assert len(folder.store.read("replaced")) == 0


def test_another_picture_under_the_same_id_inherits_no_label_and_that_is_said(folder: Folder) -> None:
    first, second = clip_ids(folder)
    rate(folder, "a", 5, clip_id=first)
    folder.write(2, 4)
    folder.collect()
    assert clip_ids(folder) == [first, second]
    assert ratings(folder) == {}
    assert {row["same_picture"] for row in folder.store.read("replaced").to_pylist()} == {False}
    shown = format_status(status(folder.store, folder.config))
    assert "1 clips show another picture than the one that was rated" in shown
    told = format_why(why(folder.store, folder.config, first))
    assert "of an earlier picture of this clip, so it does not count" in told
    assert "by another picture, as its file changed" in told
    # a new rating counts, and the old one again once the old file is back
    rate(folder, "b", 2, clip_id=first, annotator="ben")
    assert ratings(folder) == {first: 2}
    folder.write(1, 4)
    folder.collect()
    assert ratings(folder) == {first: 5}
    assert status(folder.store, folder.config).labels.left_behind == 0


def test_a_recording_that_was_encoded_again_keeps_its_labels(folder: Folder) -> None:
    first, _ = clip_ids(folder)
    rate(folder, "a", 4, clip_id=first)
    path = folder.folder / "level.mp4"
    run_ffmpeg("-i", path, "-c:v", "libx264", "-crf", "26", folder.folder / "again.mp4")
    (folder.folder / "again.mp4").replace(path)
    folder.touch()
    before = folder.clips()
    folder.collect()
    assert set(folder.clips().values()).isdisjoint(before.values())
    assert ratings(folder) == {first: 4}
    assert {row["same_picture"] for row in folder.store.read("replaced").to_pylist()} == {True}
    # and again, and then by another picture
    folder.write(1, 4)
    folder.collect()
    assert ratings(folder) == {first: 4}
    folder.write(2, 4)
    folder.collect()
    assert ratings(folder) == {}


@pytest.mark.slow
def test_a_clip_that_was_gone_for_a_while_keeps_its_label_if_it_comes_back_as_it_was(folder: Folder) -> None:
    first, second = clip_ids(folder)
    rate(folder, "a", 4, clip_id=second)
    folder.write(1, 2)
    folder.collect()
    assert (clip_ids(folder), ratings(folder)) == ([first], {})
    assert "does not reach that far" in format_why({**_clip_of(folder, first), "replaced": _replaced(folder)})
    folder.write(2, 4)
    folder.collect()
    assert ratings(folder) == {}
    folder.write(1, 4)
    folder.collect()
    assert ratings(folder) == {second: 4}


def _clip_of(folder: Folder, clip_id: str) -> dict[str, Any]:
    return why(folder.store, folder.config, clip_id)


def _replaced(folder: Folder) -> list[dict[str, Any]]:
    return [{**row, "replaced_at": str(row["replaced_at"])} for row in folder.store.read("replaced").to_pylist()]


@pytest.mark.slow
def test_a_label_by_the_name_of_a_video_is_of_its_recording(folder: Folder) -> None:
    first, second = clip_ids(folder)
    rate(folder, "whole", 3, video="level.mp4")
    rate(folder, "later", 5, video="level.mp4", start_s=4.0, annotator="ben")
    assert ratings(folder) == {first: 3, second: 3}
    folder.write(1, 6)
    folder.collect()
    third = clip_ids(folder)[2]
    assert ratings(folder) == {first: 3, second: 3, third: 4}  # of 3 and 5
    folder.write(2, 8)
    folder.collect()
    assert len(clip_ids(folder)) == 4
    assert ratings(folder) == {}


@pytest.mark.slow
def test_a_label_of_the_page_that_is_synced_after_the_replacement_is_of_the_earlier_picture(folder: Folder) -> None:
    first, _ = clip_ids(folder)
    before = datetime.now(UTC)
    folder.write(2, 4)
    folder.collect()
    rate(folder, "a", 5, clip_id=first, labelled_at=before)
    assert ratings(folder) == {}
    rate(folder, "b", 1, clip_id=first, labelled_at=datetime.now(UTC) + timedelta(seconds=1))
    assert ratings(folder) == {first: 1}


@pytest.mark.slow
def test_a_run_that_is_killed_before_the_new_clips_are_there_costs_no_label(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = clip_ids(folder)
    rate(folder, "a", 5, clip_id=first)
    folder.write(2, 4)
    folder.search()
    download_batch(folder.job())

    def killed(self: Store, name: str, *given: Any, **how: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            cut_batch(folder.job())
    assert len(folder.store.read("replaced")) == 2
    assert ratings(folder) == {first: 5}
    folder.collect()
    assert ratings(folder) == {}


def test_a_small_figure_that_stands_elsewhere_is_another_picture_and_a_re_encode_is_not() -> None:
    level = [*play(1, 2)]
    other = [frame.copy() for frame in level]
    other[13][30:38, 40:48] = 255 - other[13][30:38, 40:48]  # 8 x 8 pixels of one frame
    options = [{"preset": "veryfast", "crf": crf} for crf in ("18", "28")]
    first, again = (video_bytes(level, fps=10, options=some) for some in options)
    assert same_picture(first, again)
    assert not same_picture(first, video_bytes(other, fps=10, options=options[0]))
    assert not same_picture(first, video_bytes(level[:-1], fps=10, options=options[0]))
    assert not same_picture(first, b"no video")
    assert not same_picture(first, video_bytes([np.pad(frame, ((0, 2), (0, 0), (0, 0))) for frame in level], fps=10))
