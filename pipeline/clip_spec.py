"""The hash of everything that changes a clip's pixels or span."""

from __future__ import annotations

from pipeline.config import ClipConfig, fingerprint

_CODE_VERSION = 1  # raise it when the code below changes pixels or spans


def clip_spec(config: ClipConfig) -> str:
    """Return the 8 hex digits that name everything which changes a clip's pixels, bytes or span."""
    fixed = {"filter": "area", "pick": "last frame not later", "window": "consecutive", "codec": "libx264 veryfast"}
    chosen = {name: getattr(config, name) for name in ("seconds", "fps", "width", "height", "aspect", "crf", "gop")}
    return fingerprint(_CODE_VERSION, fixed, chosen, length=8)
