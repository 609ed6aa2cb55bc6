"""Trainings of several processes from Dagster: what reaches the run, what ends it, and what it outlives."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from assets.graph.definitions import graph_of
from assets.passes.instance import open_instance
from assets.passes.lock import TRAINING, lock_home, marked_processes, trainings_of
from assets.settings import Settings, save_config
from pipeline.errors import UserError
from pipeline.http_guard import open_socket
from pipeline.model_ids import saved_steps
from pipeline.storage.home import Home
from pipeline.storage.models_table import newest_model
from pipeline.storage.store import Store
from tests.dagster_ui import Ui, wait_for
from tests.trainings import small_root

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings(
        "ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning", "ignore::DeprecationWarning:dagster.*"
    ),
]
KEY = dg.AssetKey("video_tokenizer")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return small_root(Store(tmp_path / "root"), monkeypatch)


def materialized(settings: Settings) -> dg.ExecuteInProcessResult:
    """Run the tokenizer's training as a step of this process."""
    with open_instance(settings.home) as instance:
        job = graph_of(settings).resolve_job_def("train_world_model")
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        return job.execute_in_process(instance=instance, asset_selection=[KEY], raise_on_error=False, run_config=quiet)


def saved(store: Store) -> list[int]:
    """Return the steps of the checkpoints of the only run."""
    folders = {key.rpartition("/")[0] for key in store.list_blobs("models") if key.endswith("checkpoints/run.json")}
    return saved_steps(store, folders.pop()) if folders else []


def observed(home: Home, run: str) -> list[dict[str, Any]]:
    """Return what a run has shown of its training so far, the newest first."""
    with open_instance(home) as instance:
        records = instance.fetch_observations(KEY, limit=1000).records
    return [
        {name: value.value for name, value in record.asset_observation.metadata.items()}
        for record in records
        if record.run_id == run and record.asset_observation is not None
    ]


def test_what_the_processes_report_is_in_the_run_and_one_that_is_killed_starts_all_again(settings: Settings) -> None:
    training = replace(settings.config.training, processes=2, checkpoint_every=5)
    config = replace(settings.config, training=training, tokenizer=replace(settings.config.tokenizer, steps=240))
    settings = replace(settings, config=config)
    save_config(settings)

    ended = threading.Event()

    def kill_one() -> None:
        while not saved(settings.store) and not ended.wait(0.05):
            pass
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if process.environ().get("RANK") == "1":
                    process.kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    result = materialized(settings)
    ended.set()
    killer.join()
    with open_instance(settings.home) as instance:
        said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert result.success, "\n".join(said)
    model = newest_model(settings.store, "video_tokenizer")
    assert model is not None
    assert (model.steps, model.metrics["processes"], model.metrics["restarts"]) == (240, 2, 1)
    assert any("all processes start again (1): process 1 was ended by SIGKILL" in line for line in said), said
    assert any("video_tokenizer: resumed at step" in line for line in said), said
    shown = observed(settings.home, result.run_id)
    assert 100 < len(shown) <= 200
    assert {one["train/step"] % 2 for one in shown} == {0}
    assert all({"train/loss", "train/psnr"} <= set(one) for one in shown)
    assert list(settings.home.tmp.iterdir()) == []
    [cost] = settings.store.read("costs").to_pylist()
    # the training set and the checkpoints: the step itself opens neither
    assert cost["bytes_read"] > 0
    assert cost["bytes_written"] > sum(settings.store.size(f"{model.path}/{name}") for name in model.files)


def test_another_machine_takes_part_by_the_command_that_the_run_says(settings: Settings) -> None:
    with open_socket("127.0.0.1", 0) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    training = replace(settings.config.training, nodes=2, rendezvous=address)
    settings = replace(settings, config=replace(settings.config, training=training))
    others: list[subprocess.Popen[bytes]] = []

    ended = threading.Event()

    def take_part() -> None:
        while not others and not ended.is_set():
            with open_instance(settings.home) as instance:
                said = [entry.user_message for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]
            asked = re.search(r"on the other machine, .*, run `python (.*)`", "\n".join(said))
            if asked:
                others.append(subprocess.Popen([sys.executable, *shlex.split(asked[1])]))
            time.sleep(0.5)

    with open_instance(settings.home):
        pass  # its tables are there before two threads ask for them
    other = threading.Thread(target=take_part)
    other.start()
    result = materialized(settings)
    ended.set()
    other.join()
    assert result.success
    assert others[0].wait(120) == 0
    model = newest_model(settings.store, "video_tokenizer")
    assert model is not None
    assert model.metrics["processes"] == 2


def test_what_the_processes_refuse_is_the_sentence_of_the_failure(settings: Settings) -> None:
    training = replace(settings.config.training, processes=3)
    settings = replace(settings, config=replace(settings.config, training=training))
    result = materialized(settings)
    data = next(event.step_failure_data for event in result.all_events if event.is_step_failure)
    assert data.user_failure_data is not None, data.error
    text = str(data.user_failure_data.description)
    assert text.startswith("tokenizer.batch = 2: 3 processes need a window each")
    assert "Traceback" not in text


def test_a_training_outlives_the_pages_is_ended_from_the_next_ones_and_goes_on_where_it_was(
    settings: Settings,
) -> None:
    home, store = settings.home, settings.store
    chosen = {
        "tokenizer": {"steps": 20_000},
        "training": {"processes": 2, "checkpoint_every": 20_000},
    }
    ui = Ui(home, store.root)
    try:
        ui.wait()
        run = ui.run("train_world_model", config=launchpad(chosen), assets=["video_tokenizer"])
        wait_for(lambda: observed(home, run), 600, ui.said)
        ui.stop()
        assert "a training goes on without these pages" in ui.said()
        assert len(trainings_of(home)) == 1
        with pytest.raises(UserError, match="is in use by a training"), lock_home(home, "r"):
            pass
        before = len(observed(home, run))
        wait_for(lambda: len(observed(home, run)) > before, 300)
        ui = Ui(home, store.root)
        ui.wait()
        assert ui.runs()[run] == "STARTED"
        assert saved(store) == []
        ui.terminate(run)
        wait_for(lambda: ui.runs()[run] == "CANCELED", 300, lambda: ui.messages(run))
        wait_for(lambda: not marked_processes(home, TRAINING), 120)
        (step,) = saved(store)
        assert 0 < step < 20_000
    finally:
        ui.stop()
        for process in marked_processes(home, TRAINING):
            process.kill()
    # on one process in place of two, and a few steps more
    more = replace(settings.config.tokenizer, steps=step + 3)
    assert materialized(replace(settings, config=replace(settings.config, tokenizer=more))).success
    model = newest_model(store, "video_tokenizer")
    assert model is not None
    assert (model.steps, model.metrics["resumed_at_step"]) == (step + 3, step)


def launchpad(chosen: dict[str, Any]) -> dict[str, Any]:
    return {"resources": {"training": {"config": chosen}}}
