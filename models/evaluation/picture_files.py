"""The picture files that an evaluation publishes beside its metrics.

contact-sheet.png    true and reconstructed frames
rollouts.png, .gif   one rollout per latent action, all from the same start frame
start-00.png ...     start frames of the play page
pictures.json        the clips that each picture shows, what each latent action does, and the next-frame PSNR by clip
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from models.evaluation import pictures
from models.evaluation.held_out import HeldOutClip
from models.evaluation.measure import WorldMeasurement
from models.evaluation.rollouts import decode, encode
from models.evaluation.world_interface import World
from pipeline.config import EvaluationConfig

_SHEET_CLIPS = 3


def picture_files(
    world: World, clips: Sequence[HeldOutClip], measurement: WorldMeasurement, config: EvaluationConfig
) -> dict[str, bytes]:
    """Return the bytes of each file by its name."""
    length = config.prompt_frames + config.horizon
    names, held = measurement.action_names, measurement.held_ATHWC
    shown = _one_per_source(clips, _SHEET_CLIPS)
    truth = np.stack([clip.frames_THWC[:length] for clip in shown])
    files = {
        "contact-sheet.png": pictures.contact_sheet(truth, decode(world, encode(world, truth))),
        "rollouts.png": pictures.rollout_sheet(held, names),
        "rollouts.gif": pictures.rollout_gif(held, names),
    }
    starts = []
    for index, clip in enumerate(_one_per_source(clips, config.start_frames)):
        frame, file = len(clip.frames_THWC) // 2, f"start-{index:02d}.png"
        files[file] = pictures.png_of(clip.frames_THWC[frame])
        starts.append({"file": file, "clip_id": clip.clip_id, "video_id": clip.video_id, "frame": frame})
    about = {
        "contact_sheet": {"file": "contact-sheet.png", "clips": [clip.clip_id for clip in shown]},
        "rollouts": {
            "files": ["rollouts.png", "rollouts.gif"],
            "clips": [clips[0].clip_id],
            "frame": len(clips[0].frames_THWC) // 2,
        },
        "start_frames": starts,
        "latent_actions": [asdict(name) for name in names],
        "clip_psnr": [{"clip_id": clip_id, "psnr_t1": psnr} for clip_id, psnr in measurement.clip_psnr.items()],
    }
    files["pictures.json"] = json.dumps(about, indent=1, sort_keys=True).encode()
    return files


def _one_per_source(clips: Sequence[HeldOutClip], count: int) -> list[HeldOutClip]:
    first = {clip.video_id: clip for clip in reversed(clips)}
    return [clip for clip in clips if first[clip.video_id] is clip][:count]
