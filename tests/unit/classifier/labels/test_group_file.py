"""A file says which videos belong together; its rows name them as files of labels do."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier.labels.group_file import read_groups
from pipeline.errors import UserError
from pipeline.storage.store import Store

VIDEOS = ("runs/a.mp4", "b.webm", "more/c.mp4", "twice/d.mp4", "again/d.mp4")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with five videos of a folder, `folder-0` to `folder-4`; no test may write to it."""
    store = Store(tmp_path_factory.mktemp("root"))
    rows = [
        {"video_id": f"folder-{number}", "source": "folder", "native_id": path, "url": path, "verdict": "kept"}
        for number, path in enumerate(VIDEOS)
    ]  # fmt: skip
    store.append("videos", rows)
    return store


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.jsonl", '{"id": "x1", "file": "videos/a.mp4", "game": "fox", "tags": ["p", "q"]}\n'
                    '{"id": "x2", "file": "b.webm", "game": "fox"}\n{"id": "c", "file": "", "game": "owl"}\n'),
        ("m.json", '[{"video": "a", "game": "fox"}, {"video": "b.webm", "game": "fox"}, '
                   '{"video": "c", "game": "owl"}]'),
        ("m.csv", "Video,Game\na.mp4,fox\nfolder-1,fox\nC:\\films\\c.mp4,owl\n"),
        ("m.csv", "\ufefffilename;year;game\r\nruns/a.mp4;2020;fox\r\nb.webm;;fox\r\nc.mp4;1;owl\r\n"),
    ],
    ids=["JSON lines", "JSON", "CSV", "CSV of a spreadsheet"],
)  # fmt: skip
def test_videos_get_the_group_of_their_row(videos: Store, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = read_groups(videos, f"{tmp_path / name}:game")
    assert found.groups == {"folder-0": "fox", "folder-1": "fox", "folder-2": "owl"}
    assert found.note() == "2 groups, 3 videos with a group"


def test_rows_without_a_video_and_videos_without_a_group_are_counted(videos: Store, tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_text("file,game\na.mp4,fox\nelsewhere.mp4,fox\ngone.mp4,owl\nb.webm,\nb.webm,\n")
    assert read_groups(videos, f"{file}:game").note() == (
        "1 groups, 1 videos with a group, 1 videos without one, 2 rows that name no video of this root"
    )


@pytest.mark.parametrize(
    ("spec", "text", "told"),
    [
        ("m.csv", "file,game\na.mp4,fox\n", "write FILE:FIELD"),
        ("absent.csv:game", "", "group file .*absent.csv' cannot be read"),
        ("m.csv:title", "file,game\na.mp4,fox\n", "group file 'm.csv' has no field 'title'; it has 'file', 'game'"),
        ("m.csv:game", "run,game\na.mp4,fox\n", "names no videos: it has 'run', 'game'; one of video_id, video, file"),
        ("m.csv:game", "file,game\nx.mp4,fox\n", "none of its 1 rows gives a video of this root a group"),
        ("m.csv:game", "file,game\nd.mp4,fox\n", "line 2: 'd.mp4' is the name of 2 videos"),
        ("m.csv:game", "file,game\na.mp4,fox\na.mp4,owl\n", "line 3: video folder-0 is in two groups, 'fox' and 'owl'"),
        ("m.jsonl:game", '{"file": "a.mp4", "game": "fox"}\n{', "group file 'm.jsonl', line 2: not JSON"),
        ("m.csv:game", "", "group file 'm.csv' has no field 'game'; it has no fields"),
    ],
)
def test_a_file_that_gives_no_groups_is_refused_with_what_is_wrong(
    videos: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, text: str, told: str
) -> None:
    (tmp_path / spec.partition(":")[0].replace("absent", "other")).write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        read_groups(videos, spec)
