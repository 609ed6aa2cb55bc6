"""A packed world plays as it does from its store, and one that is damaged or of another version says so."""

import gzip
import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from models.evaluation.pictures import png_of
from models.play.game import Game
from models.play.key_hints import hints_of
from models.play.packed import write
from models.play.packed.layout import FORMAT, MANIFEST
from models.play.packed.open import open_world
from models.play.packed.read import open_packed
from models.play.packed.write import export_packed, publish_packed
from models.play.starts.held_out import start_frames
from models.play.starts.starts import Starts
from models.runtime.compute import choose_compute
from models.world.load import load_world
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.model_ids import PLAYABLE
from pipeline.storage.home import home_of
from pipeline.storage.models_table import find_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from pipeline.takedown.mentions import Mentions
from pipeline.takedown.packed import delete_packed, packed_with
from pipeline.takedown.takedown import plan_takedown, take_down
from pipeline.takedown.targets import find_target
from tests.grep import find_bytes
from tests.packable import CHANNEL, CONFIG, OTHER, SHOWN, TRAINED, WITH_CLIPS, packable_store

TAR_ENDINGS = {".json", ".safetensors", ".png", ".mp4"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The store, a folder and a tar of its world."""
    place = tmp_path_factory.mktemp("packed")
    store = packable_store(place / "root")
    assert export_packed(store, WITH_CLIPS, place / "world", "world") == "world"
    assert export_packed(store, WITH_CLIPS, place / "world.tar", "wor") == "world"
    return store, place


@pytest.fixture
def store(tmp_path, packed):
    """A copy of the store, to be changed."""
    shutil.copytree(packed[0].root, tmp_path / "root")
    return Store(tmp_path / "root")


@pytest.fixture
def folder(tmp_path, packed):
    """A copy of the folder, to be damaged."""
    return shutil.copytree(packed[1] / "world", tmp_path / "world")


def _played(world, starts, config):
    game = Game(world, "held_out:1", Starts(world, starts).tokens("held_out:1"), config.play, seed=3, history=50)
    return [game.step(action).png for action in (0, 1, 2, 2, 1, 0, 1)]


@pytest.mark.parametrize("name", ["world", "world.tar"])
def test_it_plays_the_same_frames_elsewhere_as_from_its_store(packed, tmp_path, monkeypatch, name):
    store, place = packed
    wanted = _played(
        load_world(store, "world", choose_compute(CONFIG.training)), start_frames(store, CONFIG, "world"), CONFIG
    )
    moved = tmp_path / f"elsewhere-{name}"
    shutil.move(
        shutil.copy(place / name, tmp_path / "x.tar")
        if name == "world.tar"
        else shutil.copytree(place / name, tmp_path / "x"),
        moved,
    )
    monkeypatch.chdir(tmp_path)
    opened = open_world(moved)
    assert _played(opened.world, opened.starts, opened.config) == wanted
    assert (opened.world.model_id, opened.config.play.seed, opened.config.play.fps) == ("world", 5, 8.0)
    assert opened.hints == hints_of(store, CONFIG, "world")
    assert opened.hints.keys[1].symbol == "→"
    assert [start.index for start in opened.starts] == [1, 1]
    assert opened.true_clip(opened.starts[0].clip_id).shape == (4, 16, 32, 3)
    assert "trained on 1 clips (0.5 hours)" in opened.notes[1]
    assert "CC BY 4.0 (3 clips)" in opened.notes[1]


def test_folder_and_tar_are_one_format_and_the_same_world_gives_the_same_bytes(packed, tmp_path):
    store, place = packed
    with tarfile.open(place / "world.tar") as tar:
        assert tar.getnames()[-1] == MANIFEST, "the manifest is written last"
        files = {name: tar.extractfile(name).read() for name in tar.getnames()}
    on_disk = {
        str(path.relative_to(place / "world")): path.read_bytes()
        for path in (place / "world").rglob("*")
        if path.is_file()
    }
    assert files == on_disk
    assert {"." + name.rpartition(".")[2] for name in files} == TAR_ENDINGS, "no pickles"
    export_packed(store, WITH_CLIPS, tmp_path / "again.tar", "world")
    assert (tmp_path / "again.tar").read_bytes() == (place / "world.tar").read_bytes()
    # a tar that a person makes of the folder
    with tarfile.open(tmp_path / "own.tar", "w") as tar:
        tar.add(place / "world", "my-world")
    assert open_packed(tmp_path / "own.tar").read("world.json") == files["world.json"]


def test_sources_and_licences_travel_and_secrets_of_addresses_do_not(packed):
    files = open_packed(packed[1] / "world")
    play, sources = files.read_object("play.json"), files.read_object("sources.json")
    assert sources == {"train": [TRAINED], "val": sorted([SHOWN, OTHER])}
    assert [source["video_id"] for source in play["sources"]] == sorted([SHOWN, OTHER])
    assert {source["licence"] for source in play["sources"]} == {"CC BY 4.0"}
    assert find_bytes(packed[1] / "world", [b"token=secret"]) == []
    assert files.read_object("card.json")["channels"][0]["name"] == CHANNEL


def test_clips_come_along_only_where_a_setting_allows_it(packed, tmp_path):
    export_packed(packed[0], CONFIG, tmp_path / "world", "world")
    assert not list((tmp_path / "world").rglob("*.mp4"))
    opened = open_world(tmp_path / "world")
    with pytest.raises(UserError, match=r"play.pack_clips = true"):
        opened.true_clip(opened.starts[0].clip_id)


def _rewrite(folder, name, change):
    """Change a file, and seal the folder again."""
    path, manifest = folder / name, json.loads((folder / MANIFEST).read_text())
    path.write_bytes(change(path.read_bytes()))
    data = path.read_bytes()
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _manifest(**changes):
    def change(folder):
        path = folder / MANIFEST
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _flip(name):
    def change(folder):
        [path] = folder.glob(name)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    return change


def _cut(folder):
    path = folder / "starts" / "start-00.png"
    path.write_bytes(path.read_bytes()[:-1])


def _as_root(folder):
    (folder / MANIFEST).unlink()
    (folder / "tables").mkdir()


ENTRY = {"sha256": "0" * 64, "bytes": 1}
DAMAGE = {
    "a bit of the weights": (_flip("models/world_model/*/weights.safetensors"), "weights.safetensors is damaged"),
    "a bit of a picture": (_flip("starts/start-01.png"), "start-01.png is damaged"),
    "a cut picture": (_cut, "start-00.png is damaged or cut short"),
    "a missing file": (lambda folder: (folder / "play.json").unlink(), "play.json is not there"),
    "a pipe": (
        lambda folder: ((folder / "card.json").unlink(), os.mkfifo(folder / "card.json")),
        "card.json a named pipe|card.json .*pipe",
    ),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), "older lampworks, or is not whole"),
    "a manifest that is no JSON": (lambda folder: (folder / MANIFEST).write_text("{"), "manifest.json is no JSON"),
    "another manifest": (_manifest(kind="x"), "none of a packed world"),
    "a newer format": (_manifest(format=FORMAT + 1, lampworks="9.1"), "play it with lampworks 9.1 or a newer one"),
    "an older format": (_manifest(format=1), "older lampworks"),
    "a way out of the folder": (_manifest(files={"../../etc/passwd": ENTRY}), "manifest.json is damaged"),
    "an absolute name": (_manifest(files={"/etc/passwd": ENTRY}), "manifest.json is damaged"),
    "no files": (_manifest(files={}), "has no world.json"),
    "a root": (_as_root, "is a root, not a packed world"),
    "nothing": (lambda folder: [shutil.rmtree(folder), folder.mkdir()], "no packed world"),
    "gone": (shutil.rmtree, "is not there"),
    "settings of a newer lampworks": (
        lambda folder: _rewrite(folder, "play.json", lambda data: data.replace(b'"fps"', b'"warp"')),
        "warp",
    ),
    "a frame of another size": (
        lambda folder: _rewrite(folder, "starts/start-00.png", lambda data: _png(3)),
        "start-00.png is 3x3, and this world plays 14x9",
    ),
    "a frame that is none": (
        lambda folder: _rewrite(folder, "starts/start-00.png", lambda data: b"<svg>"),
        "start-00.png is no picture",
    ),
    "figures that are none": (
        lambda folder: _rewrite(folder, "world.json", lambda data: data.replace(b'"symbol"', b'"sign"')),
        "figures of its evaluation are damaged",
    ),
    "a row that is none": (
        lambda folder: _rewrite(folder, "world.json", lambda data: data.replace(b'"model_id"', b'"id"')),
        "is not one of a model",
    ),
}


def _png(side):
    return png_of(np.zeros((side, side, 3), np.uint8))


@pytest.mark.parametrize(("damage", "says"), DAMAGE.values(), ids=DAMAGE)
def test_a_folder_that_is_damaged_or_of_another_kind_says_so(folder, damage, says):
    damage(folder)
    with pytest.raises(UserError, match=says):
        open_world(folder)


FILES = {
    "text": (b"hello", "is no tar"),
    "packed": (gzip.compress(b"hello" * 999), "no tar, or one that is damaged or compressed"),
    "empty": (b"", "is no tar"),
}


@pytest.mark.parametrize(("data", "says"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_packed_world_says_so(tmp_path, packed, data, says):
    (tmp_path / "world.tar").write_bytes(data)
    with pytest.raises(UserError, match=says):
        open_packed(tmp_path / "world.tar")
    tar = (packed[1] / "world.tar").read_bytes()
    (tmp_path / "world.tar").write_bytes(tar[: len(tar) // 2])
    with pytest.raises(UserError, match=r"older lampworks, or is not whole|no tar|no manifest"):
        open_packed(tmp_path / "world.tar")
    (tmp_path / "world.html").write_bytes(b"<html>")
    with pytest.raises(UserError, match="open it in a browser"):
        open_packed(tmp_path / "world.html")


def test_a_link_or_a_device_in_a_tar_is_no_file_of_it(tmp_path, packed):
    with tarfile.open(packed[1] / "world.tar") as tar, tarfile.open(tmp_path / "evil.tar", "w") as evil:
        for member in tar.getmembers():
            if member.name == "play.json":
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                evil.addfile(member)
            else:
                evil.addfile(member, tar.extractfile(member))
    with pytest.raises(UserError, match=r"play.json is not there"):
        open_packed(tmp_path / "evil.tar")


def test_what_is_there_already_is_not_written_over(packed, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        export_packed(packed[0], CONFIG, tmp_path / "full", "world")
    with pytest.raises(UserError, match="failed"):
        export_packed(packed[0], CONFIG, tmp_path / "no such folder" / "world.tar", "world")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"], "nothing unfinished is left"


# -- in the store -------------------------------------------------------------------------------------------------


def _row(store):
    return find_model(store, PLAYABLE, "playable-world")


def _published(store, config=CONFIG):
    return publish_packed(store, config, {"fps": 1.0}, "world")


def test_the_store_holds_one_packed_world_and_the_row_is_written_last(store, monkeypatch):
    record = _published(store)
    assert _row(store).path == record.path
    assert open_world(store.url(record.path)).world.model_id == "world"
    assert _published(store).path == record.path, "the same world is the same folder"
    again = _published(store, WITH_CLIPS)
    assert again.path != record.path
    assert store.list_blobs(record.path) == [], "the one before is deleted"
    written = []
    monkeypatch.setattr(
        "models.play.packed.write.replace_model", lambda *_: written.append(store.exists(f"{record.path}/{MANIFEST}"))
    )
    _published(store)
    assert written == [True]


@pytest.mark.slow  # a whole takedown; tests/laws/test_takedown_to_the_last_byte.py has one in `make test`
def test_a_takedown_deletes_a_packed_world_that_shows_the_video(store):
    path = _published(store, WITH_CLIPS).path
    job = Job(store, CONFIG, home_of(store))
    target = find_target(store, SHOWN)
    assert plan_takedown(job, target)["packed"] == [path]
    receipt = take_down(job, target, "asked")
    assert (receipt.packed, receipt.left) == ([path], [])
    assert store.list_blobs(path) == []
    assert _row(store) is None
    again = _published(store)
    assert find_bytes(Path(store.root), [SHOWN.encode(), CHANNEL.encode()], but=["shards"]) == []
    assert len(open_world(store.url(again.path)).starts) == 1


def test_a_packed_world_that_names_a_video_or_shows_unknown_ones_goes_and_others_stay(store):
    path = _published(store).path
    assert packed_with(store, Mentions(frozenset(["youtube-elseDDDDDDD"]))) == []
    for stale in (Mentions(frozenset([TRAINED])), Mentions(titles=frozenset([CHANNEL]))):
        assert packed_with(store, stale) == [path]
    store.delete(f"{path}/play.json")
    assert delete_packed(store, Mentions(frozenset(["youtube-elseDDDDDDD"]))) == [path]
    assert _row(store) is None


def test_a_takedown_that_arrives_while_a_world_is_packed_is_obeyed(store, monkeypatch, tmp_path):
    contents_of, calls = write.contents_of, []

    def arrives(*arguments):
        found = contents_of(*arguments)
        if not calls:
            request_takedown(store, "video", SHOWN, "asked")
        calls.append(found)
        return found

    monkeypatch.setattr(write, "contents_of", arrives)
    record = _published(store)
    assert len(calls) == 2
    assert len(open_world(store.url(record.path)).starts) == 1
    assert {
        key.rpartition("/starts/")[0] for key in store.list_blobs("models/playable_world") if key.endswith(".png")
    } == {record.path}
    calls.clear()
    monkeypatch.setattr(
        write,
        "contents_of",
        lambda *arguments: (request_takedown(store, "video", OTHER, "asked"), contents_of(*arguments))[1],
    )
    with pytest.raises(UserError, match=r"no start frame|no source is held out"):
        write.export_packed(store, CONFIG, tmp_path / "world.tar", "world")
    assert not list(tmp_path.glob("*.tar"))
