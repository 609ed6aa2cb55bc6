"""Real processes under torchrun: two train what one trains, and a killed one costs the group a start."""

import dataclasses
import os
import signal
import socket
from contextlib import suppress

import psutil
import pytest

from models.training.__main__ import main
from models.training.report import ReportReader
from models.training.restarts import read_restarts
from models.training.settings_file import write_settings
from models.training.train import train_tokenizer, train_world_model
from pipeline.storage.models_table import all_models
from pipeline.storage.store import Store
from tests.synthetic import job_of
from tests.training_processes import Command, curve
from tests.trainings import CONFIG, add_training_shards, killed_after

# one process is this one, and so is the command that starts a group: each interpreter costs seconds to import torch
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LONG = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, steps=120))


def config(processes, base=CONFIG, **training):
    return dataclasses.replace(base, training=dataclasses.replace(base.training, processes=processes, **training))


def trained_by_a_group(folder, settings, model, store):
    """Run the command, which starts the processes, and return what it reported."""
    folder.mkdir(exist_ok=True)
    write_settings(Store(folder), "settings", settings)
    report = folder / f"{model}.jsonl"
    given = ["--config", str(folder / "settings" / "config.yaml"), "--root", store.root, "--report", str(report)]
    assert main([model, *given]) == 0
    return ReportReader(report).new()


def losses(store, kind="video_tokenizer"):
    return [{name: value for name, value in point.items() if "loss" in name} for point in curve(store, kind)]


def assert_same(found, expected):
    """In fp32 sums in another order differ by rounding, which Adam's first steps make larger (measured: 1e-6).

    A curve has six digits: neighbours at the last one are the same loss.
    """
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=5e-6, abs=5e-6)


def with_algorithm(algorithm):
    """The settings with an optimizer for all networks."""
    sections = {}
    for name in ("tokenizer", "latent_actions", "dynamics"):
        section = getattr(CONFIG, name)
        optimizer = dataclasses.replace(section.optimizer, algorithm=algorithm)
        sections[name] = dataclasses.replace(section, optimizer=optimizer)
    return dataclasses.replace(CONFIG, **sections)


# threads show the same of replicated weights of a world (tests/numerics/test_ranks.py); Muon is for matrices alone, so
# AdamW trains the rest of the sharded networks
@pytest.mark.parametrize(
    ("weights", "algorithm", "models"),
    [("replicated", "adamw", ["tokenizer"]), ("sharded", "muon", ["tokenizer", "world"])],
)
def test_two_processes_train_the_models_of_one(tmp_path, make_store, weights, algorithm, models):
    base = with_algorithm(algorithm)
    alone, together = make_store(), make_store()
    for model in models:
        (train_tokenizer if model == "tokenizer" else train_world_model)(job_of(alone, base))
        events = trained_by_a_group(tmp_path / "runs", config(2, base, weights=weights), model, together)
        assert len([event for event in events if event["event"] == "started"]) == 2
        assert len([event for event in events if event["event"] == "published"]) == 1
    ours, theirs = ({row.kind: row for row in all_models(store)} for store in (together, alone))
    assert len(ours) == len(models)
    assert {row.model_id for row in ours.values()} == {row.model_id for row in theirs.values()}
    for kind, row in ours.items():
        assert_same(losses(together, kind), losses(alone, kind))
        assert row.metrics["processes"] == 2
        # whole weights were published, and measured
        assert row.parameters == theirs[kind].parameters
        measured = "cross_entropy" if kind == "world_model" else "psnr"
        assert row.metrics[measured] == pytest.approx(theirs[kind].metrics[measured], abs=1e-4)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The losses of the long training in one process that nothing interrupts."""
    store = add_training_shards(Store(tmp_path_factory.mktemp("straight")))
    train_tokenizer(job_of(store, LONG))
    return losses(store)


def test_a_run_of_two_processes_that_ends_with_its_command_goes_on_in_one(tmp_path, make_store, straight):
    store = make_store()
    with Command(tmp_path, config(2, LONG, weights="sharded"), root=store.root) as command:
        assert command.until(lambda event: event["event"] == "run")["step"] == 0
        command.until(lambda event: event["event"] == "step" and event["step"] >= 5)
        command.process.kill()
        for event in command.of("started"):
            assert gone(event["pid"]), "the processes of a group end with the one that started them"
    taken = []
    train_tokenizer(job_of(store, LONG), on_step=lambda step, figures: taken.append(step))
    assert 4 < taken[0] < LONG.tokenizer.steps, "it went on from a checkpoint"
    assert_same(losses(store), straight)


def gone(pid):
    """Whether a process has ended, a second or so after it was asked to."""
    with suppress(psutil.NoSuchProcess):
        psutil.wait_procs([psutil.Process(pid)], timeout=60)
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_run_of_one_process_goes_on_in_two_and_a_killed_one_costs_them_a_start(tmp_path, make_store, straight):
    store = make_store()
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(job_of(store, LONG), on_step=killed_after(10))
    with Command(tmp_path, config(2, LONG), root=store.root) as command:
        begun = command.until(lambda event: event["event"] == "run")["step"]
        command.until(lambda event: event["event"] == "step" and event["step"] >= begun + 5)
        victim = next(event for event in command.of("started") if event["rank"] == 1)
        os.kill(victim["pid"], signal.SIGKILL)
        again = command.until(lambda event: event["event"] == "run" and event["step"] > begun)
        status, output = command.ended()
    assert status == 0, output[-3000:]
    assert begun >= 8
    assert [event["reason"] for event in command.of("restart")] == ["process 1 was ended by SIGKILL"]
    assert again["step"] >= begun + 4, "it went on from a checkpoint"
    kept = read_restarts(store, again["folder"])
    assert [entry["reason"] for entry in kept] == ["process 1 was ended by SIGKILL"]
    (row,) = all_models(store)
    assert row.metrics["restarts"] == 1
    assert_same(losses(store), straight)


def test_a_death_after_the_last_start_that_is_allowed_ends_the_command(tmp_path, make_store):
    # that starts are counted, and a checkpoint begins the count anew, is in tests/unit/models/training/test_command.py
    store = make_store()
    with Command(tmp_path, config(2, LONG, restarts=0, checkpoint_every=100_000), root=store.root) as command:
        command.until(lambda event: event["event"] == "step")
        [victim] = [event for event in command.of("started") if event["rank"] == 0]
        os.kill(victim["pid"], signal.SIGKILL)
        status, output = command.ended()
    assert status == 2
    assert "training.restarts" in output
    assert "process 0 was ended by SIGKILL" in output


def test_two_machines_meet_at_the_rendezvous(tmp_path, make_store):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = make_store()
    settings = config(1, nodes=2, rendezvous=f"127.0.0.1:{port}")
    with Command(tmp_path, settings, root=store.root) as other:
        told = [trained_by_a_group(tmp_path / "this", settings, "tokenizer", store)]
        status, output = other.ended()
        assert status == 0, output[-3000:]
    told.append(other.events)
    published = [[event for event in events if event["event"] == "published"] for events in told]
    assert published[0] == published[1], "each machine is told, with the metrics of the one that measured"
    assert published[0][0]["metrics"]["processes"] == 2
    assert all_models(store)[0].metrics["processes"] == 2


@pytest.fixture
def make_store(tmp_path):
    made = []

    def make():
        made.append(add_training_shards(Store(tmp_path / f"root-{len(made)}")))
        return made[-1]

    return make
