"""`python -m models.training` trains without Dagster and reports; mistakes are told before anything is read."""

import dataclasses
import json
import socket
from collections import deque
from datetime import timedelta
from io import BytesIO
from types import SimpleNamespace

import pytest

from models.runtime.ranks import ALONE, Ranks
from models.runtime.rendezvous import check_rendezvous
from models.training import group
from models.training.__main__ import main
from models.training.check_ranks import check_ranks
from models.training.report import ReportReader
from models.training.restarts import Restarts, read_restarts
from models.training.settings_file import write_settings
from pipeline.config import load_config
from pipeline.config.training import TrainingConfig
from pipeline.errors import UserError
from pipeline.model_ids import WORLD
from pipeline.storage.models_table import all_models
from pipeline.storage.run_file import read_run
from tests.trainings import CONFIG, add_training_shards


@pytest.fixture
def settings(store):
    write_settings(store, "settings", CONFIG)
    return str(store.url("settings/config.yaml")).removeprefix("file://")


def test_the_command_trains_and_keeps_its_settings_beside_the_checkpoints(store, settings, tmp_path, capsys):
    add_training_shards(store)
    report = tmp_path / "report.jsonl"
    command = ["tokenizer", "--config", settings, "--root", store.root, "--report", str(report)]
    assert main([*command, "--set", "tokenizer.steps=2"]) == 0
    events = ReportReader(report).new()
    run = next(event for event in events if event["event"] == "run")
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2]
    (row,) = all_models(store)
    assert [event["model_id"] for event in events if event["event"] == "published"] == [row.model_id]
    # the last word is what the process has used, for the step that started it
    assert (events[-1]["event"], events[-1]["rank"]) == ("used", 0)
    assert all(events[-1][name] > 0 for name in ("cpu_s", "bytes_read", "bytes_written", "requests"))
    kept = read_run(store, run["folder"])
    assert (kept.inputs["shards"], kept.code) == ("v1", row.metrics["code"])
    # the file beside the checkpoints asks for the model that is there: nothing is trained
    beside = f"{store.root}/{run['folder']}/config.yaml"
    assert main(["tokenizer", "--config", beside, "--root", store.root]) == 0
    assert "was published before" in capsys.readouterr().err
    assert load_config(beside).tokenizer == dataclasses.replace(CONFIG.tokenizer, steps=2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "there are no training shards yet"),
        (("--set", "training.speed=2"), "unknown field training.speed"),
        (("--storage-options", "{"), "--storage-options is not JSON"),
        (("--storage-options", "[]"), "must be one JSON object of names and values"),
        (("--set", "training.nodes=2"), "training.rendezvous = '': 2 nodes need HOST:PORT"),
        (("--set", "training.nodes=2", "--set", "training.rendezvous=127.0.0.1:99999"), "2 nodes need HOST:PORT"),
        (("--set", "training.nodes=2", "--set", "training.rendezvous=127.0.0.1:0"), "2 nodes need HOST:PORT"),
        # no process is started: so many would take the machine
        (("--set", "training.processes=99999"), "tokenizer.batch = 2: 99999 processes need a window each; raise"),
        (("--root", __file__), "is a file: name the folder of a root"),
    ],
)
def test_mistakes_end_with_status_2_and_a_sentence(store, settings, tmp_path, capsys, arguments, told):
    report = tmp_path / "report.jsonl"
    command = ["tokenizer", "--config", settings, "--root", store.root, "--report", str(report), *arguments]
    assert main(command) == 2
    assert told in capsys.readouterr().err
    error = ReportReader(report).new()[-1]
    assert (error["event"], error["final"], told in error["text"]) == ("error", True, True)


@pytest.mark.parametrize(
    ("processes", "changes", "told"),
    [
        (3, {}, "dynamics.batch = 2: 3 processes need a window each; raise dynamics.batch to 3 at least"),
        (
            2,
            {"batch": 3},
            "dynamics.batch = 3: sharded weights .* of 2 processes; set it to 4",
        ),
        (
            2,
            {"own_frames": 2, "own_frame_share": 0.5},
            "own_frames = 2: .* set it to 1, or set",
        ),
    ],
)
def test_what_several_processes_cannot_do_is_told_with_the_setting(processes, changes, told):
    training = dataclasses.replace(CONFIG.training, weights="sharded")
    config = dataclasses.replace(CONFIG, training=training, dynamics=dataclasses.replace(CONFIG.dynamics, **changes))
    with pytest.raises(UserError, match=told):
        check_ranks(config, WORLD, Ranks(0, processes))
    check_ranks(config, WORLD, ALONE)
    # as it says
    whole = dataclasses.replace(config, training=CONFIG.training)
    if processes == 2:
        check_ranks(whole, WORLD, Ranks(0, processes))


def test_sharded_weights_are_not_averaged():
    training = dataclasses.replace(CONFIG.training, weights="sharded", ema_decay=0.9)
    with pytest.raises(UserError, match=r"ema_decay = 0.9: .* set it to 0, or set training.weights to 'replicated'"):
        check_ranks(dataclasses.replace(CONFIG, training=training), WORLD, Ranks(0, 2))
    for one in ({"ema_decay": 0.0}, {"weights": "replicated"}):
        check_ranks(dataclasses.replace(CONFIG, training=dataclasses.replace(training, **one)), WORLD, Ranks(0, 2))


@pytest.mark.parametrize("listens", [False, True], ids=["refuses connections", "takes connections and says nothing"])
def test_a_port_that_something_else_holds_is_named(monkeypatch, listens):
    monkeypatch.setattr("models.runtime.rendezvous._ANSWER", timedelta(seconds=1))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{other.getsockname()[1]}"
        if listens:
            other.listen()
        with pytest.raises(UserError, match=f"training.rendezvous = '{address}': the port cannot be used"):
            check_rendezvous(address)
    check_rendezvous(address)


def test_a_gpu_that_is_not_there_is_told_before_a_process_starts(store, settings, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(group.subprocess, "Popen", None)
    asked = ("--set", "training.device=cuda", "--set", "training.processes=2")
    assert main(["tokenizer", "--config", settings, "--root", store.root, *asked]) == 2
    assert "error: training.device = 'cuda': torch sees no GPU here" in capsys.readouterr().err


def test_what_processes_print_is_passed_on_without_torchruns_own_account_of_their_ends(capsys):
    place = "torch/distributed/elastic/multiprocessing/api.py"
    printed = [
        "world_model: 4 steps on cpu\n",
        f"W1126 22:12:22.359000 19664 {place}:1028] Sending process 20070 closing signal SIGTERM\n",
        "error: a sentence\n",
        f"E1126 22:12:22.372000 19664 {place}:1002] failed (exitcode: -9) local_rank: 1 (pid: 20062) of binary: p\n",
        "Traceback (most recent call last):\n",
        "  rank      : 1 (local_rank: 1)\n",
        "  exitcode  : -9 (pid: 20062)\n",
    ]
    tail = deque()
    stdout = BytesIO("".join(printed).encode())
    group._pass_on(SimpleNamespace(stdout=stdout), tail)
    assert stdout.closed
    assert list(tail) == printed
    assert capsys.readouterr().err == "world_model: 4 steps on cpu\nerror: a sentence\n"


def test_starts_are_bounded_by_those_without_another_checkpoint(store):
    restarts = Restarts(store, 2)
    restarts.begun("runs/a", 0)
    assert [restarts.may_go_on("one"), restarts.may_go_on("two")] == [True, True]
    restarts.begun("runs/a", 1000)
    assert [restarts.may_go_on(reason) for reason in ("three", "four", "five")] == [True, True, False]
    assert [(entry["reason"], entry["began_at_step"]) for entry in read_restarts(store, "runs/a")] == [
        ("one", 0), ("two", 0), ("three", 1000), ("four", 1000), ("five", 1000),
    ]  # fmt: skip
    assert "after 2 starts without another checkpoint: five" in restarts.sentence()


def test_half_a_line_of_a_report_is_read_when_it_is_whole(tmp_path):
    path = tmp_path / "report.jsonl"
    reader = ReportReader(path)
    assert reader.new() == []
    path.write_text('{"event": "line"}\n{"event": ')
    assert reader.new() == [{"event": "line"}]
    with path.open("a") as file:
        file.write('"step"}\n')
    assert reader.new() == [{"event": "step"}]


def test_the_reason_of_a_dead_group_names_the_process_and_the_signal(tmp_path):
    table = (
        "Root Cause (first observed failure):\n[0]:\n  time      : 2026-11-26\n  host      : a\n"
        "  rank      : 0 (local_rank: 0)\n  exitcode  : 1 (pid: 10)\n"
        "[1]:\n  rank      : 1 (local_rank: 1)\n  exitcode  : -9 (pid: 11)\n"
        "[2]:\n  rank      : 2 (local_rank: 2)\n  exitcode  : -15 (pid: 12)\n"
    )
    ended = group._Group(tmp_path / "events", lambda event: None)
    assert group._why(1, ended, table) == "process 1 was ended by SIGKILL"
    ended.errors.append({"rank": 0, "type": "RuntimeError", "text": "connection closed", "final": False})
    assert group._why(1, ended, "") == "process 0 failed: RuntimeError: connection closed"
    ended.errors.append({"rank": 0, "type": "UserError", "text": "no shards", "final": True})
    with pytest.raises(UserError, match="no shards"):
        group._why(1, ended, "")


def test_settings_of_processes_leave_ids_as_they_are():
    from pipeline.model_ids import tokenizer_settings_id

    several = TrainingConfig(processes=8, nodes=2, rendezvous="10.0.0.1:29400", weights="sharded", restarts=9)
    assert tokenizer_settings_id(
        dataclasses.replace(
            CONFIG,
            training=dataclasses.replace(
                CONFIG.training,
                processes=several.processes,
                nodes=2,
                rendezvous=several.rendezvous,
                weights="sharded",
            ),
        )
    ) == tokenizer_settings_id(CONFIG)
    assert ALONE.lanes(5) == slice(0, 5)
    assert json.dumps(ALONE.share({"a": 1})) == '{"a": 1}'
