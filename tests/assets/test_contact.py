"""A contact sheet shows the videos of a batch, names them, and loses those that are taken down."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.report.contact_sheets import MOST_PICTURES, draw_sheet, sheet_about, sheet_key, withdraw_sheets
from pipeline.config import Config, EngineConfig, preset
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown

BATCH = "2026w47-0001"
WIDTH, HEIGHT, GAP = 128, 72, 2
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 220), "white": (240, 240, 240)}


@pytest.fixture
def config() -> Config:
    return replace(preset("demo"), engine=EngineConfig(workers=1))


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> dict[str, Path]:
    """A video per colour: its first half second is black, as an opening is."""
    folder = tmp_path_factory.mktemp("coloured")
    made = {}
    for name, colour in COLOURS.items():
        frames = np.zeros((30, 90, 160, 3), np.uint8)
        frames[5:] = colour
        made[name] = make_video(folder / f"{name}.mp4", frames, fps=10)
    return made


def put(store: Store, files: Mapping[str, Path], batch: str = BATCH) -> None:
    """Leave videos (id -> file) as a download does."""
    keys = {video_id: f"raw/{batch}/{video_id}.mp4" for video_id in files}
    for video_id, file in files.items():
        store.put_file(keys[video_id], file)
    common = {"source": "folder", "verdict": "kept", "batch": batch}
    store.append("videos", [{"video_id": name, "channel_id": f"c-{name}", **common} for name in files])
    attempt = {"batch": batch, "attempt": 1, "state": "ok", "duration_s": 3.0, "finished_at": datetime.now(UTC)}
    store.append(
        "downloads",
        [
            {"attempt_id": name, "video_id": name, "path": keys[name], "sha256": f"hash-{name}", **attempt}
            for name in files
        ],
    )


def shown(store: Store, batch: str = BATCH) -> dict[str, str]:
    """Return video id -> the name of the colour in the middle of its picture."""
    with Image.open(io.BytesIO(store.read_blob(sheet_key(batch)))) as picture:
        sheet = np.asarray(picture).astype(int)
    found = {}
    for place, video in enumerate(sheet_about(store, batch)["shown"]):
        top, left = place // 6 * (HEIGHT + GAP), place % 6 * (WIDTH + GAP)
        pixel = sheet[top + HEIGHT // 2, left + WIDTH // 2]
        found[video] = min(COLOURS, key=lambda name: np.abs(pixel - COLOURS[name]).sum())
        assert np.abs(pixel - COLOURS[found[video]]).max() < 40, (video, pixel)
    return found


@pytest.mark.usefixtures("inline")
def test_each_video_is_shown_by_a_frame_behind_its_opening_and_named_beside_the_picture(
    store: Store, config: Config, coloured: dict[str, Path]
) -> None:
    put(store, {f"folder-{name}": file for name, file in coloured.items()})
    assert draw_sheet(store, config, BATCH) == f"reports/contact/{BATCH}.jpg"
    assert shown(store) == {f"folder-{name}": name for name in coloured}


@pytest.mark.usefixtures("inline")
def test_a_sheet_is_written_again_only_when_its_videos_change(
    store: Store, config: Config, coloured: dict[str, Path]
) -> None:
    put(store, {"folder-a": coloured["red"]})
    draw_sheet(store, config, BATCH)
    files = [Path(store.url(sheet_key(BATCH))), Path(store.url(sheet_key(BATCH))).with_suffix(".json")]
    before = [(file.stat().st_mtime_ns, file.read_bytes()) for file in files]
    draw_sheet(store, config, BATCH)
    assert [(file.stat().st_mtime_ns, file.read_bytes()) for file in files] == before
    put(store, {"folder-b": coloured["green"]})
    draw_sheet(store, config, BATCH)
    assert shown(store) == {"folder-a": "red", "folder-b": "green"}
    files[0].write_bytes(b"cut off")
    draw_sheet(store, config, BATCH)
    assert len(shown(store)) == 2


@pytest.mark.usefixtures("inline")
def test_the_same_videos_are_chosen_whatever_their_order_and_most_stay_as_the_batch_grows(
    store: Store, tmp_path: Path, config: Config, coloured: dict[str, Path]
) -> None:
    names = [f"folder-{number:03d}" for number in range(40)]
    other = Store(tmp_path / "other")
    for one, order in ((store, names), (other, names[::-1])):
        put(one, dict.fromkeys(order, coloured["blue"]))
        draw_sheet(one, config, BATCH)
    assert store.read_blob(sheet_key(BATCH)) == other.read_blob(sheet_key(BATCH))
    before = sheet_about(store, BATCH)["shown"]
    assert len(before) == MOST_PICTURES
    put(store, {"folder-late": coloured["red"]})
    draw_sheet(store, config, BATCH)
    assert len(set(before) - set(sheet_about(store, BATCH)["shown"])) <= 1


@pytest.mark.usefixtures("inline")
def test_a_video_that_is_taken_down_leaves_the_sheet_and_an_empty_sheet_goes(
    store: Store, config: Config, coloured: dict[str, Path]
) -> None:
    put(store, {"folder-a": coloured["red"]})
    put(store, {"folder-b": coloured["green"]})
    put(store, {"folder-c": coloured["blue"]}, batch="2026w47-0002")
    for batch in (BATCH, "2026w47-0002"):
        draw_sheet(store, config, batch)
    assert withdraw_sheets(store, config) == []
    request_takedown(store, "channel", "c-folder-a", "asked by its owner")
    assert withdraw_sheets(store, config) == [BATCH]
    assert shown(store) == {"folder-b": "green"}
    assert shown(store, "2026w47-0002") == {"folder-c": "blue"}
    request_takedown(store, "video", "folder-b", "asked by its owner")
    assert withdraw_sheets(store, config) == [BATCH]
    assert store.list_blobs("reports/contact") == [f"reports/contact/2026w47-0002.{kind}" for kind in ("jpg", "json")]
    assert withdraw_sheets(store, config) == []


def test_a_file_that_cannot_be_decoded_costs_its_own_picture(
    store: Store, config: Config, coloured: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\x00" * 5000)
    put(store, {"folder-a": broken})
    put(store, {"folder-b": coloured["white"]})
    assert draw_sheet(store, config, BATCH)
    assert shown(store) == {"folder-b": "white"}


def test_a_batch_without_a_file_has_no_sheet(store: Store, config: Config) -> None:
    store.append("videos", [{"video_id": "a", "source": "folder", "verdict": "kept", "batch": BATCH}])
    assert draw_sheet(store, config, BATCH) is None
    assert store.list_blobs("reports") == []


@pytest.mark.usefixtures("inline")
def test_a_spoilt_list_of_names_is_drawn_anew(store: Store, config: Config, coloured: dict[str, Path]) -> None:
    put(store, {"folder-a": coloured["red"]})
    store.write_blob(f"reports/contact/{BATCH}.json", b"[not a list")
    draw_sheet(store, config, BATCH)
    assert json.loads(store.read_blob(f"reports/contact/{BATCH}.json"))["shown"] == ["folder-a"]
