"""Read uploaded pictures in worker processes, each picture in one of its own, within limits of memory and time.

A decoder of pictures is a large piece of C that strangers feed. What crashes it, hangs it or fills the memory ends a
process that held nothing else, and the person who sent the picture gets a sentence.
"""

from __future__ import annotations

import numpy as np

from models.play.starts.decode import BadPictureError, Upload, frame_of_upload
from models.play.starts.picture_kinds import why_no_picture
from pipeline.config.engine import EngineConfig
from pipeline.workers.engine import make_engine
from pipeline.workers.outcome import OUT_OF_MEMORY, TIMEOUT, WORKER_DIED

MAX_BYTES = 16 << 20
"""Largest upload in bytes."""
MEMORY_MB = 1536
"""A picture of 64 million pixels takes 0.3 to 0.5 GB, a WebP with transparency 1.0 (measured)."""
DEADLINE_S = 20.0
_ADVICE = "send a smaller copy, or save it anew as PNG"
_ENDED = {
    OUT_OF_MEMORY: f"the picture takes more than {MEMORY_MB} MB of memory to read: {_ADVICE}",
    TIMEOUT: f"the picture takes longer than {DEADLINE_S:g} seconds to read: {_ADVICE}",
    WORKER_DIED: f"the picture breaks the program that reads it: {_ADVICE}",
}


def read_upload(upload: Upload) -> np.ndarray:
    """Return the frame (H, W, 3), uint8, of an upload, decoded in a process of its own; nothing is written to disk.

    Raises:
        BadPictureError: it is no picture to start from; the message is one sentence.
    """
    if not upload.data:
        raise BadPictureError(why_no_picture(b""))
    if len(upload.data) > MAX_BYTES:
        raise BadPictureError(too_many_bytes(len(upload.data)))
    limits = EngineConfig(max_attempts=1, memory_mb=MEMORY_MB)
    engine = make_engine(limits, workers=1, deadline_s=DEADLINE_S)
    ((_, outcome),) = engine.run(frame_of_upload, [upload])
    if not outcome.ok:
        known = outcome.message if outcome.error_class == BadPictureError.error_class else None
        raise BadPictureError(known or _ENDED.get(outcome.error_class, f"the picture cannot be read: {_ADVICE}"))
    assert isinstance(outcome.value, np.ndarray)
    return outcome.value


def too_many_bytes(count: int) -> str:
    """Return the sentence for an upload that is too large."""
    return f"the picture has {count / (1 << 20):.1f} MB, the limit is {MAX_BYTES >> 20} MB: send a smaller copy"
