"""Runs of the graph: by batch, by sensor, by the driver; after a kill; and what a user's error looks like."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from dagster._core.events import EngineEventData

from assets.automation.schedules import recurate
from assets.automation.sensors import batches_at_work
from assets.definitions import defs
from assets.graph.definitions import graph_of
from assets.graph.jobs import UP_TO_SHARDS
from assets.graph.resources import resource_of
from assets.passes.driver import PassOptions, full_pass
from assets.passes.failures import PassError
from assets.passes.instance import open_instance, sweep_killed_runs
from assets.settings import Settings, load_settings
from classifier.decision.content import decided_content
from models.studies.curation import CurationStudy
from models.studies.study import Finished, Run, Scope
from pipeline.config import DecisionConfig, EmbeddingConfig, EngineConfig
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.search.batches import batches
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from tests.snapshots import snapshot

NO_REPORT = PassOptions(report=False)
SMALL = EmbeddingConfig(width=32, height=32, frames=1, threads=1, device="cpu")
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")


def scrolling(seed: int, frames: int) -> np.ndarray:
    """A moving, textured world (T, 90, 160, 3)."""
    world = np.random.default_rng(seed).integers(0, 255, (9, 64, 3)).repeat(10, 0).repeat(10, 1).astype(np.uint8)
    return np.stack([np.roll(world, -3 * step, 1)[:, :160] for step in range(frames)])


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> list[Path]:
    """Four videos of one clip each, encoded once for all tests of this file."""
    folder = tmp_path_factory.mktemp("films")
    return [make_video(folder / f"{seed}.mp4", scrolling(seed, 165), fps=10) for seed in range(4)]


@pytest.fixture
def settings(tmp_path: Path, films: list[Path], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A root over a folder of one good and one broken video."""
    for name in [name for name in os.environ if name.startswith(("LAMPWORKS_", "DAGSTER_HOME"))]:
        monkeypatch.delenv(name)
    (tmp_path / "videos").mkdir()
    shutil.copy(films[0], tmp_path / "videos" / "good.mp4")
    (tmp_path / "videos" / "zero.mp4").write_bytes(b"")
    found = load_settings(str(tmp_path / "root"), source=f"folder:{tmp_path}/videos")
    return replace(found, config=replace(found.config, engine=EngineConfig(workers=1), embedding=SMALL))


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of the settings' root."""
    with open_instance(settings.home) as found:
        yield found


def run_job(
    name: str, settings: Settings, instance: dg.DagsterInstance, config: dict[str, dict[str, object]] | None = None
) -> dg.ExecuteInProcessResult:
    """Run a job quietly in this process; `config` is that of its assets, by name."""
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    if config:
        quiet["ops"] = {asset: {"config": values} for asset, values in config.items()}
    bound = dg.Definitions.merge(graph_of(settings), dg.Definitions(jobs=[recurate]))
    return bound.resolve_job_def(name).execute_in_process(instance=instance, raise_on_error=False, run_config=quiet)


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The sentence with which a run failed."""
    data = next(event.step_failure_data for event in result.all_events if event.is_step_failure)
    assert data.user_failure_data is not None, data.error
    return str(data.user_failure_data.description)


@pytest.mark.parametrize("job", ["collect_batch", "score_batch"])
def test_a_run_per_batch_without_a_batch_fails_with_a_sentence_that_says_so(
    job: str, settings: Settings, instance: dg.DagsterInstance
) -> None:
    result = run_job(job, settings, instance)
    assert not result.success
    assert "is made per batch and this run names none" in failure_of(result)


def test_an_error_of_the_users_is_the_description_of_the_failure(settings: Settings, tmp_path: Path) -> None:
    wrong = load_settings(str(tmp_path / "other"), source=f"folder:{tmp_path}/nowhere")
    with open_instance(wrong.home) as instance:
        result = run_job("discover", wrong, instance)
    assert "nowhere" in failure_of(result)
    assert "Traceback" not in failure_of(result)


@pytest.mark.usefixtures("inline")
def test_a_pass_makes_a_run_per_step_and_a_second_one_launches_nothing_and_touches_no_file(settings: Settings) -> None:
    said: list[str] = []
    first = full_pass(settings, ["+clip_embeddings"], on_progress=said.append, options=NO_REPORT)
    assert [title.split(",")[0] for title in first.runs] == ["search", "raw_videos and clips and clip_embeddings"]
    assert settings.store.read("clips").num_rows == 1
    with open_instance(settings.home) as instance:
        (batch,) = batches(settings.store)
        assert instance.get_dynamic_partitions("video_batch") == [batch]
        event = instance.get_latest_materialization_event(dg.AssetKey("clips"))
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["dagster/row_count"].value == 1
        runs = instance.get_runs()
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
    root = Path(settings.store.root)
    before = snapshot(root)
    second = full_pass(settings, ["+clip_embeddings"], on_progress=said.append, options=NO_REPORT)
    assert second.runs == []
    assert snapshot(root) == before
    # named by itself, the embedding is made although nothing of a decision by flags reads it
    config = replace(settings.config, embedding=replace(SMALL, frames=2), decision=DecisionConfig(mode="flags"))
    changed = replace(settings, config=config)
    third = full_pass(changed, ["clip_embeddings"], on_progress=said.append, options=NO_REPORT)
    assert [title.split(",")[0] for title in third.runs] == ["embeddings"]
    assert len(settings.store.read("embeddings")) == 1


@pytest.mark.usefixtures("inline")
def test_the_root_remembers_its_source_and_settings(settings: Settings) -> None:
    full_pass(settings, ["search_results"], on_progress=lambda text: None, options=NO_REPORT)
    again = load_settings(settings.store.root)
    assert again.config == settings.config


def test_a_source_that_finds_nothing_stops_the_pass_before_anything_is_launched(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    settings = load_settings(str(tmp_path / "root"), source=f"folder:{tmp_path}/empty")
    with pytest.raises(UserError, match="no video in it"):
        full_pass(settings, on_progress=lambda text: None, options=NO_REPORT)
    assert not (tmp_path / "root" / "tables").exists()


@pytest.mark.usefixtures("inline")
def test_a_failing_step_leaves_what_is_before_it_done_and_names_its_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(self: Store, key: str, source: Path) -> None:
        raise OSError(28, "No space left on device")

    full_pass(settings, ["+raw_videos"], on_progress=lambda text: None, options=NO_REPORT)
    monkeypatch.setattr(
        "pipeline.clips.cut_batch.cut_batch", lambda *args, **options: full_disk(settings.store, "", Path())
    )
    with pytest.raises(PassError, match="no space left for root") as caught:
        full_pass(settings, ["clips"], on_progress=lambda text: None, options=NO_REPORT)
    assert caught.value.by_user
    assert not (settings.home.dagster / "running").exists()


@pytest.mark.usefixtures("inline")
def test_the_sensor_asks_for_due_batches_once_per_state(settings: Settings) -> None:
    full_pass(settings, ["search_results"], on_progress=lambda text: None, options=NO_REPORT)
    sensor = defs.resolve_sensor_def("due_batches_sensor")
    (batch,) = batches(settings.store)
    with open_instance(settings.home) as instance:

        def tick(cursor: str | None) -> dg.SensorResult:
            context = dg.build_sensor_context(
                instance=instance, cursor=cursor, resources={"lampworks": resource_of(settings)}
            )
            return sensor(context)

        def keys(result: dg.SensorResult) -> dict[str | None, str | None]:
            return {request.partition_key: request.run_key for request in result.run_requests or []}

        first = tick(None)
        assert list(keys(first)) == [batch]
        idle = tick(first.cursor)
        assert keys(idle) == {}
        assert "nothing moved" in str(idle.skip_reason)
        full_pass(settings, ["raw_videos"], on_progress=lambda text: None, options=NO_REPORT)
        uncut = tick(idle.cursor)
        assert list(keys(uncut)) == [batch]
        assert keys(uncut) != keys(first)
        full_pass(settings, ["clips"], on_progress=lambda text: None, options=NO_REPORT)
        done = tick(uncut.cursor)
        assert keys(done) == {}
        assert done.skip_reason == dg.SkipReason("no batch is due")


def test_the_sensor_knows_the_batches_that_a_run_has(settings: Settings, instance: dg.DagsterInstance) -> None:
    waiting, ended, scored = dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.STARTED
    for job, batch, status in (
        ("collect_batch", "2026w47-0001", waiting),
        ("collect_batch", "2026w47-0002", ended),
        ("score_batch", "2026w47-0003", scored),
        ("discover", None, waiting),
    ):
        tags = {"dagster/partition": batch} if batch else {}
        instance.create_run_for_job(defs.resolve_job_def(job), status=status, tags=tags)
    assert batches_at_work(instance) == {"2026w47-0001"}


def test_the_ablation_refuses_to_train_unless_its_config_asks_for_it(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    result = run_job("ablate", settings, instance)
    assert not result.success
    assert "set `confirm: true` in its config" in failure_of(result)
    assert "lampworks run --select curation_ablation" in failure_of(result)


def test_a_study_refuses_to_train_unless_its_config_asks_for_it(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    result = run_job("make_study", settings, instance, {"study": {"study": "lam_input"}})
    assert not result.success
    assert "`ops: {study: {config: {confirm: true, study: lam_input}}}`" in failure_of(result)
    assert "run `lampworks study lam-input`." in failure_of(result)


@pytest.mark.slow
def test_a_study_that_was_asked_for_is_a_page_of_the_root_and_is_not_measured_again(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    asked = {"study": {"confirm": True, "study": "lam_input", "size": "tiny", "seeds": 2}}
    first = run_job("make_study", settings, instance, asked)
    assert first.success
    read = settings.store.read_blob
    page = read("reports/studies/lam-input/study.md").decode()
    assert "lampworks study lam-input --size tiny --seeds 2" in page
    assert read("reports/studies/lam-input/lam-input-1.svg").startswith(b"<svg")
    found = json.loads(read("reports/studies/lam-input/study.json"))
    [made] = first.asset_materializations_for_node("study")
    # Dagster's page reads no file of the root: the drawings are in the text
    shown = str(made.metadata["page"].value)
    assert shown.startswith(page[: page.index("![")])
    assert shown.count("](data:image/svg+xml;base64,") == page.count(".svg)") > 0
    assert made.metadata["parts"].value == 6
    [check] = first.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("tells", False)
    assert "too few to tell" in str(check.metadata) + str(check.description)
    # the parts are kept: what is shown again has the CPU-seconds that were measured
    again = run_job("make_study", settings, instance, asked)
    assert again.success
    assert json.loads(read("reports/studies/lam-input/study.json")) == found


@pytest.mark.usefixtures("inline")
def test_the_driver_asks_for_the_ablation_that_was_selected(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[int, int]] = []

    class Measured(CurationStudy):
        def data(self) -> str:
            return "v"

        def counts(self) -> dict[str, int]:
            return dict.fromkeys(("curated", "random", "pool", "held-out sources, curated"), 3)

    def ablation(job: Job, *, steps: int, seeds: int) -> tuple[CurationStudy, list[Finished]]:
        asked.append((steps, seeds))
        figures = {"cross_entropy": [1.0], "psnr_t1": [20.0], "psnr_t4": [19.0], "delta_t_psnr_permuted": [None]}
        result = {"curated": figures, "pool": figures}
        found = [Finished(Run(arm, seed, {}), result) for arm in ("curated", "random", "pool") for seed in range(seeds)]
        return Measured(Scope(tmp_path, job, "full", seeds, steps)), found

    monkeypatch.setattr("models.studies.curation.ablation", ablation)
    full_pass(settings, ["+clips"], on_progress=lambda text: None, options=NO_REPORT)
    options = replace(NO_REPORT, ablation_steps=7)
    full_pass(settings, ["curation_ablation"], on_progress=lambda text: None, options=options)
    assert asked == [(7, 3)]


@pytest.mark.usefixtures("inline")
@pytest.mark.timeout(120)
def test_the_weekly_job_runs_the_driver_up_to_the_shards_and_never_trains(
    settings: Settings, films: list[Path], tmp_path: Path
) -> None:
    for seed in (1, 2, 3):
        shutil.copy(films[seed], tmp_path / "videos" / f"more{seed}.mp4")
    flags = replace(settings.config.decision, mode="flags")
    # a division in which both sides hold some of the four
    split = replace(settings.config.split, val_share=0.5, salt="b")
    weekly = replace(settings, config=replace(settings.config, decision=flags, split=split))
    with open_instance(weekly.home) as instance:
        assert run_job("recurate", weekly, instance).success
        jobs = [run.job_name for run in reversed(instance.get_runs())]
        [audited] = instance.fetch_materializations(dg.AssetKey("curation_audit"), limit=9).records
        [decided] = instance.fetch_materializations(dg.AssetKey("curated_clips"), limit=9).records
    assert jobs == ["recurate", "discover", "collect_batch", "compare_clips", "label", "decide"]
    assert weekly.store.read("shards").num_rows == 2
    assert weekly.store.read("models").num_rows == 0
    shown = audited.asset_materialization.metadata
    assert (shown["audited clips"].value, shown["rated clips"].value) == (4, 0)
    assert f"`lampworks label --audit --root {weekly.store.root}`" in shown["audit"].value
    # the data version of a decision is what it says
    version = decided.asset_materialization.tags["dagster/data_version"]
    assert version == decided_content(weekly.store)
    # identical inputs: nothing is launched, and nothing is written
    before = {table: weekly.store.version(table) for table in SCHEMAS}
    assert full_pass(weekly, UP_TO_SHARDS, on_progress=lambda text: None, options=NO_REPORT).runs == []
    assert {table: weekly.store.version(table) for table in SCHEMAS} == before


KILLED = """
import os, sys
import dagster as dg
from assets.passes.instance import open_instance
from pipeline.storage.home import Home
from pathlib import Path

@dg.asset(pool="downloads")
def killed(context) -> None:
    os.kill(os.getpid(), 9)

job = dg.define_asset_job("killed_job", selection="*")
defs = dg.Definitions(assets=[killed], jobs=[job], executor=dg.in_process_executor)
with open_instance(Home(Path(sys.argv[1]))) as instance:
    defs.resolve_job_def("killed_job").execute_in_process(instance=instance)
"""


@pytest.mark.usefixtures("inline")
@pytest.mark.timeout(120)
def test_a_killed_run_is_marked_failed_its_pool_slot_is_freed_and_the_next_pass_goes_on(settings: Settings) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(settings.home.folder)], env=environment, capture_output=True, timeout=100
    )
    assert done.returncode == -9
    with open_instance(settings.home) as instance:
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.STARTED
        assert instance.event_log_storage.get_concurrency_run_ids() == {run.run_id}
    (settings.home.dagster / "running").touch()
    said: list[str] = []
    start = time.monotonic()
    full_pass(settings, ["+raw_videos"], on_progress=said.append, options=NO_REPORT)
    assert time.monotonic() - start < 100  # a slot that is not freed would be waited for without end
    assert any(run.run_id[:8] in text for text in said)
    with open_instance(settings.home) as instance:
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status == dg.DagsterRunStatus.FAILURE
        assert instance.event_log_storage.get_concurrency_run_ids() == set()


def test_a_run_whose_process_lives_is_left_alone(settings: Settings, instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(defs.resolve_job_def("discover"), status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event("Executing steps in process", run, EngineEventData.in_process(os.getpid()))
    assert sweep_killed_runs(instance) == []


@pytest.mark.usefixtures("inline")
@pytest.mark.timeout(120)
def test_ctrl_c_ends_a_run_with_130_and_a_sentence_and_the_next_one_carries_on(
    settings: Settings, films: list[Path], tmp_path: Path
) -> None:
    for seed in (1, 2, 3):
        shutil.copy(films[seed], tmp_path / "videos" / f"more{seed}.mp4")
    (tmp_path / "one.yaml").write_text("engine: {workers: 1}\n", "utf-8")
    root, source = settings.store.root, settings.config.source.spec
    command = [sys.executable, "-m", "assets.cli.main", "run", "--root", root, "--select", "+clips", "--source", source]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [*command, "--config", str(tmp_path / "one.yaml")], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("download"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "stopped. What was published stays" in rest
    assert "Traceback" not in rest
    done = full_pass(settings, ["+clips"], on_progress=lambda text: None, options=NO_REPORT)
    assert len(done.runs) == 1
    assert settings.store.read("clips").num_rows == 4
