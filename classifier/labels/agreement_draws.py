"""Kappa and alpha of every draw of a bootstrap at once, from tables of how often two ratings meet.

The tables of clips add up, so a draw of blocks of clips is a weighted sum of the blocks' tables.

Dimension keys: B blocks of clips, D draws, R = 5 ratings.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from classifier.training.arrays import Floats

Counts = Callable[[Floats], Floats]
"""From how often each block is drawn (D, B) to the metric of each draw (D,); NaN where it is undefined."""
_RATING = np.arange(5)
_QUADRATIC_RR = (_RATING[:, None] - _RATING) ** 2.0


def kappas(table_BRR: Floats) -> Counts:
    """Return the quadratic-weighted kappa of draws; rows are ratings of one person, columns those of another."""

    def metric(drawn_DB: Floats) -> Floats:
        seen_DRR = np.tensordot(drawn_DB, table_BRR, 1)
        expected_DRR = seen_DRR.sum(2)[:, :, None] * seen_DRR.sum(1)[:, None, :]
        apart_D = (seen_DRR * _QUADRATIC_RR).sum((1, 2)) * seen_DRR.sum((1, 2))
        return _one_minus(apart_D, (expected_DRR * _QUADRATIC_RR).sum((1, 2)))

    return metric


def alphas(meeting_BRR: Floats) -> Counts:
    """Return Krippendorff's alpha (ordinal) of draws, from coincidences."""

    def metric(drawn_DB: Floats) -> Floats:
        seen_DRR = np.tensordot(drawn_DB, meeting_BRR, 1)
        given_DR = seen_DRR.sum(2)
        # the distance of two ratings is the number of ratings given between them, squared
        middle_DR = np.cumsum(given_DR, 1) - given_DR / 2
        distance_DRR = (middle_DR[:, :, None] - middle_DR[:, None, :]) ** 2
        total_D = given_DR.sum(1)
        # a rating does not meet itself; the distance to itself is 0, so the diagonal needs no correction
        expected_DRR = given_DR[:, :, None] * given_DR[:, None, :]
        apart_D = (seen_DRR * distance_DRR).sum((1, 2)) * (total_D - 1)
        return _one_minus(apart_D, (expected_DRR * distance_DRR).sum((1, 2)))

    return metric


def _one_minus(part_D: Floats, whole_D: Floats) -> Floats:
    return 1 - np.divide(part_D, whole_D, out=np.full(len(part_D), math.nan), where=whole_D > 0)
