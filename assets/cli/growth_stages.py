"""The steps whose time and memory `lampworks bench growth` measures, each on a store of made-up rows."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from assets.settings import Settings
from pipeline.bench.made_up_store import fill_store, publish_set
from pipeline.bench.measure import Cost, measure
from pipeline.config import Config, SourceConfig
from pipeline.storage.home import home_of
from pipeline.storage.store import Store

Call = Callable[[], object]
_FOUND = 250
"""New videos that the search finds."""


def settings_of_root(root: str) -> Settings:
    """Return the settings under which the made-up store is measured."""
    store = Store(root)
    return Settings(store, Config(source=SourceConfig(spec="youtube")), home_of(store))


def _search(settings: Settings) -> Call:
    from pipeline.search.search import search_videos

    def search() -> None:
        with tempfile.TemporaryDirectory(prefix="lampworks-growth-") as folder:
            for number in range(_FOUND):
                (Path(folder) / f"platformer {number}.mp4").write_bytes(b"made up")
            config = dataclasses.replace(settings.config, source=SourceConfig(spec=f"folder:{folder}"))
            search_videos(dataclasses.replace(settings.job(), config=config), now=datetime(2027, 1, 8, tzinfo=UTC))

    return search


def _ledger(settings: Settings) -> Call:
    from pipeline.download.ledger import fold_all

    return lambda: fold_all(settings.store)


def _sensor(settings: Settings) -> Call:
    from assets.automation.sensors import tick

    return lambda: tick(settings, None, lambda: (), datetime(2027, 1, 1, tzinfo=UTC))


def _index(settings: Settings) -> Call:
    from pipeline.clips.read import read_clips

    return lambda: read_clips(settings.store, settings.config, ["clip_id", "sha256"])


def _queue(settings: Settings) -> Call:
    from classifier.labels.queue import write_queue

    return lambda: write_queue(settings.job())


def _scores(settings: Settings) -> Call:
    from classifier.decision.scoring import batches_to_score

    return lambda: batches_to_score(settings.store)


def _decision(settings: Settings) -> Call:
    from classifier.decision.decide import decide

    return lambda: decide(settings.job())


def _plan(settings: Settings) -> Call:
    from pipeline.shards.plan import plan_shards

    def plan() -> None:
        # status and report are measured on an earlier set, so that they must find out whether it is current
        publish_set(settings.store, plan_shards(settings.store, settings.config), settings.config)

    return plan


def _status(settings: Settings) -> Call:
    from pipeline.inspect.status import status
    from pipeline.inspect.status_text import format_status

    return lambda: format_status(status(settings.store, settings.config))


def _report(settings: Settings) -> Call:
    from assets.report.page import write_report

    return lambda: write_report(settings.store, settings.config)


STAGES: dict[str, Callable[[Settings], Call]] = {
    "search merge": _search,
    "ledger": _ledger,
    "sensor": _sensor,
    "index": _index,
    "label queue": _queue,
    "scores due": _scores,
    "decision": _decision,
    "plan of shards": _plan,
    "status": _status,
    "report": _report,
}
"""Step -> what imports what it needs, and returns what it does on a store; in the order in which they are done."""
NEEDS: dict[str, tuple[str, ...]] = {
    "plan of shards": ("decision",),
    "status": ("decision", "plan of shards"),
    "report": ("decision", "plan of shards"),
}
"""Step -> those whose rows it reads."""
DUPLICATES, LOADER = "near-duplicates", "loader start"
"""Steps that are measured on made-up clips of their own: signatures of 4 kB a clip, and a set with tars."""


def fill_root(root: str, videos: int, clips: int) -> Cost:
    """Make a store of this size, and return what that cost."""
    settings = settings_of_root(root)
    return measure(lambda: fill_store(settings.store, settings.config, videos, clips))


def measure_stage(name: str, root: str, clips: int) -> Cost:
    """Measure one step in this process, which should have done nothing else.

    Args:
        name: of `STAGES`, or one of the two that need no store.
        root: the store.
        clips: its clips.
    """
    if name == DUPLICATES:
        from pipeline.bench.copies import run_made_up

        with tempfile.TemporaryDirectory(dir=root, prefix="copies-") as folder:
            before = measure(lambda: None).peak_mb
            run = run_made_up(clips, Path(folder))
        return Cost(run.seconds, run.cpu_s, run.memory_mb, run.memory_mb - before)
    if name == LOADER:
        from pipeline.bench.loader import bench_start

        found = bench_start(clips)
        seconds = found["rows_s"] + found["first_batch_s"]
        return Cost(seconds, found["cpu_s"], found["peak_mb"], found["peak_mb"] - found["imports_mb"])
    return measure(STAGES[name](settings_of_root(root)))
