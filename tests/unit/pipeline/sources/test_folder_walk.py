"""A folder as people have it: linked, looping, deep, full of other files, named in any encoding."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeline.sources.folder import FolderSource
from pipeline.sources.folder_walk import FolderWalk


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"bytes")
    return path


def names(source: FolderSource) -> list[str]:
    return [one.native_id for one in source.search()]


def test_a_linked_folder_is_read_and_so_are_the_links_in_it(tmp_path: Path) -> None:
    touch(tmp_path / "videos/own.mp4")
    touch(tmp_path / "disk/one.mp4")
    touch(tmp_path / "other disk/two.mp4")
    (tmp_path / "videos/disk").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/more").symlink_to("../other disk")
    source = FolderSource(tmp_path / "videos")
    assert names(source) == ["own.mp4", "disk/one.mp4", "disk/more/two.mp4"]
    assert (source.failures, source.notes) == ({}, [])
    assert source.links == {
        str(tmp_path / "videos/disk"): str(tmp_path / "disk"),
        str(tmp_path / "videos/disk/more"): str(tmp_path / "other disk"),
    }


def test_a_loop_of_links_ends_and_each_link_is_named_in_one_line(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    touch(videos / "a/one.mp4")
    (videos / "a/self").symlink_to(videos / "a")
    (videos / "root").symlink_to(videos)
    (videos / "above").symlink_to(tmp_path)
    touch(tmp_path / "x/two.mp4")
    (videos / "x").symlink_to(tmp_path / "x")
    (tmp_path / "x/back").symlink_to(videos)
    source = FolderSource(videos)
    assert names(source) == ["a/one.mp4", "x/two.mp4"]
    assert [note.split(": ")[0] for note in source.notes] == [
        repr(str(videos / name)) for name in ("above", "root", "a/self", "x/back")
    ]
    assert "whose videos are read once, as those of" in source.notes[2]


def test_a_folder_that_is_linked_twice_is_read_once_and_a_real_one_keeps_its_path(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    touch(videos / "real/one.mp4")
    touch(tmp_path / "disk/sub/two.mp4")
    (videos / "0 link").symlink_to("real")
    (videos / "first").symlink_to(tmp_path / "disk/sub")
    (videos / "second").symlink_to(tmp_path / "disk/sub")
    (videos / "whole").symlink_to(tmp_path / "disk")
    source = FolderSource(videos)
    assert names(source) == ["real/one.mp4", "first/two.mp4"]
    assert len(source.notes) == 3
    assert source.notes[-1] == (
        f"{str(videos / 'whole/sub')!r}: its videos are read once, as those of {str(videos / 'first')!r}"
    )


def test_a_folder_that_is_a_link_itself_is_read(tmp_path: Path) -> None:
    touch(tmp_path / "real/one.mp4")
    (tmp_path / "link").symlink_to("real")
    assert names(FolderSource(tmp_path / "link")) == ["one.mp4"]


def test_hundreds_of_links_are_named_up_to_a_number_and_counted(tmp_path: Path) -> None:
    touch(tmp_path / "one.mp4")
    for number in range(50):
        (tmp_path / f"link {number:02d}").symlink_to(".")
    source = FolderSource(tmp_path)
    assert names(source) == ["one.mp4"]
    assert len(source.notes) == 21
    assert source.notes[-1] == "30 more links like the last one"


def test_hundreds_of_folders_that_cannot_be_read_are_named_up_to_a_number_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "one.mp4")
    for number in range(150):
        (tmp_path / f"locked {number:03d}").mkdir()
    scan = os.scandir

    def denied(folder: str) -> object:
        if "locked" in folder:
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr("pipeline.sources.folder_walk.os.scandir", denied)  # root may read every folder
    source = FolderSource(tmp_path)
    assert names(source) == ["one.mp4"]
    assert len(source.failures) == 101
    assert source.failures[f"50 more in {tmp_path}"] == "they failed likewise"


def test_a_tree_deeper_than_any_path_is_read_as_far_as_paths_go_and_its_end_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "one.mp4")
    depth, name = 45, "d" * 100
    for level in range(depth):
        os.mkdir(name)
        os.chdir(name)
        if level == 30:
            Path("deep.mp4").write_bytes(b"bytes")
    source = FolderSource(tmp_path)
    try:
        assert names(source) == ["one.mp4", "/".join([*[name] * 31, "deep.mp4"])]
        (why,) = source.failures.values()
        assert why == "the folder cannot be read: File name too long"
    finally:
        for _ in range(depth):
            os.chdir("..")
            if Path(name, "deep.mp4").exists():
                os.unlink(f"{name}/deep.mp4")
            os.rmdir(name)


def test_a_tree_of_more_folders_than_the_interpreter_has_stack_is_read(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 400)
    touch(deep / "deep.mp4")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(250)
    try:
        found = [path.name for path in FolderWalk(tmp_path).files()]
    finally:
        sys.setrecursionlimit(limit)
    assert found == ["deep.mp4"]


def test_names_in_any_encoding_are_walked(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/\xe4lter")
    with open(os.fsencode(tmp_path) + b"/\xe4lter/\xff.mp4", "wb") as file:
        file.write(b"bytes")
    touch(tmp_path / "ж" / "レベル.mp4")
    assert len(list(FolderWalk(tmp_path).files())) == 2
    assert len(names(FolderSource(tmp_path))) == 2


def test_what_is_not_read_is_counted_by_ending(tmp_path: Path) -> None:
    for name in (
        *(f"{number}.mp4" for number in range(3)), *(f"{number}.NFO" for number in range(7)),
        *(f"{number}.srt" for number in range(3)), "0.info.json", "README", "x.mp4.part", ".DS_Store", "._0.mp4",
        "odd.\x1b[31m", "odd." + "y" * 100,
    ):  # fmt: skip
        touch(tmp_path / name)
    source = FolderSource(tmp_path)
    assert names(source) == ["0.mp4", "1.mp4", "2.mp4"]
    assert source.notes == [
        "14 files not read: 7 .nfo, 3 .srt, 2 with odd endings, 1 .part, 1 without an ending; "
        "and 2 hidden (the name begins with a dot)"
    ]


def test_many_kinds_of_endings_make_one_line(tmp_path: Path) -> None:
    touch(tmp_path / "one.mp4")
    for number in range(40):
        touch(tmp_path / f"file.e{number:02d}")
    source = FolderSource(tmp_path)
    assert names(source) == ["one.mp4"]
    assert source.notes[0].startswith("40 files not read: 1 .e00, 1 .e01, ")
    assert source.notes[0].endswith("1 .e07, 32 with 32 other endings")
