"""A real Ray cluster on loopback: a head and two nodes, with what happens to clusters.

It shows scheduling, retries, shipped code and idempotence. It does not show speed, a network that divides the cluster,
folders shared by several machines, or disks that fill up one by one: all of it runs on one machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from pipeline.download.ledger import download_states
from pipeline.storage.store import Store
from tests.laws.stages import World
from tests.media import at_rest, write_video
from tests.slow.ray_cluster import RayCluster, eventually, settings

pytest.importorskip("ray", reason="a cluster needs the extra `ray`")
RECORDINGS = os.environ.get("LAMPWORKS_RECORDINGS")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
RAISES, KILLS, HANGS, WAITS, WAITS_TOO = 60, 90, 120, 150, 180
_CUT = "import ray_work, sys; ray_work.main(*sys.argv[1:])"
_STAGE = """
import dataclasses, json, sys
from pathlib import Path
from pipeline.config import EngineConfig, SourceConfig
from pipeline.storage.store import Store
from pipeline.workers.tasks import TaskQueue
from tests.laws.stages import CONFIG, STAGES

finish, tasks = TaskQueue.finish_elsewhere, []
TaskQueue.finish_elsewhere = lambda *arguments: tasks.append(1) or finish(*arguments)
videos, engine, *names = sys.argv[1:]
config = dataclasses.replace(
    CONFIG, source=SourceConfig(spec=f"folder:{videos}"), engine=EngineConfig(**json.loads(engine))
)
for name in names:
    stage, _, root = name.partition("=")
    [run] = [one.run for one in STAGES if one.name == stage]
    run(Store(root), config)
    print(stage, "by tasks:", len(tasks), flush=True)
    tasks.clear()
"""
_LIMITS = """
import json, sys, time
from pathlib import Path
from pipeline.config import DownloadConfig, EngineConfig
from pipeline.download.cluster_limits import ClusterLimits

home, engine = sys.argv[1:]
config = DownloadConfig(host_workers=2, host_interval_s=0.0)
one, other = (ClusterLimits(Path(home), "urls", config, EngineConfig(**json.loads(engine))) for _ in range(2))
with one, other:
    print([found is None for found in (one.start("a"), other.start("a"), one.start("a"), other.start("b"))])
    one.finish("a")
    print(other.start("a") is None)
"""
_COMMAND = "import sys; from assets.cli.main import main; sys.exit(main(sys.argv[1:]))"
_ITEMS = """
import json, os, sys
from pipeline.config import EngineConfig
from pipeline.errors import UserError
from pipeline.workers.engine import make_engine

engine, *code = sys.argv[1:]
exec("\\n".join(code))
try:
    for item, outcome in make_engine(EngineConfig(**json.loads(engine))).run(eval, items):
        print(item, outcome, flush=True)
except UserError as error:
    print("refused:", error, flush=True)
"""


_CLOSED = """
import json, sys, time
from pathlib import Path
import psutil
from pipeline.config import EngineConfig
from pipeline.workers.engine import make_engine

engine, file = sys.argv[1:]
note = f"__import__('pathlib').Path({file!r}).write_text(str(__import__('os').getpid()))"
items = ["1 + 1", f"{note} and __import__('time').sleep(600)"]
outcomes = make_engine(EngineConfig(**json.loads(engine))).run(eval, items)
print(next(outcomes))
while not (Path(file).exists() and Path(file).read_text()):
    time.sleep(0.1)
pid = int(Path(file).read_text())
outcomes.close()
end = time.monotonic() + 60
while psutil.pid_exists(pid) and time.monotonic() < end:
    time.sleep(0.1)
print("worker", "goes on" if psutil.pid_exists(pid) else "ended")
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    gates = tmp_path_factory.mktemp("gates")
    found = RayCluster(gates)
    try:
        found.start()
        yield found
    finally:
        found.stop()


def grey(level: int) -> np.ndarray:
    return np.full((25, 90, 160, 3), level, np.uint8)


def moving(seed: int) -> np.ndarray:
    frames = np.random.default_rng(seed).integers(0, 255, (1, 90, 160, 3)).repeat(25, 0).astype(np.uint8)
    for index in range(25):
        frames[index, 30:60, 3 * index : 3 * index + 30] = 200
    return frames


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three that play, beginnings of recordings where there are some, and one of each grey that does something else."""
    folder = tmp_path_factory.mktemp("videos")
    for level in (RAISES, KILLS, HANGS, WAITS, WAITS_TOO):
        # the one that waits too is the last: only it is left when the driver is killed
        name = f"z-{level}.mp4" if level == WAITS_TOO else f"grey-{level}.mp4"
        write_video(folder / name, grey(level), fps=10)
    for seed in range(3):
        write_video(folder / f"moving-{seed}.mp4", moving(seed), fps=10)
    for name in ("v029.mp4", "v037.mp4") if RECORDINGS else ():
        beginning(Path(str(RECORDINGS), "videos", name), folder / name)
    return at_rest(folder)


def beginning(source: Path, target: Path, seconds: float = 6.0) -> None:
    """Write the first seconds of a recording, packet by packet as they are."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as part:
        [stream] = whole.streams.video
        copy = part.add_stream_from_template(stream)
        for packet in whole.demux(stream):
            if packet.dts is None or packet.dts * packet.time_base >= seconds:
                break
            packet.stream = copy
            part.mux(packet)


def notes(gates: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in gates.glob("note-*") if path.stat().st_size]


def rows(store: Store, name: str, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = store.read(name).sort_by(key).to_pylist()
    return found


def blobs(store: Store, prefix: str) -> dict[str, bytes]:
    return {key: store.read_blob(key) for key in store.list_blobs(prefix)}


def _command_of(process: psutil.Process) -> str:
    """Return the command line of a process; of one that has ended meanwhile, nothing."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_every_video_is_cut_or_quarantined_once_through_a_node_and_a_driver_that_are_killed(
    cluster: RayCluster, videos: Path, tmp_path: Path
) -> None:
    arguments = (str(tmp_path / "root"), str(videos), settings(cluster.engine(node_tmp=str(tmp_path / "tmp"))))
    store = Store(tmp_path / "root")
    driver = cluster.drive(_CUT, *arguments)

    def waiting_on(level: int) -> str:
        for note in notes(cluster.gates):
            if note["level"] == level and psutil.pid_exists(note["pid"]):
                return str(note["node"]).rpartition("-")[2]
        return ""

    # a node dies with an item in hand
    node = eventually(lambda: waiting_on(WAITS) or waiting_on(WAITS_TOO), 240)
    cluster.kill(node)
    (cluster.gates / f"open-{WAITS}").touch()
    # and the driver while the other node works on the last one, and rows of others are committed
    eventually(lambda: waiting_on(WAITS_TOO), 240)
    eventually(lambda: len(store.read("clippings")) >= 3, 240)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    done = {row["video_id"]: row["state"] for row in store.read("clippings").to_pylist()}
    workers = [process for process in cluster.processes() if "pipeline.workers.worker" in _command_of(process)]
    psutil.wait_procs(workers, 60)
    assert not [process for process in workers if process.is_running()], "workers end with their driver"
    assert 3 <= len(done) < len(list(videos.iterdir()))
    tried = len(notes(cluster.gates))
    (cluster.gates / f"open-{WAITS_TOO}").touch()
    code, output = cluster.run(_CUT, *arguments)
    assert code == 0, output

    # the same as on one machine
    local = Store(tmp_path / "local")
    code, output = cluster.run(_CUT, local.root, str(videos), settings({"workers": 2}))
    assert code == 0, output
    found, wanted = rows(store, "clippings", "video_id"), rows(local, "clippings", "video_id")
    assert [row["video_id"] for row in found] == sorted(download_states(store)), "every video once"
    assert found == wanted
    assert rows(store, "clips", "clip_id") == rows(local, "clips", "clip_id")
    assert blobs(store, "clips") == blobs(local, "clips"), "the same bytes, and nothing unfinished"
    failed = Counter(row["error_class"] for row in found if row["state"] == "failed")
    assert failed == {"ValueError": 1, "worker_died": 1, "timeout": 1}
    # only what was missing was tried again, by the code that was sent
    again = notes(cluster.gates)
    assert len(again) > tried
    sent = {note["package"] for note in again if not note["node"].endswith("-driver")}
    assert sent
    assert all("/runtime_resources/working_dir_files/_ray_pkg_" in package for package in sent)


def test_stages_give_the_same_rows_and_bytes_as_in_one_process(
    cluster: RayCluster, world: World, tmp_path: Path
) -> None:
    order = ["embeddings", "duplicates", "scores", "shards", "tokens"]
    roots = {name: Store(world.before(name, tmp_path / name)) for name in order}
    named = [f"{name}={store.root}" for name, store in roots.items()]
    engine = settings(cluster.engine())
    code, output = cluster.run(_STAGE, str(world.folder / "videos"), engine, *named, timeout=400)
    assert code == 0, output
    tasks = dict(line.split(" by tasks: ") for line in output.splitlines() if " by tasks: " in line)
    assert {name: int(number) > 0 for name, number in tasks.items()} == dict.fromkeys(order, True), "on the nodes"
    for name, table, key in (
        ("embeddings", "embeddings", "clip_id"),
        ("duplicates", "duplicates", "clip_id"),
        ("scores", "scores", "clip_id"),
        ("shards", "shards", "path"),
        ("tokens", "tokens", "path"),
    ):
        found = rows(roots[name], table, key)
        assert found
        assert found == rows(world.finished, table, key), name
    for prefix in ("shards", "tokens"):
        assert blobs(roots[prefix], prefix) == blobs(world.finished, prefix)
    assert not [key for key in roots["duplicates"].list_blobs("clips") if "buckets-" in key]


def test_the_command_runs_the_assets_on_the_cluster_as_on_one_machine(
    cluster: RayCluster, videos: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for video in videos.iterdir():
        if not video.stem.endswith(tuple(str(level) for level in (RAISES, KILLS, HANGS, WAITS, WAITS_TOO))):
            shutil.copy2(video, plain / video.name)
    stores = {}
    for backend, engine in (("local", {"workers": 2}), ("ray", cluster.engine(node_tmp=str(tmp_path / "tmp")))):
        settings_file = tmp_path / f"{backend}.yaml"
        settings_file.write_text(
            json.dumps({"engine": engine, "clips": {"seconds": 2, "fps": 10}, "embedding": {"enabled": False}})
        )
        root = tmp_path / backend
        arguments = ("--root", str(root), "--source", f"folder:{plain}", "--config", str(settings_file))
        code, output = cluster.run(_COMMAND, "run", *arguments, "--select", "+near_duplicates", timeout=400)
        assert code == 0, output
        assert cluster.token.read_text() not in output
        code, output = cluster.run(_COMMAND, "status", "--root", str(root))
        assert re.search(r"accounting +OK", output), output
        stores[backend] = Store(root)
    for table, key in (("clippings", "video_id"), ("clips", "clip_id"), ("duplicates", "clip_id")):
        found = rows(stores["ray"], table, key)
        assert found
        assert found == rows(stores["local"], table, key)
    assert blobs(stores["ray"], "clips") == blobs(stores["local"], "clips")
    token = cluster.token.read_bytes()
    kept = [path for path in (tmp_path / "ray").rglob("*") if path.is_file() and token in path.read_bytes()]
    assert kept == [], "the token is in no file of the root"


def test_two_runs_share_the_downloads_at_a_time_from_a_site(cluster: RayCluster, tmp_path: Path) -> None:
    code, output = cluster.run(_LIMITS, str(tmp_path / "limits.sqlite"), settings(cluster.engine()))
    assert code == 0, output
    assert output.split("\n")[-3:-1] == ["[True, True, False, True]", "True"], output


def test_a_cluster_that_cannot_be_used_is_refused_with_what_to_do(cluster: RayCluster, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    for engine, code, sentence in (
        (cluster.engine(token_file=str(token)), "", "does not take the token in"),
        (cluster.engine(), "import ray; ray.__version__ = '2.59.0'", "this machine Ray 2.59.0 on Python"),
        (cluster.engine(task_cpus=64.0), "", "lower these"),
    ):
        status, output = cluster.run(_ITEMS, settings(engine), "items = ['1 + 1']", code)
        assert status == 0, output
        assert "refused: " in output, output
        assert sentence in output
        assert token.read_text() not in output
        assert cluster.token.read_text() not in output


def test_folders_of_one_machine_are_refused_unless_they_are_shared(cluster: RayCluster, world: World) -> None:
    engine = settings(cluster.engine(shared_root=False))
    store = world.finished
    code, output = cluster.run(_STAGE, str(world.folder / "videos"), engine, f"shards={store.root}")
    assert code == 0, f"a set that is there needs no cluster: {output}"
    before = world.before("shards", Path(store.root).with_name("unshared"))
    code, output = cluster.run(_STAGE, str(world.folder / "videos"), engine, f"shards={before}")
    assert code != 0
    assert "engine.shared_root = true" in output


def test_closing_a_run_ends_what_its_nodes_work_on(cluster: RayCluster, tmp_path: Path) -> None:
    code, output = cluster.run(_CLOSED, settings(cluster.engine()), str(tmp_path / "pid"))
    assert code == 0, output
    assert "worker ended" in output


def test_an_item_whose_node_says_nothing_after_its_deadline_is_ended(cluster: RayCluster) -> None:
    # the process that would end it is stopped: only the driver is left to
    stop = "__import__('os').kill(__import__('os').getppid(), 19), __import__('time').sleep(600)"
    code, output = cluster.run(
        _ITEMS, settings(cluster.engine(deadline_s=2.0)), "import pipeline.workers.ray_engine as ray_engine",
        "ray_engine._GRACE_S = 4.0", f"items = [{stop!r}, '1 + 1']",
    )  # fmt: skip
    assert code == 0, output
    assert "error_class='timeout', message='ran longer than 2 s (engine.deadline_s) and was ended'" in output
    assert "value=2" in output


def test_a_node_without_the_package_and_a_head_that_goes_away_end_a_run_with_a_sentence(
    cluster: RayCluster, tmp_path: Path
) -> None:
    empty = tmp_path / "empty" / "pipeline"
    empty.mkdir(parents=True)
    (empty / "__init__.py").write_text("raise ModuleNotFoundError('no module named pipeline')")
    for node in ("a", "b"):
        cluster.kill(node)
    cluster.join("c", "127.0.0.5", PYTHONPATH=str(empty.parent))
    cluster.wait("c")
    installed = settings(cluster.engine(ship_code=False))
    code, output = cluster.run(_ITEMS, installed, "items = ['1 + 1']")
    assert code == 0, output
    assert "node 127.0.0.5 of the Ray cluster cannot run Lampworks (no module named pipeline" in output
    code, output = cluster.run(_ITEMS, settings(cluster.engine()), "items = ['1 + 1']")
    assert "value=2" in output, f"with its code sent, the same node works: {output}"

    driver = cluster.drive(
        _ITEMS, settings(cluster.engine(connect_s=2.0)), "items = ['1 + 1', '__import__(\"time\").sleep(600)']"
    )
    assert driver.stdout is not None
    while "value=2" not in (line := driver.stdout.readline()):
        assert line, "the driver ended"
    cluster.kill("head")
    output, _ = driver.communicate(timeout=120)
    assert "went away" in output, output
    assert "run again when it is back" in output
