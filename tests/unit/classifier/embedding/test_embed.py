"""Embeddings: every clip of a batch has one row, made once, whatever happens to its frames or to the network's file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from classifier.embedding.embed import embed_clips, unembedded_batches
from classifier.embedding.stored import read_embeddings
from classifier.embedding.weights import encoder_id
from pipeline.job import BatchJob, Job
from tests.snapshots import snapshot

BATCH, OTHER = "2026w47-0001", "2026w47-0002"


def changed(job: Job, **embedding: object) -> BatchJob:
    config = dataclasses.replace(job.config.embedding, **embedding)
    return dataclasses.replace(job, config=dataclasses.replace(job.config, embedding=config)).of_batch(BATCH)


@pytest.fixture
def batch(job: Job, pool_writer) -> BatchJob:
    """Two good and two bad clips of two videos in one batch, and a clip in another."""
    pool_writer.add("level-1", "gg")
    pool_writer.add("menu-1", "bb")
    pool_writer.add("level-2", "g", batch=OTHER)
    return job.of_batch(BATCH)


def test_every_clip_of_a_batch_is_embedded_once(batch):
    assert unembedded_batches(batch.store, batch.config) == [BATCH, OTHER]
    report = embed_clips(batch)
    assert (report.clips, report.computed, report.failed, report.written) == (4, 4, {}, True)
    assert unembedded_batches(batch.store, batch.config) == [OTHER]
    rows = batch.store.read("embeddings").to_pylist()
    assert {(row["batch"], row["encoder"]) for row in rows} == {(BATCH, encoder_id(batch.config.embedding))}
    assert [row["video_id"] for row in rows] == ["level-1", "level-1", "menu-1", "menu-1"]
    before = snapshot(batch.store.root)
    assert not embed_clips(batch).written
    assert snapshot(batch.store.root) == before


def test_clips_that_look_alike_lie_together(batch):
    embed_clips(batch)
    ids = batch.store.read("embeddings", ["clip_id"])["clip_id"].to_pylist()
    vectors = read_embeddings(batch.store, batch.config, ids)
    assert vectors.shape == (4, 2 * 1280)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    assert min(cosine[0, 1], cosine[2, 3]) > cosine[:2, 2:].max()


def test_vectors_come_in_the_order_asked_for_and_are_nan_where_there_is_none(batch):
    embed_clips(batch)
    first, second = batch.store.read("embeddings", ["clip_id"])["clip_id"].to_pylist()[:2]
    asked = [second, "level-9-000000000-00000000", first, second]
    found = read_embeddings(batch.store, batch.config, asked)
    assert np.isnan(found[1]).all()
    assert not np.isnan(found[[0, 2, 3]]).any()
    assert (found[0] == found[3]).all()
    assert (found[2:] == read_embeddings(batch.store, batch.config, [first, second], batch=BATCH)).all()
    assert read_embeddings(batch.store, changed(batch, frames=1).config, asked).shape == (4, 0)


def test_only_new_and_replaced_clips_are_embedded_again_beside_rows_that_stay(batch, pool_writer):
    embed_clips(batch)
    before = {row["clip_id"]: row for row in batch.store.read("embeddings").to_pylist()}
    clips = batch.store.read("clips").sort_by("clip_id").to_pylist()
    replaced, gone = clips[0]["clip_id"], clips[1]["clip_id"]
    kept = [row | {"sha256": "0" * 64} if row["clip_id"] == replaced else row for row in clips]
    batch.store.replace("clips", [row for row in kept if row["clip_id"] != gone])
    pool_writer.add("level-3", "g")
    report = embed_clips(batch)
    assert (report.clips, report.computed) == (4, 2)
    after = {row["clip_id"]: row for row in batch.store.read("embeddings").to_pylist()}
    assert gone not in after
    assert after[replaced]["clip_sha256"] == "0" * 64
    assert [name for name, row in after.items() if before.get(name) == row] == [
        row["clip_id"] for row in clips if row["video_id"] == "menu-1"
    ]


def test_another_network_or_size_makes_all_embeddings_due_again(batch):
    embed_clips(batch)
    for other in ({"height": 40}, {"frames": 1}, {"dtype": "bf16"}, {"width": 40}):
        again = changed(batch, **other)
        assert unembedded_batches(again.store, again.config) == [BATCH, OTHER]
    assert embed_clips(again).computed == 4
    assert {row["encoder"] for row in batch.store.read("embeddings").to_pylist()} == {
        encoder_id(again.config.embedding)
    }


def test_the_number_of_threads_and_what_is_embedded_beside_change_no_byte(batch, pool_writer):
    embed_clips(batch)
    before = {row["clip_id"]: row for row in batch.store.read("embeddings").to_pylist()}
    pool_writer.add("a-first-one", "b")
    batch.store.replace("embeddings", [])
    embed_clips(changed(batch, threads=3))
    after = {row["clip_id"]: row for row in batch.store.read("embeddings").to_pylist()}
    assert len(after) == 5
    assert {name: after[name] for name in before} == before


def test_a_clip_whose_frames_cannot_be_read_has_a_row_with_the_reason(batch, damage_frames):
    damaged = damage_frames(batch.store)
    menus = [row for row in batch.store.read("clips").to_pylist() if row["video_id"] == "menu-1"]
    Path(batch.store.url(menus[0]["tar"])).unlink()
    assert set(embed_clips(batch).failed) == {damaged["clip_id"], *(row["clip_id"] for row in menus)}
    rows = {row["clip_id"]: row for row in batch.store.read("embeddings").to_pylist()}
    assert len(rows) == 4
    row = rows[damaged["clip_id"]]
    assert (row["mean"], row["error_class"]) == (None, "unreadable_frames")
    assert unembedded_batches(batch.store, batch.config) == [OTHER]
    assert np.isnan(read_embeddings(batch.store, batch.config, list(rows))).any(axis=1).sum() == 3


def test_nothing_is_due_where_embedding_is_off(batch):
    off = changed(batch, enabled=False)
    assert unembedded_batches(off.store, off.config) == []
    with pytest.raises(ValueError, match=r"embedding\.enabled = false.*set it to true"):
        embed_clips(off)
