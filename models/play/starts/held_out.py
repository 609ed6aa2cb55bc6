"""Start frames from the world's evaluation, or from held-out clips."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from models.evaluation.held_out import held_out_clips
from models.evaluation.pictures import frame_of
from pipeline.config import Config
from pipeline.model_choice import models_in_use
from pipeline.storage.models_table import ModelRecord, read_model_file
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down


@dataclass(frozen=True, eq=False)
class StartFrame:
    """A frame of a held-out clip that a game can start from."""

    frame_HWC: np.ndarray
    clip_id: str
    index: int | None = None
    """Which frame of the clip it is, counted from 0; None where that is unknown."""


def start_frames(store: Store, config: Config, world: str | None = None) -> list[StartFrame]:
    """Return the start frames of a world's evaluation, or middle frames of held-out clips where it has none left.

    Args:
        store: holds evaluations and shards.
        config: how many frames, and the configured world.
        world: id of the world; None takes the configured one.

    Frames of videos that were taken down since are left out.
    """
    evaluation = models_in_use(store, config, world).evaluation
    if evaluation is not None and (found := _of_evaluation(store, evaluation)):
        return found
    clips = held_out_clips(store, config, None)[: config.evaluation.start_frames]
    middles = [len(clip.frames_THWC) // 2 for clip in clips]
    return [StartFrame(clip.frames_THWC[at], clip.clip_id, at) for clip, at in zip(clips, middles, strict=True)]


def _of_evaluation(store: Store, evaluation: ModelRecord) -> list[StartFrame]:
    about = json.loads(read_model_file(store, evaluation, "pictures.json"))
    shown = {start["video_id"] for start in about["start_frames"]}
    gone = taken_down(store).hidden_among(store, shown)
    return [
        StartFrame(frame_of(read_model_file(store, evaluation, start["file"])), start["clip_id"], start.get("frame"))
        for start in about["start_frames"]
        if start["video_id"] not in gone
    ]
