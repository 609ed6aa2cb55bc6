"""Choose the colours that a sketch is drawn in: those that the world's tokenizer draws itself.

The colours come from reconstructions of held-out frames, so each of them is one that the tokenizer can draw. Common
colours alone would be shades of sky and ground: the colour of a small thing counts as well, where it is far from
those that are chosen already. Whole areas of a small thing's colour are another matter: the tokenizer may never have
seen one. So the colours come first that an area comes back in, and then those of details.

Shapes: N frames, H W C pixels, K colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

RoundTrip = Callable[[np.ndarray], np.ndarray]
"""Frames (N, H, W, 3), uint8, through the tokenizer and back."""
Colour = tuple[int, int, int]

MAX_COLOURS = 16
_BITS = 4  # colours are counted in cells of 16 levels a channel, so that noise of the codec does not split them
_MIN_SHARE = 2e-4  # of all pixels: a thing of 4 pixels in a frame of 160x90, or the blur of an edge
_MIN_DISTANCE = 24.0  # two colours nearer than this look alike
_SIZE_EXPONENT = 0.25  # how much frequency counts beside distance


def palette_of(frames_NHWC: np.ndarray, round_trip: RoundTrip) -> list[Colour]:
    """Return at most 16 colours that a world draws: those of areas, then those of details, frequent ones first.

    Args:
        frames_NHWC: held-out frames, uint8.
        round_trip: the world's tokenizer.
    """
    colours = frequent_colours(round_trip(frames_NHWC))
    flat_KHWC = np.empty((len(colours), *frames_NHWC.shape[1:]), np.uint8)
    flat_KHWC[:] = np.array(colours, np.uint8)[:, None, None]
    drawn = round_trip(flat_KHWC).mean((1, 2))
    is_area = np.linalg.norm(drawn - np.array(colours), axis=1) < _MIN_DISTANCE
    return [
        *(c for c, area in zip(colours, is_area, strict=True) if area),
        *(c for c, area in zip(colours, is_area, strict=True) if not area),
    ]


def frequent_colours(frames_NHWC: np.ndarray) -> list[Colour]:
    """Return at most 16 colours of frames, uint8, the most frequent first.

    Each is the mean of pixels that lie in one cell of the colour space, so it is a colour of the frames. The first is
    the most frequent one; each next one is frequent, and far from those before it.
    """
    pixels = frames_NHWC.reshape(-1, 3)
    cells = (pixels >> (8 - _BITS)).astype(np.int64)
    cell = (cells[:, 0] << 2 * _BITS) | (cells[:, 1] << _BITS) | cells[:, 2]
    counts = np.bincount(cell, minlength=1 << 3 * _BITS)
    used = np.flatnonzero(counts >= max(1.0, _MIN_SHARE * len(pixels)))
    if not len(used):  # no cell is common, as in noise
        used = np.array([counts.argmax()])
    means = np.stack([np.bincount(cell, pixels[:, c], len(counts))[used] / counts[used] for c in range(3)], 1)
    chosen = _spread(means, counts[used].astype(np.float64))
    # every pixel belongs to the nearest colour, which says how frequent that is
    distance = np.linalg.norm(means[:, None] - means[chosen][None], axis=2)
    shares = np.bincount(distance.argmin(1), counts[used], len(chosen))
    order = sorted(range(len(chosen)), key=lambda place: (-shares[place], place))
    return [_colour(means[chosen[place]]) for place in order]


def _spread(means_K3: np.ndarray, counts_K: np.ndarray) -> list[int]:
    weight = counts_K**_SIZE_EXPONENT
    chosen = [int(counts_K.argmax())]
    nearest = np.linalg.norm(means_K3 - means_K3[chosen[0]], axis=1)
    while len(chosen) < MAX_COLOURS:
        worth = np.where(nearest >= _MIN_DISTANCE, nearest * weight, 0.0)
        best = int(worth.argmax())
        if worth[best] == 0:
            break
        chosen.append(best)
        nearest = np.minimum(nearest, np.linalg.norm(means_K3 - means_K3[best], axis=1))
    return chosen


def _colour(mean_3: np.ndarray) -> Colour:
    red, green, blue = np.round(mean_3).astype(int).tolist()
    return red, green, blue


def hex_colours(palette: Sequence[Colour]) -> list[str]:
    """Return colours as `#rrggbb`."""
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in palette]
