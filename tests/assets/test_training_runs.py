"""Trainings through the command and Dagster: extended, gone on from another, refused with a sentence."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from assets.cli.main import main
from assets.graph.training_settings import TrainingSettings
from assets.passes.driver import PassOptions, full_pass
from assets.passes.instance import open_instance
from assets.passes.runner import Runner
from assets.settings import Settings, load_settings, save_config
from models.training.tokenizer_training import TokenizerTraining
from pipeline.storage.models_table import ModelRecord, models_of_kind
from pipeline.storage.takedown import request_takedown
from tests.dagster_ui import Ui, wait_for
from tests.synthetic import finished_store
from tests.trainings import small_root

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return small_root(finished_store(tmp_path / "root"), monkeypatch)


@pytest.fixture(scope="module")
def trained_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which the command has trained the tokenizer; tests work on copies."""
    with pytest.MonkeyPatch.context() as patch:
        settings = small_root(finished_store(tmp_path_factory.mktemp("trained") / "root"), patch)
        assert run(settings) == 0
    return Path(settings.store.root)


@pytest.fixture
def trained(trained_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a root in which the tokenizer was trained for four steps."""
    for name in [name for name in os.environ if name.startswith(("LAMPWORKS_", "DAGSTER_HOME"))]:
        monkeypatch.delenv(name)
    return load_settings(str(shutil.copytree(trained_root, tmp_path / "root")))


def run(settings: Settings, *arguments: str) -> int:
    """Run the command on the root, for the tokenizer alone."""
    return main(["run", "--root", settings.store.root, "--select", "video_tokenizer", *arguments])


def newest(settings: Settings) -> ModelRecord:
    return models_of_kind(settings.store, "video_tokenizer")[-1]


def metadata(settings: Settings) -> dict[str, Any]:
    with open_instance(settings.home) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("video_tokenizer"))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


@pytest.mark.slow
def test_more_steps_extend_a_run_and_other_settings_go_on_from_it_by_its_id(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings) == 0
    first = newest(settings)
    said = capsys.readouterr().err
    assert re.search(r"video_tokenizer: .* parameters, 4 steps of .* of memory needed, .* are there", said)
    assert "video_tokenizer: 4 steps on cpu" in said
    assert run(settings, "--set", "tokenizer.steps=6") == 0
    second = newest(settings)
    assert "video_tokenizer: resumed at step 4 of 6" in capsys.readouterr().err
    assert metadata(settings)["lineage"] == f"extends {first.model_id} at step 4"
    assert metadata(settings)["resumed_at_step"] == 4
    slower = ("--set", "tokenizer.optimizer.learning_rate=0.0002", "--set", "tokenizer.steps=7")
    assert run(settings, "--set", f"training.go_on={second.model_id}", *slower) == 0
    third = newest(settings)
    assert f"goes on from video_tokenizer {second.model_id} at step 6 of 7" in capsys.readouterr().err
    told = metadata(settings)
    assert told["model_id"] == third.model_id
    assert told["lineage"].startswith(f"extends {first.model_id} at step 4; goes on from {second.model_id} at step 6 (")
    assert "tokenizer.optimizer.learning_rate 0.001 -> 0.0002" in told["lineage"]
    # the root remembers what it was told: nothing is due
    assert run(settings) == 0
    assert "everything is done" in capsys.readouterr().out
    assert newest(settings).model_id == third.model_id


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_run_of_the_command_that_is_asked_to_end_saves_its_step_and_the_next_one_goes_on_from_it(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    step = TokenizerTraining.step

    def asked(self: TokenizerTraining, now: int) -> dict[str, float]:
        if now + 1 == 3:
            os.kill(os.getpid(), number)
        return step(self, now)

    rare = ("--set", "training.checkpoint_every=100")
    with monkeypatch.context() as patch:
        patch.setattr(TokenizerTraining, "step", asked)
        assert run(settings, *rare) == 130
    error = capsys.readouterr().err
    assert f"video_tokenizer: stopped by {number.name} after step 3 of 4, whose state is saved; started again" in error
    assert "Traceback" not in error
    with open_instance(settings.home) as instance:
        # Dagster calls canceled what it was asked to terminate itself
        assert [each.status for each in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]
    assert run(settings, *rare) == 0
    assert "video_tokenizer: resumed at step 3 of 4" in capsys.readouterr().err


def test_a_signal_whose_exception_is_lost_before_the_first_step_ends_the_training_after_it(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    initialize = TokenizerTraining.initialize

    def asked(self: TokenizerTraining) -> None:
        with suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
        initialize(self)

    monkeypatch.setattr(TokenizerTraining, "initialize", asked)
    assert run(settings) == 130
    assert "video_tokenizer: stopped by SIGTERM after step 1 of 4, whose state is saved" in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["before a run", "as a run fails"])
def test_a_signal_whose_exception_is_lost_between_two_runs_ends_the_pass(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    def asked(*_: Any) -> None:
        with suppress(BaseException):
            os.kill(os.getpid(), signal.SIGINT)
        if lost == "as a run fails":
            raise RuntimeError("what became of an interrupt")

    where = (Runner, "recover") if lost == "before a run" else (TrainingSettings, "applied")
    monkeypatch.setattr(*where, asked)
    before = newest(settings).model_id
    assert run(settings) == 130
    error = capsys.readouterr().err
    assert "stopped. What was published stays" in error
    assert "error:" not in error
    assert newest(settings).model_id == before, "nothing was trained"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_command_ends_by_a_signal_during_a_world_training_and_leaves_no_process(settings: Settings) -> None:
    # SIGINT takes the same way: the test above sends both
    assert run(settings) == 0
    dynamics = replace(settings.config.dynamics, steps=10_000_000)
    save_config(replace(settings, config=replace(settings.config, dynamics=dynamics)))
    command = [sys.executable, "-m", "assets.cli.main", "run", "--root", settings.store.root, "--select", "world_model"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            said = ""
            while "world_model: 1/" not in said and "s a step, about" not in said:
                assert process.stderr is not None
                line = process.stderr.readline()
                assert line, said
                said += line
            process.send_signal(signal.SIGTERM)
            said += process.communicate(timeout=300)[1]
            assert process.returncode == 130, said
            assert "world_model: stopped by SIGTERM after step" in said
            assert not [one for one in psutil.process_iter(["pid"]) if session_of(one.pid) == process.pid]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def session_of(pid: int) -> int:
    """The session of a process, 0 of one that has ended."""
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return 0


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_terminate_in_the_ui_saves_the_step_first_and_the_next_run_goes_on_from_it(settings: Settings) -> None:
    tokenizer = replace(settings.config.tokenizer, steps=10_000_000)
    training = replace(settings.config.training, checkpoint_every=10_000_000)
    save_config(replace(settings, config=replace(settings.config, tokenizer=tokenizer, training=training)))
    ui = Ui(settings.home, settings.store.root)

    def saved() -> list[int]:
        names = [key.rsplit("/", 1)[-1] for key in settings.store.list_blobs("models")]
        return sorted(int(name[5:13]) for name in names if name.startswith("step-") and name.endswith(".safetensors"))

    try:
        ui.wait()
        for number in (1, 2):
            run_id = ui.run("train_world_model")
            wait_for(lambda: len(list(settings.home.tensorboard.rglob("events.*"))) == number, 120, ui.said)  # noqa: B023
            before = saved()
            ui.terminate(run_id)
            wait_for(lambda: ui.runs()[run_id] == "CANCELED", 120, ui.said)  # noqa: B023
            said = ui.messages(run_id)
            assert saved() > before
            assert saved()[-1] % 10_000_000
            assert any(f"after step {saved()[-1]} of 10000000, whose state is saved" in line for line in said)
            assert number == 1 or any(f"resumed at step {before[-1]} of 10000000" in line for line in said)
    finally:
        ui.stop()


def test_other_networks_are_refused_with_a_sentence_that_names_the_setting(
    trained: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("--set", f"training.start_from={newest(trained).model_id}", "--set", "tokenizer.latent_dim=6")
    assert run(trained, *start) == 2
    error = capsys.readouterr().err
    assert "the configuration asks for other networks (tokenizer.latent_dim = 6 instead of 8)" in error
    assert "Traceback" not in error
    assert run(trained, "--set", "tokenizer.latent_dim=8") == 0


def test_an_id_of_digits_alone_is_taken_from_the_command_line_and_asked_for_in_quotes_in_a_file(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed in ("0123", '"0123"'):
        assert run(settings, "--set", f"training.go_on={typed}") == 2
        assert "training.go_on = '0123': no model or run has such an id" in capsys.readouterr().err
    file = settings.home.folder / "config.yaml"
    kept = file.read_text()
    assert "go_on: '0123'" in kept
    file.write_text(kept.replace("'0123'", "8618"))
    assert run(settings) == 2
    assert "training.go_on = 8618: an id of digits alone needs quotes" in capsys.readouterr().err
    file.write_text(kept.replace("'0123'", '"8618"'))
    assert run(settings) == 2
    assert "training.go_on = '8618': no model or run has such an id" in capsys.readouterr().err


def test_after_a_return_by_the_command_all_commands_mean_the_first_model_again(
    trained: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    first = newest(trained)
    assert run(trained, "--set", "tokenizer.steps=6") == 0
    trial = newest(trained)
    capsys.readouterr()
    assert run(trained, "--set", "tokenizer.steps=4") == 0
    assert "nothing was started, the root remembers these settings" in capsys.readouterr().out
    assert main(["models", "--json", "--root", trained.store.root]) == 0
    listed = {one["name"]: one["in_use"] for one in json.loads(capsys.readouterr().out)}
    assert (listed[first.model_id], listed[trial.model_id]) == (True, False)
    assert run(trained) == 0
    assert "nothing was started, nothing was written" in capsys.readouterr().out


def test_fewer_steps_than_a_run_has_taken_leave_its_curve_in_tensorboard(settings: Settings) -> None:
    steps = {}
    for number in (6, 5):
        assert run(settings, "--set", f"tokenizer.steps={number}") == 0
        for folder in settings.home.tensorboard.iterdir():
            events = EventAccumulator(str(folder)).Reload()
            steps[folder.name] = [event.step for event in events.Scalars("train/loss")]
    first = f"video_tokenizer-{newest(settings).inputs['run']}"
    assert steps == {first: [1, 2, 3, 4, 5, 6], f"{first}-5": [1, 2, 3, 4, 5]}


def test_what_the_error_of_a_floor_says_passes_the_check(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings, "--set", "tokenizer.min_psnr=90") == 1
    error = capsys.readouterr().err
    assert "(tokenizer.steps: the run is extended), or lower the floor (tokenizer.min_psnr: trains nothing)" in error
    first = newest(settings)
    assert run(settings, "--set", "tokenizer.steps=6") == 1, "no number of steps reaches this floor"
    assert newest(settings).inputs["lineage"] == [{"how": "extended", "model": first.model_id, "step": 4}]
    assert run(settings, "--set", "tokenizer.min_psnr=1", "--set", "tokenizer.steps=4") == 0
    assert newest(settings).steps == 6, "nothing was trained"


def test_tokens_are_made_where_they_are_asked_for_and_a_takedown_takes_theirs_at_the_next_pass(
    trained: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not trained.store.list_blobs("tokens")
    tokens = ["run", "--root", trained.store.root, "--select", "token_shards"]
    assert main(tokens) == 0
    with open_instance(trained.home) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("token_shards"))
        checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(dg.AssetKey("token_shards"), name) for name in ("conservation", "same_as_encoding")]
        )
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["windows"].value == 18
    assert len(checks) == 2
    assert all(check.status.value == "SUCCEEDED" for check in checks.values())
    capsys.readouterr()
    assert main(tokens) == 0
    assert "everything is done" in capsys.readouterr().out
    assert main(["status", "--root", trained.store.root]) == 0
    assert "6 clips, 18 windows of 4 frames in 2 tars" in capsys.readouterr().out
    request_takedown(trained.store, "video", "site-v1", "asked by the owner")
    full_pass(trained, ["video_tokenizer"], on_progress=lambda text: None, options=PassOptions(report=False))
    blobs = {key: trained.store.read_blob(key) for key in trained.store.list_blobs("tokens")}
    assert blobs
    assert not [key for key, data in blobs.items() if b"site-v1" in data]
