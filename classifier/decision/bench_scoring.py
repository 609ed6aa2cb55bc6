"""Measure what scoring costs beside the forward passes alone, in one run, of each kind of classifier.

Scoring is all that the stage does with a batch: find its clips, load the classifier, read and decode frames, compute,
build rows, commit them, and count them for the report. The forward passes alone compute the same on the same arrays, in
memory. Both are CPU-seconds of this process, in turns.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from classifier.clip_stream import map_ahead
from classifier.decision.bench_store import (
    BenchClips,
    add_batch,
    clips_of_root,
    made_up_clips,
    publish_copy,
    publish_untrained,
    write_strips,
)
from classifier.decision.score_rows import LoadedClassifier, load_classifier
from classifier.decision.scoring import score_batch
from classifier.embedding.embed import embed_clips
from classifier.embedding.encoder import load_encoder
from classifier.torch_threads import fixed_threads
from classifier.training.candidates.network import NetworkScorer
from classifier.training.examples import features_of_table
from classifier.training.fitting import device_of
from classifier.training.frames import clip_frames
from classifier.training.inputs import ClipInputs
from classifier.training.published import latest_classifier
from classifier.training.resnet import ResNet18
from pipeline.config import Config
from pipeline.job import BatchJob
from pipeline.progress import ProgressCallback, show_progress_lines
from pipeline.storage.home import home_of
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.store import Store

LIMIT = 0.9
"""Least share of the CPU time of scoring that is the forward passes' own, where these take `LIMITED_FROM_MS`."""
LIMITED_FROM_MS = 10.0
"""CPU-milliseconds a clip: under ten times the reading of its pictures, a forward pass cannot be 90 % of scoring."""
_ROWS = 10_000
"""Clips of a batch for a classifier that reads no frames: that many are scored in less than a second."""
_DISTINCT = 64
"""Different clips at most; a batch repeats them under other ids."""
_Step = Callable[[], object]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class ScoringCost:
    """CPU-seconds for the same clips, one value per round."""

    kind: str
    clips: int
    alone: list[float]
    """The forward passes, on arrays that are ready."""
    whole: list[float]
    """All that the stage does."""

    @property
    def share(self) -> float:
        """Return what part of the whole the forward passes alone are: the median of the rounds' shares."""
        return statistics.median(alone / whole for alone, whole in zip(self.alone, self.whole, strict=True))

    @property
    def limit(self) -> float | None:
        """Return the least share; None for a forward pass under `LIMITED_FROM_MS`."""
        return LIMIT if 1000 / self.clips_per_cpu_s[0] >= LIMITED_FROM_MS else None

    @property
    def passes(self) -> bool:
        """Tell whether the share is at least the limit, or none is set for so short a forward pass."""
        return self.limit is None or self.share >= self.limit

    @property
    def clips_per_cpu_s(self) -> tuple[float, float]:
        """Return clips a CPU-second, of the medians: of the forward passes alone, and of scoring."""
        return self.clips / statistics.median(self.alone), self.clips / statistics.median(self.whole)


def bench_scoring(
    store: Store | None, config: Config, clips: int, rounds: int, on_progress: ProgressCallback
) -> list[ScoringCost]:
    """Measure the embedding, the network on frames, and what a root has published.

    A published classifier on embeddings adds one product a clip to the first, and is not measured again.

    Args:
        store: the root, whose clips are copied and to which nothing is written; None: made-up clips.
        config: sizes, threads and devices.
        clips: clips of a batch; without frames, 10,000.
        rounds: how often each is measured, after a first time that is not counted.
        on_progress: called with a line per round.

    Raises:
        UserError: the root has no clips.
    """
    most = min(clips, _DISTINCT)
    found = made_up_clips(config, most) if store is None else clips_of_root(store, config, most)
    published = None if store is None else latest_classifier(store)
    with _bench(config, found, clips, rounds, on_progress) as bench:
        costs = [bench.embedding(), bench.network()]
        if store is not None and published is not None:
            publish_copy(bench.scratch, store, published)
            loaded = load_classifier(bench.scratch, published, config)
            if "embedding" not in loaded.needs:
                costs.append(bench.published(published, loaded))
        return costs


def bench_network(config: Config, clips: int, rounds: int, on_progress: ProgressCallback) -> ScoringCost:
    """Measure the configured network alone, on made-up clips; the arguments are those of `bench_scoring`."""
    with _bench(config, made_up_clips(config, min(clips, _DISTINCT)), clips, rounds, on_progress) as bench:
        return bench.network()


@contextmanager
def _bench(
    config: Config, clips: BenchClips, count: int, rounds: int, on_progress: ProgressCallback
) -> Iterator[_Bench]:
    """Yield the measurements in a scratch store; stages print no progress."""
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        scratch = Store(Path(folder) / "root")
        show_progress_lines(False)
        try:
            yield _Bench(scratch, config, write_strips(scratch, clips), count, rounds, on_progress)
        finally:
            show_progress_lines(True)


@dataclass(frozen=True)
class _Bench:
    scratch: Store
    config: Config
    clips: BenchClips
    count: int
    rounds: int
    on_progress: ProgressCallback

    def embedding(self) -> ScoringCost:
        """Measure the frozen network."""
        encoder, frames = load_encoder(self.config.embedding), self.clips.frames()
        inputs = [frames[number % len(frames)][None] for number in range(self.count)]
        alone = _in_turn(encoder, inputs, self.config.embedding.threads)
        return self._measured("embedding", self.count, alone, embed_clips)

    def network(self) -> ScoringCost:
        """Measure the configured network on frames; untrained, which takes as long."""
        size = self.config.classifier
        scorer = NetworkScorer(ResNet18(size.width).to(device_of(size)).eval(), size.width)
        publish_untrained(self.scratch, self.config, scorer)
        model = latest_classifier(self.scratch)
        assert model is not None
        loaded = load_classifier(self.scratch, model, self.config)
        name = f"network of {size.width} channels on {size.input_height} rows"
        return self._measured(name, self.count, self._forward(loaded, self.count), score_batch)

    def published(self, model: ModelRecord, loaded: LoadedClassifier) -> ScoringCost:
        """Measure what a root has published."""
        count = self.count if "frames" in loaded.needs else _ROWS
        return self._measured(f"published {model.model_id}", count, self._forward(loaded, count), score_batch)

    def _forward(self, loaded: LoadedClassifier, count: int) -> _Step:
        """Return the step that computes the scores of arrays in memory."""
        features_MF = features_of_table(self.clips.rows) if "features" in loaded.needs else None
        places = np.arange(count) % len(self.clips.rows)
        if "frames" not in loaded.needs:
            assert features_MF is not None
            inputs = [ClipInputs(features_MF[places])]
        else:
            ready = [clip_frames(one.transpose(0, 3, 1, 2), loaded.config)[None] for one in self.clips.frames()]
            none = np.empty((1, 0))
            inputs = [
                ClipInputs(none if features_MF is None else features_MF[place : place + 1], ready[place])
                for place in places.tolist()
            ]
        return _in_turn(loaded.scorer.scores, inputs, loaded.config.threads)

    def _measured(self, kind: str, count: int, alone: _Step, stage: Callable[[BatchJob], object]) -> ScoringCost:
        found = ScoringCost(kind, count, [], [])
        for number in range(self.rounds + 1):
            batch = f"{kind.split()[0]}-{number}"
            add_batch(self.scratch, self.config, batch, self.clips, count)
            home = home_of(self.scratch, Path(self.scratch.root).parent / "home")
            job = BatchJob(self.scratch, self.config, home, lambda text: None, batch)
            found.alone.append(_cpu_seconds(alone))
            found.whole.append(_cpu_seconds(partial(stage, job)))
            self.on_progress(
                f"{kind}, round {number}: alone {found.alone[-1]:.3f} CPU-s, scoring {found.whole[-1]:.3f}"
            )
        # the first round pays for the start of threads and libraries
        return ScoringCost(kind, count, found.alone[1:], found.whole[1:])


def _in_turn(compute: Callable[[_Item], object], inputs: list[_Item], threads: int) -> _Step:
    """Return the step that computes each input with one thread, as many at a time as the stage does."""

    def alone() -> None:
        with fixed_threads(1) as limit:
            for _ in map_ahead(compute, inputs, threads, ahead=2 * threads, initializer=limit):
                pass

    return alone


def _cpu_seconds(step: _Step) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start
