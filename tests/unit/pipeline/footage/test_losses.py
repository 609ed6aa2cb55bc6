"""Lost spans as text: what is stored sums up to what was lost, also where there are very many."""

from __future__ import annotations

import json

from pipeline.footage.losses import Loss, disagrees, losses_to_text, lost_ms_by_reason


def test_what_is_stored_is_what_was_lost() -> None:
    text = losses_to_text([Loss(0, 1500, "head"), Loss(20_033, 22_000, "damaged")])
    assert json.loads(text)[1] == {"start_ms": 20_033, "end_ms": 22_000, "reason": "damaged"}
    assert lost_ms_by_reason([text, "[]", None]) == {"damaged": 1967, "head": 1500}


def test_thousands_of_losses_stay_a_short_text_with_the_same_sum() -> None:
    losses = [Loss(place, place + 300, "gap" if place % 2000 else "damaged") for place in range(0, 9_000_000, 1000)]
    text = losses_to_text(losses)
    assert len(text) < 20_000
    assert sum(lost_ms_by_reason([text]).values()) == 300 * 9000


def test_packets_must_hold_the_time_of_the_pictures() -> None:
    assert not disagrees(36_000, "[]", 35_200)
    assert disagrees(36_000, "[]", 72_000)
    assert disagrees(72_000, "[]", 36_000)
    # what an index names and the file has not has no packets
    assert not disagrees(36_000, losses_to_text([Loss(20_000, 36_000, "missing")]), 20_000)
    assert not disagrees(36_000, None, None)
