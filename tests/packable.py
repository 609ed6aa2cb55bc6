"""A store with a world that can be packed: random networks of 9x14 pixels, made-up figures, two start frames."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from models.evaluation.pictures import png_of
from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.registry import folder_of, publish_model
from pipeline.config import Config, PlayConfig, TrainingConfig
from pipeline.config.world import DynamicsConfig, LatentActionConfig, StackConfig, TokenizerConfig
from pipeline.ids import clip_id_of
from pipeline.model_ids import EVALUATION, TOKENIZER, WORLD
from pipeline.storage.models_table import ModelRecord, append_model
from pipeline.storage.store import Store
from tests.media import video_bytes
from tests.networks import randomize
from tests.shards import SPEC, add_shards

HEIGHT, WIDTH = 9, 14
STACK = StackConfig(layers=1, d_model=16, heads=2, head_dim=8)
CONFIG = Config(
    play=PlayConfig(maskgit_steps=2, token_temperature=1.0, seed=5, fps=8.0),
    training=TrainingConfig(device="cpu", dtype="fp32", threads=1),
)
WITH_CLIPS = replace(CONFIG, play=replace(CONFIG.play, pack_clips=True))
TRAINED, SHOWN, OTHER = "youtube-trainedAAAA", "youtube-shownBBBBBB", "youtube-otherCCCCCC"
CHANNEL = "The Channel of Shown"
METRICS = {
    "delta_t_psnr_permuted": {"value": 1.5, "low": 1.0, "high": 2.0, "num_sources": 2},
    "gates": {"delta_t_psnr_permuted": {"passed": True, "value": 1.5, "threshold": 0.5}},
    "latent_actions": [
        {"code": 0, "label": "stands", "symbol": "·", "right": 0.0, "down": 0.0},
        {"code": 1, "label": "view moves right", "symbol": "→", "right": 4.0, "down": 0.0},
    ],
}


def packable_store(root: Path) -> Store:
    """Return a store whose world `world` can be packed."""
    store = Store(root)
    frames = np.random.default_rng(0).integers(0, 255, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    clips = {video: clip_id_of(video, 0, SPEC) for video in (TRAINED, SHOWN, OTHER)}
    store.append("videos", [_video(video) for video in clips])
    film = video_bytes(np.random.default_rng(1).integers(0, 255, (4, 16, 32, 3), dtype=np.uint8), fps=10)
    add_shards(store, {"train": {clips[TRAINED]: film}, "val": {clips[SHOWN]: film, clips[OTHER]: film}})
    card = {
        "splits": {"train": {"clips": 1, "hours": 0.5, "videos": 1}},
        "licences": [{"name": "CC BY 4.0", "clips": 3}],
        "channels": [{"name": CHANNEL, "clips": 1}],
    }
    store.write_blob("shards/v1/card.json", json.dumps(card).encode())
    _publish_networks(store)
    folder, starts = folder_of(EVALUATION, "evaluation"), []
    for index, video in enumerate((SHOWN, OTHER)):
        store.write_blob(f"{folder}/start-{index:02d}.png", png_of(frames[index]))
        starts.append({"file": f"start-{index:02d}.png", "clip_id": clips[video], "video_id": video, "frame": 1})
    store.write_blob(f"{folder}/pictures.json", json.dumps({"start_frames": starts}).encode())
    evaluation = ModelRecord(
        model_id="evaluation", kind=EVALUATION, path=folder, config={}, metrics=METRICS,
        inputs={"world_model": "world"}, shards_version="v1",
    )  # fmt: skip
    append_model(store, evaluation)
    return store


def _video(video_id: str) -> dict[str, object]:
    return {
        "video_id": video_id, "native_id": video_id.removeprefix("youtube-"), "source": "youtube",
        "licence": "CC BY 4.0", "extractor": "youtube",
        "title": f"How {video_id} was played", "channel": CHANNEL if video_id == SHOWN else "x",
        "channel_id": f"UC{video_id}", "url": f"https://example.org/{video_id}?token=secret",
    }  # fmt: skip


def _publish_networks(store: Store) -> None:
    torch.manual_seed(0)
    tokenizer_config = TokenizerConfig(patch=5, codebook_size=20, latent_dim=4, encoder=STACK, decoder=STACK, window=3)
    lam_config = LatentActionConfig(patch=5, num_actions=3, latent_dim=4, encoder=STACK, decoder=STACK)
    dynamics_config = DynamicsConfig(stack=STACK, context=3)
    tokenizer = VideoTokenizer(tokenizer_config, HEIGHT, WIDTH)
    lam = LatentActionModel(lam_config, HEIGHT, WIDTH, 3, num_codes=20, grid=tokenizer.grid)
    dynamics = Dynamics(dynamics_config, num_codes=20, grid=tokenizer.grid, action_dim=4)
    for network in (tokenizer, lam, dynamics):
        randomize(network, std=0.5, also=("embed",))

    def record(kind: str, model_id: str, **values: object) -> ModelRecord:
        path = folder_of(kind, model_id)
        return ModelRecord(model_id=model_id, kind=kind, path=path, metrics={}, steps=1, shards_version="v1", **values)

    about = {"tokenizer": asdict(tokenizer_config), "height": HEIGHT, "width": WIDTH}
    publish_model(store, record(TOKENIZER, "tok", config=about, inputs={}), {"tokenizer": tokenizer}, curve=[])
    settings = {"latent_actions": asdict(lam_config), "dynamics": asdict(dynamics_config)}
    row = record(WORLD, "world", config=settings, inputs={"tokenizer": "tok"})
    publish_model(store, row, {"latent_actions": lam, "dynamics": dynamics}, curve=[])
