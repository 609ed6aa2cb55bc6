"""What a killed pass left unfinished goes when the next one starts; what others are writing stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage.home import home_of
from pipeline.storage.owner import unfinished_name
from pipeline.storage.store import Store
from pipeline.storage.sweep import sweep_after_kill

LEAVE = """
import os, sys
from pathlib import Path
from pipeline.storage.owner import scratch_folder
from pipeline.storage.store import Store
store = Store(sys.argv[1])
keys = ("models/a/b/c", "shards/v/train/x.tar", "reports/x.html", "takedowns/y.json")
begun = [store.write_file(key) for key in keys] + [scratch_folder(Path(sys.argv[1]) / "tmp", "training")]
for one in begun:
    one.__enter__()
os._exit(9)
"""


def unfinished(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if ".tmp-" in path.name or path.parent.name == "tmp"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="who made a file is told by /proc")
def test_unfinished_files_of_a_dead_process_go_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    store.write_blob("models/a/b/whole", b"whole")
    subprocess.run([sys.executable, "-c", LEAVE, store.root], check=False, cwd=Path(__file__).parents[4])
    assert len(unfinished(Path(store.root))) == 5
    mine = Path(store.root) / "models" / "a" / unfinished_name()
    mine.write_bytes(b"at work")
    assert sweep_after_kill(store, home_of(store)) == 5
    assert unfinished(Path(store.root)) == [mine]
    assert store.read_blob("models/a/b/whole") == b"whole"
