"""Measure what scoring costs beside the network alone, in one run: how much of the time is not the network's.

Of a root with its clips and its published classifier, or of made-up clips and untrained numbers of the same sizes. Each
is counted in CPU-seconds of this process, in turns. The whole reads and decodes frames, computes, and writes rows to a
table; the network alone gets its arrays ready made. Nothing is written to the root.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from classifier.clip_stream import FRAME_COLUMNS, clip_rows, frames_ahead, map_ahead
from classifier.decision.score_rows import LoadedClassifier, load_classifier, scored_tables
from classifier.embedding.embed import embedded_tables
from classifier.embedding.encoder import load_encoder
from classifier.pool import load_pool
from classifier.torch_threads import fixed_threads
from classifier.training.calibration import Calibration
from classifier.training.candidates.network import NetworkScorer
from classifier.training.examples import FEATURE_COLUMNS, features_of
from classifier.training.fitting import device_of
from classifier.training.frames import clip_frames
from classifier.training.inputs import ClipInputs
from classifier.training.published import latest_classifier
from classifier.training.resnet import ResNet18
from pipeline.clips.encode import encode_frames
from pipeline.clips.geometry import Frames
from pipeline.clips.tar import TarWriter
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.job import BatchJob
from pipeline.progress import ProgressCallback, show_progress_lines
from pipeline.storage.home import home_of
from pipeline.storage.rows import rows_table
from pipeline.storage.store import Store

LIMIT = 0.9
"""Least share of the CPU time of scoring that is the network's own."""
_PLATT: Calibration = {"method": "platt", "slope": 1.0, "bias": 0.0, "scores": [], "probabilities": []}
_ROWS = 10_000
"""Clips of a batch for a classifier that reads no frames."""
_Step = Callable[[], object]


@dataclass(frozen=True)
class ScoringCost:
    """CPU-seconds for the same clips, one value per round."""

    kind: str
    clips: int
    alone: list[float]
    """The network, on arrays that are ready."""
    whole: list[float]
    """Reading, decoding, the network, and writing the rows."""

    @property
    def share(self) -> float:
        """Return what part of the whole the network alone is, of the least times: other work only adds to them."""
        return min(self.alone) / min(self.whole)

    @property
    def clips_per_cpu_s(self) -> tuple[float, float]:
        """Return clips a CPU-second: of the network alone, and of scoring."""
        return self.clips / min(self.alone), self.clips / min(self.whole)


def bench_scoring(
    store: Store | None, config: Config, clips: int, rounds: int, on_progress: ProgressCallback
) -> list[ScoringCost]:
    """Measure scoring by the embedding's network, by the network on frames, and by what a root has published.

    A published classifier on embeddings adds one product a clip to the first, and is not measured again.

    Args:
        store: the root; None: made-up clips.
        config: sizes, threads and devices.
        clips: how many to score at most.
        rounds: how often each is measured, after a first time that is not counted.
        on_progress: called with a line per round.

    Raises:
        UserError: the root has no clips.
    """
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        scratch = Store(Path(folder) / "root")
        table = _made_up_clips(scratch, clips) if store is None else _clips_of(store, config, clips)
        store = store or scratch
        job = BatchJob(store, config, home_of(store, Path(folder) / "home"), lambda text: None, "bench")
        network = NetworkScorer(ResNet18(config.classifier.width).to(device_of(config.classifier)).eval(), 0)
        classifiers = {"network": LoadedClassifier(network, _PLATT, config.classifier)}
        published = latest_classifier(store)
        if published is not None:
            loaded = load_classifier(store, published, config)
            if "embedding" not in loaded.needs:
                classifiers[f"published {published.model_id}"] = loaded
        steps = {"embedding": _embedding(job, scratch, table)}
        counts = {"embedding": len(table)}
        for name, loaded in classifiers.items():
            rows = table if "frames" in loaded.needs else _repeated(table)
            steps[name], counts[name] = _scoring(job, scratch, rows, loaded), len(rows)
        show_progress_lines(False)
        try:
            return [_measured(kind, *pair, counts[kind], rounds, on_progress) for kind, pair in steps.items()]
        finally:
            show_progress_lines(True)


def _measured(
    kind: str, alone: _Step, whole: _Step, clips: int, rounds: int, on_progress: ProgressCallback
) -> ScoringCost:
    found = ScoringCost(kind, clips, [], [])
    for number in range(rounds + 1):
        for step, times in ((alone, found.alone), (whole, found.whole)):
            start = time.process_time()
            step()
            times.append(time.process_time() - start)
        on_progress(f"{kind}, round {number}: alone {found.alone[-1]:.3f} CPU-s, scoring {found.whole[-1]:.3f}")
    # the first round pays for the start of threads and libraries
    return ScoringCost(kind, clips, found.alone[1:], found.whole[1:])


def _embedding(job: BatchJob, scratch: Store, table: pa.Table) -> tuple[_Step, _Step]:
    """Return two steps: the frozen network on frames in memory, and the embedding stage."""
    encoder, threads = load_encoder(job.config.embedding), job.config.embedding.threads
    frames = _frames(job.store, table)

    def alone() -> None:
        with fixed_threads(1) as limit:
            for _ in map_ahead(encoder, [one[None] for one in frames], threads, initializer=limit):
                pass

    return alone, lambda: _write(scratch, "embeddings", embedded_tables(job, table))


def _scoring(job: BatchJob, scratch: Store, table: pa.Table, classifier: LoadedClassifier) -> tuple[_Step, _Step]:
    """Return two steps: the classifier on arrays in memory, and the scoring of the same clips."""
    if "frames" in classifier.needs:
        ready = [clip_frames(one, classifier.config)[None] for one in _frames(job.store, table)]
        features = features_of(table.to_pylist())
        inputs = [ClipInputs(features[place : place + 1], one) for place, one in enumerate(ready)]
    else:
        inputs = [ClipInputs(features_of(table.to_pylist()))]

    def alone() -> None:
        with fixed_threads(1) as limit:
            for _ in map_ahead(classifier.scorer.scores, inputs, classifier.config.threads, initializer=limit):
                pass

    return alone, lambda: _write(scratch, "scores", scored_tables(job, classifier, table))


def _repeated(table: pa.Table) -> pa.Table:
    """Return the rows so often that one commit is a small part of scoring them, as in a batch of real size."""
    return pa.concat_tables([table] * -(-_ROWS // len(table))).slice(0, _ROWS)


def _frames(store: Store, table: pa.Table) -> list[Frames]:
    found = [frames for _, frames in frames_ahead(store, clip_rows(table))]
    return [frames for frames in found if not isinstance(frames, Exception)]


def _write(scratch: Store, name: str, tables: Iterable[pa.Table]) -> None:
    scratch.replace(name, pa.concat_tables(tables))


def _clips_of(store: Store, config: Config, most: int) -> pa.Table:
    table = load_pool(store, config).scan(["sha256", *FRAME_COLUMNS, *FEATURE_COLUMNS])
    if not len(table):
        raise UserError(f"{store.root} has no clips to score: run `lampworks run --select clips` first")
    # spread over the root, so that every source takes part
    return table.take(np.unique(np.linspace(0, len(table) - 1, min(most, len(table))).astype(np.int64)))


def _made_up_clips(scratch: Store, count: int) -> pa.Table:
    """Return rows of clips of textured pictures that scroll, in one tar of the store."""
    buffer, rows = io.BytesIO(), []
    writer = TarWriter(buffer)
    for number in range(count):
        draw = np.random.default_rng(number)
        world = np.kron(draw.integers(0, 255, (15, 70, 3), dtype=np.uint8), np.ones((6, 6, 1), np.uint8))
        frames = np.stack([world[:, 30 * step : 30 * step + 160] for step in range(8)])
        jpeg = encode_frames(frames)
        offset = writer.add(f"clip-{number}.frames.jpg", jpeg)
        rows.append({
            "clip_id": f"clip-{number:06d}", "video_id": "made-up", "sha256": f"{number:064x}",
            "tar": "clips/made-up.tar", "frames_offset": offset, "frames_size": len(jpeg),
        })  # fmt: skip
    writer.close()
    scratch.write_blob("clips/made-up.tar", buffer.getvalue())
    return rows_table("clips", rows)
