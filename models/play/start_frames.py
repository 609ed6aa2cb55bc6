"""Start frames of the play page, from the newest evaluation or from held-out clips."""

from __future__ import annotations

import json

from models.evaluation.evaluate import KIND
from models.evaluation.held_out import held_out_clips
from models.evaluation.pictures import frame_of
from models.play.games import StartFrame
from pipeline.config import Config
from pipeline.storage.models_table import newest_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down


def start_frames(store: Store, config: Config) -> list[StartFrame]:
    """Return the start frames of the newest evaluation, or middle frames of held-out clips where there is none yet.

    Frames of videos that were taken down since are left out.
    """
    evaluation = newest_model(store, KIND)
    if evaluation is None:
        clips = held_out_clips(store, config, None)[: config.evaluation.start_frames]
        return [StartFrame(clip.frames_THWC[len(clip.frames_THWC) // 2], clip.clip_id) for clip in clips]
    gone = taken_down(store).hidden_videos(store)
    about = json.loads(store.read_blob(f"{evaluation.path}/pictures.json"))
    return [
        StartFrame(frame_of(store.read_blob(f"{evaluation.path}/{start['file']}")), start["clip_id"])
        for start in about["start_frames"]
        if start["video_id"] not in gone
    ]
