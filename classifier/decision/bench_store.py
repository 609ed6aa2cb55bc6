"""Make a scratch store whose batches hold the same clips under other ids: what a stage is measured on.

The stages run on it as they do on any root. Nothing is written to the root that the clips come from.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from safetensors.torch import save

from classifier.pool import load_pool
from classifier.training.candidates.network import NetworkScorer
from classifier.training.examples import FEATURE_COLUMNS
from classifier.training.published import FORMAT, KIND, ModelDocument, StoredScores
from pipeline.clip_spec import clip_spec
from pipeline.clips.encode import encode_frames
from pipeline.clips.geometry import Frames
from pipeline.clips.read import FRAME_COLUMNS
from pipeline.clips.stored import decode_frames
from pipeline.clips.tar import TarWriter
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.ids import clip_id_of
from pipeline.storage.models_table import ModelRecord, read_model_file, replace_model
from pipeline.storage.rows import rows_table
from pipeline.storage.store import Store

_TAR = "clips/bench.tar"
_SOURCE = "0" * 64
_BLOCK = 12
_COLUMNS = ["sha256", *FRAME_COLUMNS, *FEATURE_COLUMNS]


@dataclass(frozen=True)
class BenchClips:
    """Different clips: their measurements, and the strips of frames that are stored beside them."""

    rows: pa.Table
    """Columns of `clips`."""
    strips: Sequence[bytes]
    """JPEG of each."""

    def frames(self) -> list[Frames]:
        """Return the frames of each clip, uint8 (K, H, W, 3)."""
        return [decode_frames(strip) for strip in self.strips]


def clips_of_root(store: Store, config: Config, most: int) -> BenchClips:
    """Return clips spread over a root, so that every source takes part; UserError where it has none."""
    table = load_pool(store, config).scan(_COLUMNS)
    if not len(table):
        raise UserError(f"{store.root} has no clips to score: run `lampworks run --select clips` first")
    table = table.take(np.unique(np.linspace(0, len(table) - 1, min(most, len(table))).astype(np.int64)))
    where = zip(*(table[name].to_pylist() for name in FRAME_COLUMNS[:3]), strict=True)
    return BenchClips(table, [store.read_range(tar, offset, size) for tar, offset, size in where])


def made_up_clips(config: Config, count: int) -> BenchClips:
    """Return clips of coloured blocks that scroll, of the configured size and without measurements.

    Their JPEG take about as many bytes as those of recordings do (54 and 44 kB at 160x90).
    """
    height, width = config.clips.height, config.clips.width
    strips = []
    for number in range(count):
        draw = np.random.default_rng(number)
        blocks = draw.integers(0, 200, (-(-height // _BLOCK), -(-(width + 210) // _BLOCK), 3), dtype=np.uint8)
        world = np.kron(blocks, np.ones((_BLOCK, _BLOCK, 1), np.uint8))[:height]
        strips.append(encode_frames(np.stack([world[:, 30 * step : 30 * step + width] for step in range(8)])))
    return BenchClips(rows_table("clips", [{"sha256": f"{number:064x}"} for number in range(count)]), strips)


def write_strips(scratch: Store, clips: BenchClips) -> BenchClips:
    """Write the strips of frames as one tar, and return the clips with their places in it."""
    buffer = io.BytesIO()
    writer = TarWriter(buffer)
    offsets = [writer.add(f"clip-{number}.frames.jpg", strip) for number, strip in enumerate(clips.strips)]
    writer.close()
    scratch.write_blob(_TAR, buffer.getvalue())
    sizes = [len(strip) for strip in clips.strips]
    sums = [zlib.crc32(strip) for strip in clips.strips]
    rows = clips.rows
    for name, values in {"frames_offset": offsets, "frames_size": sizes, "frames_crc32": sums}.items():
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values, pa.int64()))
    rows = rows.set_column(rows.column_names.index("tar"), "tar", pa.array([_TAR] * len(sizes), pa.string()))
    return BenchClips(rows, clips.strips)


def add_batch(scratch: Store, config: Config, batch: str, clips: BenchClips, count: int) -> None:
    """Write a batch of one video with so many clips: the same ones over and over, each under its own id."""
    spec = clip_spec(config.clips)
    scratch.append("videos", [{"video_id": batch, "batch": batch}])
    one = {"video_id": batch, "batch": batch, "clip_spec": spec, "source_sha256": _SOURCE}
    scratch.append("clippings", [{**one, "state": "ok", "num_clips": count}])
    rows = clips.rows.take(np.arange(count) % len(clips.rows)).select(_COLUMNS)
    names = {"clip_id": [clip_id_of(batch, number, spec) for number in range(count)]}
    for name, values in {**names, **{name: [value] * count for name, value in one.items()}}.items():
        rows = rows.append_column(name, pa.array(values, pa.string()))
    scratch.append("clips", rows_table("clips", rows))


def publish_untrained(scratch: Store, config: Config, scorer: NetworkScorer) -> None:
    """Publish a network that learned nothing: its time is that of any other."""
    nothing: StoredScores = {"clip_id": [], "rating": [], "probability": [], "score": [], "group": []}
    state = scorer.state()
    document: ModelDocument = {
        "format": FORMAT,
        "candidate": "network",
        "needs": ["frames"],
        "feature_names": [],
        "encoder": None,
        "state": state.document,
        "calibration": {"method": "platt", "slope": 1.0, "bias": 0.0, "scores": [], "probabilities": []},
        "good_rating": config.classifier.good_rating,
        "clip_spec": clip_spec(config.clips),
        "out_of_fold": nothing,
        "held_out": nothing,
    }
    record = ModelRecord(
        model_id="untrained-network",
        kind=KIND,
        path="models/untrained-network",
        config=dataclasses.asdict(config.classifier),
        metrics={},
        inputs={"clip_spec": document["clip_spec"], "clips": dataclasses.asdict(config.clips)},
    )
    _write_model(scratch, record, save(dict(state.tensors)), json.dumps(document).encode())


def publish_copy(scratch: Store, store: Store, model: ModelRecord) -> None:
    """Publish the classifier of a root."""
    _write_model(
        scratch, model, *(read_model_file(store, model, name) for name in ("weights.safetensors", "model.json"))
    )


def _write_model(scratch: Store, record: ModelRecord, weights: bytes, document: bytes) -> None:
    scratch.write_blob(f"{record.path}/weights.safetensors", weights)
    scratch.write_blob(f"{record.path}/model.json", document)
    # the newest is the published one
    replace_model(scratch, dataclasses.replace(record, files={}))
