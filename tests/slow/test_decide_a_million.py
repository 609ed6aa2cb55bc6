"""A million scored clips, ten thousand labels: the decision is made in bounded memory."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.clip_spec import clip_spec
from pipeline.config import Config
from pipeline.storage.arrow import pc
from pipeline.storage.models_table import ModelRecord, replace_model
from pipeline.storage.store import Store

pytestmark = pytest.mark.slow

MODEL = "quality-classifier-made-up"
CLIPS_A_VIDEO, BATCH_CLIPS = 100, 25_000
_PROGRAM = """
import json, sys, time
from classifier.decision.decide import decide
from pipeline.config import Config
from pipeline.job import Job
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
def own(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) / 1024
store, before = Store(sys.argv[1]), own("VmRSS")
started = time.process_time()
report = decide(Job(store, Config(), home_of(store)))
print(json.dumps({
    "counts": report.counts, "threshold": report.threshold, "costs": report.tradeoff["costs"],
    "before_mb": before, "peak_mb": own("VmHWM"), "cpu_s": time.process_time() - started,
}))
"""


def fill(store: Store, clips: int, labels: int) -> None:
    """Write rows of made-up clips with scores, one in ten a copy and one in fifty still, and ratings of some."""
    spec, rng = clip_spec(Config().clips), np.random.default_rng(0)
    now = datetime.now(UTC)
    for start in range(0, clips, BATCH_CLIPS):
        size = min(BATCH_CLIPS, clips - start)
        batch = f"2026w40-{start // BATCH_CLIPS + 1:04d}"
        names = [f"folder-{(start + n) // CLIPS_A_VIDEO:08d}-0123456789" for n in range(0, size, CLIPS_A_VIDEO)]
        videos = np.repeat(names, CLIPS_A_VIDEO)[:size]
        start_ms = np.tile(np.arange(CLIPS_A_VIDEO) * 16000, len(names))[:size]
        ids = [f"{video}-{ms:09d}-{spec}" for video, ms in zip(videos.tolist(), start_ms.tolist(), strict=True)]
        probability = rng.random(size)
        common = {"clip_id": ids, "video_id": videos, "clip_spec": [spec] * size, "batch": [batch] * size}
        sha256 = [f"{n:064d}" for n in range(start, start + size)]
        flags = pa.array([["still"] if n % 50 == 0 else [] for n in range(size)], pa.list_(pa.string()))
        store.append("clips", pa.table({
            **common, "start_ms": start_ms, "end_ms": start_ms + 16000, "source_sha256": ["0" * 64] * size,
            "sha256": sha256, "num_frames": [160] * size, "fps": [10.0] * size, "flags": flags,
            "cut_ms": pa.array([[8000] if n % 20 == 0 else [] for n in range(size)], pa.list_(pa.int32())),
        }))  # fmt: skip
        store.append("scores", pa.table({
            **common, "model_version": [MODEL] * size, "probability": probability, "clip_sha256": sha256,
        }))  # fmt: skip
        copy = np.arange(size) % 10 == 9
        pair = copy | (np.arange(size) % 10 == 8)
        store.append("duplicates", pa.table({
            **{name: pa.array(values).filter(pa.array(pair)) for name, values in common.items()},
            "representative": pa.array([ids[n - 1] if n % 10 == 9 else ids[n] for n in range(size)]).filter(pair),
            "is_representative": ~copy[pair], "group_size": [2] * int(pair.sum()),
        }))  # fmt: skip
        store.append("videos", [
            {"video_id": name, "extractor": "folder", "native_id": f"{name}.mp4", "batch": batch, "verdict": "kept"}
            for name in names
        ])  # fmt: skip
        store.append("clippings", [
            {"video_id": name, "batch": batch, "clip_spec": spec, "source_sha256": "0" * 64, "state": "ok",
             "num_clips": CLIPS_A_VIDEO} for name in names
        ])  # fmt: skip
    chosen = store.read("scores", ["clip_id", "probability"]).take(np.sort(rng.choice(clips, labels, replace=False)))
    good = rng.random(labels) < chosen["probability"].to_numpy()
    rating = np.where(good, 5, 3)
    store.append("labels", pa.table({
        "event_id": [f"e{n}" for n in range(labels)], "clip_id": chosen["clip_id"], "rating": rating,
        "kind": ["rate"] * labels, "annotator": ["ann"] * labels, "labelled_at": pa.array([now] * labels),
        "resolved": [True] * labels,
    }))  # fmt: skip
    stored = {
        "clip_id": chosen["clip_id"].to_pylist(), "rating": rating.tolist(),
        "probability": chosen["probability"].to_pylist(), "score": chosen["probability"].to_pylist(),
        "group": pc.utf8_slice_codeunits(chosen["clip_id"], 0, 15).to_pylist(),
    }  # fmt: skip
    empty: dict[str, list[str]] = {name: [] for name in stored}
    document = {"format": 2, "clip_spec": spec, "out_of_fold": stored, "held_out": empty, "needs": []}
    store.write_blob(f"models/{MODEL}/model.json", json.dumps(document).encode())
    replace_model(store, ModelRecord(
        model_id=MODEL, kind="quality_classifier", path=f"models/{MODEL}", parameters=1, steps=1,
        config=dataclasses.asdict(Config().classifier), metrics={}, inputs={"fingerprint": "f", "clip_spec": spec},
    ))  # fmt: skip


def decided(root: Path, clips: int, labels: int) -> dict[str, object]:
    """Fill a store and decide on it in a process of its own."""
    fill(Store(root), clips, labels)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(root)], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_million_scored_clips_are_decided_in_bounded_memory(tmp_path: Path) -> None:
    found = decided(tmp_path / "root", 1_000_000, 10_000)
    print({name: found[name] for name in ("counts", "before_mb", "peak_mb", "cpu_s")})
    assert sum(found["counts"].values()) == 1_000_000
    assert found["threshold"]["clips"] == 10_000
    assert found["threshold"]["interval"][0] < 0.9 < found["threshold"]["interval"][1]
    costs = {cost["rule"]: cost for cost in found["costs"]}
    assert costs["duplicate"]["clips"] == 100_000
    assert costs["flag still"]["clips"] == 20_000
    # the process begins with the imports, which differ between machines
    assert found["peak_mb"] - found["before_mb"] < 800
