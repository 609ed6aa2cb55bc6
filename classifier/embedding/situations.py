"""Find the clips that look most like situations of a game: their newest frames, as the frozen network sees them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from classifier.embedding.nearest import advice, any_embedded, nearest_to
from classifier.embedding.stored import Vectors
from pipeline.clips.encode import encode_frames
from pipeline.clips.stored import decode_frames
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.storage.store import Store
from pipeline.uncovered import NearClips, Situation

TOP = 5
"""Clips that are named for each situation."""


def clips_like(store: Store, config: Config, situations: Sequence[Situation]) -> list[NearClips]:
    """Return for each situation the clips that look most like it; none, with the reason, where none can be compared."""
    if not any_embedded(store, config):
        return [NearClips([], f"no clip is embedded{advice(config)}")] * len(situations)
    try:
        vectors_ND = _embedded(config, situations)
    except (
        UserError
    ) as error:  # the network is missing, or another one is configured: the situation counts all the same
        return [NearClips([], str(error))] * len(situations)
    found = nearest_to(store, config, vectors_ND, TOP)
    return [
        NearClips([clip.clip_id for clip in clips], "" if clips else "all embedded clips are of other settings")
        for clips in found
    ]


def _embedded(config: Config, situations: Sequence[Situation]) -> Vectors:
    """Return the vectors (N, 2D) of the newest frames of each situation, through the same JPEG as those of clips."""
    from classifier.embedding.encoder import load_encoder

    encoder = load_encoder(config.embedding)
    strips = [decode_frames(encode_frames(np.stack(_frames(situation)))) for situation in situations]
    return np.concatenate([np.hstack(encoder(strip[None])) for strip in strips])


def _frames(situation: Situation) -> list[np.ndarray]:
    found = []
    for data in situation.pictures:
        with Image.open(io.BytesIO(data)) as picture:
            found.append(np.asarray(picture.convert("RGB")))
    return found
