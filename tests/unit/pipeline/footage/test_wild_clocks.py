"""Clocks that nothing real has: times at the ends of 64 bits, rates of nothing, and back again."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.footage.clock import Clock

TICK = Fraction(1, 1000)


def clock(rate: Fraction | None = Fraction(25), flags: int = 0) -> Clock:
    stream = SimpleNamespace(time_base=TICK, average_rate=rate, guessed_rate=None)
    return Clock(SimpleNamespace(format=SimpleNamespace(flags=flags, name="mpegts")), stream)


def packet(pts: int | None, dts: int | None, duration: int = 40) -> Any:
    return SimpleNamespace(pts=pts, dts=dts, duration=duration, is_discard=False, is_corrupt=False, is_keyframe=False)


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**62)), min_size=1, max_size=50))
def test_any_times_stay_within_64_bits_and_none_makes_the_time_line_endless(times: list[tuple[int, int]]) -> None:
    line = clock()
    for time, duration in times:
        one = packet(time, time, duration)
        line.place(one)
        assert -(2**63) <= one.pts < 2**63
        assert -(2**63) <= one.dts < 2**63
    assert line.first is not None
    assert line.end is not None
    assert 0 <= line.end - line.first <= 3_600_000 * len(times) + 600_000
    assert 0 <= line.read.ms <= 3_600_000 * len(times)


@pytest.mark.parametrize("rate", [None, Fraction(1, 1000), Fraction(1000), Fraction(25)])
def test_a_clock_that_starts_again_is_found_whatever_rate_the_stream_claims(rate: Fraction | None) -> None:
    line = clock(rate)
    for _ in range(3):
        for time in range(0, 10_000, 40):
            line.place(packet(time, time))
    assert line.jumps == 2
    assert (line.end or 0) - (line.first or 0) == pytest.approx(30_000, abs=1500)
    assert line.read.ms == pytest.approx(30_000, abs=1500)


def test_a_wild_first_time_costs_nothing() -> None:
    line = clock()
    line.place(packet(2**62, 2**62))
    for time in range(0, 10_000, 40):
        line.place(packet(time, time))
    assert (line.end or 0) - (line.first or 0) == pytest.approx(10_000, abs=100)


def test_a_time_of_showing_far_from_that_of_decoding_is_not_believed() -> None:
    line = clock()
    for time in range(0, 4000, 40):
        line.place(packet(time + (10**9 if time == 2000 else 80), time))
    assert line.end is not None
    assert line.end < 5000
