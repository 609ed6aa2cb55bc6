"""A training on a disk that fills up stops with its last checkpoint whole, and goes on after what its error advises."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
REPOSITORY = Path(__file__).parents[2]
SMALL = ("unshare", "--user", "--map-root-user", "--mount")
PROGRAM = """
import dataclasses, os, subprocess, sys, time
from pathlib import Path

import torch

from assets.cli.main import main
from models.training.checkpoint import Checkpoints
from models.training.saver import SaveError
from models.training.train import train_tokenizer
from pipeline.storage.store import Store
from tests.synthetic import job_of
from tests.trainings import CONFIG, add_training_shards

small, roomy = Path(sys.argv[1]), Path(sys.argv[2])
config = dataclasses.replace(CONFIG, tokenizer=dataclasses.replace(CONFIG.tokenizer, steps=8))
train_tokenizer(job_of(add_training_shards(Store(roomy)), config))
[size] = [path.stat().st_size for path in roomy.rglob("step-*.safetensors")]

subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=True)
store = add_training_shards(Store(small))
left = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
abandoned = Checkpoints(store, "models/video_tokenizer/runs/abandoned/checkpoints")
for step in (10, 20):
    abandoned.save(step, {"weights": torch.zeros(int(left - 2.6 * size) // 8)}, {"curve": []})
for path in small.rglob("*abandoned*/*/*"):
    os.utime(path, (time.time() - 7200,) * 2)
try:
    train_tokenizer(job_of(store, config))
except SaveError as exc:
    print("error:", exc)
[folder] = {path.parent for path in small.rglob("step-*") if "abandoned" not in str(path)}
print("left:", Checkpoints(store, str(folder.relative_to(small))).latest().step)
print("unfinished:", len([path for path in folder.iterdir() if ".tmp-" in path.name]))
main(["gc", "--checkpoints", "--keep", "last", "--root", str(small)])
taken = []
train_tokenizer(job_of(store, config), on_step=lambda step, metrics: taken.append(step))
print("taken:", taken)
weights = [next(root.glob("models/*/*/weights.safetensors")).read_bytes() for root in (small, roomy)]
print("same:", weights[0] == weights[1])
"""


def test_a_training_stops_with_its_last_checkpoint_and_goes_on_after_the_advice_of_its_error(tmp_path: Path) -> None:
    for name in ("small", "roomy"):
        (tmp_path / name).mkdir()
    probe = [*SMALL, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "small")]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("a small disk needs unshare and user namespaces")
    done = subprocess.run(
        [*SMALL, sys.executable, "-c", PROGRAM, str(tmp_path / "small"), str(tmp_path / "roomy")],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    error = re.search(r"error: (.*)", done.stdout)
    assert error is not None, done.stdout
    assert "a checkpoint could not be written" in error[1]
    assert "No space left on device" in error[1]
    assert "`lampworks gc --checkpoints --keep last` deletes all but the last one of each run" in error[1]
    step = re.search(r"The checkpoint of step (\d) is good and stays", error[1])
    assert step is not None
    assert f"left: {step[1]}" in done.stdout
    assert f"start again: it goes on from step {step[1]}." in error[1]
    assert "unfinished: 0" in done.stdout
    assert f"taken: {list(range(int(step[1]) + 1, 9))}" in done.stdout
    assert "same: True" in done.stdout
