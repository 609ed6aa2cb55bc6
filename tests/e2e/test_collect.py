"""Collecting under Dagster: what a batch shows, what ends red and what only warns, runs at once, runs cut short.

The videos come from loopback sites behind a real proxy, through the real search and the real download.

One file, because all of it runs on the same site, settings and helpers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import psutil
import pytest
import yaml

from assets.graph.definitions import graph_of
from assets.passes.driver import PassOptions, full_pass
from assets.passes.failures import PassError
from assets.passes.instance import open_instance
from assets.settings import Settings, load_settings
from pipeline.download.circuit_breaker import breakers
from pipeline.download.ledger import download_states
from pipeline.inspect.status import status
from pipeline.search.batches import batches
from tests.dagster_ui import Ui
from tests.faultsite import FaultSite, Request, YouTube

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning"),
]
BOT_CHECK = {"status": "LOGIN_REQUIRED", "reason": "Sign in to confirm you\u2019re not a bot"}
FOX = {"queries": ["fox"], "query_subjects": [], "query_actions": []}
CHECKOUT = Path(__file__).parents[2]
WAIT_S = 300.0
"""How long a process may take to start and to come to a point, beside others on two cores."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> bytes:
    """A real video of 4 s with something moving in it."""
    frames = np.full((40, 96, 160, 3), 60, np.uint8)
    for index in range(40):
        frames[index, 30:60, 3 * index : 3 * index + 30] = (220, 40, 90)
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", frames, fps=10).read_bytes()


@pytest.fixture
def site() -> Iterator[FaultSite]:
    internet = FaultSite()
    yield internet
    internet.close()


@pytest.fixture
def youtube(tmp_path: Path, film: bytes) -> Iterator[YouTube]:
    internet = YouTube(tmp_path, film)
    yield internet
    internet.close()


@pytest.fixture
def settings_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Make the settings of a root: a source behind a proxy, and download settings."""
    for name in [name for name in os.environ if name.startswith(("LAMPWORKS_", "DAGSTER_HOME"))]:
        monkeypatch.delenv(name)

    def make(spec: str, proxy: str, *, source: Mapping[str, Any] | None = None, **download: Any) -> Settings:
        file = tmp_path / "config.yaml"
        known = {"spec": spec, "proxy": proxy, "check_certificates": False, **(source or {})}
        polite = {"host_interval_s": 0.0, "min_free_gb": 0.0, "max_wait_s": 0.0, "socket_timeout_s": 10.0, **download}
        rules = {"min_duration_s": 0.0}
        settings = {"preset": "demo", "source": known, "rules": rules, "download": polite, "engine": {"workers": 1}}
        file.write_text(yaml.safe_dump(settings), "utf-8")
        return load_settings(str(tmp_path / "root"), config=file)

    return make


def run_pass(settings: Settings, *select: str) -> tuple[Any, list[str]]:
    said: list[str] = []
    return full_pass(
        settings, [*(select or ("+clips",))], on_progress=said.append, options=PassOptions(report=False)
    ), said


def last_of(settings: Settings, asset: str = "raw_videos") -> tuple[dict[str, Any], dict[str, dg.AssetCheckEvaluation]]:
    """Return the metadata of an asset's last materialization, and its last checks by name."""
    with open_instance(settings.home) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[event.run_id]))
        entries = instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        checks = [entry.dagster_event.asset_check_evaluation_data for entry in entries if entry.dagster_event]
    found = {one.check_name: one for one in checks if one.asset_key == dg.AssetKey(asset)}
    metadata = event.asset_materialization.metadata
    return {name: getattr(value, "value", None) for name, value in metadata.items()} | {"": metadata}, found


def end_pause(settings: Settings, site: str) -> None:
    """Let the pause of a site's circuit breaker be over, as if its time had passed."""
    store, now = settings.store, datetime.now(UTC)
    store.append("breakers", [replace(breakers(store)[site], changed_at=now, next_try_at=now).row()])
    waiting = store.read("downloads").to_pylist()
    store.replace("downloads", [row | {"next_try_at": now} for row in waiting])


def rows_of(table: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in table.records]


# -- what a batch shows -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("inline")
def test_a_site_that_asks_for_a_check_ends_the_run_green_with_a_warning_and_goes_on_after_its_rest(
    youtube: YouTube, settings_of: Callable[..., Settings]
) -> None:
    settings = settings_of("youtube", youtube.proxy_url, source=FOX, breaker_s=3600.0, workers=1)
    run_pass(settings, "search_results")
    youtube.playability = BOT_CHECK
    first, _ = run_pass(settings, "raw_videos", "clips")
    assert [title.split(",")[0] for title in first.runs] == ["raw_videos and clips"]
    (warning,) = [text for text in first.warnings if "site_open" in text]
    assert "youtube is paused until" in warning
    assert "not a bot" in warning
    metadata, checks = last_of(settings)
    assert (metadata["ok"], metadata["failed"], metadata["pending"]) == (0, 0, 2)
    assert {name for name, check in checks.items() if not check.passed} == {"site_open"}
    assert checks["site_open"].severity == dg.AssetCheckSeverity.WARN
    (row,) = rows_of(metadata["sites"])
    assert (row["site"], row["state"], row["refusals"], row["class"]) == ("youtube", "open", 1, "source_blocked")
    assert metadata["next try"] is not None
    # while it is paused there is nothing to do
    assert run_pass(settings, "raw_videos", "clips")[0].runs == []
    youtube.playability = {"status": "OK"}
    end_pause(settings, "youtube")
    assert run_pass(settings, "raw_videos", "clips")[0].warnings == []
    metadata, checks = last_of(settings)
    assert (metadata["ok"], metadata["pending"]) == (2, 0)
    assert all(check.passed for check in checks.values())
    assert rows_of(metadata["sites"])[0]["state"] == "closed"
    assert status(settings.store, settings.config).conserved


@pytest.mark.usefixtures("inline")
def test_a_batch_shows_what_became_of_its_videos_and_what_was_saved(
    youtube: YouTube, settings_of: Callable[..., Settings]
) -> None:
    gone = {"status": "ERROR", "reason": "This video is private"}
    settings = settings_of("youtube", youtube.proxy_url, source=FOX, max_failed_share=0.5)
    run_pass(settings, "search_results")
    youtube.playability = lambda name: gone if name == "aaaaaaaaaa3" else {"status": "OK"}
    run_pass(settings, "raw_videos", "clips")
    metadata, checks = last_of(settings)
    states = download_states(settings.store)
    assert Counter(state.state for state in states.values()) == {"ok": 1, "failed": 1}
    assert {name: metadata[name] for name in ("videos", "ok", "failed", "rejected", "pending", "taken down")} == {
        "videos": 2, "ok": 1, "failed": 1, "rejected": 0, "pending": 0, "taken down": 0
    }  # fmt: skip
    assert metadata["tried"] >= 1
    assert metadata["videos per second"] > 0
    size = len(youtube.media)
    assert metadata["megabytes"] == pytest.approx(size / 1e6, abs=0.01)
    assert metadata["times smaller than 360p"] >= 4
    assert metadata["times smaller than 720p"] >= 9
    (error,) = rows_of(metadata["top errors"])
    assert error["videos"] == 1
    assert "private" in error["message"]
    assert [row["video"] for row in rows_of(metadata["failures"])] == ["youtube-aaaaaaaaaa3"]
    assert "formats" in metadata
    sheet = Path(str(metadata["contact sheet"]))
    assert sheet.is_file()
    assert json.loads(sheet.with_suffix(".json").read_text("utf-8"))["shown"] == ["youtube-aaaaaaaaaa1"]
    assert checks["conservation"].passed
    assert "2 videos = 1 ok + 1 failed" in str(checks["conservation"].description)
    # asked for again, as from the page of its partition: nothing is due, nothing is written, nothing fails
    before = {name: settings.store.version(name) for name in ("downloads", "breakers", "clips", "clippings")}
    with open_instance(settings.home) as instance:
        (batch,) = batches(settings.store)
        job = graph_of(settings).resolve_job_def("collect_batch")
        assert job.execute_in_process(instance=instance, partition_key=batch).success
    assert {name: settings.store.version(name) for name in before} == before
    # pictures and texts of one event stay small: they are kept in Dagster's database
    assert sum(len(str(value)) for value in metadata.values()) < 20_000


def publish(site: FaultSite, film: bytes, folder: Path, names: Mapping[str, Mapping[str, Any]]) -> str:
    """Publish a file per name (host/file) with its faults, list them, and return the source's spec."""
    urls = [site.add(f"http://{name}", film, **faults) for name, faults in names.items()]
    (folder / "list.txt").write_text("\n".join(urls), "utf-8")
    return f"urls:{folder}/list.txt"


@pytest.mark.usefixtures("inline")
def test_more_failures_than_the_stated_share_end_the_run_red_and_the_next_run_goes_on(
    site: FaultSite, film: bytes, tmp_path: Path, settings_of: Callable[..., Settings]
) -> None:
    broken = {f"b.test/{number}.mp4": {"cut": 9, "length": 9, "calm": 0} for number in range(3)}
    spec = publish(site, film, tmp_path, {"a.test/good.mp4": {}, **broken})
    settings = settings_of(spec, site.proxy_url, max_failed_share=0.5, max_attempts=1)
    with pytest.raises(PassError, match=r"3 of 4 videos of batch .* failed .* download\.max_failed_share = 0\.5"):
        run_pass(settings)
    with open_instance(settings.home) as instance:
        (run,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        (failed,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    assert failed.dagster_event is not None
    told = failed.dagster_event.step_failure_data.user_failure_data.metadata
    assert (told["ok"].value, told["failed"].value) == (1, 3)
    assert rows_of(told["top errors"])
    again, _ = run_pass(settings)
    assert len(again.runs) == 1, "the good one is cut"
    metadata, checks = last_of(settings)
    assert (metadata["ok"], metadata["failed"]) == (1, 3)
    assert not checks["decodable_share"].passed


@pytest.mark.usefixtures("inline")
def test_a_disk_without_room_pauses_downloads_with_a_warning_and_once_for_all_batches(
    site: FaultSite, film: bytes, tmp_path: Path, settings_of: Callable[..., Settings]
) -> None:
    spec = publish(site, film, tmp_path, {f"a.test/{number}.mp4": {} for number in range(3)})
    settings = settings_of(spec, site.proxy_url, source={"batch_size": 1}, min_free_gb=1e9)
    result, said = run_pass(settings, "+near_duplicates")
    assert len(batches(settings.store)) == 3
    assert len(result.runs) == 2, "the search, and one batch that found out"
    assert any("check paused did not pass" in text and "min_free_gb" in text for text in result.warnings)
    assert any("no clip yet: 3 videos are pending" in text for text in result.warnings)
    assert [text for text in said if "warning" in text]
    metadata, checks = last_of(settings)
    assert metadata["pending"] == 1
    assert not checks["paused"].passed
    assert checks["conservation"].passed


@pytest.mark.usefixtures("inline")
def test_a_search_that_fails_does_not_keep_what_was_found_before_from_being_fetched(
    youtube: YouTube, settings_of: Callable[..., Settings]
) -> None:
    settings = settings_of("youtube", youtube.proxy_url, source=FOX)
    run_pass(settings, "search_results")
    answer = youtube.answer

    def without_search(request: Request) -> None:
        if "/search" in request.local:
            request.send(b"gone", "text/plain", status=404)
        else:
            answer(request)

    youtube.answer = without_search  # type: ignore[method-assign]
    with pytest.raises(PassError, match="failed with"):
        run_pass(settings)
    assert Counter(state.state for state in download_states(settings.store).values()) == {"ok": 2}


# -- two runs of one batch, and the end of a run ------------------------------------------------------------------


def command_of(settings: Settings, *more: str, home: Path | None = None) -> subprocess.Popen[str]:
    """Start `lampworks run` on the root of the settings, as from a shell."""
    command = [sys.executable, "-m", "assets.cli.main", "run", "--root", settings.store.root, *more]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **({"LAMPWORKS_HOME": str(home)} if home else {})}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_runs_of_one_batch_at_once_corrupt_nothing(
    site: FaultSite, film: bytes, tmp_path: Path, settings_of: Callable[..., Settings]
) -> None:
    names = [(f"{host}.test", f"/{number}.mp4") for host in "abcd" for number in range(2)]
    spec = publish(site, film, tmp_path, {host + path: {} for host, path in names})
    settings = settings_of(spec, site.proxy_url, socket_timeout_s=300.0)
    run_pass(settings, "search_results")
    # no file is answered before both runs have asked for the same one: so they are at it together, however long one
    # of them takes to start
    both_asked = threading.Event()
    for host, path in names:
        site.add(f"http://{host}{path}", film, gate=both_asked)
    config = ["--config", str(tmp_path / "config.yaml"), "--select", "raw_videos,clips"]
    # as on two machines: each with a home, a lock and a Dagster of its own, and one store
    runs = [command_of(settings, *config, home=tmp_path / f"home{number}") for number in range(2)]
    wait_for(lambda: any(site.asked[name] >= 2 for name in names))
    both_asked.set()
    outputs = [run.communicate(timeout=WAIT_S)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(outputs)
    attempts = settings.store.read("downloads").to_pylist()
    by_run = Counter(Counter(row["video_id"] for row in attempts).values())
    assert by_run[2] > 0, "nothing was tried twice"
    states = download_states(settings.store)
    assert len(states) == 8
    assert {state.state for state in states.values()} == {"ok"}
    for state in states.values():
        assert settings.store.read_blob(str(state.path)) == film
    assert [path for path in Path(settings.store.root, "raw").rglob("*") if path.name.startswith(".tmp")] == []
    found = status(settings.store, settings.config)
    assert found.conserved, found.violations
    assert found.downloads.ok == found.clips.videos_cut == 8
    # and nothing is left to do
    assert run_pass(settings, "raw_videos", "clips")[0].runs == []


def children_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for(what: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < end, "the event did not come"
        time.sleep(0.05)
    return found


def ok_videos(settings: Settings) -> list[str]:
    return [name for name, state in download_states(settings.store).items() if state.state == "ok"]


# by SIGTERM: tests/assets/test_runs.py stops a run by Ctrl-C, and tests/unit/pipeline/test_interrupts.py by each
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_is_cancelled_stops_its_children_keeps_what_is_done_and_is_finished_by_the_next(
    site: FaultSite, film: bytes, tmp_path: Path, settings_of: Callable[..., Settings]
) -> None:
    # every file is found, and its second request and those after it hang in the middle
    stuck = {f"slow{number}.test/a.mp4": {"stall": 2000, "calm": 1} for number in range(3)}
    spec = publish(site, film, tmp_path, {"a.test/1.mp4": {}, "b.test/2.mp4": {}, **stuck})
    settings = settings_of(spec, site.proxy_url, socket_timeout_s=300.0, workers=5)
    run = command_of(settings, "--config", str(tmp_path / "config.yaml"), "--select", "+clips")
    assert run.stdout is not None
    # a blob is there before its row: the rows say that the two good files are done
    wait_for(lambda: len(ok_videos(settings)) == 2)
    wait_for(lambda: len(list(settings.home.tmp.rglob("*.part"))) == 3)
    children = children_of(run)
    assert children
    run.send_signal(signal.SIGTERM)
    output = run.communicate(timeout=WAIT_S)[0]
    assert run.returncode == 130, output
    assert "Traceback" not in output
    assert psutil.wait_procs(children, timeout=60)[1] == [], "the downloads went on"
    assert len(ok_videos(settings)) == 2
    assert Counter(state.state for state in download_states(settings.store).values()) == {"ok": 2, "pending": 3}
    for number in range(3):
        site.add(f"http://slow{number}.test/a.mp4", film)
    done, _ = run_pass(settings)
    assert len(done.runs) == 1, "known videos are not searched again"
    assert len(ok_videos(settings)) == 5
    assert [path for path in settings.home.tmp.rglob("*") if path.is_file()] == []
    assert status(settings.store, settings.config).conserved


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_in_the_ui_one_batch_downloads_at_a_time_and_what_a_killed_or_ended_run_left_is_asked_for_again(
    site: FaultSite, film: bytes, tmp_path: Path, settings_of: Callable[..., Settings]
) -> None:
    names = {"a.test/1.mp4": {}, "slow.test/2.mp4": {"stall": 2000}}
    spec = publish(site, film, tmp_path, {**names, "b.test/3.mp4": {}, "b.test/4.mp4": {}})
    settings = settings_of(spec, site.proxy_url, source={"batch_size": 2}, socket_timeout_s=600.0)
    run_pass(settings, "search_results")
    first, second = batches(settings.store)
    by_search = site.asked.copy()
    ui = Ui(settings.home, settings.store.root)
    try:
        ui.wait()
        killed, children = held(ui, site, first)
        behind = ui.run("collect_batch", second)
        # the queue has looked, and says so
        why = (
            "Waits for the pool 'downloads', which has 1 slot (Deployment, Concurrency): "
            f"run {killed[:8]} (collect_batch of {first}) at work there."
        )
        wait_for(lambda: why in " ".join(ui.messages(behind)))
        assert ui.runs()[behind] in {"QUEUED", "STARTED"}
        assert site.asked["b.test", "/3.mp4"] == by_search["b.test", "/3.mp4"], "the pool has one place"

        # killed: marked failed, and the one behind it goes on
        (step,) = {one for child in children for one in child.parents() if "spawn_main" in " ".join(one.cmdline())}
        step.kill()
        wait_for(lambda: ui.runs()[killed] == "FAILURE")
        wait_for(lambda: ui.runs()[behind] == "SUCCESS")
        assert sum(why in message for message in ui.messages(behind)) == 1
        assert psutil.wait_procs(children, timeout=60)[1] == [], "the downloads went on"

        # ended by a person, and what it left is due
        ended, children = held(ui, site, first)
        ui.terminate(ended)
        wait_for(lambda: ui.runs()[ended] == "CANCELED")
        assert psutil.wait_procs(children, timeout=60)[1] == [], "the downloads went on"
        kept = Counter(state.state for state in download_states(settings.store, first).values())
        assert kept == {"ok": 1, "pending": 1}
        site.add("http://slow.test/2.mp4", film)
        before = ui.runs().keys()
        ui.start_sensor("due_batches_sensor")
        (asked,) = wait_for(lambda: ui.runs().keys() - before)
        wait_for(lambda: ui.runs()[asked] == "SUCCESS")
    finally:
        ui.stop()
    states = download_states(settings.store)
    assert {state.state for state in states.values()} == {"ok"}, states
    assert status(settings.store, settings.config).conserved


def held(ui: Ui, site: FaultSite, batch: str) -> tuple[str, list[psutil.Process]]:
    """Launch a batch; return its run, and its downloads, once the stalled file is asked for."""
    before = site.asked["slow.test", "/2.mp4"]
    run = ui.run("collect_batch", batch)
    wait_for(lambda: site.asked["slow.test", "/2.mp4"] > before)
    children = [one for one in psutil.Process(ui.process.pid).children(recursive=True) if _downloads(one)]
    assert children
    return run, children


def _downloads(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "pipeline.workers.worker" in " ".join(process.cmdline())
    return False
