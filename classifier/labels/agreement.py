"""How far people agree: with each other, with themselves when a clip is shown again, and with reference ratings.

    measured = measure_agreement(fold(events), fold_repeats(events))
    measured["alpha"], measured["pairs"], measured["own"], measured["gold"]; agreement_sentence(measured)

Ratings are ordered, so a 4 against a 5 weighs little and a 1 against a 5 much: Krippendorff's alpha with the ordinal
distance over all raters, Cohen's kappa with quadratic weights for each pair. Clips of one video are alike, so the
intervals draw whole videos. Reference ratings are those of the annotator `gold`. Ratings that the embedded source
gave are no person's and are left out.

Both metrics depend on sums over clips alone, so every draw is a weighted sum of small matrices, and the time hardly
grows with the number of labels (10,000 labels of which every clip has two: 40 ms of one core).

Dimension keys: B blocks of videos, D draws of the bootstrap, R = 5 ratings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import combinations
from typing import TypedDict

import krippendorff
import numpy as np
from numpy.typing import NDArray

from classifier.labels.agreement_draws import Counts, alphas, kappas
from classifier.training.arrays import Floats
from pipeline.bootstrap import draw_counts, interval_95
from pipeline.label_events import GOLD, STAND_IN, Event

MIN_CLIPS = 20
MIN_VIDEOS = 5
NUM_DRAWS = 400
MOST_BLOCKS = 400
MOST_PAIRS = 50
RATINGS = (1, 2, 3, 4, 5)
Folded = Mapping[str, Mapping[str, Event]]
"""Events by clip and annotator."""
Pair = tuple[str, int, int]
"""A clip with two ratings of it."""


class Agreed(TypedDict):
    """One figure with its 95 % interval over videos."""

    value: float | None
    """None where it is undefined: no clip, or one rating only was ever given."""
    interval: tuple[float, float] | None
    clips: int
    """Clips that were rated twice or more."""
    videos: int
    few: bool
    """Whether these are too few to tell: fewer than 20 clips or 5 videos."""


class RatedTwice(TypedDict):
    """Clips with two ratings, compared."""

    kappa: Agreed
    """Quadratic-weighted kappa."""
    same: Agreed
    """Share of equal ratings."""
    close: Agreed
    """Share of ratings that differ by one at most."""


class RaterPair(RatedTwice):
    """Two people, on the clips that both rated."""

    raters: tuple[str, str]


class Agreement(TypedDict):
    """All figures of agreement."""

    alpha: Agreed
    """Krippendorff's alpha, ordinal, over all people."""
    kappa: Agreed
    """Mean of the pairs' quadratic-weighted kappas, weighted by their clips."""
    pairs: list[RaterPair]
    """Pairs with the most clips in common first, at most 50."""
    own: dict[str, RatedTwice]
    """By annotator: the first rating of a clip against the one when it was shown again."""
    gold: dict[str, RatedTwice]
    """By annotator: their rating against the reference."""


def measure_agreement(current: Folded, repeats: Folded, *, seed: int = 0) -> Agreement:
    """Return how far the ratings of people agree.

    Args:
        current: the events that count, as of `pipeline.label_events.fold`.
        repeats: those of clips that were shown again, as of `fold_repeats`.
        seed: of the intervals; the same labels and seed give the same figures.
    """
    people = {
        clip_id: {name: int(event["rating"]) for name, event in by.items() if name not in {STAND_IN, GOLD}}
        for clip_id, by in current.items()
        if len(by) > 1 or clip_id in repeats
    }
    several = {clip_id: by for clip_id, by in people.items() if len(by) > 1}
    of_pair: dict[tuple[str, str], list[Pair]] = {}
    for clip_id, by in several.items():
        for one, other in combinations(sorted(by), 2):
            of_pair.setdefault((one, other), []).append((clip_id, by[one], by[other]))
    pairs: list[RaterPair] = [
        {"raters": raters, **_rated_twice(found, seed)}
        for raters, found in sorted(of_pair.items(), key=lambda item: (-len(item[1]), item[0]))[:MOST_PAIRS]
    ]
    own: dict[str, list[Pair]] = {}
    gold: dict[str, list[Pair]] = {}
    for clip_id, by in people.items():
        for name, event in repeats.get(clip_id, {}).items():
            if name in by:
                own.setdefault(name, []).append((clip_id, by[name], int(event["rating"])))
        if GOLD in current[clip_id]:
            for name, rating in by.items():
                gold.setdefault(name, []).append((clip_id, rating, int(current[clip_id][GOLD]["rating"])))
    return {
        "alpha": _alpha(several, seed),
        "kappa": _mean_kappa(of_pair, seed),
        "pairs": pairs,
        "own": {name: _rated_twice(found, seed) for name, found in sorted(own.items())},
        "gold": {name: _rated_twice(found, seed) for name, found in sorted(gold.items())},
    }


def agreement_sentence(measured: Agreement) -> str:
    """Return the agreement of all people in a line, for a person."""
    alpha, kappa = measured["alpha"], measured["kappa"]
    if not alpha["clips"]:
        return "no clip was rated by several people"
    found = f"{alpha['clips']} clips of {alpha['videos']} videos were rated by several people"
    if alpha["few"]:
        return f"too few to tell: {found}, at least {MIN_CLIPS} of {MIN_VIDEOS} are needed"
    if alpha["value"] is None:
        return f"{found}, all with one rating: agreement is undefined without a second one"
    return f"Krippendorff's alpha {_spoken(alpha)}, quadratic-weighted kappa {_spoken(kappa)}: {found}"


def _spoken(found: Agreed) -> str:
    if found["value"] is None:
        return "undefined"
    interval = "" if found["interval"] is None else " ({:.2f} to {:.2f})".format(*found["interval"])
    return f"{found['value']:.2f}{interval}"


# -- figures ------------------------------------------------------------------------------------------------------


def _alpha(ratings: Mapping[str, Mapping[str, int]], seed: int) -> Agreed:
    clips = sorted(ratings)
    counts_UR = np.array([np.bincount(list(ratings[c].values()), minlength=6)[1:] for c in clips]).reshape(-1, 5)
    value = None
    if len(np.flatnonzero(counts_UR.sum(0))) > 1:
        value = float(krippendorff.alpha(value_counts=counts_UR, value_domain=RATINGS, level_of_measurement="ordinal"))
    # how often two ratings meet in one clip (Krippendorff's coincidences), which add up over clips
    meeting_URR = counts_UR[:, :, None] * counts_UR[:, None, :] - counts_UR[:, :, None] * np.eye(5)
    meeting_URR = meeting_URR / np.maximum(counts_UR.sum(1) - 1, 1)[:, None, None]
    return _agreed(value, clips, lambda blocks: alphas(_summed(meeting_URR, blocks)), seed)


def _mean_kappa(of_pair: Mapping[tuple[str, str], list[Pair]], seed: int) -> Agreed:
    clips = sorted({clip_id for found in of_pair.values() for clip_id, _, _ in found})
    values = {pair: _kappa(found) for pair, found in of_pair.items()}
    known = {pair: value for pair, value in values.items() if value is not None}
    weights = np.array([len(of_pair[pair]) for pair in known], float)
    mean = float(np.average(list(known.values()), weights=weights)) if known else None
    place = {clip_id: i for i, clip_id in enumerate(clips)}

    def drawn(blocks_U: NDArray[np.int64]) -> Counts:
        def metric(drawn_DB: Floats) -> Floats:
            total_D, weight_D = np.zeros(len(drawn_DB)), np.zeros(len(drawn_DB))
            for pair in known:
                rows = np.array([place[clip_id] for clip_id, _, _ in of_pair[pair]])
                table_BRR = _summed(_tables(of_pair[pair]), blocks_U[rows], int(blocks_U.max()) + 1)
                kappa_D = kappas(table_BRR)(drawn_DB)
                shared_D = np.where(np.isfinite(kappa_D), drawn_DB @ table_BRR.sum((1, 2)), 0)
                total_D += np.where(shared_D > 0, kappa_D, 0) * shared_D
                weight_D += shared_D
            return np.divide(total_D, weight_D, out=np.full(len(total_D), math.nan), where=weight_D > 0)

        return metric

    return _agreed(mean, clips, drawn, seed)


def _kappa(found: list[Pair]) -> float | None:
    """Return the quadratic-weighted kappa; None where one rating only was ever given (0/0)."""
    value = float(kappas(_tables(found).sum(0)[None])(np.ones((1, 1)))[0])
    return None if math.isnan(value) else value


def _rated_twice(found: list[Pair], seed: int) -> RatedTwice:
    clips = [clip_id for clip_id, _, _ in found]
    tables_URR = _tables(found)
    apart_U = np.array([abs(first - second) for _, first, second in found])

    def share(within: int) -> Agreed:
        hits_U = (apart_U <= within).astype(float)

        def drawn(blocks_U: NDArray[np.int64]) -> Counts:
            hit_B = np.bincount(blocks_U, hits_U)
            all_B = np.bincount(blocks_U).astype(float)
            return lambda drawn_DB: (drawn_DB @ hit_B) / np.maximum(drawn_DB @ all_B, 1)

        return _agreed(float(hits_U.mean()), clips, drawn, seed)

    kappa = _agreed(_kappa(found), clips, lambda blocks_U: kappas(_summed(tables_URR, blocks_U)), seed)
    return {"kappa": kappa, "same": share(0), "close": share(1)}


# -- intervals ----------------------------------------------------------------------------------------------------


def _agreed(value: float | None, clips: list[str], metric: Callable[[NDArray[np.int64]], Counts], seed: int) -> Agreed:
    names, codes_U = np.unique([clip_id.rsplit("-", 2)[0] for clip_id in clips], return_inverse=True)
    videos = len(names)
    interval = None
    if value is not None and videos >= MIN_VIDEOS:
        # many videos are drawn in blocks, which bounds the work and leaves the interval as it is
        blocks_U = np.asarray(codes_U % MOST_BLOCKS, np.int64)
        values_D = metric(blocks_U)(_draws(min(videos, MOST_BLOCKS), seed))
        values_D = values_D[np.isfinite(values_D)]
        interval = interval_95(values_D) if len(values_D) >= NUM_DRAWS // 2 else None
    return {
        "value": value,
        "interval": interval,
        "clips": len(clips),
        "videos": videos,
        "few": len(clips) < MIN_CLIPS or videos < MIN_VIDEOS,
    }


@lru_cache(maxsize=8)
def _draws(num_blocks: int, seed: int) -> Floats:
    return draw_counts(num_blocks, NUM_DRAWS, seed)


def _tables(found: list[Pair]) -> Floats:
    """Return (U, R, R) with a 1 where the two ratings of a clip meet."""
    tables_URR = np.zeros((len(found), 5, 5))
    for row, (_, first, second) in enumerate(found):
        tables_URR[row, first - 1, second - 1] = 1
    return tables_URR


def _summed(tables_URR: Floats, blocks_U: NDArray[np.int64], num_blocks: int | None = None) -> Floats:
    count = int(blocks_U.max()) + 1 if num_blocks is None else num_blocks
    summed_BRR = np.zeros((count, 5, 5))
    np.add.at(summed_BRR, blocks_U, tables_URR)
    return summed_BRR
