"""Tell a weak dynamics from an empty latent action model: the same dynamics led by the true actions.

If the oracle's rollouts do not follow the actions, the dynamics is too weak for this world or has seen too few steps.
If they do and those of the world with inferred actions do not, the latent actions carry nothing.
"""

import dataclasses
import io
import json
import tarfile

import numpy as np
import pytest

from models.evaluation.control import measure_control
from models.evaluation.evaluate import evaluate
from models.evaluation.held_out import held_out_clips
from models.evaluation.windows import cut_windows
from models.training.train import train_oracle, train_tokenizer, train_world_model
from pipeline.arcade.platformer import platformer_actions, record_platformer
from pipeline.arcade.truth import Truth, write_truth
from pipeline.clips.encode import encode_clip
from pipeline.config import ClipConfig, preset
from pipeline.ids import clip_id_of, split_clip_id
from pipeline.job import Job
from pipeline.storage.home import home_of
from pipeline.storage.store import Store

# three trainings of the demo: about ten CPU-minutes
pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]
TRAIN, VAL, NUM_FRAMES = range(28), range(28, 40), 160


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with recordings of the platformer in shards, and the demo's world trained on them."""
    store, config = Store(tmp_path_factory.mktemp("root")), preset("demo")
    rows, videos = [], []
    for split, seeds in (("train", TRAIN), ("val", VAL)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for seed in seeds:
                video_id, native_id = f"lampworksarcade-a{seed}", f"a{seed}"
                frames = np.stack(list(record_platformer(seed, 2 * NUM_FRAMES, fps=10)))
                for start in (0, NUM_FRAMES):
                    data = encode_clip(frames[start : start + NUM_FRAMES], ClipConfig()).mp4
                    for ending, content in (("json", b"{}"), ("mp4", data)):
                        member = tarfile.TarInfo(f"{clip_id_of(video_id, start * 100, '0a1b2c3d')}.{ending}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))
                actions = platformer_actions(seed, 2 * NUM_FRAMES)
                truth = Truth(native_id, "platformer", 32.0, ((0.0, 32.0, 5),), actions, "")
                write_truth(home_of(store).arcade, truth)
                videos.append({"video_id": video_id, "native_id": native_id, "source": "arcade"})
        path = f"shards/v1/{split}/clips-000000.tar"
        store.write_blob(path, buffer.getvalue())
        rows.append({"version": "v1", "split": split, "path": path, "samples": 2 * len(seeds)})
    store.append("videos", videos)
    store.append("shards", rows)
    store.write_blob("shards/v1/manifest.json", json.dumps({"shards": rows}).encode())
    train_tokenizer(store, config)
    train_world_model(store, config)
    return store, config


def _true_actions(clip_id):
    video_id, start_ms, _ = split_clip_id(clip_id)
    start = start_ms // 100
    return platformer_actions(int(video_id.rpartition("a")[2]), 2 * NUM_FRAMES)[start:][: NUM_FRAMES - 1]


def test_the_dynamics_follows_true_actions(trained):
    store, config = trained
    world, _ = train_oracle(store, config, _true_actions)
    clips = held_out_clips(store, config, home_of(store))
    assert len(clips) == len(VAL)
    settings = dataclasses.replace(config.evaluation, random_draws=2)
    windows = cut_windows(clips, settings)
    figures = measure_control(world, windows, [clip.actions for clip in clips], settings)
    control = figures["delta_t_psnr_permuted"]
    assert control["low"] > 1, f"the dynamics is too weak: {control}"
    assert figures["psnr_t1_above_copy"]["value"] > 1


def test_the_world_follows_the_actions_that_it_inferred(trained):
    store, config = trained
    report = evaluate(Job(store, config, home_of(store)))
    failed = [name for name, gate in report.gates.items() if not gate["passed"]]
    assert failed == [], "\n".join(report.lines())
