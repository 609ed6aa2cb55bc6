"""Real processes under torchrun: two train what one trains, and a killed one costs the group a start."""

import dataclasses
import os
import signal
import socket
from contextlib import suppress

import psutil
import pytest

from models.training.restarts import read_restarts
from pipeline.storage.models_table import all_models
from tests.training_processes import Command, curve
from tests.trainings import CONFIG, add_training_shards

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LONG = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, steps=300))


def config(processes, base=CONFIG, **training):
    return dataclasses.replace(base, training=dataclasses.replace(base.training, processes=processes, **training))


def trained(folder, settings, *arguments, model="tokenizer", store):
    folder.mkdir(exist_ok=True)
    with Command(folder, settings, *arguments, model=model, root=store.root) as command:
        status, output = command.ended()
        assert status == 0, output[-3000:]
        return command


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


@pytest.mark.parametrize(("weights", "algorithm"), [("replicated", "adamw"), ("sharded", "adamw"), ("sharded", "muon")])
def test_two_processes_train_the_models_of_one(tmp_path, make_store, weights, algorithm):
    base = with_algorithm(algorithm)
    alone, together = make_store(), make_store()
    for store, processes in ((alone, 1), (together, 2)):
        for model in ("tokenizer", "world"):
            command = trained(tmp_path / "runs", config(processes, base, weights=weights), model=model, store=store)
            assert len(command.of("started")) == processes
            assert len(command.of("published")) == 1
    for kind in ("video_tokenizer", "world_model"):
        assert_same(losses(together, kind), losses(alone, kind))
    ours, theirs = ({row.kind: row for row in all_models(store)} for store in (together, alone))
    assert {row.model_id for row in ours.values()} == {row.model_id for row in theirs.values()}
    assert ours["world_model"].metrics["processes"] == 2
    # whole weights were published, and measured
    for kind in ours:
        assert ours[kind].parameters == theirs[kind].parameters
    assert ours["world_model"].metrics["cross_entropy"] == pytest.approx(
        theirs["world_model"].metrics["cross_entropy"], abs=1e-4
    )


def test_a_run_goes_on_from_two_processes_to_one_and_back(tmp_path, make_store):
    store, straight = make_store(), make_store()
    (tmp_path / "run").mkdir()
    stages = (config(2, LONG, weights="sharded"), config(1, LONG), config(2, LONG))
    begun = []
    for number, settings in enumerate(stages):
        with Command(tmp_path / "run", settings, root=store.root) as command:
            begun.append(command.until(lambda event: event["event"] == "run")["step"])
            if number + 1 < len(stages):
                command.until(lambda event: event["event"] == "step" and event["step"] >= begun[-1] + 5)
                command.process.kill()
                for event in command.of("started"):
                    assert gone(event["pid"]), "the processes of a group end with the one that started them"
            else:
                status, output = command.ended()
                assert status == 0, output[-3000:]
    assert begun[0] == 0 < begun[1] < begun[2]
    trained(tmp_path / "straight", config(1, LONG), store=straight)
    assert_same(losses(store), losses(straight))


def gone(pid):
    """Whether a process has ended, a second or so after it was asked to."""
    with suppress(psutil.NoSuchProcess):
        psutil.wait_procs([psutil.Process(pid)], timeout=60)
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_killed_process_costs_the_group_a_start_and_the_reason_is_kept(tmp_path, make_store):
    store = make_store()
    (tmp_path / "run").mkdir()
    with Command(tmp_path / "run", config(2, LONG), root=store.root) as command:
        command.until(lambda event: event["event"] == "step" and event["step"] >= 5)
        victim = next(event for event in command.of("started") if event["rank"] == 1)
        os.kill(victim["pid"], signal.SIGKILL)
        again = command.until(lambda event: event["event"] == "run" and event["step"] > 0)
        status, output = command.ended()
    assert status == 0, output[-3000:]
    assert [event["reason"] for event in command.of("restart")] == ["process 1 was ended by SIGKILL"]
    assert again["step"] >= 4, "it went on from a checkpoint"
    kept = read_restarts(store, again["folder"])
    assert [entry["reason"] for entry in kept] == ["process 1 was ended by SIGKILL"]
    (row,) = all_models(store)
    assert row.metrics["restarts"] == 1
    straight = make_store()
    trained(tmp_path / "straight", config(1, LONG), store=straight)
    assert_same(losses(store), losses(straight))


def test_starts_without_another_checkpoint_are_bounded(tmp_path, make_store):
    store = make_store()
    (tmp_path / "run").mkdir()
    settings = config(2, LONG, restarts=1, checkpoint_every=100_000)
    with Command(tmp_path / "run", settings, root=store.root) as command:
        for number in (1, 2):
            command.until(lambda event, number=number: len(command.of("run")) == number and event["event"] == "step")
            victims = [event for event in command.of("started") if event["rank"] == 0]
            os.kill(victims[-1]["pid"], signal.SIGKILL)
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
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with (
        Command(tmp_path / "one", settings, root=store.root) as one,
        Command(tmp_path / "two", settings, root=store.root) as two,
    ):
        for command in (one, two):
            status, output = command.ended()
            assert status == 0, output[-3000:]
    told = [command.of("published") for command in (one, two)]
    assert told[0] == told[1], "each machine is told, with the metrics of the one that measured"
    assert told[0][0]["metrics"]["processes"] == 2
    assert all_models(store)[0].metrics["processes"] == 2


@pytest.fixture
def make_store(tmp_path):
    from pipeline.storage.store import Store

    made = []

    def make():
        made.append(add_training_shards(Store(tmp_path / f"root-{len(made)}")))
        return made[-1]

    return make
