"""The deployment as plain processes with a real Postgres: what the daemon, the pages and a lost server make of runs.

One deployment for all tests, because its processes take half a minute to start.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.events import DagsterEvent

from assets.settings import load_settings, save_config
from pipeline.config import EngineConfig
from pipeline.inspect.status import status
from tests.dagster_ui import wait_for
from tests.deployment import TOKEN, Deployment, deployed
from tests.e2e.conftest import gameplay
from tests.media import at_rest
from tests.postgres import PASSWORD
from tests.slow.ray_cluster import RayCluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE_S = 60
TICK = """
import logging, sys
from datetime import datetime
import dagster as dg
import dagster._daemon  # first: the scheduler and the daemon import each other
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

target, now = WorkspaceFileTarget([sys.argv[1]]), datetime.fromisoformat(sys.argv[2])
with (
    dg.DagsterInstance.get() as instance,
    WorkspaceProcessContext(instance, target, version=dg.__version__) as context,
):
    errors = [found for found in launch_scheduled_runs(context, logging.getLogger("tick"), now, {}) if found]
sys.exit("\\n".join(map(str, errors)) or None)
"""
"""One look of the daemon at all schedules, at a time of its own."""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Iterator[Deployment]:
    """The services on a root whose source is a folder of two short recordings."""
    folder = tmp_path_factory.mktemp("deployment")
    (folder / "recordings").mkdir()
    for seed in range(2):
        make_video(folder / "recordings" / f"{seed}.mp4", gameplay(seed, 5))
    values = {
        "engine": {"workers": 1}, "source": {"apply_rules": False}, "clips": {"seconds": 4.0},
        # what stands still in these recordings is flagged, as an overlay is
        "decision": {"mode": "flags", "drop_flags": [], "middle": "keep"},
    }  # fmt: skip
    source = f"folder:{at_rest(folder / 'recordings')}"
    settings = load_settings(str(folder / "root"), source=source, home=folder / "home", overrides=values)
    (folder / "config.yaml").write_text(json.dumps(values))
    options = ["--source", source, "--config", str(folder / "config.yaml"), "--grace", "15"]
    with deployed(settings, options, LAMPWORKS_POSTGRES_PATIENCE=str(PATIENCE_S)) as found:
        yield found


def ended(deployment: Deployment, run_id: str, seconds: float = 240) -> str:
    """Wait for the end of a run; return its status."""
    return str(
        wait_for(
            lambda: (found := deployment.status_of(run_id)) in {"SUCCESS", "FAILURE", "CANCELED"} and found,
            seconds,
            lambda: "\n".join(deployment.messages(run_id)) + deployment.said()[-20000:],
        )
    )


def process_of(deployment: Deployment, run_id: str) -> psutil.Process:
    """Wait until a run executes a step; return its process."""

    def pid() -> str | None:
        said = "\n".join(deployment.messages(run_id))
        found = re.search(r"Executing steps in process \(pid: (\d+)\)", said)
        return found[1] if found and "Started execution of step" in said else None

    return psutil.Process(int(wait_for(pid, 120, deployment.said, rarest_s=0.1)))


def commanded(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "assets.cli.main", *arguments]
    return subprocess.run(command, env=deployment.environment, capture_output=True, text=True, timeout=200)


def records(deployment: Deployment) -> list[dict[str, object]]:
    return [json.loads(line) for line in deployment.said().splitlines()]


def test_a_batch_is_made_through_the_daemon_and_the_pages(deployment: Deployment) -> None:
    assert deployment.ready()["parts"] == dict.fromkeys(("storage", "store", "code", "daemon", "pages"), "ok")
    assert ended(deployment, deployment.run("discover")) == "SUCCESS"
    store = deployment.settings.store
    [batch] = {row["batch"] for row in store.read("videos").to_pylist()}
    collected = deployment.run("collect_batch", batch)
    assert ended(deployment, collected) == "SUCCESS"
    found = status(store, deployment.settings.config)
    assert found.conserved, found.violations
    assert found.downloads.ok == found.clips.videos_cut == 2
    assert found.clips.total >= 2
    # what its steps printed is on this disk, where the pages show it
    assert list((deployment.home.dagster / "storage" / collected / "compute_logs").glob("*.err"))
    text = deployment.metrics()
    assert 'lampworks_runs_ended_total{job="collect_batch",status="success"} 1.0' in text
    assert f"lampworks_clips {found.clips.total}.0" in text
    assert 'lampworks_attempts_total{error_class="",state="ok"} 2.0' in text or "attempts_total" in text


def test_pages_and_metrics_are_for_those_who_have_the_token(deployment: Deployment) -> None:
    for url in (f"{deployment.url}/server_info", f"{deployment.metrics_url}/metrics", f"{deployment.metrics_url}/live"):
        assert deployment.get(url, token=None)[0] == 401
        assert deployment.get(url, token="another-token-of-the-test")[0] == 401
        assert deployment.get(url)[0] == 200


def test_the_health_of_a_service_is_asked_by_a_command(deployment: Deployment) -> None:
    done = commanded(deployment, "health", *deployment.where)
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()} == dict.fromkeys(
        ("storage", "store", "daemon", "pages", "metrics"), "ok"
    )


def test_a_run_whose_process_is_killed_starts_again_and_a_step_that_says_why_it_failed_does_not(
    deployment: Deployment,
) -> None:
    crashed = deployment.run("discover")
    process_of(deployment, crashed).kill()
    assert ended(deployment, crashed) == "FAILURE"
    again = wait_for(lambda: retry_of(deployment, crashed), 120, deployment.said)
    assert ended(deployment, again) == "SUCCESS"
    refused = deployment.run("ablate")
    assert ended(deployment, refused) == "FAILURE"
    wait_for(lambda: "Not retrying run since it failed" in "\n".join(deployment.messages(refused)), 60)
    assert retry_of(deployment, refused) is None


def retry_of(deployment: Deployment, run_id: str) -> str | None:
    """Return the run that the daemon started in place of another."""
    query = "{runsOrError{... on Runs{results{runId parentRunId}}}}"
    found = deployment.ask(query)["runsOrError"]["results"]
    return next((run["runId"] for run in found if run["parentRunId"] == run_id), None)


def test_a_killed_code_server_is_back_after_a_while_and_its_run_starts_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work = deployment.run("discover")
    run = process_of(deployment, at_work)
    server = min(deployment.processes("code"), key=lambda process: process.create_time())
    server.kill()
    # its run would go on without a server that knows it
    wait_for(lambda: not run.is_running() or run.status() == psutil.STATUS_ZOMBIE, 60)
    # the next server is held back, for as long as it takes the daemon to look for it in vain
    held = wait_for(lambda: next_code_server(deployment, server), 60, rarest_s=0.1)
    held.suspend()
    try:
        assert ended(deployment, at_work) == "FAILURE"
        waits = "Starts again once the code server answers"
        wait_for(lambda: waits in "\n".join(deployment.messages(at_work)), 120, deployment.said)
        assert retry_of(deployment, at_work) is None
        # and so does a run that is in the queue
        monkeypatch.setenv("DAGSTER_PG_URL", deployment.postgres.url)
        queued = enqueue_another(deployment, at_work)
        back = "re-submitting the run into the queue"
        wait_for(lambda: back in "\n".join(deployment.messages(queued)), 120, deployment.said)
    finally:
        held.resume()
    assert ended(deployment, wait_for(lambda: retry_of(deployment, at_work), 120, deployment.said)) == "SUCCESS"
    assert ended(deployment, queued) == "SUCCESS"
    wait_for(lambda: deployment.ready()["ready"], 120)


def next_code_server(deployment: Deployment, killed: psutil.Process) -> psutil.Process | None:
    for process in deployment.processes("code"):
        with suppress(psutil.Error):
            if process != killed and "serve_code" in " ".join(process.cmdline()):
                return process
    return None


def enqueue_another(deployment: Deployment, run_id: str) -> str:
    """Put a run into the queue that is to do what another does; return its id. The pages need a code server for it."""
    with dg.DagsterInstance.from_config(str(deployment.home.dagster)) as instance:
        known = instance.get_run_by_id(run_id)
        assert known is not None
        run = known._replace(run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.NOT_STARTED, tags={})
        instance.add_run(run)
        instance.report_dagster_event(DagsterEvent.job_enqueue(run), run.run_id)
    return str(run.run_id)


def test_a_postgres_that_is_killed_and_is_back_soon_ends_no_run(deployment: Deployment) -> None:
    at_work = deployment.run("discover")
    process_of(deployment, at_work)
    deployment.postgres.kill()
    try:
        answers = wait_for(lambda: not (found := deployment.ready())["ready"] and found["parts"], 60)
    finally:
        deployment.postgres.start()
    assert "does not answer" in answers["storage"]
    assert answers["store"] == answers["code"] == "ok"
    assert ended(deployment, at_work) == "SUCCESS"
    wait_for(lambda: deployment.ready()["ready"], 120)


def test_a_postgres_that_is_away_for_long_costs_a_run_that_starts_again(deployment: Deployment) -> None:
    at_work = deployment.run("discover")
    process = process_of(deployment, at_work)
    deployment.postgres.kill()
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            deployment.runs()
        assert refused.value.code == 503
        assert "does not answer" in refused.value.read().decode()
        # a command says the same, and nothing of the password
        source = ["--source", deployment.settings.config.source.spec]
        other = ["--root", str(deployment.home.folder.parent / "other"), *source]
        done = commanded(deployment, "run", *other, "--select", "search_results")
        assert done.returncode == 2
        assert "Start it, or correct DAGSTER_PG_URL" in done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 400, deployment.said)
    finally:
        deployment.postgres.start()
    assert ended(deployment, at_work) == "FAILURE"
    assert ended(deployment, wait_for(lambda: retry_of(deployment, at_work), 120, deployment.said)) == "SUCCESS"
    found = status(deployment.settings.store, deployment.settings.config)
    assert found.conserved, found.violations
    said = [str(record["message"]) for record in records(deployment)]
    assert any(f"does not answer: waiting up to {PATIENCE_S} s for it" in text for text in said)
    wait_for(lambda: deployment.ready()["ready"], 120)


def test_a_batch_is_made_by_a_node_of_the_cluster(
    deployment: Deployment, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    settings, cluster = deployment.settings, RayCluster(tmp_path)
    make_video(Path(settings.config.source.argument) / "late.mp4", gameplay(7, 5))
    at_rest(Path(settings.config.source.argument))
    try:
        assert ended(deployment, deployment.run("discover")) == "SUCCESS"
        rows = settings.store.read("videos").to_pylist()
        [late] = [row for row in rows if row["native_id"].startswith("late")]
        engine = EngineConfig(**cluster.engine())
        save_config(replace(settings, config=replace(settings.config, engine=engine)))
        # without the cluster nothing is made elsewhere in its place
        refused = deployment.run("collect_batch", late["batch"])
        assert ended(deployment, refused) == "FAILURE"
        assert "no Ray head answers at engine.address" in "\n".join(deployment.messages(refused))
        head, port = cluster.address.rpartition(":")[::2]
        cluster.begin("head", head, "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
        cluster.wait("head")
        cluster.join("node", "127.0.0.3")
        cluster.wait("node")
        assert ended(deployment, deployment.run("collect_batch", late["batch"])) == "SUCCESS"
        assert late["video_id"] in settings.store.read("clips")["video_id"].to_pylist()
    finally:
        cluster.stop()
        save_config(settings)


def test_the_weekly_schedule_curates_again_by_its_own_tick(deployment: Deployment) -> None:
    query = "mutation($s: ScheduleSelector!) {startSchedule(scheduleSelector: $s) {__typename}}"
    found = deployment.ask(query, s={**deployment.place(), "scheduleName": "weekly_recuration"})
    assert found["startSchedule"]["__typename"] == "ScheduleStateResult"
    # the clock of this tick alone is moved: a little after the next Monday, 03:00
    now = datetime.now(UTC)
    monday = (now + timedelta(days=7 - now.weekday())).replace(hour=3, minute=0, second=5, microsecond=0)
    daemon = min(deployment.processes("daemon"), key=lambda process: process.create_time())
    workspace = next(part for part in re.findall(r"'(/[^']*workspace.yaml)'", " ".join(daemon.cmdline())))
    tick = [sys.executable, "-c", TICK, workspace, monday.isoformat()]
    environment = {**deployment.environment, "DAGSTER_HOME": str(deployment.home.dagster)}
    done = subprocess.run(tick, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    query = '{runsOrError(filter: {pipelineName: "recurate"}) {... on Runs{results{runId}}}}'
    [run] = wait_for(lambda: deployment.ask(query)["runsOrError"]["results"], 60)
    assert ended(deployment, run["runId"]) == "SUCCESS", deployment.messages(run["runId"])
    store = deployment.settings.store
    assert set(store.read("curated", ["clip_id"])["clip_id"].to_pylist()) == set(
        store.read("clips")["clip_id"].to_pylist()
    )
    assert store.read("shards").num_rows > 0


def test_all_its_lines_are_json_and_none_has_a_secret(deployment: Deployment) -> None:
    found = records(deployment)
    assert {record["service"] for record in found if "service" in record} >= {"code", "daemon", "pages", "metrics"}
    assert any(record.get("run_id") and record.get("step") == "search_results" for record in found)
    for text in (deployment.said(), deployment.metrics(), json.dumps(deployment.ready())):
        assert PASSWORD not in text
        assert TOKEN not in text
    kept = [path for path in deployment.home.folder.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if PASSWORD.encode() in path.read_bytes()]


def test_it_ends_in_order_and_nothing_of_it_is_left(deployment: Deployment) -> None:
    started = [process for role in ("code", "daemon", "pages", "metrics") for process in deployment.processes(role)]
    assert len(started) >= 4
    deployment.stop(signal.SIGTERM)
    assert deployment.process.returncode == 0
    wait_for(lambda: not any(process.is_running() for process in started), 30)
