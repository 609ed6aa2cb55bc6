"""Measure a clip while its frames are in memory: the shares and counts behind its flags, and baseline features.

The measurements become columns of `clips`; `pipeline.clips.flags` puts thresholds on them. They are made from the
planes that the encoder gets anyway (luma and half-size chroma, 8 bits), mostly in 8-bit arithmetic, so they cost a
small part of the decode. Every number comes out the same on each x86-64 processor: see docs/data.md.

Shapes: T frames, H rows, W columns. luma (T, H, W), chroma (T, 2, H/2, W/2), both uint8 in video range (16..235).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from pipeline.clips.coarse import coarse_pictures
from pipeline.clips.cuts import CutDetector, cut_ms, cut_peak, cuts_of, longest_shot_share
from pipeline.clips.hashes import look_of
from pipeline.clips.motion import frame_histograms, longest_run, scroll_of
from pipeline.clips.overlay import overlay_of
from pipeline.clips.play import PLAY_NAMES, play_of
from pipeline.clips.samples import Floats, Planes, sample_indices
from pipeline.clips.texture import blockiness, sharpness_and_edges, standing_texture, text_density
from pipeline.config.clips import ClipConfig

_CHANGED = 6  # levels by which a pixel must differ to have changed: above what re-encoding a still picture leaves
_STILL_SHARE = 0.001  # changed pixels (14 of 160x90) up to which a frame equals its predecessor
_LIT_SHARE = 0.005  # pixels of three times `black_luma` that a black frame may show (a cursor, noise)
_DARK = 40  # video-range luma of a border
_BLOCK = 5  # pixels a side of the overlay map's blocks

FEATURE_NAMES: tuple[str, ...] = (
    "luma_mean", "luma_std", "saturation", "sharpness", "edge_density", "edge_density_std", "luma_entropy",
    "diff_mean", "diff_p95", "changed_mean", "changed_p95", "still_share", "longest_still", "num_cuts", "cut_peak",
    "black_share", "letterbox_share", "overlay_share", "static_share", "corner_motion_max", "corner_motion_min",
    "centre_motion", "corner_variance", "scroll_share", "scroll_strength", "scroll_speed", "vertical_share",
    "palette_drift", "bytes_per_frame", "panel_share", "text_density", "blockiness", *PLAY_NAMES,
    "standing_texture",
)  # fmt: skip
"""What each number of `clips.features` is, in order. New ones go to the end."""
LEARNED_NAMES: tuple[str, ...] = (
    "black_share", "still_share", "letterbox_share", "num_cuts", "overlay_share", "panel_share", "text_density",
    *PLAY_NAMES, "standing_texture",
)  # fmt: skip
"""Those that travel to other games: what is wrong with the footage, and play. The others tell how a game looks, and
with few games rated, a classifier that sees them learns the games: see docs/clips.md."""


@dataclass(frozen=True)
class Measurements:
    """The measurements of one clip."""

    black_share: float
    """Share of frames that are darker than `black_luma` and have almost no brighter pixel."""
    still_share: float
    """Share of frames that equal their predecessor."""
    letterbox_share: float
    """Share of the picture that is a dark border, constant in time and place."""
    num_cuts: int
    """Scene cuts."""
    cut_ms: list[int]
    """Times of the first frame of each new shot, in ms from the clip's start."""
    longest_shot_share: float
    """Share of the frames that the longest shot has."""
    overlay_share: float
    """Share of the picture that lies over the game: it keeps its place while the rest scrolls."""
    panel_share: float
    """Share of the picture in windows with straight borders over the game: face cameras, chat, panels."""
    text_density: float
    """Share of the picture that is as dense as text and stays where it is."""
    sharpness: float
    """Variance of the Laplacian of luma, in levels squared."""
    blockiness: float
    """By how much the differences at the lines of a grid of blocks exceed those beside them, as a share."""
    scroll_share: float
    """Share of the steps in which the picture scrolls sideways."""
    scroll_speed: float
    """Mean sideways scroll, in pixels of the clip a second."""
    motion: float
    """Mean share of pixels that change from frame to frame."""
    features: list[float]
    """The numbers that FEATURE_NAMES names; all finite."""
    hashes: bytes
    """Eight 64-bit difference hashes of the picture inside its dark bars, then those of the mirrored frames."""
    signature: bytes
    """Coarse pictures over time, by which copies are verified (`pipeline.copies.signature`)."""


def measure(
    luma: Planes, chroma: Planes, num_bytes: int, config: ClipConfig, detect: CutDetector | None = None
) -> Measurements:
    """Measure one clip.

    Args:
        luma: (T, H, W) uint8.
        chroma: (T, 2, H/2, W/2) uint8.
        num_bytes: size of the encoded clip.
        config: holds `black_luma` and `fps`.
        detect: finds the scene cuts; the adaptive detector where there is none.
    """
    samples = luma[sample_indices(len(luma))]
    diff = np.maximum(luma[1:], luma[:-1]) - np.minimum(luma[1:], luma[:-1])
    changed = diff > _CHANGED
    pixels = luma[0].size
    changed_share = np.array([np.count_nonzero(step) for step in changed]) / pixels
    activity = changed.sum(axis=0, dtype=np.uint16) / len(changed)
    still = changed_share <= _STILL_SHARE
    top, bottom, left, right = dark_border(luma)
    inner = luma[:, top:bottom, left:right]
    letterbox = 1 - inner[0].size / pixels
    shown = inner if inner.size else luma
    black_share = _black_share(shown, config.black_luma)
    overlay = overlay_of(shown)
    inside = shown[0].size / pixels
    histograms = frame_histograms(luma)
    pictures = coarse_pictures(luma, chroma)
    cuts = cuts_of(pictures, config.fps) if detect is None else detect(luma, chroma, config.fps)
    motion = float(changed_share.mean())
    diff_mean = diff.reshape(len(diff), -1).sum(axis=1, dtype=np.uint32) / pixels
    corners, centre = _corner_motion(activity)
    sharpness, edges = sharpness_and_edges(samples)
    sideways, strength, speed, upwards = scroll_of(luma)
    text, blocks = text_density(shown), blockiness(samples)
    features = [
        float(samples.mean()), float(samples.std()), _saturation(chroma), sharpness,
        float(edges.mean()), float(edges.std()), _entropy(histograms),
        float(diff_mean.mean()), float(np.percentile(diff_mean, 95)), motion, float(np.percentile(changed_share, 95)),
        float(still.mean()), longest_run(still), float(len(cuts)), cut_peak(pictures),
        black_share, letterbox, overlay.share * inside, _static_share(activity), max(corners), min(corners), centre,
        _corner_variance(samples), sideways, strength, speed, upwards,
        float(np.abs(histograms[0] - histograms[-1]).sum() / 2), num_bytes / len(luma),
        overlay.panel_share * inside, text, blocks,
        *play_of(luma, config.fps, (top, bottom, left, right) if inner.size else None),
        standing_texture(samples, activity),
    ]  # fmt: skip
    return Measurements(
        black_share=black_share,
        still_share=float(still.mean()),
        letterbox_share=letterbox,
        num_cuts=len(cuts),
        cut_ms=cut_ms(cuts, config.fps),
        longest_shot_share=longest_shot_share(cuts, len(luma)),
        overlay_share=overlay.share * inside,
        panel_share=overlay.panel_share * inside,
        text_density=text,
        sharpness=sharpness,
        blockiness=blocks,
        scroll_share=sideways,
        scroll_speed=speed * config.fps,
        motion=motion,
        features=features,
        **vars(look_of(luma, config.fps)),
    )


# -- parts -----------------------------------------------------------------------------------------------------------


def dark_border(luma: Planes) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of the picture inside a border that is always dark; all 0 for a dark clip."""
    dark = luma.max(axis=0) <= _DARK
    rows, columns = np.flatnonzero(~dark.all(axis=1)), np.flatnonzero(~dark.all(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _black_share(luma: Planes, black_luma: float) -> float:
    """Return the share of black frames; a dark frame with some bright pixels (a starry sky) is not black."""
    means = (luma.reshape(len(luma), -1).sum(axis=1, dtype=np.uint32) / luma[0].size - 16) * (255 / 219)
    lit = np.array([np.count_nonzero(frame) for frame in luma > 16 + 3 * black_luma * 219 / 255]) / luma[0].size
    return float(np.mean((means < black_luma) & (lit < _LIT_SHARE)))


def _static_share(activity: Any) -> float:
    """Return the share of blocks of 5x5 pixels that hardly change at all."""
    height, width = activity.shape[0] // _BLOCK, activity.shape[1] // _BLOCK
    cut = activity[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK)
    return float((cut.max(axis=(1, 3)) <= 0.02).mean())


def _corner_motion(activity: Any) -> tuple[list[float], float]:
    """Return the mean activity in each quarter-size corner, and in the middle (a face camera is an active corner)."""
    height, width = activity.shape[0] // 4, activity.shape[1] // 4
    corners = [
        activity[:height, :width], activity[:height, -width:], activity[-height:, :width], activity[-height:, -width:],
    ]  # fmt: skip
    return [float(corner.mean()) for corner in corners], float(activity[height:-height, width:-width].mean())


def _corner_variance(samples: Planes) -> float:
    height, width = samples.shape[1] // 4, samples.shape[2] // 4
    return float(min(samples[:, y, x].std() for y in (slice(height), slice(-height, None))
                     for x in (slice(width), slice(-width, None))))  # fmt: skip


def _saturation(chroma: Planes) -> float:
    values = chroma[sample_indices(len(chroma))].astype(np.float32) - 128
    return float(np.sqrt((values**2).sum(axis=1)).mean())


def _entropy(histograms: Floats) -> float:
    """Return the entropy of the mean histogram, in bits.

    Logarithms in decimal: numpy's and the C library's differ in the last digit from processor to processor.
    """
    shares = [Decimal(float(share)) for share in histograms.mean(axis=0, dtype=np.float64) if share > 0]
    return float(-sum(share * share.ln() for share in shares) / Decimal(2).ln())
