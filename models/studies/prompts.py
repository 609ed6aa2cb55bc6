"""What a world makes of a start frame: the tokenizer's round trip, rollouts under each key, and how far it guesses.

No true frame follows a sketch or a photograph, so no figure here compares with one. What can be said is how much of the
picture survives, how far the keys part the rollouts, and what the light of doubt says, each beside the same of held-out
frames.

Shapes: N pictures, A latent actions, S generated frames, F features, H W C pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from models.evaluation.metric import Metric, unknown, with_interval
from models.evaluation.rollouts import decode, encode
from models.evaluation.world_interface import World
from models.metrics import Interval, bootstrap, psnr
from models.uncertainty.calibration import Calibration, decibel
from models.world.signals import FEATURES, SIGNALS
from pipeline.bootstrap import draw_indices, interval_95
from pipeline.config.evaluation import EvaluationConfig

REFERENCE = "held-out frames"
TOO_FEW, LEAST_PICTURES = "too few to tell", 2
_DRAWS = 1000


class Figure(NamedTuple):
    """A figure of a picture, and how it is shown."""

    name: str
    title: str
    unit: str
    digits: int = 2


FIGURES = (
    Figure("round_trip", "round trip", "dB"),
    Figure("kept_t1", "first generated frame against the round trip", "dB"),
    Figure("kept_last", "last one", "dB"),
    Figure("keys_apart", "difference of two keys at the last frame", "levels of 255", 1),
    Figure("entropy", "entropy at t = 1", "nat"),
    Figure("residual", "residual at t = 1", "levels of 255", 1),
    Figure("disagreement", "disagreement at t = 1", ""),
    Figure("doubt_t1", "doubt at t = 1", ""),
    Figure("doubt", "doubt, all frames", ""),
    Figure("guessing", "frames with the light on", ""),
    Figure("expected_psnr", "expected PSNR", "dB", 1),
)


class Seen(NamedTuple):
    """What a world made of one picture."""

    figures: dict[str, float | None]
    """By the names of `FIGURES`; None where the world has no calibration of its doubt."""
    frames_NHWC: np.ndarray
    """The picture, its round trip, and the last frame under each key."""


def look_at(
    world: World, picture_HWC: np.ndarray, calibration: Calibration | None, config: EvaluationConfig, num_frames: int
) -> Seen:
    """Return what a world makes of a start frame.

    Args:
        world: the world model.
        picture_HWC: uint8, of the world's size.
        calibration: of the world's doubt; None where it is not known.
        config: sampling and seed; every key gets the same noise.
        num_frames: S.
    """
    # pictures of files cannot be written to, which torch warns of
    tokens = encode(world, picture_HWC[None, None].copy())
    again = decode(world, tokens)[0, 0]
    rolled, features = [], []
    for action in range(world.num_actions):
        frames, found = world.watch(
            tokens,
            torch.full((1, num_frames), action),
            sampling=config,
            generator=torch.Generator(tokens.device).manual_seed(config.seed),
        )
        rolled.append(frames.cpu().numpy()[0])
        features.append(found.numpy()[0])
    frames_ASHWC, features_ASF = np.stack(rolled), np.stack(features)
    last = frames_ASHWC[:, -1]
    first = {name: float(features_ASF[:, 0, FEATURES.index(name)].mean()) for name in SIGNALS}
    figures: dict[str, float | None] = {
        "round_trip": float(psnr(picture_HWC, again)),
        "kept_t1": float(psnr(np.broadcast_to(again, last.shape), frames_ASHWC[:, 0]).mean()),
        "kept_last": float(psnr(np.broadcast_to(again, last.shape), last).mean()),
        "keys_apart": _apart(last),
        **first,
        **_doubts(features_ASF, calibration),
    }
    return Seen(figures, np.concatenate([np.stack([picture_HWC, again]), last]))


def by_kind(pictures: Mapping[str, Sequence[Mapping[str, float | None]]]) -> dict[str, dict[str, Metric]]:
    """Return the mean of each figure over the pictures of each kind, with its 95 % interval over pictures.

    `told_apart` is the probability that a picture of the kind has more doubt at its first frame than a held-out one.
    """
    found = {
        kind: {figure.name: _mean([each[figure.name] for each in each_of]) for figure in FIGURES}
        for kind, each_of in pictures.items()
    }
    usual = [each["doubt_t1"] for each in pictures.get(REFERENCE, [])]
    for kind, each_of in pictures.items():
        if kind != REFERENCE:
            found[kind]["told_apart"] = _told_apart([each["doubt_t1"] for each in each_of], usual)
    return found


def _apart(last_AHWC: np.ndarray) -> float:
    """Return the mean over pairs of keys of the root mean square difference of their last frames, in levels."""
    flat = last_AHWC.reshape(len(last_AHWC), -1).astype(np.float64)
    pairs = [np.sqrt(np.square(flat[one] - flat[other]).mean()) for one in range(len(flat)) for other in range(one)]
    return float(np.mean(pairs)) if pairs else 0.0


def _doubts(features_ASF: np.ndarray, calibration: Calibration | None) -> dict[str, float | None]:
    if calibration is None:
        return dict.fromkeys(("doubt_t1", "doubt", "guessing", "expected_psnr"))
    score = calibration.score(features_ASF.reshape(-1, features_ASF.shape[-1]))
    score_AS = score.reshape(features_ASF.shape[:2])
    threshold = calibration.threshold
    return {
        "doubt_t1": float(score_AS[:, 0].mean()),
        "doubt": float(score_AS.mean()),
        "guessing": 0.0 if threshold is None else float((score_AS >= threshold).mean()),
        "expected_psnr": decibel(float(calibration.expected_mse(score).mean())),
    }


def _mean(values: Sequence[float | None]) -> Metric:
    known = np.array([value for value in values if value is not None])
    if not len(values):
        return unknown("no picture of this kind can be read")
    if len(known) < len(values):
        return unknown("the world is not evaluated, so its doubt is not calibrated: run `lampworks evaluate`")
    if len(known) < LEAST_PICTURES:
        return unknown(f"{TOO_FEW}: {len(known)} picture, and {LEAST_PICTURES} are needed")
    interval = bootstrap(known, draws=_DRAWS, seed=0)
    assert interval is not None
    return with_interval(interval, of="picture")


def _told_apart(values: Sequence[float | None], usual: Sequence[float | None]) -> Metric:
    one, other = (np.array([value for value in each if value is not None]) for each in (values, usual))
    if min(len(one), len(other)) < LEAST_PICTURES:
        return unknown(f"{TOO_FEW}: {len(one)} and {len(other)} pictures with doubt, and {LEAST_PICTURES} are needed")
    more = (one[:, None] > other).astype(float) + 0.5 * (one[:, None] == other)
    drawn = zip(draw_indices(len(one), _DRAWS, 0), draw_indices(len(other), _DRAWS, 1), strict=True)
    draws = np.array([more[np.ix_(rows, columns)].mean() for rows, columns in drawn])
    return with_interval(Interval(float(more.mean()), *interval_95(draws), min(len(one), len(other))), of="picture")
