"""Whatever a site sends, an id is a safe file name, shard key and partition key, and leads back to its parts."""

import re

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ids import clip_id_of, file_video_id, slug, split_clip_id, video_id_of
from pipeline.storage.rows import rows_table

SAFE = re.compile(r"[A-Za-z0-9_-]+")
# surrogates too: JSON from a site may hold half an emoji
anything = st.text(st.characters(exclude_categories=()), max_size=300)


@given(anything, st.none() | anything, anything)
def test_a_video_id_is_always_safe_and_the_same_again(extractor: str, native: str | None, url: str):
    video_id = video_id_of(extractor, native, url)
    assert SAFE.fullmatch(video_id)
    assert len(video_id) <= 110
    assert video_id == video_id_of(extractor, native, url)


@given(anything)
def test_a_file_id_is_always_safe(path: str):
    video_id = file_video_id(path)
    assert SAFE.fullmatch(video_id)
    assert len(video_id) <= 64


@given(st.lists(anything, min_size=2, max_size=8, unique=True))
def test_different_urls_of_a_generic_site_never_share_an_id(urls: list[str]):
    assert len({video_id_of("generic", "video", url) for url in urls}) == len(urls)


@given(anything)
def test_a_slug_of_a_slug_is_itself(text: str):
    assert slug(slug(text)) == slug(text)


@given(
    st.from_regex(r"[a-z0-9]{1,12}-[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.integers(0, 999_999_999),
    st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
)
def test_a_clip_id_round_trips(video_id: str, start_ms: int, clip_spec: str):
    clip_id = clip_id_of(video_id, start_ms, clip_spec)
    assert split_clip_id(clip_id) == (video_id, start_ms, clip_spec)
    (row,) = rows_table("scores", [{"clip_id": clip_id}]).to_pylist()
    assert (row["video_id"], row["clip_spec"]) == (video_id, clip_spec)
    assert SAFE.fullmatch(clip_id)
