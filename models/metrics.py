"""Metrics of world models, computed from arrays: PSNR, mutual information of codes, bootstrap intervals.

PSNR is computed per frame on RGB in [0, 1], with the mean squared error floored at 1e-6 (a perfect frame has 60 dB).
Information is in nats. Intervals come from a bootstrap over source videos, because the windows of one video are not
independent. Each source is first reduced to one number, or to one table of counts.

Shapes: N clips or windows, T frames, H W C pixels, S sources, K codes, A actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.bootstrap import draw_indices, interval_95

MSE_FLOOR = 1e-6
_MIN_MOVING_PIXELS = 50  # the PSNR over fewer pixels is too noisy


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval and the number of source videos that it is computed from."""

    value: float
    low: float
    high: float
    num_sources: int


def psnr(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Return the PSNR in dB of every frame.

    Args:
        truth: uint8 (..., H, W, C).
        guess: uint8 of the same shape.

    Returns:
        float64 (...).
    """
    return _decibel(_squared_error(truth, guess).mean((-3, -2, -1)))


def moving_psnr(truth: np.ndarray, guess: np.ndarray, threshold: int = 10) -> np.ndarray:
    """Return the PSNR over moving pixels of every frame but the first.

    Args:
        truth: uint8 (..., T, H, W, C).
        guess: uint8 of the same shape.
        threshold: a pixel moves where a channel of the true video differs by more than this from the frame before.

    Returns:
        float64 (..., T - 1); nan where fewer than 50 pixels move.
    """
    change = np.abs(truth[..., 1:, :, :, :].astype(np.int16) - truth[..., :-1, :, :, :])
    moved = change.max(-1) > threshold
    count = moved.sum((-2, -1))
    error = _squared_error(truth[..., 1:, :, :, :], guess[..., 1:, :, :, :]).mean(-1)
    total = np.where(moved, error, 0.0).sum((-2, -1))
    return np.where(count >= _MIN_MOVING_PIXELS, _decibel(total / np.maximum(count, 1)), np.nan)


def _squared_error(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    if truth.shape != guess.shape:
        raise ValueError(f"truth {truth.shape} and guess {guess.shape} differ in shape")
    return ((truth.astype(np.float32) - guess.astype(np.float32)) / 255.0) ** 2


def _decibel(mse: np.ndarray) -> np.ndarray:
    return -10.0 * np.log10(np.maximum(mse.astype(np.float64), MSE_FLOOR))


# -- information ------------------------------------------------------------------------------------------------


def count_pairs(codes: np.ndarray, actions: np.ndarray, num_codes: int, num_actions: int) -> np.ndarray:
    """Return how often each code occurs together with each action, int64 (K, A)."""
    pairs = np.bincount(codes.astype(np.int64) * num_actions + actions, minlength=num_codes * num_actions)
    return pairs.reshape(num_codes, num_actions)


def mutual_information(counts: np.ndarray) -> np.ndarray:
    """Return the plug-in estimate of the mutual information, in nats, of tables of counts (..., K, A).

    The estimate is biased upwards; compare it with `shifted_information` only.
    """
    joint = counts / np.maximum(counts.sum((-2, -1), keepdims=True), 1)
    independent = joint.sum(-1, keepdims=True) * joint.sum(-2, keepdims=True)
    terms = joint * np.log(np.where(joint > 0, joint, 1.0) / np.where(joint > 0, independent, 1.0))
    return np.maximum(terms.sum((-2, -1)), 0.0)


def conditional_information(counts: np.ndarray, group_of: Sequence[int]) -> np.ndarray:
    """Return the information of codes about actions that is left once the action's group is known, in nats.

    By the chain rule it is the information about actions less that about groups; the bias upwards is that of
    `mutual_information`.

    Args:
        counts: tables (..., K, A).
        group_of: the group of each action, 0, 1, ..; e.g. its direction.
    """
    groups = np.eye(max(group_of) + 1, dtype=np.int64)[list(group_of)]
    return np.maximum(mutual_information(counts) - mutual_information(counts @ groups), 0.0)


def conditional_entropy(counts: np.ndarray, group_of: Sequence[int]) -> np.ndarray:
    """Return the entropy in nats of counts of actions (..., A) that is left once the action's group is known."""
    groups = np.eye(max(group_of) + 1, dtype=np.int64)[list(group_of)]
    return entropy(counts) - entropy(counts @ groups)


def entropy(counts: np.ndarray) -> np.ndarray:
    """Return the entropy in nats of counts (..., K)."""
    share = counts / np.maximum(counts.sum(-1, keepdims=True), 1)
    return -(share * np.log(np.where(share > 0, share, 1.0))).sum(-1)


def shifted(sequences: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Return each sequence turned in a circle by a random offset of its own: a draw of what chance alone gives.

    A player holds keys, and latent actions stay the same for as long, so transitions are not exchangeable: permuted one
    by one they say far too little by chance. Turned as a whole a sequence keeps its values, its runs and its pace, and
    loses only its alignment with what it is compared with (time-shifted surrogates: Lancaster et al. 2018, Physics
    Reports 748). Each clip is turned within itself, so what a code says by naming its clip stays.

    Offsets are uniform over the whole circle, 0 too: only then do they form a group, and the rank of what was measured
    among the draws is exact for sequences that look alike at any time (Hemerik and Goeman 2018, TEST 27). Without the
    offsets near 0 the test would reject more often than it says. A turn has one seam per clip, at which a run may be
    cut and two others joined: the longer the runs beside the clip, the more it matters (Harris 2020, "Nonsense
    correlations in neuroscience"). A trend over a whole clip that both sides follow for reasons of their own is taken
    for a relation.

    Args:
        sequences: per clip, (N, ...); turned along the first axis.
        rng: random generator of the offsets.
    """
    return [np.roll(each, int(rng.integers(len(each))), axis=0) if len(each) else each for each in sequences]


def exchanged(sequences: Sequence[np.ndarray], sources: Sequence[str], rng: np.random.Generator) -> list[np.ndarray]:
    """Return the sequences of each source in another order, those of equal length among each other: a draw of chance.

    For windows, which are shorter than the runs: turned within itself such a window hardly changes, so whole ones take
    each other's places. One of them stays in its own on average, as it must for an exact rank; of a source with few
    windows the mean of the draws lies that much above guessing.

    Args:
        sequences: per window, (N, ...).
        sources: of each window.
        rng: random generator of the orders.
    """
    found = list(sequences)
    kinds = [(source, len(each)) for source, each in zip(sources, sequences, strict=True)]
    for kind in sorted(set(kinds)):
        places = [place for place, own in enumerate(kinds) if own == kind]
        for place, other in zip(places, rng.permutation(places).tolist(), strict=True):
            found[place] = sequences[other]
    return found


def shifted_information(
    codes: Sequence[np.ndarray],
    actions: Sequence[np.ndarray],
    num_codes: int,
    num_actions: int,
    *,
    draws: int,
    rng: np.random.Generator,
    information: Callable[[np.ndarray], np.ndarray] = mutual_information,
) -> np.ndarray:
    """Return the mutual information that remains when the codes of each clip are shifted (`shifted`).

    A code that only identifies its clip keeps all its information; one that follows the actions loses it. What
    remains is the baseline that latent actions must beat.

    Args:
        codes: per clip, int (T - 1,).
        actions: per clip, the true actions, int (T - 1,).
        num_codes: K.
        num_actions: A.
        draws: number of draws.
        rng: random generator of the offsets.
        information: maps tables (..., K, A) to nats; the mutual information by default.

    Returns:
        float64 (draws,) in nats.
    """
    aligned = np.concatenate(list(actions))
    turned = (np.concatenate(shifted(codes, rng)) for _ in range(draws))
    return information(np.stack([count_pairs(own, aligned, num_codes, num_actions) for own in turned]))


def entropy_within(codes: np.ndarray, groups: np.ndarray, num_codes: int) -> float:
    """Return the mean entropy, in nats, of the codes within each group, weighted by the size of the groups.

    Zero means that the code is a function of the group: with clips as groups, it identifies the scene; with positions
    in a window as groups, it counts frames.
    """
    _, index = np.unique(groups, return_inverse=True)
    counts = count_pairs(index, codes, int(index.max()) + 1, num_codes)
    return float((entropy(counts) * counts.sum(-1)).sum() / counts.sum())


# -- intervals --------------------------------------------------------------------------------------------------


def per_source(values: np.ndarray, sources: Sequence[str]) -> np.ndarray:
    """Return the mean of the values of each source (S,), in the order of the source ids, without nan values."""
    names = np.asarray(sources)
    values = np.asarray(values, np.float64)
    means = []
    for name in np.unique(names):
        own = values[names == name]
        own = own[~np.isnan(own)]
        means.append(own.mean() if len(own) else np.nan)
    return np.array(means)


def bootstrap(
    per_source_values: np.ndarray,
    *,
    draws: int,
    seed: int,
    reduce: Callable[[np.ndarray], np.ndarray] | None = None,
    least: float | None = None,
) -> Interval | None:
    """Return a value and its 95 % interval over resampled sources; None where no source has a value.

    The same number of sources and the same seed give the same draws, so the metrics of one evaluation are paired.

    Args:
        per_source_values: one row per source, (S, ...); rows with nan are left out.
        draws: number of draws.
        seed: seed of the draws.
        reduce: maps (draws, S, ...) to (draws,); the mean over sources by default.
        least: of a figure that is larger the fewer sources there are (information), what it cannot be below. A draw has
            some sources twice, so it is larger too: the interval is moved down by as much as the draws are larger on
            average, or it would lie above a small value.
    """
    values = np.asarray(per_source_values, np.float64)
    values = values[~np.isnan(values).reshape(len(values), -1).any(1)]
    if not len(values):
        return None
    take = reduce or (lambda resampled: resampled.mean(1))
    resampled, value = take(values[draw_indices(len(values), draws, seed)]), float(take(values[None])[0])
    if least is not None:
        resampled = np.maximum(resampled - max(0.0, resampled.mean() - value), least)
    return Interval(value, *interval_95(resampled), len(values))
