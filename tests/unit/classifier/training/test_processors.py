"""What the classifier computes alike on every processor, and how far the rest may move (docs/data.md)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classifier.embedding.encoder import load_encoder
from classifier.pool import load_pool
from classifier.training.candidates.network import NetworkScorer
from classifier.training.examples import load_examples
from classifier.training.fitting import logits_of
from classifier.training.folds import source_folds
from classifier.training.published import latest_classifier, load_scorer, trained_config
from classifier.training.resnet import ResNet18
from pipeline.config import Config, EmbeddingConfig, SplitConfig
from pipeline.label_events import load_labels
from pipeline.storage.store import Store

EMBEDDING = EmbeddingConfig(width=80, height=45, frames=4, device="cpu")
OLDER_PROCESSOR = {"MKL_CBWR": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""Makes a processor with AVX-512 compute as one with AVX2 alone does."""


def computed(root: str) -> dict[str, Any]:
    """Return hashes of what must be equal everywhere, and logits, which may differ by rounding."""
    store = Store(root)
    model = latest_classifier(store)
    assert model is not None
    config = Config(split=SplitConfig(val_share=0.3), classifier=trained_config(model))
    examples = load_examples(
        load_pool(store, config), load_labels(store, config).ratings, config.classifier, frozenset({"frames"})
    )
    torch.manual_seed(config.classifier.seed)
    initial = ResNet18(config.classifier.width).state_dict()
    folds = source_folds(examples, config.classifier)
    assert examples.frames is not None
    frames_NKCHW = examples.frames.all_MKCHW
    scorer = load_scorer(store, model, config.classifier)
    assert isinstance(scorer, NetworkScorer)
    return {
        "network input": hashlib.sha256(frames_NKCHW.numpy().tobytes()).hexdigest(),
        "initial weights": hashlib.sha256(b"".join(value.numpy().tobytes() for value in initial.values())).hexdigest(),
        "folds": [[fold.learn.tolist(), fold.score.tolist()] for fold in folds],
        "logits": logits_of(scorer.network, frames_NKCHW).tolist(),
        "embedding": [part.tolist() for part in load_encoder(EMBEDDING)(_pictures())],
    }


def _pictures() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 255, (2, 8, 45, 80, 3), dtype=np.uint8)


@pytest.mark.heavy
def test_only_rounding_of_logits_and_embeddings_depends_on_the_processor(trained):
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_processors import computed\n"
        "print(json.dumps(computed(sys.argv[2])))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), trained.store.root],
        env={**os.environ, **OLDER_PROCESSOR, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[4],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    here, there = computed(trained.store.root), json.loads(answer.stdout)
    assert np.asarray(there.pop("embedding")) == pytest.approx(np.asarray(here.pop("embedding")), abs=1e-3)
    assert np.asarray(there.pop("logits")) == pytest.approx(np.asarray(here.pop("logits")), rel=1e-4, abs=1e-4)
    assert there == here
