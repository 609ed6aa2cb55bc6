"""Drive a graph to its end while every asset is killed again and again, and compare what comes out.

with WarmProcess(folder) as warm:
    campaign = Campaign(folder, warm, seed=7)
    campaign.start()
    for asset in ASSETS:
        campaign.make_undisturbed(asset)
        campaign.kill_often(asset, kills=20, cpu_s=15.0)
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.campaign.kills import Kill

REPOSITORY = Path(__file__).parents[2]
MARK = "LAMPWORKS_CAMPAIGN"
ASSETS = (
    "search_results", "raw_videos", "clips", "clip_embeddings", "near_duplicates", "label_queue", "quality_labels",
    "quality_classifier", "clip_scores", "curated_clips", "curation_audit", "training_shards", "video_tokenizer",
    "world_model", "token_shards", "world_evaluation", "playable_world", "curation_ablation",
)  # fmt: skip
"""In an order in which they can be made. `study` is none of them: no pass makes it."""
BY_TIME = 0.3
"""Share of the kills that come after a random time; the others come at a random point."""
BALANCED = 0.5
"""Share of the kills after which the totals are looked at, while the asset is not done."""
_ENDING_S = 30.0


class WarmProcess:
    """The process of `tests.campaign.warm`; ends with its block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAMPWORKS_")}
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaign.warm"],
            cwd=REPOSITORY,
            env={**environment, **one_thread, MARK: str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.cpu_s = 0.0

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Let a child do something, and return its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(
            json.dumps({"do": do, "log": str(self.folder / "log"), "kill": None, **request}) + "\n"
        )
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.cpu_s += answer["cpu_s"]
        return answer

    def survivors(self) -> list[str]:
        """Return the processes of any attempt that still live; they get some time to end."""
        deadline = time.monotonic() + _ENDING_S
        while (found := self._marked()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _marked(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != self.process.pid and process.environ().get(MARK) == str(self.folder):
                    found.append(f"{process.pid}: {' '.join(process.cmdline())[:200]}")
            except psutil.Error:
                continue
        return found

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline()) == {"ready": True}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()


@dataclass
class Record:
    """What was done to an asset."""

    asset: str
    kills: list[Kill] = field(default_factory=list)
    rounds: int = 0
    """How often it was driven to its end after kills."""
    cpu_s: float = 0.0

    def line(self) -> str:
        """Return what was done in one line."""
        timed = sum(kill.after_s >= 0 for kill in self.kills)
        return (
            f"{self.asset}: {len(self.kills)} kills ({timed} after a time), {self.rounds} times to its end, "
            f"{self.cpu_s:.1f} CPU-s"
        )


class Campaign:
    """An undisturbed root, a disturbed one, and what each looked like after every asset."""

    def __init__(self, folder: Path, warm: WarmProcess, seed: int) -> None:
        self.folder, self.warm = folder, warm
        self.rng = random.Random(seed)
        self.calm, self.disturbed = folder / "calm", folder / "disturbed"
        self.labels = folder / "labels.csv"
        self.config = ""
        self.points: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.after: dict[str, dict[str, str]] = {}

    # -- requests -------------------------------------------------------------------------------------------------

    def make(self, root: Path, asset: str, kill: Kill | None = None) -> dict[str, Any]:
        """Start a pass that makes an asset, killed or not."""
        labels = str(self.labels) if asset == "quality_labels" else ""
        return self.warm.ask(
            "make", root=str(root), config=self.config, select=[asset], labels=labels, kill=kill and asdict(kill)
        )

    def look(self, root: Path, *, whole: bool = False) -> dict[str, Any]:
        """Return what readers see; see `tests.campaign.warm.look`."""
        answer = self.warm.ask("look", root=str(root), config=self.config, whole=whole)
        assert answer["code"] == 0, self.log()
        return answer

    def log(self) -> str:
        """Return the end of what the attempts printed."""
        return (self.folder / "log").read_text("utf-8", "replace")[-4000:]

    # -- the campaign ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write the videos and the configuration."""
        answer = self.warm.ask("seed", root="", folder=str(self.folder))
        assert answer["code"] == 0, self.log()
        self.config = answer["config"]

    def make_undisturbed(self, asset: str) -> None:
        """Make an asset once, and keep how many points it has and what the root looks like after it."""
        if asset == "quality_labels":
            self.warm.ask("label", root=str(self.calm), config=self.config, file=str(self.labels))
        answer = self.make(self.calm, asset)
        assert answer["code"] == 0, self.log()
        self.points[asset] = answer["points"][asset]
        self.seconds[asset] = answer["seconds"] - answer["begun"][asset]
        found = self.look(self.calm, whole=True)
        assert found["conserved"], asset
        self.after[asset] = found["published"]

    def kill_often(self, asset: str, kills: int, cpu_s: float) -> Record:
        """Kill an asset so often, or until the CPU-seconds are spent; each time it is done, it begins anew.

        Whenever it is done after kills, and at the end, the root is compared with the undisturbed one.
        """
        record, start = Record(asset), self.warm.cpu_s
        before = self.folder / "before"
        shutil.rmtree(before, ignore_errors=True)
        if self.disturbed.exists():
            shutil.copytree(self.disturbed, before)
        disturbed = False
        while len(record.kills) < kills and (self.warm.cpu_s - start < cpu_s or not record.kills):
            kill = self.draw(asset)
            answer = self.make(self.disturbed, asset, kill)
            if answer["killed"]:
                record.kills.append(kill)
                disturbed = True
                assert self.warm.survivors() == [], (asset, kill)
                if self.rng.random() < BALANCED:
                    assert self.look(self.disturbed)["conserved"], (asset, kill)
                continue
            assert answer["code"] == 0, (asset, kill, self.log())
            if disturbed:
                self.compare(record)
            disturbed = False
            shutil.rmtree(self.disturbed)
            if before.exists():
                shutil.copytree(before, self.disturbed)
        answer = self.make(self.disturbed, asset)
        assert answer["code"] == 0, (asset, self.log())
        self.compare(record)
        record.cpu_s = self.warm.cpu_s - start
        return record

    def draw(self, asset: str) -> Kill:
        """Return a random moment within an asset."""
        if self.rng.random() < BY_TIME:
            return Kill(asset, after_s=self.rng.uniform(0, self.seconds[asset]))
        return Kill(asset, point=self.rng.randrange(self.points[asset]))

    def compare(self, record: Record) -> None:
        """Hold the disturbed root against the undisturbed one after the same asset."""
        record.rounds += 1
        found = self.look(self.disturbed, whole=True)
        assert found["conserved"]
        good, kills = self.after[record.asset], record.kills[-3:]
        different = sorted(
            name for name in good.keys() | found["published"].keys() if good.get(name) != found["published"].get(name)
        )
        assert different == [], (record.asset, kills, different)
        # what `lampworks gc` would delete: blobs without a row, which readers never see
        assert {key for key in found["garbage"] if ".tmp-" in key} == set(), (record.asset, kills)
        assert self.unfinished() == set(), (record.asset, kills)

    def unfinished(self) -> set[str]:
        """Return the files of the disturbed root that a process began to write or had for itself."""
        found = (path.relative_to(self.disturbed) for path in self.disturbed.rglob("*") if path.is_file())
        return {path.as_posix() for path in found if ".tmp" in path.name or path.parts[0] == "tmp"}
