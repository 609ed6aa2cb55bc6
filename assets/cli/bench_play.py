"""`lampworks bench play`: how soon a key is answered with its frame, by the play page or by an exported page."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING
from urllib.request import urlopen

import psutil

from assets.cli.bench_clips import processor
from assets.cli.options import bench_settings
from pipeline.errors import UserError

if TYPE_CHECKING:
    from assets.settings import Settings
    from models.export.export_page import Weights

_PRESSES, _WARM_UP, _PLAYERS = 100, 5, (1, 2)
_LIMIT_FRAMES = 2
"""A key must be answered within this many frame times of the world, in 95 of 100 cases."""
_PARTS = ("wait", "dynamics", "decode", "encode", "doubt")


@dataclass(frozen=True)
class KeyTimes:
    """What players saw who pressed keys at the same time."""

    players: int
    presses: int
    """Of all players together."""
    median_ms: float
    p95_ms: float
    worst_ms: float
    parts_ms: dict[str, float] = field(default_factory=dict)
    """Mean of each part of a frame on the server; the rest is the way there and back. `doubt` takes a pass of the
    tokenizer at every second frame, so a median would say nothing; it is 0 for a world that was not evaluated."""
    server_mb: list[float] = field(default_factory=list)
    """Memory of the server after each quarter of the keys."""


def add_options(bench: argparse.ArgumentParser) -> None:
    """Add the options that only `play` has."""
    bench.add_argument("--presses", type=int, default=_PRESSES, metavar="N", help="of play: keys of each player (100)")
    bench.add_argument(
        "--exported", action="store_true", help="of play: measure the page that `lampworks export world.html` writes"
    )


def run_play_keys(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.presses < 1:
        raise UserError(f"--presses = {args.presses}: must be at least 1")
    settings = bench_settings(args)
    if args.exported:
        return _run_exported(args, settings)
    with _served(settings.store.root) as (url, server):
        with urlopen(f"{url}api/world") as answer:
            about = json.load(answer)
        found = [_measured(url, server, about, players, args.presses) for players in _PLAYERS]
    limit = _LIMIT_FRAMES * 1000 / about["fps"]
    if args.json:
        print(json.dumps({"limit_ms": limit, "fps": about["fps"], "times": [asdict(times) for times in found]}))
        return 0
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    print(f"from a key to its frame, world {about['model']} ({processor()}, {cores} cores, load {load:.1f})")
    print(f"limit of the 95th percentile: {limit:.0f} ms, two frames of {about['fps']:g} a second")
    for times in found:
        print(f"  {times.players} player{'s' if times.players > 1 else ''}, {times.presses} keys")
        print(f"    median {times.median_ms:6.1f} ms, p95 {times.p95_ms:.1f}, slowest {times.worst_ms:.1f}")
        print("    mean of  " + ", ".join(f"{name} {ms:.1f}" for name, ms in times.parts_ms.items()))
        print(
            "    memory of the server after each quarter: " + ", ".join(f"{mb:,.0f}" for mb in times.server_mb) + " MB"
        )
    return 0


def _run_exported(args: argparse.Namespace, settings: Settings) -> int:
    from models.export.page_bench import bench_page
    from models.runtime.compute import intra_op_threads

    weights: tuple[Weights, ...] = ("fp16", "fp32")
    with intra_op_threads():
        found = [
            bench_page(settings.store, settings.config, None, each, args.presses, on_progress=_print_progress)
            for each in weights
        ]
    if args.json:
        print(json.dumps({"fps": settings.config.play.fps, "pages": [asdict(page) for page in found]}))
        return 0
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    print(f"an exported page, opened from disk without network ({processor()}, {cores} cores, load {load:.1f})")
    for page in found:
        threads = "one thread" if page.threads == 1 else f"{page.threads} threads"
        print(f"  --weights {page.weights}: {page.size_mb:.1f} MB, computed by {page.backend} on {threads}")
        print(
            f"    {page.presses} keys, each alone: median {page.median_ms:.1f} ms to its frame, p95 {page.p95_ms:.1f}, "
            f"slowest {page.worst_ms:.1f}"
        )
        print(f"    a key that is held: {page.held_fps:.1f} frames a second")
        print(
            f"    equal to a server's in fp32: {page.equal} of {page.presses} frames, the first {page.equal_until} "
            f"(a pixel of them is at most {page.largest_difference} of 255 off)"
        )
    return 0


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr)


def _measured(url: str, server: psutil.Process, about: dict[str, object], players: int, presses: int) -> KeyTimes:
    """Let players press keys at the same time, each at the world's speed on average."""
    keys = [_Keys(url, about, seed, presses) for seed in range(players)]
    memory = []
    for one in keys:
        one.start()
    for quarter in range(1, 5):
        while (
            any(one.is_alive() for one in keys)
            and sum(len(one.times) for one in keys) < players * presses * quarter / 4
        ):
            time.sleep(0.05)
        memory.append(server.memory_info().rss / 1e6)
    for one in keys:
        one.join()
        if one.error is not None:
            raise one.error
    total = sorted(ms for one in keys for ms in one.times)
    parts = {name: statistics.fmean(part.get(name, 0.0) for one in keys for part in one.parts) for name in _PARTS}
    p95 = total[min(len(total) - 1, int(0.95 * len(total)))]
    return KeyTimes(players, len(total), statistics.median(total), p95, total[-1], parts, memory)


class _Keys(threading.Thread):
    """One player, who presses random keys and notes when each is answered."""

    def __init__(self, url: str, about: dict[str, object], seed: int, presses: int) -> None:
        super().__init__()
        self._url, self._about, self._presses = re.sub("^http", "ws", url) + "api/play", about, presses
        self._random = random.Random(seed)
        self.times: list[float] = []
        self.parts: list[dict[str, float]] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """Play; an error is kept for the thread that waits."""
        try:
            self._play()
        except Exception as exc:  # shown by the thread that waits for this one
            self.error = exc

    def _play(self) -> None:
        from websockets.sync.client import connect

        from models.play.messages import unpack

        actions, fps = self._about["actions"], self._about["fps"]
        starts = self._about["starts"]
        assert isinstance(actions, list)
        assert isinstance(starts, list)
        assert isinstance(fps, float)
        with connect(self._url, max_size=None) as socket:

            def send(kind: str, **fields: object) -> None:
                socket.send(json.dumps({"type": kind, **fields}))

            def frame(n: int | None) -> dict[str, dict[str, float]]:
                while True:
                    message = socket.recv(timeout=60)
                    assert isinstance(message, bytes)
                    header = unpack(message)[0]
                    if header["type"] in ("error", "full"):
                        raise UserError(f"the play page refuses to play: {header['error']}")
                    if header["type"] == "frame" and header["n"] == n:
                        send("ack", node=header["node"])
                        return header

            send("start", start=self._random.choice(starts)["name"])
            frame(None)
            for n in range(_WARM_UP + self._presses):
                # not in step with the other player
                time.sleep(self._random.uniform(0.5, 1.5) / fps)
                began = time.perf_counter()
                send("act", action=self._random.randrange(len(actions)), n=n)
                header = frame(n)
                if n >= _WARM_UP:
                    self.times.append((time.perf_counter() - began) * 1000)
                    self.parts.append(header["ms"])


@contextmanager
def _served(root: str) -> Iterator[tuple[str, psutil.Process]]:
    """Serve the page of a root as `lampworks play` does; yield its address and its process."""
    command = [sys.executable, "-m", "assets.cli.main", "play", "--root", root, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            said = []
            for line in server.stderr:
                said.append(line.strip())
                if found := re.search(r"play at (http://\S+)", line):
                    yield found[1], psutil.Process(server.pid)
                    return
            raise UserError(f"the play page does not start: {' '.join(said) or 'it says nothing'}")
        finally:
            server.terminate()
