"""Trainings have processes of their own, which Dagster finds again, asks to end and sees end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml
from dagster._core.launcher import WorkerStatus
from dagster._core.test_utils import create_run_for_test

from assets.passes.instance import TEMPLATE, open_instance, prepare_home, what_an_edited_home_lacks
from assets.passes.lock import HELD, TRAINING
from assets.passes.training_runs import PROCESS_TAG, TrainingRunLauncher, _environment, is_training, process_of
from pipeline.storage.home import Home


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(Home(tmp_path)) as instance:
        yield instance


def run_of(job: str, *assets: str) -> dg.DagsterRun:
    return dg.DagsterRun(job_name=job, asset_selection=frozenset(map(dg.AssetKey, assets)) or None)


def test_a_run_that_trains_and_what_follows_from_the_shards_is_a_training_and_nothing_else_is() -> None:
    assert is_training(run_of("train_world_model"))
    assert is_training(run_of("__ASSET_JOB", "world_model"))
    assert is_training(run_of("__ASSET_JOB", "video_tokenizer", "world_model", "world_evaluation"))
    assert not is_training(run_of("evaluate"))
    assert not is_training(run_of("collect_batch"))
    assert not is_training(run_of("full_pass"))
    # what fetches and cuts ends with the pages
    assert not is_training(run_of("__ASSET_JOB", "raw_videos", "world_model"))


def test_dagster_launches_by_it_asks_it_whether_a_training_lives_and_ends_one_by_a_signal(
    instance: dg.DagsterInstance,
) -> None:
    launcher = instance.run_launcher
    assert isinstance(launcher, TrainingRunLauncher)
    assert launcher.supports_check_run_worker_health
    other = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    assert launcher.check_run_worker_health(other).status == WorkerStatus.RUNNING
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as training:
        began = psutil.Process(training.pid).create_time()
        run = create_run_for_test(
            instance, status=dg.DagsterRunStatus.STARTED, tags={PROCESS_TAG: f"{training.pid} {began:.2f}"}
        )
        reused = create_run_for_test(
            instance, status=dg.DagsterRunStatus.STARTED, tags={PROCESS_TAG: f"{training.pid} {began - 90:.2f}"}
        )
        assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
        assert launcher.check_run_worker_health(reused).status == WorkerStatus.NOT_FOUND
        assert not launcher.terminate(reused.run_id), "the number belongs to another process by now"
        assert launcher.terminate(run.run_id)
        assert training.wait(30) == -signal.SIGTERM
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status == dg.DagsterRunStatus.CANCELING
        assert process_of(run) is None
    assert launcher.check_run_worker_health(run).status == WorkerStatus.NOT_FOUND


def test_the_process_of_a_training_imports_as_dagster_expects_and_has_the_mark_of_what_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(HELD, "/home/of/the/root")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    environment = _environment("what it runs")
    assert environment["DAGSTER_EXECUTE_RUN_ARGS"] == "what it runs", "not on a command line, which others see"
    assert environment[TRAINING] == "/home/of/the/root"
    assert HELD not in environment, "what has this mark ends with the pages"
    # Dagster's loader removes the first entry of the path: with this it would be where `assets` lies
    assert "PYTHONSAFEPATH" not in environment


def test_a_home_of_before_gets_the_launcher_and_one_that_was_edited_is_told_the_line_to_add(tmp_path: Path) -> None:
    home = Home(tmp_path)
    settings = prepare_home(home) / "dagster.yaml"
    written = TEMPLATE.read_text("utf-8")
    added = {"# trainings go on", "run_launcher:", "  # a training that is ended"}
    lines = [line for line in written.splitlines(keepends=True) if not line.startswith(tuple(added))]
    before = "".join(lines).replace("cancel_timeout_seconds: 900", "cancel_timeout_seconds: 60")
    settings.write_text(before, "utf-8")
    prepare_home(home)
    assert settings.read_text("utf-8") == written
    assert what_an_edited_home_lacks(home) is None
    edited = before + "# mine\n"
    settings.write_text(edited, "utf-8")
    prepare_home(home)
    assert settings.read_text("utf-8") == edited
    lacking = what_an_edited_home_lacks(home)
    assert lacking is not None
    settings.write_text(edited + lacking.split("`")[1] + "\n", "utf-8")
    assert what_an_edited_home_lacks(home) is None
    assert yaml.safe_load(settings.read_text("utf-8"))["run_launcher"]["class"] == TrainingRunLauncher.__name__
