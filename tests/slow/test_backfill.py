"""A backfill of many batches through the deployment: all reach the end, what failed is tried again, memory is bounded.

Each batch is one tiny recording, and the backfill makes `raw_videos` of it: a run of its own, as the daemon starts it.
It runs where LAMPWORKS_BACKFILL says how many batches, because it takes minutes (docs/operations.md says what was
measured).
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assets.passes.instance import open_instance
from assets.settings import load_settings
from pipeline.inspect.retry import retry_failed
from pipeline.inspect.status import status
from pipeline.job import Job
from tests.deployment import Deployment, deployed
from tests.folders import play
from tests.media import at_rest, write_video

ASKED = os.environ.get("LAMPWORKS_BACKFILL", "")
"""How many batches a person wants."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(4 * 3600),
    pytest.mark.skipif(not ASKED, reason="a backfill takes minutes: say of how many batches, as LAMPWORKS_BACKFILL=16"),
]
BATCHES = int(ASKED or 0)
ROLES = ("code", "daemon")
MOST_GROWTH_MB = 64.0
"""Of a service between a quarter of the runs and all of them, up to 200. Measured: of 16, 3 MB of the code
server and 13 MB of the daemon; of 200, 29 MB and 49 MB."""
ASSET = [{"path": ["raw_videos"]}]
COUNTS = """query($id: String!) {partitionBackfillOrError(backfillId: $id) {... on PartitionBackfill {status
    error {message} assetBackfillData {assetBackfillStatuses {... on AssetPartitionsStatusCounts {
    numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed numPartitionsInProgress}}}}}}"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The services on a root whose source is a folder of tiny recordings, a batch each."""
    folder = tmp_path_factory.mktemp("backfill")
    one = write_video(folder / "one.mp4", play(1, 1), fps=10)
    (folder / "recordings").mkdir()
    for number in range(BATCHES):
        shutil.copy(one, folder / "recordings" / f"{number:04d}.mp4")
    values = {
        "engine": {"workers": 1},
        "download": {"workers": 1},
        "source": {"apply_rules": False, "batch_size": 1, "spec": f"folder:{at_rest(folder / 'recordings')}"},
    }
    (folder / "config.yaml").write_text(json.dumps(values))
    settings = load_settings(str(folder / "root"), config=str(folder / "config.yaml"), home=folder / "home")
    with deployed(settings, ["--config", str(folder / "config.yaml"), "--grace", "15"], poll_s=30) as found:
        yield found


@dataclass(frozen=True)
class Counts:
    """How far a backfill is."""

    status: str
    targeted: int
    made: int
    failed: int

    @property
    def ended(self) -> int:
        return self.made + self.failed


def launched(deployment: Deployment, name: str, **params: Any) -> str:
    """Launch a backfill, or the failed part of one again; return its id."""
    kinds = {
        "launchPartitionBackfill": "backfillParams: LaunchBackfillParams!",
        "reexecutePartitionBackfill": "reexecutionParams: ReexecutionParams!",
    }
    argument, kind = kinds[name].split(": ")
    query = f"""mutation($p: {kind}) {{{name}({argument}: $p) {{__typename ... on LaunchBackfillSuccess {{backfillId}}
        ... on PythonError {{message}}}}}}"""
    found = deployment.ask(query, p=params)[name]
    assert found["__typename"] == "LaunchBackfillSuccess", found
    return str(found["backfillId"])


def counts(deployment: Deployment, backfill: str) -> Counts:
    found = deployment.ask(COUNTS, id=backfill)["partitionBackfillOrError"]
    assert not found["error"], found["error"]
    [made] = found["assetBackfillData"]["assetBackfillStatuses"]
    names = ("Targeted", "Materialized", "Failed")
    return Counts(str(found["status"]), *(int(made[f"numPartitions{name}"]) for name in names))


def wait_until(deployment: Deployment, backfill: str, ended: int, *, whole: bool = False) -> Counts:
    """Wait until so many batches of a backfill have ended; with `whole`, until Dagster says that it is over."""
    limit = time.monotonic() + 3600 * 3
    while True:
        found = counts(deployment, backfill)
        is_over = found.status in {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
        if is_over or (found.ended >= ended and not whole):
            return found
        assert time.monotonic() < limit, deployment.said()[-20000:]
        assert deployment.process.poll() is None, deployment.said()[-20000:]
        time.sleep(3)


class Services:
    """The processes of code server and daemon; those of runs are children of the code server."""

    def __init__(self, deployment: Deployment) -> None:
        self.processes = {
            role: min(deployment.processes(role), key=lambda process: process.create_time()) for role in ROLES
        }

    def megabytes(self) -> dict[str, float]:
        """Return the memory that each service has for itself alone."""
        return {role: process.memory_full_info().uss / 1e6 for role, process in self.processes.items()}

    def cpu_s(self) -> float:
        """Return the CPU-seconds of both services and of the runs that they started and that have ended."""
        return sum(sum(process.cpu_times()[:4]) for process in self.processes.values())


def runs_of(deployment: Deployment, backfill: str) -> list[dict[str, Any]]:
    query = """query($f: RunsFilter!) {runsOrError(filter: $f) {... on Runs {results {runId status
        tags {key value}}}}}"""
    tags = [{"key": "dagster/backfill", "value": backfill}]
    found: list[dict[str, Any]] = deployment.ask(query, f={"tags": tags})["runsOrError"]["results"]
    return found


def partition_of(run: dict[str, Any]) -> str:
    return next(str(tag["value"]) for tag in run["tags"] if tag["key"] == "dagster/partition")


def test_a_backfill_reaches_its_end_in_bounded_memory_and_only_what_failed_is_tried_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = deployment.settings
    run = deployment.run("discover")
    while deployment.status_of(run) not in {"SUCCESS", "FAILURE"}:
        time.sleep(1)
    assert deployment.status_of(run) == "SUCCESS", deployment.messages(run)
    batch_of = {row["native_id"]: str(row["batch"]) for row in settings.store.read("videos").to_pylist()}
    keys = sorted(batch_of.values())
    assert len(keys) == len(set(keys)) == BATCHES
    # one recording is damaged after it was found, which is more than the share of videos that may fail in a batch
    damaged = Path(settings.config.source.argument) / f"{BATCHES // 2:04d}.mp4"
    good = damaged.read_bytes()
    damaged.write_bytes(b"no video" * 100)
    at_rest(damaged.parent)
    [bad] = [batch for name, batch in batch_of.items() if name.startswith(damaged.stem)]

    services = Services(deployment)
    before, cpu_before, began = services.megabytes(), services.cpu_s(), time.monotonic()
    backfill = launched(
        deployment, "launchPartitionBackfill", assetSelection=ASSET, partitionNames=keys, title="all batches"
    )
    wait_until(deployment, backfill, BATCHES // 4)
    early = services.megabytes()
    found = wait_until(deployment, backfill, BATCHES, whole=True)
    late, cpu_s = services.megabytes(), services.cpu_s() - cpu_before
    print(
        f"{BATCHES} batches: {cpu_s / BATCHES:.2f} CPU-s a batch, {cpu_s:.0f} CPU-s in all, "
        f"{time.monotonic() - began:.0f} s; memory (MB) before, after {BATCHES // 4}, after {BATCHES}: "
        + "; ".join(f"{role} {before[role]:.0f}, {early[role]:.0f}, {late[role]:.0f}" for role in ROLES)
    )
    assert (found.targeted, found.made, found.failed) == (BATCHES, BATCHES - 1, 1)
    for role in ROLES:
        assert late[role] - early[role] <= MOST_GROWTH_MB, role

    runs = runs_of(deployment, backfill)
    assert sorted(partition_of(run) for run in runs) == keys
    [failed] = [run for run in runs if run["status"] != "SUCCESS"]
    assert partition_of(failed) == bad
    assert f"1 of 1 videos of batch {bad} failed (1 invalid_media)" in "\n".join(deployment.messages(failed["runId"]))
    told = status(settings.store, settings.config)
    assert (told.downloads.ok, told.downloads.failed) == (BATCHES - 1, {"invalid_media": 1})

    damaged.write_bytes(good)
    at_rest(damaged.parent)
    retry_failed(Job(settings.store, settings.config, settings.home), classes=["invalid_media"])
    again = launched(deployment, "reexecutePartitionBackfill", parentRunId=backfill, strategy="FROM_FAILURE")
    found = wait_until(deployment, again, 1, whole=True)
    assert (found.status, found.targeted, found.made) == ("COMPLETED_SUCCESS", 1, 1)
    assert [partition_of(run) for run in runs_of(deployment, again)] == [bad]
    told = status(settings.store, settings.config)
    assert told.downloads.ok == BATCHES
    assert told.conserved, told.violations
    monkeypatch.setenv("DAGSTER_PG_URL", deployment.postgres.url)
    with open_instance(settings.home) as instance:
        assert instance.get_runs_count() == BATCHES + 2
    assert all(process.is_running() for process in services.processes.values())
