"""Work on an upload in a worker process, for tests of the process itself."""

from __future__ import annotations

import sys
import time

import numpy as np

from models.play.starts.decode import Upload, frame_of_upload


def sleep_long(upload: Upload) -> None:
    """Take longer than any picture may."""
    time.sleep(60)


def frame_in_small_process(upload: Upload) -> np.ndarray:
    """Return the frame of an upload; an error where the process has loaded torch, which takes 200 MB and a second."""
    frame_HWC = frame_of_upload(upload)
    assert "torch" not in sys.modules
    return frame_HWC
