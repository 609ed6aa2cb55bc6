"""`lampworks why FILE`: the answer to "am I in it?" for a file of one's own."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from assets.cli.main import main
from assets.settings import Settings, save_config
from pipeline.storage.arrow import pc
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.laws.stages import World
from tests.media import write_video

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which every stage ran, and that remembers its configuration."""
    folder = tmp_path_factory.mktemp("why") / "root"
    shutil.copytree(world.finished.root, folder)
    store = Store(folder)
    save_config(Settings(store, dataclasses.replace(world.config), home_of(store)))
    return folder


def ask(root: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    code = main(["why", str(file), "--json", "--root", str(root)])
    return code, json.loads(capsys.readouterr().out)


def test_a_file_is_found_by_its_bytes(world: World, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, video_id = Store(root), world.video("train")
    mine = pc.field("video_id") == video_id
    raw = store.read("downloads", ["path"], mine)["path"].to_pylist()[0]
    code, found = ask(root, Path(store.url(raw)), capsys)
    assert (code, found["same_bytes"]) == (0, [video_id])
    assert main(["why", store.url(raw), "--root", str(root)]) == 0
    told = capsys.readouterr().out
    assert f"same bytes  {video_id}" in told
    assert "trained or evaluated" in told


def test_a_second_encode_is_found_by_its_pictures(
    world: World, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.laws.stages import _level

    frames = np.clip(_level(2).astype(int) - 3, 0, 255).astype(np.uint8)
    code, found = ask(root, write_video(tmp_path / "mine.mp4", frames, fps=10, options={"crf": "32"}), capsys)
    native = next(video_id for video_id, name in world.native.items() if name == "level-2.mp4")
    assert code == 0
    assert found["same_bytes"] == []
    matches = found["matches"]
    assert isinstance(matches, list)
    assert {match["video_id"] for match in matches} == {native}
    assert main(["why", str(tmp_path / "mine.mp4"), "--root", str(root)]) == 0
    assert f"of {native}-" in capsys.readouterr().out


def test_a_stranger_is_not_in_it(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.laws.stages import _level

    code, found = ask(root, write_video(tmp_path / "other.mp4", _level(77), fps=10), capsys)
    assert (code, found["kind"]) == (1, "none")
    assert "neither its bytes nor what its 2 clips show" in str(found["message"])
    short = write_video(tmp_path / "short.mp4", _level(78)[:9], fps=10)
    assert main(["why", str(short), "--root", str(root)]) == 1
    assert "shorter than a clip (2 s)" in capsys.readouterr().out


def test_a_file_that_is_no_video_is_an_error(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    assert main(["why", str(tmp_path / "notes.mp4"), "--root", str(root)]) == 2
    assert "cannot be looked for" in capsys.readouterr().err
