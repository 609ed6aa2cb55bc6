"""Work on thousands of batches opens each table once for many of them, and work on one batch reads no other."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

from classifier.decision.scoring import batches_to_score
from classifier.pool import load_pool
from pipeline.bench.made_up_store import fill_store
from pipeline.config import Config, SourceConfig
from pipeline.inspect.status import status
from pipeline.shards.plan import plan_shards
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store

CONFIG = Config(source=SourceConfig(spec="youtube"))
VIDEOS, CLIPS = 1500, 3000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("growth") / "root")
    fill_store(store, CONFIG, VIDEOS, CLIPS)
    return store


def test_scores_of_many_batches_are_looked_at_in_few_reads(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Counter[str]()
    read = Store.read

    def counted(self: Store, name: str, *args: object, **how: object) -> object:
        reads[name] += 1
        return read(self, name, *args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "read", counted)
    assert batches_to_score(store) == []
    assert reads["scores"] == 1, "six batches, opened once"
    gone = "2026w01-0003"
    monkeypatch.undo()
    rows = store.read("scores", where=pc.field("batch") == gone)
    store.replace("scores", [], where=f"batch = '{gone}'")
    assert batches_to_score(store) == [gone], "what is missing is found in the midst of others"
    store.append("scores", rows)


def test_the_pool_of_one_batch_holds_its_videos_alone(store: Store) -> None:
    batch = "2026w01-0002"
    pool, alone = load_pool(store, CONFIG), load_pool(store, CONFIG, batch)
    assert pool.batches == [f"2026w01-{number:04d}" for number in range(1, 7)]
    assert alone.batches == [batch]
    assert alone.scan(["sha256"], batch).equals(pool.scan(["sha256"], batch))
    by_batch = dict(pool.by_batch(["sha256"]))
    assert by_batch[batch].equals(pool.scan(["sha256"], batch))
    assert sum(map(len, by_batch.values())) == pool.num_clips.total() == len(pool.scan([]))  # type: ignore[attr-defined]


def test_status_and_plan_of_a_made_up_store_balance(store: Store) -> None:
    found = status(store, CONFIG)
    assert found.conserved, found.violations
    assert (found.videos.found, found.downloads.ok, sum(found.downloads.failed.values())) == (1500, 1350, 150)
    assert (found.clips.total, found.curated.undecided, found.clips.duplicates) == (3000, 3000, 300)
    clips = store.read("clips", ["clip_id", "batch"]).to_pylist()
    kept = [{**clips[0], "decision": "keep", "split": "train"}, {**clips[-1], "decision": "keep", "split": "val"}]
    store.append("curated", kept)
    assert set(plan_shards(store, CONFIG).clips["clip_id"].to_pylist()) == {row["clip_id"] for row in kept}
    assert status(store, CONFIG).curated.keep == 2


def test_growth_worse_than_linear_is_named() -> None:
    from assets.cli.bench_growth import Growth
    from pipeline.bench.measure import Cost, slope

    costs = tuple(Cost(seconds, seconds, 500.0, mb) for seconds, mb in ((1.0, 10.0), (4.0, 200.0)))
    assert slope([100, 400], [1.0, 4.0]) == pytest.approx(1.0)
    assert Growth("a", costs, 1.0, 1.0).worse == ()
    assert Growth("a", costs, 1.9, 2.1).worse == ("time", "memory")
    small = (Cost(0.1, 0.1, 100.0, 1.0), Cost(0.4, 0.4, 100.0, 8.0))
    assert Growth("too small to tell", small, 2.0, 2.0).worse == ()


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_the_process_of_a_step_ends_where_the_bench_is_killed() -> None:
    code = "import time; from assets.cli.bench_growth import _apart; _apart(time.sleep, 600)"
    bench = subprocess.Popen([sys.executable, "-c", code])
    try:
        processes: list[psutil.Process] = []
        deadline = time.monotonic() + 120
        # the server, what tracks its resources, and the step
        while len(processes) < 3 and time.monotonic() < deadline:
            assert bench.poll() is None, "the bench ended by itself"
            processes = psutil.Process(bench.pid).children(recursive=True)
            time.sleep(0.1)
        assert len(processes) == 3
        time.sleep(1)  # the step has been started, and is told of its parent a moment later
    finally:
        bench.kill()
        bench.wait()
    _, alive = psutil.wait_procs(processes, timeout=30)
    for process in alive:
        process.kill()
    assert alive == []
