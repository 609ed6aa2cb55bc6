"""A real Ray cluster on loopback: a head without cores and nodes with one core each, with a token of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

NODE = "LAMPWORKS_TEST_NODE"
HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
_OBJECTS = 80_000_000


def eventually(condition: Callable[[], Any], seconds: float) -> Any:
    """Wait for a condition to hold, and return its value; AssertionError where it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {condition}")


class RayCluster:
    """Its processes carry their node's name in their environment, so that all of a node can be killed."""

    def __init__(self, gates: Path) -> None:
        # paths of sockets are short
        self.folder = Path(tempfile.mkdtemp(prefix="lw-ray-", dir="/tmp"))
        self.mark = self.folder.name
        self.gates = gates
        self.token = self.folder / "token"
        self.token.write_text(secrets.token_hex(32))
        with socket.socket() as probe:
            probe.bind(("127.0.0.2", 0))
            self.address = f"127.0.0.2:{probe.getsockname()[1]}"
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, node: str, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_raylet_start_wait_time_s": "180",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "1000",
            "RAY_worker_niceness": "0",  # Ray's own 15 would starve its workers on a machine that does other things
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(HERE),
            "LAMPWORKS_GATES": str(self.gates),
            NODE: f"{self.mark}-{node}",
            **more,
        }

    def begin(self, node: str, address: str, *options: str, **more: str) -> None:
        """Begin to start a node; `wait` waits for it."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats", "--num-gpus=0"]
        command += [f"--node-ip-address={address}", f"--object-store-memory={_OBJECTS}"]
        command += [f"--temp-dir={self.folder / node}", *options]
        log = (self.folder / f"{node}.log").open("wb")
        self.nodes[node] = subprocess.Popen(
            command, env=self.environment(node, **more), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
        )
        log.close()

    def wait(self, node: str) -> None:
        assert self.nodes[node].wait(240) == 0, (self.folder / f"{node}.log").read_text()

    def start(self) -> None:
        """Start the head and two nodes."""
        port = self.address.rpartition(":")[2]
        self.begin("head", "127.0.0.2", "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
        self.wait("head")
        self.join("a", "127.0.0.3")
        self.join("b", "127.0.0.4")
        self.wait("a")
        self.wait("b")

    def join(self, node: str, address: str, **more: str) -> None:
        self.begin(node, address, f"--address={self.address}", "--num-cpus=1", **more)

    def processes(self, node: str = "") -> list[psutil.Process]:
        """Return the processes of a node, or of all: also what its workers started."""
        name = f"{self.mark}-{node}"
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                value = process.environ().get(NODE, "")
                if (value == name if node else value.startswith(name)) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def kill(self, node: str = "") -> None:
        """SIGKILL every process of a node, or of all, until none is left."""
        end = time.monotonic() + 30
        while (found := self.processes(node)) and time.monotonic() < end:
            for process in found:
                with suppress(psutil.Error):
                    process.kill()
            time.sleep(0.1)
        for starter in self.nodes.values():
            starter.poll()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def engine(self, **changes: object) -> dict[str, object]:
        """Return the settings of the engine for this cluster; its nodes see the same folders."""
        return {
            "backend": "ray", "address": self.address, "token_file": str(self.token), "shared_root": True, **changes,
        }  # fmt: skip

    def drive(self, code: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start a driver: a program that uses the cluster, as a process of its own."""
        own = {"PYTHONPATH": os.pathsep.join((str(HERE), str(CHECKOUT))), "RAY_AUTH_MODE": "", **more}
        env = self.environment("driver", **own)
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):  # the configuration says where the token is
            del env[name]
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=env, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def run(self, code: str, *arguments: str, timeout: float = 240, **more: str) -> tuple[int, str]:
        """Run a driver to its end; return its exit code and what it printed."""
        driver = self.drive(code, *arguments, **more)
        try:
            output, _ = driver.communicate(timeout=timeout)
        finally:
            driver.kill()
            driver.wait()
        return driver.returncode, output


def settings(engine: Mapping[str, object]) -> str:
    return json.dumps(dict(engine))
