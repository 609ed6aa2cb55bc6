"""Two thousand videos with a fifth of them faulty: every one is accounted for, and the memory stays flat."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pipeline.config import Config, DownloadConfig, SourceConfig
from pipeline.download.circuit_breaker import breakers
from pipeline.download.ledger import download_states, fold_all
from pipeline.inspect.conservation import violations
from pipeline.inspect.status import status
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.faultsite import FaultSite, collect_command, collected, player_page
from tests.media import run_ffmpeg

# about two CPU-minutes
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
TOTAL, HOSTS = 2000, 40
PAGE = "text/html"
# faults of a file that is asked directly: number, behaviour, state, class
DIRECT: dict[str, tuple[int, dict[str, Any], str, str]] = {
    "gone": (50, {"status": 404}, "failed", "permanent"),
    "broken": (40, {"status": 503}, "pending", "transient"),
    "page": (50, {"body": b"<html>Sorry</html>"}, "failed", "invalid_media"),
    "cut": (50, {"cut": 5000, "length": False}, "failed", "invalid_media"),
    "empty": (40, {"body": b""}, "pending", "transient"),
    "closed": (40, {"status": 401}, "failed", "auth"),
    "loop": (30, {"status": 302, "headers": {"Location": "?"}}, "failed", "permanent"),
}
# faults of a file behind a page
BEHIND: dict[str, tuple[int, dict[str, Any], str, str]] = {
    "opted": (30, {"headers": {"X-Robots-Tag": "noai"}}, "rejected", "opt_out"),
    "silent": (10, {"stall": 5000}, "pending", "transient"),
}
NAMELESS, BUSY = 20, 40
RATE_LIMITED = {"status": 429, "headers": {"Retry-After": "1"}}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> bytes:
    """A film of 4 s and some 30 kB, with its index at the start."""
    folder = tmp_path_factory.mktemp("film")
    random = np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8)
    frames = np.stack([np.roll(random, index // 4, 1) for index in range(60)]).repeat(4, 1).repeat(4, 2)
    path = make_video(folder / "film.mp4", frames, fps=15)
    run_ffmpeg("-i", path, "-c", "copy", "-movflags", "+faststart", folder / "streamable.mp4")
    return (folder / "streamable.mp4").read_bytes()


@pytest.fixture
def internet() -> Iterator[FaultSite]:
    running = FaultSite()
    yield running
    running.close()


def publish(internet: FaultSite, film: bytes) -> dict[str, str]:
    """Publish all videos, mixed, and return what was planted by URL."""
    planted: list[str] = [name for name, (number, *_) in {**DIRECT, **BEHIND}.items() for _ in range(number)]
    planted += ["nameless"] * NAMELESS + ["busy"] * BUSY
    planted += ["good"] * (TOTAL - len(planted))
    urls = {}
    for index, which in enumerate(np.random.default_rng(0).permutation(TOTAL)):
        name = planted[which]
        host = "busy.test" if name == "busy" else f"host-{index % HOSTS}.test"
        urls[_publish(internet, film, name, host, index)] = name
    return urls


def _publish(internet: FaultSite, film: bytes, name: str, host: str, index: int) -> str:
    url, page = f"http://{host}/{index}.mp4", f"http://{host}/watch-{index}"
    if name == "nameless":
        return f"http://{index}.invalid/film.mp4"
    if name in DIRECT:
        return internet.add(url, **{"body": film, **DIRECT[name][1]})
    if name == "good":
        return internet.add(url, film)
    internet.add(url, film, **(RATE_LIMITED if name == "busy" else BEHIND[name][1]))
    return internet.add(page, player_page(f"Film {index}", url), PAGE)


class Memory:
    """Megabytes that a process and its children hold, sampled four times a second."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.samples: list[tuple[frozenset[int], float]] = []
        """Children, and megabytes of all."""
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._sample)
        self.thread.start()

    def _sample(self) -> None:
        while not self.over.wait(0.25):
            try:
                children = self.process.children(recursive=True)
                held = [one.memory_info().rss for one in (self.process, *children)]
                self.samples.append((frozenset(one.pid for one in children), sum(held) / 2**20))
            except psutil.Error:
                continue

    def quarters(self) -> list[float]:
        """Return the median of each quarter of the download: of the longest time with the same, later workers.

        The search has a worker of its own, which reads pages and takes half of the whole time.
        """
        self.over.set()
        self.thread.join()
        groups: dict[frozenset[int], list[float]] = {}
        for children, held in self.samples:
            groups.setdefault(children, []).append(held)
        whole = [held for held in groups.values() if len(held) > len(self.samples) / 5][-1]
        return [statistics.median(part) for part in np.array_split(whole, 4)]


def test_two_thousand_videos_of_which_a_fifth_is_faulty_add_up(
    tmp_path: Path, internet: FaultSite, film: bytes
) -> None:
    planted = publish(internet, film)
    assert len(planted) == TOTAL
    assert sum(name != "good" for name in planted.values()) == TOTAL // 5
    (tmp_path / "urls.txt").write_text("\n".join(planted))
    config = Config(
        source=SourceConfig(spec=f"urls:{tmp_path / 'urls.txt'}", batch_size=TOTAL, proxy=internet.proxy_url),
        download=DownloadConfig(
            workers=8, host_interval_s=0.0, min_free_gb=0.0, socket_timeout_s=10.0, deadline_s=600.0,
            backoff_s=600.0, breaker_s=1.0, max_wait_s=0.0,
        ),
    )  # fmt: skip
    root = tmp_path / "root"
    process = subprocess.Popen(collect_command(config, root, root), cwd=Path(__file__).parents[2])
    memory = Memory(psutil.Process(process.pid))
    assert process.wait() == 0
    first, second, _, last = memory.quarters()
    print(f"memory {first:.0f} MB in the first quarter, {second:.0f} in the second, {last:.0f} in the last")
    assert last <= second * 1.05 + 4

    store = Store(root)
    kinds = {row["video_id"]: planted[row["url"]] for row in store.read("videos", ["video_id", "url"]).to_pylist()}
    states = download_states(store)
    assert len(kinds) == len(states) == TOTAL
    seen: dict[str, Counter[tuple[str, str | None]]] = {}
    for name, state in states.items():
        seen.setdefault(kinds[name], Counter())[(state.state, state.error_class)] += 1
    expected = {name: Counter({(state, kind): count}) for name, (count, _, state, kind) in {**DIRECT, **BEHIND}.items()}
    expected["good"] = Counter({("ok", None): TOTAL - TOTAL // 5})
    expected["nameless"] = Counter({("pending", "transient"): NAMELESS})
    busy = seen.pop("busy")
    assert seen == expected
    # how many ask before the first refusal is seen depends on the moment; none is lost, and none has failed
    assert sum(busy.values()) == BUSY
    assert set(busy) <= {("pending", "rate_limited"), ("pending", None)}

    # the same by other ways of counting: the rows, the fold over columns, the blobs, the law
    rows = store.read("downloads").to_pylist()
    assert len({row["attempt_id"] for row in rows}) == len(rows) == sum(state.attempts for state in states.values())
    assert len({row["video_id"] for row in rows}) == TOTAL - busy[("pending", None)]
    assert all(row["attempt"] == 1 for row in rows if kinds[row["video_id"]] != "busy")
    folded = Counter(fold_all(store)["state"].to_pylist())
    assert folded == Counter(state.state for state in states.values())
    assert {path.split("/")[-1].rsplit("-", 1)[0] for path in store.list_blobs("raw")} == {
        name for name, kind in kinds.items() if kind == "good"
    }
    assert violations(status(store, config)) == []
    assert list(home_of(store).tmp.iterdir()) == []

    # everything heals, and what was pending comes
    for url, name in planted.items():
        if name in {"broken", "empty"}:
            internet.add(url, film)
        elif name in {"busy", "silent"}:
            internet.add(url.replace("watch-", "") + ".mp4", film)
        elif name == "nameless":
            internet.add(url, film)
    rested = breakers(store)["busy.test"].next_try_at
    assert rested is not None
    time.sleep(max((rested - datetime.now(UTC)).total_seconds(), 0))
    pending = sum(state.state == "pending" for state in states.values())
    report = collected(collect_command(config, root, root, datetime.now(UTC) + timedelta(hours=1)))
    assert (report["tried"], report["pending"], report["paused_sites"]) == (pending, 0, {})
    assert report["ok"] == TOTAL - TOTAL // 5 + pending
    assert sum(report["failed"].values()) == 220
    assert report["rejected"] == {"opt_out": 30}
    assert violations(status(store, config)) == []
    assert list(home_of(store).tmp.iterdir()) == []
