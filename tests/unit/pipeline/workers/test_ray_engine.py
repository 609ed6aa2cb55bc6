"""What the Ray backend refuses before it asks a cluster, and what a node does with an item; no cluster is started."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config import EngineConfig, load_config
from pipeline.errors import UserError
from pipeline.storage.store import Store
from pipeline.workers import code, node
from pipeline.workers.engine import LocalEngine, make_engine
from pipeline.workers.node import Landmark, NodeTask, Started, work_on
from pipeline.workers.outcome import Outcome
from pipeline.workers.ray_engine import _GRACE_S, RayEngine, _InFlight, _Run, landmark_of
from pipeline.workers.tasks import Task, TaskQueue, opened

CLUSTER = EngineConfig(backend="ray", address="127.0.0.1:6379")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")  # so that they are put back
        monkeypatch.delenv(name)
    file = tmp_path / "token"
    file.write_text("a-secret-that-is-in-no-message")
    return file


@pytest.mark.parametrize(
    "address", ["", "auto", "local", "ray://10.0.0.1:10001", "10.0.0.1", "10.0.0.1:", "10.0.0.1:port", "host:70000"]
)
def test_a_cluster_is_named_by_host_and_port_and_never_searched_for(address: str) -> None:
    with pytest.raises(UserError, match=r"engine\.address.* HOST:PORT"):
        EngineConfig(backend="ray", address=address)
    with pytest.raises(UserError, match=r"engine\.address"):
        load_config(None, engine={"backend": "ray", "address": address})


def test_make_engine_returns_the_backend_that_is_configured(tmp_path: Path) -> None:
    engine = make_engine(CLUSTER, workers=2, threads=3, store=Store(tmp_path), folders=("/videos",))
    assert isinstance(engine, RayEngine)
    assert (engine.workers, engine.threads, engine.folders) == (2, 3, (str(tmp_path), "/videos"))
    assert isinstance(make_engine(CLUSTER, here=True), LocalEngine), "work for this machine alone stays here"


def test_a_cluster_without_a_token_is_refused_with_what_to_do(token: Path) -> None:
    with pytest.raises(UserError, match=r"engine\.token_file is not set.*RAY_AUTH_TOKEN_PATH"):
        list(RayEngine(config=CLUSTER).run(os.strerror, [1]))
    missing = replace(CLUSTER, token_file=str(token.with_name("none")))
    with pytest.raises(UserError, match=r"token_file = .* cannot be read"):
        list(RayEngine(config=missing).run(os.strerror, [1]))
    token.write_text("")
    with pytest.raises(UserError, match=r"token_file = .* is empty"):
        list(RayEngine(config=replace(CLUSTER, token_file=str(token))).run(os.strerror, [1]))


def test_a_head_that_does_not_answer_is_refused_with_its_address_and_without_the_token(token: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        config = replace(CLUSTER, address=f"127.0.0.1:{closed.getsockname()[1]}", token_file=str(token))
        with pytest.raises(
            UserError, match=r"no Ray head answers at engine\.address = .*engine\.backend = local"
        ) as bad:
            list(RayEngine(config=config).run(os.strerror, [1]))
    assert token.read_text() not in str(bad.value)
    assert config.address in str(bad.value)


# -- what a node does -----------------------------------------------------------------------------------------------


@pytest.fixture
def task() -> Iterator[NodeTask]:
    setup = pickle.dumps((eval, None, 1))
    yield NodeTask(setup=setup, max_attempts=2, deadline_s=0.7, deadline_setting="engine.deadline_s", memory_mb=1024)
    node._HOST._end()


def answers(task: NodeTask, item: object) -> list[Started | Outcome]:
    return list(work_on(code.code_hash(), pickle.dumps(task), pickle.dumps(item)))


def test_a_node_gives_the_outcomes_that_the_local_engine_gives(task: NodeTask) -> None:
    items = ["1 + 1", "1 / 0", "__import__('os')._exit(3)", "__import__('time').sleep(60)", "2 + 2"]
    queue = TaskQueue(iter(()), 2)
    for number, item in enumerate(items):
        started, outcome = answers(task, item)
        assert started == Started("", str(Path(code.__file__).parents[2]))
        assert isinstance(outcome, Outcome)
        queue.finish_elsewhere(Task(number, item, b""), outcome)
    local = dict(LocalEngine(1, 2, 0.7, deadline_setting="engine.deadline_s").run(eval, items))
    assert dict(queue.outcomes) == local
    assert [local[item].error_class for item in items] == ["", "ZeroDivisionError", "worker_died", "timeout", ""]


def test_a_node_keeps_its_temporary_files_from_other_users(
    task: NodeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = replace(task, tmp=str(tmp_path / "tmp"))
    folder = tmp_path / "tmp" / f"lampworks-nodes-{os.getuid()}"
    assert answers(own, "1 + 1")[0] == Started("", str(Path(code.__file__).parents[2]))
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # as an older version made it
    answers(own, "1 + 1")
    assert folder.stat().st_mode & 0o777 == 0o700
    node._HOST._end()
    # another user was there before, or left a link to a folder that is this user's
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    (refused,) = answers(own, "1")
    assert "belongs to another user, or is a link: remove it, or set engine.node_tmp" in refused.refusal  # type: ignore[union-attr]
    folder.unlink()
    folder.mkdir()
    mine = os.getuid()
    monkeypatch.setattr(node.os, "getuid", lambda: mine + 1)
    folder.rename(folder.with_name(f"lampworks-nodes-{mine + 1}"))
    (refused,) = answers(own, "1")
    assert "belongs to another user" in refused.refusal  # type: ignore[union-attr]
    monkeypatch.undo()
    # as it says
    for other in (own, replace(task, tmp=str(tmp_path / "own"))):
        shutil.rmtree(other.tmp, ignore_errors=True)
        assert answers(other, "1")[0].refusal == ""  # type: ignore[union-attr]


def test_an_item_whose_workers_die_late_is_waited_for_as_often_as_its_node_tries_it(task: NodeTask) -> None:
    """The node ends each try at the deadline; the driver gives up a node that says nothing long after the last."""
    engine = RayEngine(config=replace(CLUSTER, max_attempts=3), deadline_s=100.0, deadline_setting="engine.deadline_s")
    cancelled: list[object] = []
    ray: Any = SimpleNamespace(
        wait=lambda known, **options: ([], known), cancel=lambda one, **options: cancelled.append(one)
    )
    queue = TaskQueue(iter([7]), 3)
    run = _Run(ray, engine, b"", queue)
    given = queue.next_task(alone=True)
    assert given is not None
    now = time.monotonic()
    run.flying["answers"] = _InFlight(given, "answers", now - 301)
    run._wait()
    assert (cancelled, list(queue.outcomes)) == ([], [])
    run.flying["answers"].started = now - 401 - _GRACE_S
    run._wait()
    assert cancelled == ["answers"]
    ((item, outcome),) = queue.outcomes
    assert (item, outcome.error_class) == (7, "timeout")


def test_a_node_refuses_other_code_and_a_folder_that_is_another(task: NodeTask, tmp_path: Path) -> None:
    (other,) = work_on("0123456789abcdef", b"not opened", b"")
    assert isinstance(other, Started)
    assert "other code" in other.refusal
    assert "engine.ship_code" in other.refusal
    (absent,) = answers(replace(task, folders=(str(tmp_path / "none"),)), "1")
    assert "has no folder" in absent.refusal  # type: ignore[union-attr]

    store = Store(tmp_path / "root")
    assert landmark_of(store) is None, "an empty root has no landmark"
    log = Path(store.url("videos"), "_delta_log")
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("first")
    mark = landmark_of(store)
    assert mark == Landmark(str(log / "00000000000000000000.json"), hashlib.sha256(b"first").hexdigest())
    assert answers(replace(task, landmark=mark, folders=(store.root,)), "5")[0] == Started(
        "", str(Path(code.__file__).parents[2])
    )
    (log / "00000000000000000000.json").write_text("of another root")
    (another,) = answers(replace(task, landmark=mark), "5")
    assert "is another file" in another.refusal  # type: ignore[union-attr]
    (log / "00000000000000000000.json").unlink()
    (unseen,) = answers(replace(task, landmark=mark), "5")
    assert "does not see" in unseen.refusal  # type: ignore[union-attr]


def test_code_that_is_sent_is_found_to_be_the_same_and_changed_code_is_not(tmp_path: Path) -> None:
    code.copy_code(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name == "__pycache__" or path.suffix in (".pyc", ".xz")]
    look = "import sys; sys.path.insert(0, '.'); from pipeline.workers.code import code_hash; print(code_hash())"

    def there() -> str:
        command = [sys.executable, "-P", "-c", look]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    assert there() == code.code_hash()
    with (tmp_path / "pipeline" / "ids.py").open("a") as file:
        file.write("# changed\n")
    assert there() != code.code_hash()


def test_an_item_whose_node_is_lost_each_time_is_quarantined_with_the_number_of_losses() -> None:
    queue = TaskQueue(iter([7]), 2)
    for _ in range(2):
        lost = queue.next_task(alone=True)
        assert lost is not None
        queue.return_after_loss(lost, "node 10.0.0.2 is gone")
    ((item, outcome),) = queue.outcomes
    assert (item, outcome.error_class, outcome.attempts) == (7, "worker_died", 2)
    assert "2 times" in outcome.message
    assert "10.0.0.2" in outcome.message
    assert opened(outcome) == outcome
