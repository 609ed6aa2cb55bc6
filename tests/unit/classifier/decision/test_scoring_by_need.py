"""Scoring reads what the published classifier needs and nothing else, and refuses one that it cannot use."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from classifier.decision import bench_scoring
from classifier.decision.scoring import batch_is_scored, score_batch
from classifier.embedding.weights import encoder_id
from classifier.pool import load_pool
from classifier.training.candidates.blend import BlendScorer, Spread
from classifier.training.candidates.embedding import EmbeddingScorer
from classifier.training.candidates.measurements import fit_measurements
from classifier.training.candidates.scorer import Scorer
from classifier.training.examples import feature_names
from classifier.training.metrics import ClassifierMetrics
from classifier.training.published import FORMAT, ModelDocument, publish
from pipeline.errors import UserError
from pipeline.job import BatchJob, Job
from tests.rated import made_up

FIRST = "2026w47-0001"
NONE: Any = {"clip_id": [], "rating": [], "probability": [], "score": [], "group": []}


@pytest.fixture(scope="module")
def measurements() -> Scorer:
    examples = made_up([1, 1, 2, 3, 4, 5] * 4, [f"g{number}" for number in range(24)])
    return fit_measurements(examples, None, 0)  # type: ignore[arg-type]


@pytest.fixture
def embedding() -> EmbeddingScorer:
    return EmbeddingScorer(np.random.default_rng(0).normal(0, 0.1, 2 * 1280), 3.0)


@pytest.fixture
def batch(job: Job, pool_writer) -> BatchJob:
    """A batch of three clips of two videos."""
    pool_writer.add("level-1", "gg")
    pool_writer.add("menu-1", "b")
    return job.of_batch(FIRST)


def published(job: Job, name: str, scorer: Scorer, **changes: Any) -> None:
    """Publish a scorer that no training made."""
    document = {
        "format": FORMAT, "candidate": name, "needs": sorted(scorer.needs), "feature_names": list(feature_names()),
        "encoder": encoder_id(job.config.embedding) if "embedding" in scorer.needs else None,
        "state": scorer.state().document, "good_rating": 4, "clip_spec": load_pool(job.store, job.config).spec,
        "calibration": {"method": "platt", "slope": 1.5, "bias": -4.0, "scores": [], "probabilities": []},
        "out_of_fold": NONE, "held_out": NONE,
    } | changes  # fmt: skip
    publish(load_pool(job.store, job.config), scorer, cast(ModelDocument, document), cast(ClassifierMetrics, {}), "f")


def rows_of(job: Job) -> dict[str, dict[str, Any]]:
    return {row["clip_id"]: row for row in job.store.read("scores").to_pylist()}


def test_a_classifier_on_measurements_reads_no_picture(batch, measurements):
    published(batch, "measurements", measurements)
    for tar in set(batch.store.read("clips", ["tar"])["tar"].to_pylist()):
        Path(batch.store.url(tar)).unlink()
    report = score_batch(batch)
    assert (report.clips, report.failed) == (3, {})
    for row in rows_of(batch).values():
        assert row["probability"] == pytest.approx(1 / (1 + np.exp(4.0 - 1.5 * row["score"])), abs=1e-6)
    assert batch.store.version("embeddings") == -1


def test_one_on_embeddings_makes_those_that_are_missing_and_reads_them(batch, embedding):
    published(batch, "embedding", embedding)
    assert score_batch(batch).failed == {}
    assert len(batch.store.read("embeddings")) == 3
    row = batch.store.read("embeddings").to_pylist()[0]
    vector = np.concatenate([np.frombuffer(row[name], "<f2") for name in ("mean", "spread")]).astype(np.float32)
    expected = float((vector * embedding.weights_D).sum()) + 3.0
    assert rows_of(batch)[row["clip_id"]]["score"] == pytest.approx(expected, abs=1e-6)
    assert batch_is_scored(batch.store, FIRST)


def test_a_clip_without_an_embedding_has_the_reason_and_a_blend_goes_on_without(
    batch, embedding, measurements, damage_frames
):
    damaged = damage_frames(batch.store)["clip_id"]
    published(batch, "embedding", embedding)
    assert list(score_batch(batch).failed) == [damaged]
    row = rows_of(batch)[damaged]
    assert (row["probability"], row["error_class"]) == (None, "no_embedding")
    assert row["message"] == "its frames are no picture"
    assert batch_is_scored(batch.store, FIRST)
    spreads = {name: Spread(3.0, 1.0) for name in ("measurements", "embedding")}
    published(batch, "blend", BlendScorer({"measurements": measurements, "embedding": embedding}, spreads))
    assert not batch_is_scored(batch.store, FIRST)
    assert score_batch(batch).failed == {}
    assert set(rows_of(batch)) == set(batch.store.read("clips", ["clip_id"])["clip_id"].to_pylist())


def test_embeddings_of_another_network_are_no_input_and_the_message_says_how_to_go_on(batch, embedding):
    published(batch, "embedding", embedding, encoder="another-network")
    with pytest.raises(UserError, match=r"learned from embeddings of another-network, .*lampworks run"):
        score_batch(batch)
    off = dataclasses.replace(batch.config, embedding=dataclasses.replace(batch.config.embedding, enabled=False))
    with pytest.raises(UserError, match=r"embedding\.enabled = false: set it to true, or train another"):
        score_batch(dataclasses.replace(batch, config=off))
    assert batch.store.version("scores") == -1
    published(batch, "embedding", embedding)
    assert score_batch(batch).failed == {}


def test_the_bench_measures_a_classifier_on_measurements_on_a_larger_batch(batch, measurements, monkeypatch):
    published(batch, "measurements", measurements)
    monkeypatch.setattr(bench_scoring, "_ROWS", 30)
    found = bench_scoring.bench_scoring(batch.store, batch.config, 2, 1, lambda text: None)
    assert [(one.kind.split()[0], one.clips) for one in found[1:]] == [("network", 2), ("published", 30)]


def test_a_classifier_of_another_format_is_refused_with_the_fix(batch, measurements):
    published(batch, "measurements", measurements, format=1)
    with pytest.raises(UserError, match=r"is of format 1, and this version reads format 2: train again"):
        score_batch(batch)


def test_one_that_learned_measurements_of_another_version_is_refused_with_the_fix(batch, measurements):
    older = dataclasses.replace(measurements, names=("a_measurement_of_before", *measurements.names[1:]))
    published(batch, "measurements", older)
    with pytest.raises(UserError, match=r"\(a_measurement_of_before\): train it again with `lampworks run`"):
        score_batch(batch)


def test_scores_do_not_depend_on_how_many_clips_are_scored_at_a_time(batch, embedding, measurements, monkeypatch):
    spreads = {name: Spread(3.0, 1.0) for name in ("measurements", "embedding")}
    published(batch, "blend", BlendScorer({"measurements": measurements, "embedding": embedding}, spreads))
    score_batch(batch)
    expected = rows_of(batch)
    batch.store.replace("scores", [])
    for name in ("_TOGETHER", "_PART"):
        monkeypatch.setattr(f"classifier.decision.score_rows.{name}", 1)
    score_batch(batch)
    assert rows_of(batch) == expected
