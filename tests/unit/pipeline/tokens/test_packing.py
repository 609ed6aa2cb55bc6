"""Tokens as bytes and back, and where windows begin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.tokens.packing import bits_of, pack, packed_size, unpack
from pipeline.tokens.starts import window_starts


@given(st.integers(2, 2**16), st.data())
def test_tokens_come_back_from_their_bytes_whatever_the_codebook(codes: int, data: st.DataObject) -> None:
    bits = bits_of(codes)
    tokens = np.array(data.draw(st.lists(st.integers(0, codes - 1), max_size=50)), np.int64)
    packed = pack(tokens, bits)
    assert len(packed) == packed_size(len(tokens), bits)
    assert unpack(packed, len(tokens), bits).tolist() == tokens.tolist()


def test_a_clip_of_the_paper_is_184_kb_at_ten_bits_and_the_bits_lie_as_documented() -> None:
    assert bits_of(1024) == 10
    assert packed_size(160 * 920, bits_of(1024)) == 184_000
    assert pack(np.array([0b10_0000_0001, 0b01_1111_1110]), 10) == bytes([0b10000000, 0b01011111, 0b11100000])
    assert pack(np.array([1, 258]), 16) == bytes([1, 0, 2, 1])


@pytest.mark.parametrize(("codes", "bits"), [(1, 1), (2, 1), (3, 2), (1000, 10), (1025, 11), (65536, 16)])
def test_a_token_takes_as_many_bits_as_its_codebook_needs(codes: int, bits: int) -> None:
    assert bits_of(codes) == bits


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="codebook_size = 65537"):
        bits_of(65537)
    with pytest.raises(ValueError, match="do not fit"):
        pack(np.array([1024]), 10)
    with pytest.raises(ValueError, match="are not 4 tokens"):
        unpack(b"\0" * 6, 4, 10)


def test_windows_begin_at_every_stride_and_end_inside_the_clip() -> None:
    assert window_starts(160, 16, 16) == list(range(0, 160, 16))
    assert window_starts(20, 16, 4) == [0, 4]
    assert window_starts(15, 16, 16) == []


def test_windows_begin_anew_after_a_cut_and_none_spans_one() -> None:
    assert window_starts(40, 8, 8, cut_ms=[1100], fps=10) == [0, 11, 19, 27]
    assert window_starts(40, 8, 8, cut_ms=[300, 500], fps=10) == [5, 13, 21, 29]


@given(
    st.integers(1, 200), st.integers(1, 32), st.integers(1, 32), st.lists(st.integers(0, 20_000), max_size=6),
    st.sampled_from([10.0, 12.5, 30.0]),
)  # fmt: skip
def test_no_window_spans_a_cut_or_leaves_the_clip(
    frames: int, window: int, stride: int, cuts: list[int], fps: float
) -> None:
    starts = window_starts(frames, window, stride, cut_ms=cuts, fps=fps)
    assert starts == sorted(set(starts))
    for start in starts:
        assert 0 <= start <= frames - window
        assert not [ms for ms in cuts if start < round(ms * fps / 1000) < start + window]
