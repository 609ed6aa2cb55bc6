"""Search: rows, verdicts and batches, over several passes of a source that changes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.compute as pc
import pytest

from assets.passes.dry_run import DryRunStore
from pipeline.config import ArcadeConfig, RulesConfig, SourceConfig
from pipeline.errors import UserError
from pipeline.search.batches import batches
from pipeline.search.records import search_is_done
from pipeline.search.rows import known_videos
from pipeline.sources.base import Candidate, Known, unknown
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.searches import NOW, RULES, FakeSource, candidate, config, rows, search, versions


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    fake = FakeSource()
    monkeypatch.setattr("pipeline.search.search.open_source", lambda config, home, options: fake)
    return fake


def test_kept_videos_form_batches_in_the_order_of_the_source(store: Store, source: FakeSource) -> None:
    source.world = [candidate(name) for name in "dbace"]
    source.world.insert(2, candidate("bad", "platformer movie speedrun"))
    report = search(store)
    assert (report.found, report.kept, report.new) == (6, 5, 6)
    assert report.rejected == {"negation:movie": 1}
    assert report.batches == ["2026w47-0001", "2026w47-0002", "2026w47-0003"] == batches(store)
    assert {name: row["batch"] for name, row in rows(store).items()} == {
        "d": "2026w47-0001", "b": "2026w47-0001", "a": "2026w47-0002", "c": "2026w47-0002", "e": "2026w47-0003",
        "bad": None,
    }  # fmt: skip
    assert rows(store)["d"]["rule"] == "kept:platformer+speedrun"


def test_a_second_search_that_learns_nothing_writes_nothing(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a", tags=("x",), duration_s=4.0), candidate("b", "movie")]
    search(store)
    before = versions(store)
    report = search(store, now=NOW + timedelta(days=9))
    assert (report.found, report.new, report.batches) == (2, 0, [])
    assert versions(store) == before


def test_new_videos_get_new_batches_and_old_ones_never_move(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a")]
    search(store)
    source.world = [candidate("z"), candidate("y"), candidate("x"), candidate("a")]
    assert search(store).batches == ["2026w47-0002", "2026w47-0003"]
    assert rows(store)["a"]["batch"] == "2026w47-0001"
    source.world.append(candidate("w"))
    assert search(store, now=NOW + timedelta(days=7)).batches == ["2026w48-0001"]
    assert len(rows(store)) == 5


def test_of_two_searches_at_once_the_first_gives_the_batch(
    store: Store, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.world = [candidate("a"), candidate("b"), candidate("c", "platformer")]
    overtaken = FakeSource()
    overtaken.world = [candidate("new"), candidate("b"), candidate("a", description="another page")]

    def known_before_the_other_search_wrote(*arguments: Any) -> dict[str, dict[str, Any]]:
        known = known_videos(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.search.search.open_source", lambda config, home, options: source)
            patch.setattr("pipeline.search.search.known_videos", known_videos)
            search(store)
        return known

    monkeypatch.setattr("pipeline.search.search.open_source", lambda config, home, options: overtaken)
    monkeypatch.setattr("pipeline.search.search.known_videos", known_before_the_other_search_wrote)
    search(store, config(batch_size=1))
    assert {name: row["batch"] for name, row in rows(store).items()} == {
        "a": "2026w47-0001", "b": "2026w47-0001", "c": None, "new": "2026w47-0002"
    }  # fmt: skip
    assert len(store.read("videos")) == 4


def test_the_year_of_a_batch_is_the_year_of_its_week(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a")]
    assert search(store, now=datetime(2027, 1, 2, tzinfo=UTC)).batches == ["2026w53-0001"]


def test_a_video_that_two_queries_find_is_one_row_with_both(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a", query="one"), candidate("a", query="two"), candidate("b", query="two")]
    search(store)
    assert rows(store)["a"]["queries"] == ["one", "two"]
    searches = {row["query"]: row for row in store.read("searches").to_pylist()}
    assert (searches["one"]["found"], searches["one"]["new"]) == (1, 1)
    assert (searches["two"]["found"], searches["two"]["new"]) == (2, 1)
    source.world = [candidate("a", query="three")]
    search(store)
    assert rows(store)["a"]["queries"] == ["one", "two", "three"]
    assert rows(store)["a"]["batch"] == "2026w47-0001"


def test_better_rules_keep_what_was_rejected_and_never_take_back_a_batch(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a"), candidate("b", "platformer movie speedrun")]
    search(store)
    other = dataclasses.replace(config(), rules=RulesConfig(keywords=("platformer",), action_words=(), negations=()))
    assert search(store, other).batches == ["2026w47-0002"]
    assert rows(store)["b"]["verdict"] == "kept"
    none = dataclasses.replace(config(), rules=RulesConfig(keywords=("chess",), action_words=(), negations=()))
    search(store, none)
    assert {row["verdict"] for row in rows(store).values()} == {"kept"}


def test_rules_that_are_off_keep_everything_and_say_so(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a", "holiday"), candidate("b", "", error_class="permanent")]
    report = search(store, config(apply_rules=False))
    assert (report.kept, report.rejected) == (2, {})
    assert {row["rule"] for row in rows(store).values()} == {"off"}


@pytest.mark.parametrize(
    ("spec", "applies"), [("arcade", True), ("youtube", True), ("folder:x", False), ("urls:x", False)]
)
def test_rules_apply_by_default_to_what_strangers_offer(spec: str, applies: bool) -> None:
    assert SourceConfig(spec=spec).rules_apply is applies
    assert SourceConfig(spec=spec, apply_rules=not applies).rules_apply is not applies


def test_missing_metadata_is_counted_apart_and_healed_by_a_later_search(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a", "platformer", error_class="transient"), candidate("b")]
    assert search(store).rejected == {"no metadata: transient": 1}
    source.world[0] = candidate("a", "platformer", description="speedrun")
    assert search(store).batches == ["2026w47-0002"]
    assert rows(store)["a"]["rule"] == "kept:platformer+speedrun"
    source.world[0] = candidate("a", "", error_class="transient")
    before = versions(store)
    search(store)
    assert rows(store)["a"]["description"] == "speedrun"
    assert versions(store) == before


def test_what_was_taken_down_is_not_brought_in_again(store: Store, source: FakeSource) -> None:
    request_takedown(store, "video", "fake-a", "asked")
    request_takedown(store, "channel", "UC9", "asked")
    source.world = [candidate("a"), candidate("b", channel_id="UC9"), candidate("c")]
    report = search(store)
    assert (report.found, report.taken_down) == (1, 2)
    assert set(rows(store)) == {"c"}
    assert source.pages == ["c"], "nobody asks for what would be thrown away"


def noted(store: Store) -> set[str]:
    """Return the addresses in the journal of the unfinished search."""
    lines = home_of(store).search_journal.read_text("utf-8").split()
    return {word.strip('",') for word in lines if word.startswith('"http://x/')}


def test_a_url_that_was_taken_down_before_any_search_found_it_stays_out(
    store: Store, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_takedown(store, "url", "http://x/a", "asked")
    source.world = [candidate("a"), candidate("b"), candidate("c")]
    source.killed_at = "c"
    with pytest.raises(KeyboardInterrupt):
        search(store)
    assert noted(store) == {"http://x/b"}

    def pages(round: int | None = None, known: Known = unknown) -> Iterator[Candidate]:
        """Yield what pages gave that were asked without a list, as a feed's are."""
        yield from (candidate("a"), candidate("d"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(source, "search", pages)
        with pytest.raises(KeyboardInterrupt):
            search(store)
    assert noted(store) == {"http://x/b", "http://x/d"}
    source.killed_at = None
    assert search(store).taken_down == 1
    assert set(rows(store)) == {"b", "c"}


def test_every_search_after_the_first_asks_only_the_pages_that_can_tell_more(store: Store, source: FakeSource) -> None:
    source.world = [
        candidate("kept"),
        candidate("movie", "platformer movie speedrun"),
        candidate("plain", "platformer"),
        candidate("gone", "", error_class="permanent"),
        candidate("busy", error_class="transient"),
        candidate("live", live_status="is_live"),
        candidate("opted", "platformer speedrun file", error_class="opt_out", message="X-Robots-Tag: noai"),
    ]
    report = search(store)
    assert (report.kept, report.rejected) == (
        1,
        {
            "negation:movie": 1,
            "action: no action word in title or description": 1,
            "no metadata: permanent": 1,
            "no metadata: transient": 1,
            "live:is_live": 1,
            "opt_out:noai": 1,
        },
    )
    assert source.pages == ["kept", "movie", "plain", "gone", "busy", "live", "opted"]
    before = versions(store)
    search(store)
    # the page that is gone was never had: without a title it may be anything
    assert source.pages == ["gone", "busy", "live"]
    assert versions(store) == before
    search(store, dataclasses.replace(config(), rules=dataclasses.replace(RULES, max_age=3)))
    assert source.pages == ["movie", "plain", "gone", "busy", "live", "opted"]


def test_a_search_that_is_killed_goes_on_where_it_was(store: Store, source: FakeSource) -> None:
    source.world = [candidate(name, description=f"of {name}", tags=("t",)) for name in "abcd"]
    source.killed_at = "c"
    with pytest.raises(KeyboardInterrupt):
        search(store)
    assert versions(store) == (-1, -1)
    journal = home_of(store).search_journal
    with journal.open("a") as file:
        file.write('{"video_id": "torn')  # as a kill in the middle of a write leaves it
    source.killed_at = "d"
    with pytest.raises(KeyboardInterrupt):
        search(store)
    source.killed_at = None
    assert search(store).batches == ["2026w47-0001", "2026w47-0002"]
    assert source.pages == ["d"]
    assert {name: (row["description"], row["tags"]) for name, row in rows(store).items()} == {
        name: (f"of {name}", ["t"]) for name in "abcd"
    }
    assert not journal.exists()


@pytest.mark.parametrize(
    "damage",
    [{"duration_s": "a day"}, {"age_limit": [18]}, {"title": 5}, {"title": ["x"]}, {"tags": 5}, {"url": {}},
     {"at": "x"}, {"duration_s": 10**400}, {"age_limit": 10**30}, {"listed": "yes", "more": 1},
     {"video_id": None, "at": None}],
    ids=str,
)  # fmt: skip
def test_a_damaged_line_of_the_journal_costs_its_own_answer_at_most(
    store: Store, source: FakeSource, damage: dict[str, Any]
) -> None:
    source.world = [candidate(name) for name in "abc"]
    source.killed_at = "c"
    with pytest.raises(KeyboardInterrupt):
        search(store)
    journal = home_of(store).search_journal
    first, second = (json.loads(line) for line in journal.read_text().split("\n") if line)
    journal.write_text(json.dumps(first | damage) + "\n" + json.dumps(second) + "\n")
    source.killed_at = None
    search(store)
    assert {name: row["verdict"] for name, row in rows(store).items()} == dict.fromkeys("abc", "kept") | (
        {"a": "rejected"} if damage == {"age_limit": 10**30} else {}
    )
    assert "b" not in source.pages


def test_a_look_at_what_a_search_would_find_costs_its_pages_once(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a"), candidate("b")]
    dry_run = DryRunStore(store.root)
    search(dry_run)
    assert dry_run.touched
    assert versions(store) == (-1, -1)
    assert search(store).new == 2
    assert source.pages == []
    assert not home_of(store).search_journal.exists()


def test_a_video_that_was_renamed_is_judged_by_its_new_title(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a", "shooter speedrun"), candidate("b")]
    search(store)
    source.world[0] = candidate("a", "platformer speedrun")
    assert search(store).batches == ["2026w47-0002"]
    assert source.pages == ["a"]


def test_what_a_list_says_never_replaces_what_a_page_said(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a", description="long", tags=("x",)), candidate("b", "platformer", description="plain")]
    search(store)
    source.world = [candidate(name, query="another") for name in "ab"]
    search(store)
    assert {row["description"] for row in rows(store).values()} == {"long", "plain"}
    assert rows(store)["a"]["tags"] == ["x"]
    assert rows(store)["b"]["rule"] == "action: no action word in title or description"
    assert rows(store)["b"]["queries"] == ["q", "another"]


def test_a_kept_video_that_has_no_batch_yet_gets_one_and_keeps_what_its_page_said(
    store: Store, source: FakeSource
) -> None:
    source.world = [candidate("a", description="long")]
    search(store)
    store.replace("videos", [{**rows(store)["a"], "batch": None}])
    assert search(store).batches == ["2026w47-0001"]
    assert source.pages == []
    assert rows(store)["a"]["description"] == "long"


def test_rights_decide_where_the_words_do_not(store: Store, source: FakeSource) -> None:
    source.world = [
        candidate("free", "holiday", licence="CC BY 4.0"),
        candidate("none", "holiday"),
        candidate("closed", "holiday", licence="All rights reserved"),
        candidate("old", "holiday", age_limit=18),
        candidate("short", "holiday", duration_s=3.0),
    ]
    report = search(store, config(apply_rules=False))
    assert report.rejected == {"licence:All rights reserved": 1, "age:18": 1}
    assert (report.kept, report.unknown_licence) == (3, 2)
    blocking = dataclasses.replace(config(apply_rules=False), rules=dataclasses.replace(RULES, blocked=("closed",)))
    assert search(store, blocking).rejected == {"blocked:closed": 1, "age:18": 1}


def test_metadata_is_no_verdict_where_it_is_missing(store: Store, source: FakeSource) -> None:
    """A title that passes says nothing of licence and age."""
    source.world = [candidate("a", error_class="transient")]
    assert search(store).rejected == {"no metadata: transient": 1}
    source.world = [candidate("a", licence="All rights reserved")]
    assert search(store).rejected == {"licence:All rights reserved": 1}


def test_a_premiere_is_a_candidate_once_it_was_shown(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a", error_class="live", live_status="is_upcoming")]
    assert search(store).rejected == {"live:is_upcoming": 1}
    source.world = [candidate("a", live_status="was_live")]
    assert search(store).batches == ["2026w47-0001"]


def test_a_query_that_finds_nothing_is_recorded_beside_the_others(store: Store, source: FakeSource) -> None:
    source.world, source.asked = [candidate("a")], ["q", "empty"]
    assert search(store).failures == {"empty": "found nothing"}
    assert {row["query"]: row["found"] for row in store.read("searches").to_pylist()} == {"q": 1, "empty": 0}
    before = versions(store)
    search(store)
    assert versions(store) == before


def test_a_search_that_finds_nothing_is_an_error_that_names_the_source(store: Store, source: FakeSource) -> None:
    with pytest.raises(UserError, match=r"'youtube' found nothing: change source\.queries"):
        search(store)
    source.failures = {"mario": "blocked"}
    with pytest.raises(UserError, match="'mario' failed with: blocked"):
        search(store)
    assert versions(store) == (-1, -1)


def test_one_failing_query_is_reported_and_the_others_count(store: Store, source: FakeSource) -> None:
    source.world, source.failures = [candidate("a")], {"bad": "blocked"}
    assert search(store).failures == {"bad": "blocked"}


def test_a_round_of_a_closed_world_is_done_until_rules_or_world_change(store: Store, source: FakeSource) -> None:
    source.world = [candidate("a")]
    arcade = config(spec="arcade")
    assert not search_is_done(store, arcade, 1)
    search(store, arcade, round=1)
    assert search_is_done(store, arcade, 1)
    assert not search_is_done(store, arcade, 2)
    assert search_is_done(store, config(spec="arcade", batch_size=9), 1)
    assert not search_is_done(store, dataclasses.replace(arcade, arcade=ArcadeConfig(videos=3)), 1)
    assert not search_is_done(store, dataclasses.replace(arcade, rules=RulesConfig()), 1)
    assert not search_is_done(store, config(), 1)


def test_titles_of_any_kind_are_stored_and_compared(store: Store, source: FakeSource) -> None:
    titles = ["a/b\\..", "q'uo\"te", "new\nline", "🎮" * 500, "' OR 1=1 --"]
    source.world = [candidate(str(index), f"platformer speedrun {title}") for index, title in enumerate(titles)]
    search(store)
    before = versions(store)
    search(store)
    assert versions(store) == before
    assert [rows(store)[str(index)]["title"] for index in range(5)] == [
        f"platformer speedrun {title}" for title in titles
    ]
    assert len(store.read("videos", where=pc.field("verdict") == "kept")) == 5
