"""Tone-map HDR pictures (PQ, HLG) to SDR: BT.2020 or P3 to BT.709, reference white kept, highlights rolled off.

As ITU-R BT.2408 and BT.2390 say: SDR white is 203 cd/m2, the brightest light is 1000 cd/m2, and the roll-off is the
EETF of BT.2390 on the largest of R, G and B, so that hues stay. What is darker than about 90 cd/m2 comes out as it was
meant; SDR white comes out at 231 of 255, which leaves room for highlights.

All of it is table look-ups and integer products, so every processor gives the same pixels. A 160x90 picture costs a
few milliseconds, after scaling.

Shapes: pictures (H, W, 3), R'G'B' as 16 bits in (0 black, 65535 full signal), R'G'B' as 8 bits out.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from pipeline.footage.look import HLG, PQ

_WHITE, _PEAK = 203.0, 1000.0
"""Light of SDR white, and the brightest that HDR is mastered for here, in cd/m2."""
_ONE = 1 << 30
"""Integer light of 1000 cd/m2; 10000 cd/m2 fit 64 bits with any product below."""
_GAMMA = 2.4
_SHIFT = 16
_STEPS = 2048
"""Steps of the gain tables, even in PQ, so even to the eye."""
_TO_709: dict[int, tuple[tuple[float, ...], ...]] = {
    9: ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349), (-0.018151, -0.100579, 1.118730)),
    12: ((1.224940, -0.224940, 0.0), (-0.042057, 1.042057, 0.0), (-0.019638, -0.078636, 1.098274)),
}
"""From the primaries (libav's numbers: BT.2020, Display P3) to those of BT.709, in linear light."""
_LUMINANCE = (0.2627, 0.6780, 0.0593)
Light = npt.NDArray[np.int64]


def tone_map(picture: npt.NDArray[np.uint16], transfer: str, primaries: int) -> npt.NDArray[np.uint8]:
    """Return an HDR picture, R'G'B' of 16 bits (H, W, 3), as SDR of BT.709, 8 bits.

    Args:
        picture: after the YUV matrix, full range.
        transfer: PQ or HLG.
        primaries: libav's number of the colour primaries; other than BT.2020 and P3 stay as they are.
    """
    light = _light_table(transfer)[picture]
    if transfer == HLG:
        light = _scaled(light, _mixed(light, (_LUMINANCE,))[..., 0], "ootf")
    if primaries in _TO_709:
        light = np.maximum(_mixed(light, _TO_709[primaries]), 0)
    light = _scaled(light, light.max(axis=-1), "roll-off")
    return np.searchsorted(_output_steps(), light, side="right").astype(np.uint8)


def _mixed(light: Light, rows: tuple[tuple[float, ...], ...]) -> Light:
    matrix = np.rint(np.array(rows) * (1 << _SHIFT)).astype(np.int64)
    mixed = np.stack([sum(light[..., i] * row[i] for i in range(3)) for row in matrix], axis=-1)
    return np.asarray(mixed >> _SHIFT, np.int64)


def _scaled(light: Light, by: Light, kind: str) -> Light:
    """Return light times the gain that its brightness `by` (H, W) has."""
    steps, gains = _gain_table(kind)
    gain = gains[np.searchsorted(steps, by, side="right")]
    return np.asarray(light * gain[..., None] >> _SHIFT, np.int64)


@cache
def _light_table(transfer: str) -> Light:
    """Return the light of each 16-bit signal: of the display for PQ, of the scene (1000 cd/m2 the most) for HLG."""
    of_signal = _pq_light if transfer == PQ else _hlg_scene_light
    return np.array([round(of_signal(code / 65535) / _PEAK * _ONE) for code in range(65536)], np.int64)


@cache
def _gain_table(kind: str) -> tuple[Light, Light]:
    """Return the brightnesses at which the gain changes, and the gains, one more (16 fractional bits)."""
    nits = [_pq_light(step / _STEPS) for step in range(1, _STEPS + 1)]
    middle = [_pq_light((step + 0.5) / _STEPS) for step in range(_STEPS + 1)]
    gain = _roll_off_gain if kind == "roll-off" else _ootf_gain
    gains = [round(gain(light) * (1 << _SHIFT)) for light in middle]
    return np.array([round(light / _PEAK * _ONE) for light in nits], np.int64), np.array(gains, np.int64)


@cache
def _output_steps() -> Light:
    """Return the light from which each 8-bit value 1..255 is the nearest, for a display of BT.1886."""
    return np.array([round(((v - 0.5) / 255) ** _GAMMA * _WHITE / _PEAK * _ONE) for v in range(1, 256)], np.int64)


def _pq_light(signal: float) -> float:
    """Return the cd/m2 of a PQ signal (SMPTE ST 2084)."""
    power = min(signal, 1.0) ** (32 / 2523)
    return float(10000 * (max(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)) ** (16384 / 2610))


def _pq_signal(nits: float) -> float:
    power = (nits / 10000) ** (2610 / 16384)
    return float(((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def _hlg_scene_light(signal: float) -> float:
    """Return the scene light of an HLG signal (ARIB STD-B67), as a share of the most, times 1000."""
    if signal <= 0.5:
        return 1000 * signal * signal / 3
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return 1000 * (math.exp((signal - c) / a) + b) / 12


def _ootf_gain(nits: float) -> float:
    """Return what turns scene light into that of a 1000 cd/m2 display: luminance to the power of 1.2."""
    return float((min(nits, _PEAK) / _PEAK) ** 0.2)


def _roll_off_gain(nits: float) -> float:
    """Return the gain of BT.2390's EETF, from 1000 cd/m2 to SDR white; brighter light comes out white."""
    most = _pq_signal(_PEAK)
    white, signal = _pq_signal(_WHITE) / most, min(_pq_signal(nits) / most, 1.0)
    knee = 1.5 * white - 0.5
    if signal <= knee:
        return 1.0
    t = (signal - knee) / (1 - knee)
    rolled = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * white
    return _pq_light(rolled * most) / nits
