"""What an exported page knows of its world besides the networks: starts, keys, metrics, licences, and a check value.

Shapes: B worlds, T frames, P tokens of a frame, H W C pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from models.play.key_hints import KeyHint, WorldHints, hints_of
from models.play.starts.held_out import StartFrame, start_frames
from models.world.world import WorldModel
from pipeline.config import Config
from pipeline.config.evaluation import PlayConfig, SamplingConfig
from pipeline.errors import UserError
from pipeline.ids import split_clip_id
from pipeline.model_choice import models_in_use
from pipeline.storage.arrow import pc
from pipeline.storage.models_table import all_models
from pipeline.storage.store import Store

_METRICS = {
    "psnr": ("PSNR of the tokenizer", "dB"),
    "psnr_t1_above_copy": ("next frame better than copying the last one by", "dB"),
    "delta_t_psnr_permuted": ("delta-t PSNR, permuted actions", "dB"),
    "latent_action_mutual_information": ("mutual information of latent and true actions", "nat"),
    "character_kept_t8": ("character kept at t = 8", ""),
    "character_kept_t30": ("character kept at t = 30", ""),
}
"""Metrics that the page shows where the evaluation has them: words and unit."""


@dataclass(frozen=True)
class Start:
    """A start frame, as tokens; the page decodes it."""

    clip_id: str
    licence: str
    tokens: list[int]


@dataclass(frozen=True)
class Contents:
    """What the page is told in words and numbers."""

    title: str
    note: str
    trained_on: str
    licence: str
    metrics: list[tuple[str, str]]
    """Words and value with its interval."""
    about: dict[str, Any]
    """What the page's scripts read, plain JSON."""


def contents_of(store: Store, config: Config, world: WorldModel, num_starts: int) -> Contents:
    """Return what a page is told of a world.

    Args:
        store: holds the world's evaluation and start frames; frames of videos that were taken down are left out.
        config: how the world is played.
        world: the world.
        num_starts: most start frames.

    Raises:
        UserError: there is no start frame.
    """
    frames = start_frames(store, config, world.model_id)[:num_starts]
    if not frames:
        raise UserError("there is no start frame to play from: evaluate the world model first (`lampworks evaluate`).")
    starts = _starts(store, world, frames)
    hints = hints_of(store, config, world.model_id)
    evaluation = models_in_use(store, config, world.model_id).evaluation
    row = next(row for row in all_models(store) if row.model_id == world.model_id)
    return Contents(
        title=f"world {world.model_id}",
        note=hints.note,
        trained_on=(
            f"Trained for {row.steps or 0:,} steps on the training set {row.shards_version or 'unknown'} "
            f"({row.inputs.get('clips', 'an unknown number of')} clips), {row.parameters or 0:,} parameters, by pixels "
            "alone."
        ),
        licence=_licences(starts),
        metrics=_metrics(evaluation.metrics if evaluation else {}),
        about=about_of(world, config.play, starts, hints),
    )


def about_of(world: WorldModel, play: PlayConfig, starts: Sequence[Start], hints: WorldHints) -> dict[str, Any]:
    """Return what the page's scripts read."""
    keys = [hints.keys.get(code, KeyHint()) for code in range(world.num_actions)]
    sampling = {name: getattr(play, name) for name in SamplingConfig.__dataclass_fields__}
    return {
        "world": world.model_id,
        "width": world.tokenizer.width,
        "height": world.tokenizer.height,
        "grid": list(world.dynamics.grid),
        "num_codes": world.dynamics.mask_id,
        "num_actions": world.num_actions,
        "context": world.context,
        "window": world.decoder_window,
        "head_dim": world.dynamics.config.stack.head_dim,
        "decoder_head_dim": world.tokenizer.config.decoder.head_dim,
        "sampling": sampling,
        "seed": play.seed,
        "fps": play.fps,
        "actions": [
            {"code": code, "label": key.label, "symbol": key.symbol, "meant": key.meant, "twin_of": key.twin_of}
            for code, key in enumerate(keys)
        ],
        "chords": hints.chords,
        "starts": [asdict(start) for start in starts],
        "probe": _probe(world, starts[0]),
    }


@torch.inference_mode()
def _probe(world: WorldModel, start: Start) -> dict[str, Any]:
    """Return the likeliest tokens after the first start: a browser that computes others is not to be trusted."""
    tokens_BTP = torch.tensor([[start.tokens, [world.dynamics.mask_id] * len(start.tokens)]])
    rows = world.rows_of(torch.zeros(1, 1, dtype=torch.int64))
    logits = world.dynamics(tokens_BTP.to(world.compute.device), rows)[0, -1]
    return {"action": 0, "tokens": logits.argmax(-1).tolist()}


def _starts(store: Store, world: WorldModel, frames: Sequence[StartFrame]) -> list[Start]:
    videos = [split_clip_id(frame.clip_id)[0] for frame in frames]
    rows = store.read("videos", ["video_id", "licence"], pc.field("video_id").isin(videos)).to_pylist()
    licences = {row["video_id"]: row["licence"] for row in rows}
    return [
        # each is encoded alone, as the server does
        Start(
            frame.clip_id,
            licences.get(video) or "licence unknown",
            world.encode(torch.from_numpy(frame.frame_HWC.copy())[None, None])[0, 0].tolist(),
        )
        for frame, video in zip(frames, videos, strict=True)
    ]


def _licences(starts: Sequence[Start]) -> str:
    names = sorted({start.licence for start in starts})
    return (
        f"The {len(starts)} start frames are pictures of held-out videos ({', '.join(names)}), kept as tokens. The "
        "licences of the videos behind a world may bind who passes it on."
    )


def _metrics(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    shown = []
    for name, (words, unit) in _METRICS.items():
        metric = metrics.get(name)
        if isinstance(metric, dict) and metric.get("value") is not None:
            low, high = metric.get("low"), metric.get("high")
            interval = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
            shown.append((words, f"{metric['value']:.2f}{interval} {unit}".rstrip()))
    return shown
