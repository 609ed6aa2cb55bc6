"""What happens to a batch on a bad day: two passes run it at once, it is ended, or run again under the curation.

All on a root of three short videos, by the functions that the graph calls, one process: something happens in the middle
of what a stage does with its store, between a file and its row, before the first row or after the last.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.decision.decide import decide
from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.duplicates import find_duplicates
from pipeline.config import (
    ClipConfig,
    Config,
    DecisionConfig,
    DownloadConfig,
    EmbeddingConfig,
    EngineConfig,
    SourceConfig,
    SplitConfig,
)
from pipeline.download.batch import download_batch
from pipeline.download.due import due_batches
from pipeline.inspect.deep import find_faults
from pipeline.inspect.gc import collect_garbage
from pipeline.inspect.status import status
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.shards.splits import group_of, split_of
from pipeline.shards.verify import verify_shards
from pipeline.shards.write import write_shards
from pipeline.storage import owner
from pipeline.storage.home import home_of
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from tests.laws.recording import Log, run_recorded
from tests.media import at_rest, write_video

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
OF_A_RUN = {"created_at", "found_at", "search_id", "seen_at"}
PARTS = 2
"""Something happens at so many places of what a stage does, and before the last thing of it that readers see."""


def _job(store: Store, config: Config) -> Job:
    return Job(store, config, home_of(store))


def _batch(store: Store, config: Config) -> BatchJob:
    [batch] = batches(store)
    return _job(store, config).of_batch(batch)


def collect(store: Store, config: Config) -> None:
    """Do the batch, as a run of `collect_batch` does."""
    download_batch(_batch(store, config))
    cut_batch(_batch(store, config))


STAGES: dict[str, Callable[[Store, Config], object]] = {
    "search": lambda store, config: search_videos(_job(store, config)),
    "collect": collect,
    "duplicates": lambda store, config: find_duplicates(_job(store, config)),
    "decision": lambda store, config: decide(_job(store, config)),
    "shards": lambda store, config: write_shards(_job(store, config)),
}


class Root:
    """A root in which every stage ran once, how it stood before each, and what each did."""

    def __init__(self, folder: Path, *, keep_raw: bool) -> None:
        self.folder = folder
        for number in range(3):
            write_video(folder / "videos" / f"level-{number}.mp4", level(number), fps=10)
        self.config = Config(
            source=SourceConfig(spec=f"folder:{at_rest(folder / 'videos')}"),
            download=DownloadConfig(workers=1, min_free_gb=0.0, keep_raw=keep_raw),
            engine=EngineConfig(workers=1),
            clips=ClipConfig(seconds=2, fps=10),
            embedding=EmbeddingConfig(enabled=False),
            decision=DecisionConfig(mode="flags", drop_flags=(), middle="keep"),
        )
        self.logs = {name: Log() for name in STAGES}
        self.after: dict[str, dict[str, Any]] = {}
        calm = folder / "calm" / "root"
        Store(calm).check_writable()
        for name, stage in STAGES.items():
            shutil.copytree(calm, folder / "before" / name)
            run_recorded(stage, calm, self.config, self.logs[name])
            self.after[name] = seen(calm)
            if name == "search":
                self.config = replace(self.config, split=with_both_splits(Store(calm)))

    def before(self, name: str, target: str) -> Path:
        return Path(shutil.copytree(self.folder / "before" / name, self.folder / target / "root"))

    def moments(self, name: str) -> list[int]:
        events = self.logs[name].events
        last = max(number for number, event in enumerate(events) if event.is_publication)
        return sorted({*(len(events) * part // (PARTS + 1) for part in range(1, PARTS + 1)), max(last - 1, 0)})

    def check(self, root: Path, at: str) -> None:
        """See that nothing is half: all totals balance, every file is what its row says."""
        store = Store(root)
        assert status(store, self.config).violations == [], at
        assert find_faults(store, home_of(store)) == [], at

    def check_tidy(self, root: Path, at: str) -> None:
        """See that nothing is left over, and nothing is due."""
        store = Store(root)
        assert due_batches(store, self.config, datetime.now(UTC)) == [], at
        assert collect_garbage(store, dry_run=True) == [], at
        assert not home_of(store).tmp.exists() or list(home_of(store).tmp.iterdir()) == [], at


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return Root(tmp_path_factory.mktemp("kept"), keep_raw=True)


@pytest.fixture(scope="module")
def deleted(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Where cutting deletes raw files, which another machine may be about to cut."""
    return Root(tmp_path_factory.mktemp("deleted"), keep_raw=False)


def with_both_splits(store: Store) -> SplitConfig:
    """Return shares by which some of the videos are held out and some are not: their ids are another each time."""
    groups = [group_of(row) for row in store.read("videos").to_pylist()]
    shares = (SplitConfig(val_share=percent / 100, test_share=0.0) for percent in range(2, 98))
    return next(share for share in shares if {split_of(group, share) for group in groups} == {"train", "val"})


def level(seed: int) -> np.ndarray:
    """Return frames (T, 90, 160, 3) of a textured level that scrolls for 2 s."""
    rng = np.random.default_rng(seed)
    ground = np.kron(rng.integers(0, 255, (10, 40, 3), dtype=np.uint8), np.ones((9, 8, 1), np.uint8))
    return np.stack([ground[:, 3 * step : 3 * step + 160] for step in range(21)])


def seen(root: Path) -> dict[str, Any]:
    """Return the rows of all tables and the bytes of all blobs that count, without moments and names of runs.

    Of the attempts at downloads: which videos have a success. Searches and costs have a row for each try.
    """
    store, found = Store(root), {}
    for table in sorted(set(SCHEMAS) - {"searches", "costs", "downloads"}):
        rows = [{name: row[name] for name in row.keys() - OF_A_RUN} for row in store.read(table).to_pylist()]
        found[table] = sorted(rows, key=lambda row: str(sorted(row.items(), key=str)))
    attempts = store.read("downloads", ["video_id", "state"]).to_pylist()
    found["downloads"] = sorted({row["video_id"] for row in attempts if row["state"] == "ok"})
    garbage = set(collect_garbage(store, dry_run=True))
    for folder in ("raw", "clips", "shards"):
        found |= {key: store.read_blob(key) for key in store.list_blobs(folder) if key not in garbage}
    return found


def on_another_machine(root: Path, config: Config) -> None:
    """Do the batch once more in this process, under the names of another machine, while the first pass stands still.

    So its scratch folders and unfinished blobs are those of a stranger. It shares the kernel, the clock and the view of
    the disk with the first pass, and the two take turns: nothing is proven of what differs between two real machines.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_machine", "_boot", "_host"):
            patch.setattr(owner, name, functools.partial(str, f"other{name.strip('_')}"))
        collect(Store(root), config)


@pytest.mark.parametrize("raw_files", ["kept", "deleted"])
def test_a_batch_that_two_machines_run_at_once_ends_as_if_one_had_run_it(
    raw_files: str, request: pytest.FixtureRequest
) -> None:
    root_of: Root = request.getfixturevalue(raw_files)
    for moment in root_of.moments("collect"):
        root = root_of.before("collect", f"both-{moment}")
        log = Log(after=moment, arrival=functools.partial(on_another_machine, root, root_of.config))
        run_recorded(collect, root, root_of.config, log)
        at = f"the other machine came after {log.events[moment]} (event {moment})"
        root_of.check(root, at)
        assert seen(root) == root_of.after["collect"], at
        root_of.check_tidy(root, at)


class Ended(BaseException):
    """What a run that is ended meets, as Dagster raises it: no `except Exception` catches it."""


def _end() -> None:
    raise Ended


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_is_ended_leaves_nothing_half_and_the_next_run_ends_as_an_undisturbed_one(
    name: str, kept: Root
) -> None:
    for moment in kept.moments(name):
        root = kept.before(name, f"ended-{name}-{moment}")
        log = Log(after=moment, arrival=_end)
        with pytest.raises(Ended):
            run_recorded(STAGES[name], root, kept.config, log)
        at = f"ended after {log.events[moment]} (event {moment})"
        kept.check(root, at)
        run_recorded(STAGES[name], root, kept.config, Log())
        kept.check(root, at)
        assert seen(root) == kept.after[name], at
        if name == "collect":
            kept.check_tidy(root, at)


@pytest.mark.parametrize("name", ["duplicates", "decision", "shards"])
def test_a_batch_that_is_run_again_while_the_set_is_built_is_in_it_after_the_next_pass(name: str, kept: Root) -> None:
    """One of its videos was to be cut again, as after a repair."""
    late = one_of_several_in_its_split(kept)
    for moment in kept.moments(name):
        root = kept.before(name, f"again-{name}-{moment}")
        store = Store(root)
        for table in ("clippings", "clips"):
            store.replace(table, [], where=f"video_id = '{late}'")
        stages = list(STAGES)[list(STAGES).index("duplicates") :]
        for earlier in stages[: stages.index(name)]:
            run_recorded(STAGES[earlier], root, kept.config, Log())
        log = Log(after=moment, arrival=lambda store=store: cut_batch(_batch(store, kept.config)))
        run_recorded(STAGES[name], root, kept.config, log)
        at = f"the batch came after event {moment} of {name}"
        kept.check(root, at)
        if name == "shards":
            # the set is whole, of the decision that it was written from, and that is told to be of older clips
            found = status(store, kept.config)
            assert found.curated is not None
            late_clips = sum(row["video_id"] == late for row in kept.after["collect"]["clips"])
            assert (found.curated.current, found.curated.undecided) == (False, late_clips), at
            verified = verify_shards(store)
            assert (verified.published, sum(verified.samples.values())) == (True, found.curated.keep), at
            assert verified.damaged == [], at
        for stage in stages:
            run_recorded(STAGES[stage], root, kept.config, Log())
        kept.check(root, at)
        found = status(store, kept.config)
        assert found.curated is not None
        assert (found.curated.undecided, found.curated.current, found.shards.current) == (0, True, True), at
        decided = {row["clip_id"]: row["decision"] for row in store.read("curated").to_pylist()}
        assert decided == {row["clip_id"]: row["decision"] for row in kept.after["decision"]["curated"]}, at
        assert shards_of(seen(root)) == shards_of(kept.after["shards"]), at


def one_of_several_in_its_split(root: Root) -> str:
    """Return a video without which there are still shards of both splits."""
    splits = {row["video_id"]: split_of(group_of(row), root.config.split) for row in root.after["search"]["videos"]}
    return max(name for name, split in splits.items() if [*splits.values()].count(split) > 1)


def shards_of(found: dict[str, Any]) -> dict[str, Any]:
    """Return the tars of a set, by their keys."""
    return {key: data for key, data in found.items() if key.startswith("shards/") and key.endswith(".tar")}
