"""Mending a table keeps every row that can be read, and what follows from other tables is made again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assets.settings import Settings
from classifier.labels.journal import Journal, check_event, journal_rows
from pipeline.errors import UserError
from pipeline.inspect.deep import find_faults
from pipeline.inspect.mend import mend
from pipeline.inspect.status import status
from pipeline.storage.arrow import pc
from pipeline.storage.home import home_of
from pipeline.storage.mend_tables import DERIVED_AS_A_WHOLE
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from tests.laws.stages import STAGES, World
from tests.threats.test_deep_check import flipped, run_all

pytestmark = pytest.mark.usefixtures("inline")


def newest(root: Store, table: str, pattern: str) -> Path:
    files = (Path(root.root) / "tables" / table).glob(pattern)
    return max(files, key=lambda path: (path.stat().st_mtime_ns, path.name))


def damage(path: Path) -> None:
    path.write_bytes(flipped(path.read_bytes()))


def test_a_table_with_a_damaged_log_gets_all_its_rows_back(root: Store, settings: Settings, lampworks: Any) -> None:
    before = {name: root.read(name) for name in SCHEMAS if name not in DERIVED_AS_A_WHOLE}
    for name in ("videos", "downloads", "labels", "clips", "clippings", "models", "scores", "searches"):
        damage(newest(root, name, "_delta_log/*.json"))
    code, told = lampworks("status")
    assert code == 2
    assert "lampworks doctor --deep --mend" in told
    code, told = lampworks("doctor", "--mend")
    assert "mended: table labels has" in told
    for name, rows in before.items():
        key = SCHEMAS[name].names[0]
        assert root.read(name).sort_by(key) == rows.sort_by(key), name
    assert find_faults(root, settings.home) == []
    # the advice: a pass makes the derived tables again
    run_all(settings)
    assert status(root, settings.config).conserved
    assert len(root.read("curated")) == len(before["clips"])


@pytest.mark.slow
def test_a_damaged_data_file_costs_its_own_rows_and_what_was_cut_is_cut_again(root: Store, settings: Settings) -> None:
    clips, scores = root.read("clips").sort_by("clip_id"), len(root.read("scores"))
    for name in ("clips", "scores", "curated"):
        damage(newest(root, name, "*.parquet"))
    assert {fault.item["table"] for fault in find_faults(root, settings.home)} == {"clips", "scores", "curated"}
    mend(root, settings.home, find_faults(root, settings.home))
    assert find_faults(root, settings.home) == []
    assert len(root.read("clips")) == 0
    run_all(settings)
    assert root.read("clips").sort_by("clip_id") == clips
    assert len(root.read("scores")) == scores
    assert status(root, settings.config).conserved


def test_of_appended_rows_only_those_of_the_damaged_file_are_lost(store: Store, settings: Settings) -> None:
    for number in range(3):
        store.append("takedowns", [{"takedown_id": f"t{number}", "kind": "video", "target": f"v{number}"}])
    damage(newest(store, "takedowns", "*.parquet"))
    mend(store, settings.home, find_faults(store, settings.home))
    assert sorted(store.read("takedowns")["takedown_id"].to_pylist()) == ["t0", "t1"]
    damage(newest(store, "takedowns", "_delta_log/*1.json"))
    mend(store, settings.home, find_faults(store, settings.home))
    assert sorted(store.read("takedowns")["takedown_id"].to_pylist()) == ["t0", "t1"]
    store.append("takedowns", [{"takedown_id": "t9", "kind": "video", "target": "v9"}])
    assert len(store.read("takedowns")) == 3


@pytest.mark.parametrize("pattern", ["raw/*/*.mp4", "raw/*/*level-0*.actions.jsonl"])
def test_a_raw_file_that_is_damaged_before_it_is_cut_is_downloaded_again_as_its_row_says(
    world: World, tmp_path: Path, pattern: str
) -> None:
    store = Store(world.before("clips", tmp_path / "root"))
    stages = {stage.name: stage.run for stage in STAGES}
    path = sorted(Path(store.root).glob(pattern))[0]
    data = bytearray(path.read_bytes())
    # it decodes as well, into other pictures; it reads as well, as another action
    data[data.index(b'"0"') + 1 if path.suffix == ".jsonl" else len(data) // 2] ^= 1
    path.write_bytes(data)
    stages["clips"](store, world.config)
    [failed] = store.read("clippings", where=pc.field("state") == "failed").to_pylist()
    assert failed["error_class"] == "raw_damaged"
    assert "`lampworks doctor --deep --mend` and `lampworks run`" in failed["message"]
    home = home_of(store)
    mend(store, home, find_faults(store, home))
    for name in ("download", "clips"):
        stages[name](store, world.config)
    assert set(store.read("clippings")["state"].to_pylist()) == {"ok"}
    assert store.read("clips").sort_by("clip_id") == world.finished.read("clips").sort_by("clip_id")
    assert find_faults(store, home) == []


def test_a_damaged_labelling_journal_is_named_and_gives_every_readable_label_back(
    root: Store, settings: Settings, lampworks: Any
) -> None:
    clip_id = root.read("clips", ["clip_id"])["clip_id"][0].as_py()
    events = [
        check_event(
            {"event_id": f"00000000-0000-4000-8000-{number:012d}", "clip_id": clip_id, "kind": "rate", "rating": 4}
        )
        for number in range(400)
    ]
    with Journal(settings.home.journal) as journal:
        journal.append(events, "ada")
    path = settings.home.journal
    data = bytearray(path.read_bytes())
    assert len(data) > 16384
    data[-4096:] = b"\xaa" * 4096  # the last page
    path.write_bytes(data)
    [fault] = find_faults(root, settings.home)
    assert fault.kind == "journal"
    # not under the hands of a page that saves labels to it
    command = [sys.executable, "-c", "import sys; file = open(sys.argv[1]); print(flush=True); input()", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        page.stdout.readline()
        with pytest.raises(UserError, match=f"process {page.pid} has the labelling journal .* open"):
            mend(root, settings.home, [fault])
        page.communicate("\n")
    assert path.read_bytes() == bytes(data)
    mend(root, settings.home, [fault])
    kept = journal_rows(path)
    assert 0 < len(kept) <= 400
    assert find_faults(root, settings.home) == []


def test_garbage_is_not_collected_by_a_damaged_table(root: Store, lampworks: Any) -> None:
    before = [root.list_blobs(prefix) for prefix in ("raw", "clips", "shards", "models")]
    for name in ("clippings", "downloads", "shards", "models", "takedowns"):
        if not (folder := Path(root.root) / "tables" / name).is_dir():
            continue
        log = newest(root, name, "_delta_log/*.json")
        whole = log.read_bytes()
        for data in (None, b"", flipped(whole)):
            if data is None:
                log.unlink()
            else:
                log.write_bytes(data)
            code, told = lampworks("gc")
            assert code == 2, (name, told)
            assert str(folder) in told
            log.write_bytes(whole)
    assert [root.list_blobs(prefix) for prefix in ("raw", "clips", "shards", "models")] == before
