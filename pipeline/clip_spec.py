"""Name a clip format: a hash of everything that changes a clip's pixels or span."""

from __future__ import annotations

from pipeline.config import ClipConfig, fingerprint

_CODE_VERSION = 2  # raise it when a change in pipeline/clips changes pixels, bytes or spans

MEASUREMENTS_VERSION = 4
"""Raise it when a change in pipeline/clips changes or adds measurements: videos whose file is kept are cut again, to
the same clips under the same ids. 1 is that of rows which name none."""


def clip_spec(config: ClipConfig) -> str:
    """Return 8 hex digits: equal settings give equal clips, byte for byte."""
    fixed = {"filter": "area", "pick": "last frame not later", "window": "consecutive", "codec": "libx264 veryfast"}
    chosen = {
        name: getattr(config, name) for name in ("fps", "width", "height", "aspect", "crop_bars", "hdr", "crf", "gop")
    }
    # numbers of frames, since 16 and 16.0 seconds are the same clips
    chosen |= {"mode": config.mode, "frames": config.frames_range}
    if config.start_after_cut:  # else the detector changes measurements alone
        chosen |= {"start_after_cut": config.cut_detector}
    return fingerprint(_CODE_VERSION, fixed, chosen, length=8)
