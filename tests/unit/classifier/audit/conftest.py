"""Decisions made of rows alone: videos, clips without pictures, and a verdict on each."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from classifier.decision.before import keep_decision_before
from classifier.decision.content import content_of
from pipeline.clip_spec import clip_spec
from pipeline.config import Config
from pipeline.ids import clip_id_of
from pipeline.job import Job
from pipeline.storage.rows import rows_table
from pipeline.storage.store import Store

Verdict = tuple[str, str, float | None]
"""Decision, reason, probability."""
BATCH = "2026w47-0001"


def video_rows(config: Config, names: Sequence[str], clips: int) -> list[dict[str, Any]]:
    spec = clip_spec(config.clips)
    return [
        {
            "clip_id": clip_id_of(name, 16000 * n, spec),
            "video_id": name,
            "clip_spec": spec,
            "batch": BATCH,
            "start_ms": 16000 * n,
            "end_ms": 16000 * (n + 1),
            "source_sha256": "0" * 64,
        }
        for name in names
        for n in range(clips)
    ]


def add_footage(
    store: Store, config: Config, names: Sequence[str], clips: int, *, batch: str = BATCH, **video: Any
) -> list[str]:
    """Add videos with clips that nobody can look at; return the clips' ids."""
    spec = clip_spec(config.clips)
    rows = video_rows(config, names, clips)
    store.append(
        "videos",
        [{"video_id": name, "extractor": "folder", "native_id": name, "batch": batch, **video} for name in names],
    )
    store.append("clips", [{**row, "features": [0.0], "flags": [], "batch": batch} for row in rows])
    cut = {"clip_spec": spec, "batch": batch, "state": "ok", "num_clips": clips, "source_sha256": "0" * 64}
    store.append("clippings", [{"video_id": name, **cut} for name in names])
    return [row["clip_id"] for row in rows]


def decide_as(store: Store, verdicts: Mapping[str, Verdict], *, model: str = "m", rating: int | None = None) -> None:
    """Publish a decision as it is given, as `decide` does."""
    batches = {row["clip_id"]: row["batch"] for row in store.read("clips", ["clip_id", "batch"]).to_pylist()}
    rows = [
        {
            "clip_id": clip_id, "video_id": clip_id.rsplit("-", 2)[0], "batch": batches[clip_id], "decision": decision,
            "reason": reason, "kind": re.sub(r" ?[0-9].*|(?<=duplicate).*|:", "", reason), "probability": probability,
            "rating": rating, "split": "train", "rule_version": "r", "model_version": model,
        }
        for clip_id, (decision, reason, probability) in sorted(verdicts.items())
    ]  # fmt: skip
    table = rows_table("curated", rows)
    content = content_of(table.to_batches())
    with tempfile.TemporaryDirectory() as folder:
        keep_decision_before(store, content, Path(folder))
    versions = {"rule_version": "r", "model_version": model}
    store.replace("curated", table, inputs={"content": content, "decided_from": versions})


def by_score(clips: Sequence[str], keep: int, review: int = 0) -> dict[str, Verdict]:
    """Return verdicts by falling probability: the first `keep` clips are kept, the next in review."""
    verdicts: dict[str, Verdict] = {}
    for place, clip_id in enumerate(clips):
        probability = 1 - (place + 1) / (len(clips) + 1)
        decision = "keep" if place < keep else "review" if place < keep + review else "drop"
        verdicts[clip_id] = (decision, f"score {probability:.3f}", probability)
    return verdicts


Rate = Callable[[Mapping[str, int]], None]


@pytest.fixture
def rate(job: Job) -> Rate:
    """A person who rates clips; later ratings count."""
    count = 0

    def call(ratings: Mapping[str, int]) -> None:
        nonlocal count
        from datetime import UTC, datetime, timedelta

        count += 1
        at = datetime(2026, 11, 26, tzinfo=UTC) + timedelta(minutes=count)
        job.store.append(
            "labels",
            [
                {"event_id": f"{count}-{clip_id}", "clip_id": clip_id, "rating": rating, "kind": "rate",
                 "annotator": "ann", "resolved": True, "labelled_at": at}
                for clip_id, rating in ratings.items()
            ],
        )  # fmt: skip

    return call
