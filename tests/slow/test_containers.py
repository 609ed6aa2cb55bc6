"""The deployment in containers, as `docker compose` starts it: image, services, health, a batch, and killed containers.

It needs a Docker daemon, Compose 2.17 or newer, the images `python:3.11-slim` and `postgres:18`, an index of packages,
the ports 3000 and 9464, and ten minutes, so it is for those who ask for it:

    LAMPWORKS_CONTAINERS=1 make test-slow    # or this file alone
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.dagster_ui import CHECKOUT, wait_for
from tests.deployment import TOKEN, Deployment
from tests.e2e.conftest import gameplay
from tests.media import at_rest

WANTED = "LAMPWORKS_CONTAINERS"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
PASSWORD = secrets.token_hex(16)
IMAGE = "lampworks-test"
STATE = "/home/lampworks/state"
# the root of a private index, or one on this machine, is reached as this machine reaches it
_HOST = {"network": "host"}
S3 = {
    "image": f"{IMAGE}-s3",
    "build": {
        "context": ".",
        "dockerfile_inline": f"FROM {IMAGE}\nUSER root\n"
        "RUN pip install --no-cache-dir -c /opt/lampworks/constraints.txt 'moto[server]'\n",
        **_HOST,
    },
    "command": ["moto_server", "-H", "0.0.0.0", "-p", "5000"],
    # the question makes the bucket
    "healthcheck": {
        "test": [
            "CMD", "python", "-c",
            "from urllib.request import *; urlopen(Request('http://127.0.0.1:5000/bucket', method='PUT'))",
        ],
        "interval": "2s", "retries": 60,
    },
}  # fmt: skip
SETTINGS = {
    "preset": "demo", "source": {"spec": f"folder:{STATE}/recordings", "apply_rules": False},
    "clips": {"seconds": 4.0}, "decision": {"mode": "flags", "drop_flags": [], "middle": "keep"},
    "engine": {
        "backend": "ray", "address": "ray-head:6379", "token_file": "/run/secrets/ray_token",
        # all containers have the folder of recordings
        "shared_root": True,
    },
}  # fmt: skip


def _why_not() -> str | None:
    if os.environ.get(WANTED) != "1":
        return f"images are built only where they are asked for: {WANTED}=1"
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except OSError as exc:
            return f"no container runtime: {exc}"
        if done.returncode != 0:
            return f"no container runtime: {' '.join(command)}: {done.stderr.strip()[:200]}"
    return None


class Containers(Deployment):
    """A copy of what the image is made of, filled in as the page says, and driven by the ports that it publishes."""

    def __init__(self, folder: Path) -> None:
        self.url, self.metrics_url = "http://127.0.0.1:3000", "http://127.0.0.1:9464"
        self.deploy = folder / "deploy"
        image = (CHECKOUT / "deploy/Dockerfile").read_text()
        copied = " ".join(re.findall(r"^COPY (.*) \S+$", image, re.MULTILINE)).split()
        for name in (*copied, ".dockerignore", "deploy"):
            copy = shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy
            copy(CHECKOUT / name, folder / name)
        filled = {
            "POSTGRES_PASSWORD": PASSWORD, "LAMPWORKS_ROOT": "s3://bucket/prefix", "LAMPWORKS_UI_TOKEN": TOKEN,
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": "http://s3:5000",
        }  # fmt: skip
        text = (self.deploy / "env.example").read_text()
        for name, value in filled.items():
            text, found = re.subn(rf"^(# )?{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
            assert found == 1, name
        (self.deploy / ".env").write_text(text)
        token = self.deploy / "ray.token"
        token.write_text(secrets.token_hex(32))
        if os.geteuid() == 0:
            os.chown(token, 1000, 1000)
            token.chmod(0o600)
        (self.deploy / "lampworks.yaml").write_text(json.dumps(SETTINGS))
        compose = yaml.safe_load((self.deploy / "compose.yaml").read_text())
        self.services = sorted(compose["services"])
        ours = [name for name, one in compose["services"].items() if "build" in one]
        more = {"s3": S3, **{name: {"image": IMAGE, "build": _HOST} for name in ours}}
        (self.deploy / "test.yaml").write_text(yaml.safe_dump({"services": more}))

    def compose(self, *arguments: str) -> str:
        """Run a command of Compose; return what it prints."""
        files = ["-f", "compose.yaml", "-f", "test.yaml"]
        command = ["docker", "compose", "-p", IMAGE, "--progress", "plain", *files, *arguments]
        done = subprocess.run(command, cwd=self.deploy, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}{done.stderr[-6000:]}"
        return done.stdout

    def inspect(self, service: str, form: str) -> str:
        name = self.compose("ps", "--all", "--quiet", service).strip()
        command = ["docker", "inspect", "--format", form, name]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def inside(self, service: str, *command: str) -> str:
        return self.compose("exec", "--no-TTY", service, *command)

    def kill_container(self, service: str) -> None:
        """Kill the first process of a container, as the kernel does where memory is short."""
        os.kill(int(self.inspect(service, "{{.State.Pid}}")), signal.SIGKILL)

    def add(self, recordings: Path) -> None:
        """Copy a folder of recordings to where the source looks."""
        self.compose("cp", f"{at_rest(recordings)}/.", f"code:{STATE}/recordings")

    def said(self) -> str:
        return self.compose("logs", "--no-color", "--no-log-prefix")

    def finished(self, job: str, batch: str | None = None) -> None:
        run_id = self.run(job, batch)
        self.ended(run_id)

    def ended(self, run_id: str) -> None:
        """Wait for the end of a run, which is a success."""
        wait_for(
            lambda: self.status_of(run_id) in {"SUCCESS", "FAILURE", "CANCELED"}, 400, lambda: self.messages(run_id)
        )
        assert self.status_of(run_id) == "SUCCESS", self.messages(run_id)

    def batches(self) -> set[str]:
        """Return the batches that the store has."""
        code = (
            "import os; from assets.settings import load_settings as of\n"
            "print(*{row['batch'] for row in of(os.environ['LAMPWORKS_ROOT']).store.read('videos').to_pylist()})"
        )
        return {*self.inside("code", "python", "-c", code).split()}

    def figure(self, line: str) -> float:
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.metrics(), re.MULTILINE)
        return float(found[1]) if found else 0.0


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Iterator[Containers]:
    """All services, with an S3 server beside them, on two short recordings; afterwards only the images are left."""
    if why := _why_not():
        pytest.skip(why)
    found = Containers(tmp_path_factory.mktemp("containers"))
    (found.deploy / "recordings").mkdir()
    for seed in range(2):
        make_video(found.deploy / "recordings" / f"{seed}.mp4", gameplay(seed, 5))
    try:
        found.compose("build", "code")
        found.compose("build", "s3")
        found.compose("up", "--detach", "--wait", "s3")
        found.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "600")
        found.inside("code", "mkdir", f"{STATE}/recordings")
        found.add(found.deploy / "recordings")
        yield found
    finally:
        found.compose("down", "--volumes", "--timeout", "60")


def test_every_service_becomes_healthy_and_the_metrics_service_asks_all(containers: Containers) -> None:
    running = {*containers.compose("ps", "--services", "--status", "running").split()}
    assert running == {*containers.services, "s3"}
    for name in {*containers.services} - {"ray-worker"}:
        assert containers.inspect(name, "{{.State.Health.Status}} {{.RestartCount}}") == "healthy 0"
    ready = containers.ready()
    assert ready == {"ready": True, "parts": dict.fromkeys(("storage", "store", "code", "daemon", "pages"), "ok")}
    for url in (f"{containers.url}/server_info", f"{containers.metrics_url}/metrics"):
        assert containers.get(url, token=None)[0] == 401


def test_the_image_has_what_youtube_needs_and_works_as_a_user_without_rights(containers: Containers) -> None:
    said = containers.inside("code", "lampworks", "doctor", "--source", "youtube", "--root", "/tmp/root")
    assert not [line for line in said.splitlines() if not line.startswith("ok ")]
    assert containers.inside("code", "id", "-u").strip() == "1000"


def test_a_batch_is_made_by_the_ray_worker_and_lies_in_s3(containers: Containers) -> None:
    containers.finished("discover")
    [batch] = containers.batches()
    containers.finished("collect_batch", batch)
    assert containers.figure("lampworks_clips") == 2
    assert containers.figure('lampworks_attempts_total{error_class="",state="ok"}') == 2
    assert containers.figure("lampworks_unbalanced_totals") == 0
    # its objects lie in shared memory, not on the disk
    assert "object store is using /tmp" not in containers.said()


def test_a_run_whose_container_is_killed_starts_again(containers: Containers) -> None:
    at_work = containers.run("discover")
    wait_for(lambda: "Started execution of step" in "\n".join(containers.messages(at_work)), 120, rarest_s=0.2)
    containers.kill_container("code")
    query = "{runsOrError{... on Runs{results{runId parentRunId}}}}"

    def again() -> str | None:
        runs = containers.ask(query)["runsOrError"]["results"]
        return next((run["runId"] for run in runs if run["parentRunId"] == at_work), None)

    containers.ended(str(wait_for(again, 400, containers.runs)))
    assert containers.inspect("code", "{{.RestartCount}}") == "1"


def test_after_the_ray_head_was_killed_its_nodes_join_again_and_make_the_next_batch(
    containers: Containers, make_video: Callable[..., Path]
) -> None:
    before = containers.batches()
    containers.kill_container("ray-head")
    (containers.deploy / "late").mkdir()
    make_video(containers.deploy / "late" / "late.mp4", gameplay(7, 5))
    containers.add(containers.deploy / "late")
    containers.finished("discover")
    [batch] = containers.batches() - before
    wait_for(lambda: containers.inspect("ray-worker", "{{.RestartCount}} {{.State.Status}}") == "1 running", 200)
    wait_for(lambda: "2 alive" in alive(containers), 200, containers.said)
    containers.finished("collect_batch", batch)
    assert containers.figure("lampworks_clips") == 3


def alive(containers: Containers) -> str:
    """Return how many nodes the cluster has besides its head."""
    code = (
        "import ray; ray.init('ray-head:6379', log_to_driver=False, logging_level='error')\n"
        "print(sum(node['Alive'] for node in ray.nodes()) - 1, 'alive')"
    )
    try:
        return containers.inside("code", "python", "-c", code)
    except AssertionError as exc:  # not there yet
        return str(exc)


def test_no_secret_is_in_a_log_and_the_services_end_in_order(containers: Containers) -> None:
    said = containers.said()
    assert said
    for secret in (PASSWORD, TOKEN, (containers.deploy / "ray.token").read_text()):
        assert secret not in said
    containers.compose("stop")
    for service in ("code", "daemon", "pages", "metrics", "postgres"):
        assert containers.inspect(service, "{{.State.ExitCode}}") == "0", service
