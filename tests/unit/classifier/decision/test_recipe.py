"""A set leaves as a recipe without pixels, and comes back: the same clips are kept, other pictures are not."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
from pathlib import Path

import pytest

from classifier.decision.by_recipe import picture_distance
from classifier.decision.decide import decide
from classifier.decision.recipe_report import recipe_report
from pipeline.config import Config, SourceConfig
from pipeline.errors import PermanentError, UserError
from pipeline.inspect.export_recipe import export_recipe
from pipeline.job import Job
from pipeline.recipe import Recipe
from pipeline.sources import open_source
from pipeline.sources.base import site_of
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.synthetic import CONFIG, HOSTILE, finished_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return finished_store(tmp_path / "root")


def by_recipe(path: Path, **source: object) -> Config:
    decision = dataclasses.replace(CONFIG.decision, mode="recipe")
    return dataclasses.replace(CONFIG, source=SourceConfig(spec=f"recipe:{path}", **source), decision=decision)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rewritten(path: Path, target: Path, change) -> Path:
    """Write a recipe with its second line changed."""
    found = lines(path)
    change(found[1])
    target.write_text("".join(json.dumps(line) + "\n" for line in found), "utf-8")
    return target


def test_a_recipe_names_the_set_and_holds_no_pixel_no_secret_and_no_path(store: Store, tmp_path: Path) -> None:
    rows = store.read("videos").to_pylist()
    secret = [{**row, "url": row["url"].replace("//", "//me:secret@") + "?token=s", "licence": "CC0"} for row in rows]
    store.replace("videos", secret)
    found = export_recipe(store, CONFIG, tmp_path / "set.jsonl")
    kept = {row["clip_id"]: row for row in store.read("curated").to_pylist() if row["decision"] == "keep"}
    recipe = Recipe(tmp_path / "set.jsonl")
    videos = list(recipe.videos())
    assert found.clips == len(kept) == recipe.head.num_clips
    assert {clip.clip_id: clip.split for video in videos for clip in video.clips} == {
        clip_id: row["split"] for clip_id, row in kept.items()
    }
    text = (tmp_path / "set.jsonl").read_text("utf-8")
    assert "secret" not in text
    assert "token=s" not in text
    assert found.secrets == found.videos
    clips = {row["clip_id"]: row for row in store.read("clips").to_pylist()}
    assert all(clip.hashes == clips[clip.clip_id]["hashes"] for video in videos for clip in video.clips)
    assert "rules" in lines(tmp_path / "set.jsonl")[0]
    assert {video.licence for video in videos} == {"CC0"}


def test_the_same_set_is_the_same_bytes_packed_or_not(store: Store, tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl", "a.jsonl.gz", "b.jsonl.gz"):
        export_recipe(store, CONFIG, tmp_path / name)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == (tmp_path / "a.jsonl").read_bytes()


def test_what_a_recipe_lists_is_kept_where_its_picture_is_the_same(store: Store, tmp_path: Path) -> None:
    export_recipe(store, CONFIG, tmp_path / "set.jsonl")
    recipe = Recipe(tmp_path / "set.jsonl")
    report = recipe_report(store, CONFIG, recipe)
    assert (report.alive, report.same_bytes, report.alive_share) == (report.clips, report.clips, 1.0)

    [video, *_] = [video for video in recipe.videos() if len(video.clips) > 1]
    same, other = video.clips[:2]

    def change(line: dict) -> None:
        for clip in line["clips"]:
            clip["sha256"] = "0" * 64
            if clip["clip_id"] == other.clip_id:
                clip["hashes"] = bytes(byte ^ 0x55 for byte in other.hashes).hex()

    found = lines(tmp_path / "set.jsonl")
    found.sort(key=lambda line: line.get("video_id") != video.video_id if "video_id" in line else -1)
    (tmp_path / "sorted.jsonl").write_text("".join(json.dumps(line) + "\n" for line in found), "utf-8")
    changed = rewritten(tmp_path / "sorted.jsonl", tmp_path / "other.jsonl", change)

    decide(Job(store, by_recipe(changed), home_of(store)))
    decided = {row["clip_id"]: row for row in store.read("curated").to_pylist()}
    assert (decided[same.clip_id]["decision"], decided[other.clip_id]["decision"]) == ("keep", "drop")
    assert decided[same.clip_id]["reason"] == "in the recipe, the same picture (distance 0.0 of 64)"
    assert decided[other.clip_id]["reason"] == "in the recipe, but another picture (distance 32.0 of 64)"
    listed = {clip.clip_id for one in recipe.videos() for clip in one.clips}
    assert {row["reason"] for clip_id, row in decided.items() if clip_id not in listed} == {"not in the recipe"}
    report = recipe_report(store, CONFIG, Recipe(changed))
    assert (report.same_picture, report.other_picture) == (len(video.clips) - 1, 1)
    assert report.alive == report.clips - 1


def test_a_recipe_is_counted_whole_where_its_videos_are_gone(store: Store, tmp_path: Path) -> None:
    export_recipe(store, CONFIG, tmp_path / "set.jsonl")
    report = recipe_report(Store(tmp_path / "empty"), CONFIG, Recipe(tmp_path / "set.jsonl"))
    assert (report.fetched, report.alive, report.missing) == (0, 0, report.clips)
    assert sum(report.not_fetched.values()) == report.videos


def test_distances_of_pictures_are_of_equal_measures_only() -> None:
    assert picture_distance(b"\x0f" * 64, b"\xf0" * 64) == 64.0
    assert picture_distance(b"\x00" * 64, b"\x01" * 64) == 8.0
    assert picture_distance(b"\x00" * 64, b"\x00" * 128) is None
    assert picture_distance(b"", b"") is None


# -- a recipe as a source ---------------------------------------------------------------------------------------------


def test_the_source_lists_what_the_recipe_lists_and_asks_nobody(store: Store, tmp_path: Path) -> None:
    export_recipe(store, CONFIG, tmp_path / "set.jsonl")
    with open_source(by_recipe(tmp_path / "set.jsonl"), home_of(store)) as source:
        found = list(source.search())
    assert [one.video_id for one in found] == [video.video_id for video in Recipe(tmp_path / "set.jsonl").videos()]
    assert all(one.error_class is None for one in found)


def test_a_file_of_the_author_is_taken_from_the_folder_that_is_named(store: Store, tmp_path: Path) -> None:
    rows = store.read("videos").to_pylist()
    store.replace("videos", [{**row, "url": f"/home/ann/{row['native_id']}.mp4"} for row in rows])
    found = export_recipe(store, CONFIG, tmp_path / "set.jsonl")
    assert found.own_files == found.videos
    assert "/home/ann" not in (tmp_path / "set.jsonl").read_text("utf-8")
    for folder in ("", str(tmp_path / "copies")):
        source = open_source(by_recipe(tmp_path / "set.jsonl", files=folder), home_of(store))
        [one, *_] = source.search()
        (tmp_path / "work").mkdir(exist_ok=True)
        if not folder:
            with pytest.raises(PermanentError, match=r"name the folder that holds your copy of it with --files DIR"):
                source.fetch(vars(one), tmp_path / "work", CONFIG.download)
            continue
        copy = tmp_path / "copies" / one.native_id
        with pytest.raises(PermanentError, match=rf"'{re.escape(str(copy))}' is not there: put your copy .* at that"):
            source.fetch(vars(one), tmp_path / "work", CONFIG.download)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"video")
        assert source.fetch(vars(one), tmp_path / "work", CONFIG.download).path.read_bytes() == b"video"


def test_a_video_of_youtube_counts_for_youtubes_limits() -> None:
    assert (
        site_of("recipe", "https://www.youtube.com/watch?v=x") == site_of("recipe", "https://youtu.be/x") == "youtube"
    )
    assert site_of("recipe", "https://notyoutube.com/x") == "notyoutube.com"


# -- recipes of strangers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_id": "../x"}, "video_id is '../x', which it cannot be"),
        ({"url": "file:///etc/passwd"}, "neither http nor https"),
        ({"url": "", "native_id": "../../etc/passwd"}, "is no relative path"),
        ({"url": None, "native_id": "/etc/passwd"}, "is no relative path"),
        ({"extractor": "a/b"}, "extractor is 'a/b'"),
        ({"clips": [5]}, "clips must be a list of objects"),
        ({"clips": {}}, "clips must be a list of objects"),
    ],
)
def test_a_malformed_video_is_refused_with_its_line(store: Store, tmp_path: Path, change: dict, message: str) -> None:
    export_recipe(store, CONFIG, tmp_path / "set.jsonl")
    bad = rewritten(tmp_path / "set.jsonl", tmp_path / "bad.jsonl", lambda line: line.update(change))
    with pytest.raises(UserError, match=rf"recipe 'bad.jsonl', line 2: .*{message}"):
        list(Recipe(bad).videos())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip_id": "other-000000000-abcd"}, "is no clip of video"),
        ({"start_ms": -5}, "is no clip of video"),
        ({"end_ms": 0}, "is no clip of video"),
        ({"split": "all"}, "split is 'all'"),
        ({"sha256": "x"}, "sha256 is 'x'"),
        ({"hashes": "0"}, "hashes is '0'"),
        ({"hashes": "00" * 5000}, "hashes is"),
    ],
)
def test_a_malformed_clip_is_refused_with_its_line(store: Store, tmp_path: Path, change: dict, message: str) -> None:
    export_recipe(store, CONFIG, tmp_path / "set.jsonl")
    bad = rewritten(tmp_path / "set.jsonl", tmp_path / "bad.jsonl", lambda line: line["clips"][0].update(change))
    with pytest.raises(UserError, match=rf"recipe 'bad.jsonl', line 2: .*{message}"):
        list(Recipe(bad).videos())


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("r.jsonl", b"", "line 1: not JSON"),
        ("r.jsonl", b"{}", "line 1: no recipe of format 1"),
        ("r.jsonl", b"[]", "line 1: not an object"),
        ("r.jsonl.gz", b"no gzip", "line 1: it cannot be unpacked"),
        ("r.jsonl.gz", gzip.compress(b"{" * 1000, mtime=0)[:20], "line 1: "),
        ("r.jsonl", b'{"lampworks_recipe": 1, "clip_spec": "a", "clips": {"fps": [1]}}', "clips: must be an object"),
    ],
    ids=["empty", "no recipe", "a list", "not packed", "cut short", "a list as a setting"],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        Recipe(tmp_path / name)


def test_a_line_of_hundreds_of_megabytes_is_not_read_whole(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "r.gz", "wb", compresslevel=1) as file:
        for _ in range(80):
            file.write(b" " * (1 << 20))
    with pytest.raises(UserError, match="line 1: longer than 64 MB"):
        Recipe(tmp_path / "r.gz")


def test_titles_of_strangers_survive_as_they_are(store: Store, tmp_path: Path) -> None:
    rows = store.read("videos").to_pylist()
    store.replace("videos", [{**row, "title": HOSTILE} for row in rows])
    export_recipe(store, CONFIG, tmp_path / "set.jsonl")
    assert len(lines(tmp_path / "set.jsonl")) == 1 + Recipe(tmp_path / "set.jsonl").head.videos
