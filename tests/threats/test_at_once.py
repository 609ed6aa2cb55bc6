"""Two passes, a labelling page and questions on one root at once: one driver at a time, and every total balances."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.cli.main import main
from assets.passes.lock import holder_of
from assets.settings import Settings, load_settings, save_config
from classifier.labels.journal import journal_rows
from pipeline.config import SourceConfig
from pipeline.inspect.deep import find_faults
from pipeline.inspect.status import status
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.laws.stages import CONFIG, World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning"),
]
LABELS = 30
# all that reads labels; trainings would only make the passes longer
PASS = ("run", "--select", "+training_shards")
WAIT_S = 300
"""How long a process may take beside others on two cores."""


class Root:
    """A root that has clips and no labels yet, and the command as processes."""

    def __init__(self, folder: Path, world: World) -> None:
        self.store = Store(shutil.copytree(world.folder / "before" / "labels", folder / "root"))
        source = SourceConfig(spec=f"folder:{world.folder / 'videos'}")
        config = dataclasses.replace(CONFIG, source=source)
        save_config(Settings(self.store, config, home_of(self.store)))
        self.processes: list[subprocess.Popen[str]] = []
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("LAMPWORKS_")}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("lampworks")), *arguments, "--root", self.store.root]
        self.processes.append(
            subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        return self.processes[-1]


@pytest.fixture
def shared(tmp_path: Path, world: World) -> Iterator[Root]:
    """A root for several processes, which are ended in any case."""
    found = Root(tmp_path, world)
    yield found
    for process in found.processes:
        process.kill()
        process.communicate()


def rate(url: str, clip_id: str, rating: int) -> str:
    """Rate a clip as the page does, and return what the page said."""
    event = {"event_id": str(uuid.uuid4()), "clip_id": clip_id, "kind": "rate", "rating": rating, "stream": "x"}
    body = json.dumps({"events": [event]}).encode()
    request = urllib.request.Request(f"{url}/api/events", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        told = json.loads(answer.read())
    assert told["saved"] == [event["event_id"]], told
    return event["event_id"]


def rating_of(clip_id: str) -> int:
    return 1 if "menu" in clip_id else 5


def test_two_passes_a_labelling_page_and_questions_at_once(shared: Root) -> None:
    page = shared.start("label", "--port", "0", "--annotator", "ann")
    assert page.stdout is not None
    url = page.stdout.readline().split()[3].rstrip("/")
    clips = sorted(shared.store.read("clips", ["clip_id"])["clip_id"].to_pylist())
    for clip_id in clips:
        rate(url, clip_id, rating_of(clip_id))

    first = shared.start(*PASS)
    lock, deadline = Path(shared.store.root) / "lock", time.monotonic() + WAIT_S
    while not (lock.exists() and holder_of(lock) == first.pid) and time.monotonic() < deadline:
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.02)
    second, asked = shared.start(*PASS), shared.start("status", "--json")
    saved = [rate(url, clip_id, rating_of(clip_id)) for clip_id in (clips * LABELS)[:LABELS]]
    told = second.communicate(timeout=WAIT_S)[0]
    assert second.returncode == 2, told
    assert f"in use by process {first.pid}" in told
    assert "wait for it, stop it" in told
    output = asked.communicate(timeout=WAIT_S)[0]
    assert asked.returncode == 0, output
    output = first.communicate(timeout=WAIT_S)[0]
    assert first.returncode == 0, output
    assert "Traceback" not in output

    page.send_signal(signal.SIGINT)
    page.communicate(timeout=60)
    settings = load_settings(shared.store.root)
    assert {row["event_id"] for row in journal_rows(settings.home.journal)} >= set(saved)
    # the same command again, as the refusal says, once the first has ended
    assert main([*PASS, "--root", shared.store.root]) == 0
    assert {row["event_id"] for row in shared.store.read("labels").to_pylist()} >= set(saved)
    assert status(shared.store, settings.config).conserved
    assert find_faults(shared.store, settings.home) == []
