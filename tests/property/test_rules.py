"""Whatever a stranger writes: rules give a verdict, feeds give entries or a reason, rows fit the table."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import RulesConfig
from pipeline.errors import PermanentError
from pipeline.rules import judge_listed, judge_row, keyword_of
from pipeline.sources.feed_text import begins_like_feed
from pipeline.sources.feeds import feed_entries, seconds_of
from pipeline.sources.ytdlp_candidate import candidate_of
from pipeline.storage.rows import rows_table

texts = st.text(max_size=60) | st.sampled_from(
    ["platformer", "speedrun platformer", "movie", "CC BY", "\ud800", "\x00"]
)
numbers = st.none() | st.floats(0, 1e9) | st.integers(0, 100)
row_values = st.fixed_dictionaries(
    {},
    optional={
        **{
            name: st.none() | texts for name in ("title", "description", "channel", "channel_id", "licence", "language")
        },
        **dict.fromkeys(("video_id", "native_id", "url"), texts),
        "live_status": st.none() | st.sampled_from(["is_live", "is_upcoming", "was_live", "post_live", ""]),
        "duration_s": numbers,
        "age_limit": st.none() | st.integers(0, 99),
    },
)
rule_lists = st.lists(st.sampled_from(["platformer", "speedrun", "movie", "cc by", "unknown", "en"]), max_size=3)
rules = st.builds(
    RulesConfig,
    keywords=rule_lists.map(tuple),
    action_words=rule_lists.map(tuple),
    negations=rule_lists.map(tuple),
    licences=rule_lists.map(tuple),
    languages=rule_lists.map(tuple),
    blocked=st.lists(texts, max_size=3).map(tuple),
)


@given(row_values, rules, st.booleans())
def test_every_row_gets_a_verdict_with_its_rule_and_a_list_never_rejects_what_the_row_passes(
    row: dict[str, Any], judged: RulesConfig, words: bool
) -> None:
    whole = judge_row(row, judged, words=words)
    listed = judge_listed(row, judged, words=words)
    assert whole.rule
    assert whole.kept == (whole.rule.startswith("kept:") or whole.rule == "off")
    if not listed.kept:
        assert whole == listed
    keyword = keyword_of(str(row.get("title") or ""), judged)
    assert keyword is None or keyword in judged.keywords


@given(row_values, rules)
def test_words_only_take_away(row: dict[str, Any], judged: RulesConfig) -> None:
    if judge_row(row, judged).kept:
        assert judge_row(row, judged, words=False).kept


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)
)
items = st.dictionaries(
    st.sampled_from(["url", "external_url", "title", "attachments", "authors", "tags", "date_published", "language"]),
    json_values | st.sampled_from(["http://127.0.0.1/v", "/v", "http://[::1", "//"]),
)


def check(body: bytes) -> None:
    begins_like_feed(body)
    try:
        entries = feed_entries(body, "http://127.0.0.1/feed")
    except PermanentError:
        return
    for entry in entries:
        assert entry["url"].startswith(("http://", "https://"))
        candidate = candidate_of(entry, query="q", url=entry["url"])
        rows_table("videos", [{**vars(candidate), "tags": list(candidate.tags)}])


@given(st.lists(items | json_values, max_size=4), json_values)
@pytest.mark.heavy
def test_a_json_feed_of_anything_gives_rows_or_a_reason(entries: list[Any], more: Any) -> None:
    feed = {"version": "https://jsonfeed.org/version/1.1", "items": entries, "authors": more, "language": more}
    check(json.dumps(feed).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_give_rows_or_a_reason(body: bytes) -> None:
    check(body)
    check(b"<rss><channel><item><link>" + body + b"</link></item></channel></rss>")
    check(b'{"version": "https://jsonfeed.org/version/1", "items": [{"url": "' + body + b'"}]}')


@given(texts)
def test_a_duration_is_a_number_or_nothing(text: str) -> None:
    seconds = seconds_of(text)
    assert seconds is None or seconds >= 0
