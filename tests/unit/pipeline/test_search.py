"""Search: rows, verdicts and batches, over several passes of a source that changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from pipeline.config import ArcadeConfig, Config, RulesConfig, SourceConfig
from pipeline.errors import UserError
from pipeline.home import home_of
from pipeline.search import SearchReport, batches, search_is_done, search_videos
from pipeline.sources.base import Candidate, Known, unknown
from pipeline.store import Store
from pipeline.takedown import request_takedown

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RULES = RulesConfig(keywords=("platformer",), action_words=("speedrun",), negations=("movie",))


def candidate(name: str, title: str = "platformer speedrun", query: str = "q", **facts: Any) -> Candidate:
    return Candidate(
        video_id=f"fake-{name}",
        extractor="fake",
        native_id=name,
        url=f"http://x/{name}",
        query=query,
        title=title,
        **facts,
    )


class FakeSource:
    """A world of candidates that a test changes between searches."""

    kind = "youtube"

    def __init__(self) -> None:
        self.world: list[Candidate] = []
        self.failures: dict[str, str] = {}
        self.asked: list[str] = []
        self.pages: list[str] = []

    def __enter__(self) -> FakeSource:
        return self

    def __exit__(self, *error: object) -> None: ...

    def search(self, round: int | None = None, known: Known = unknown) -> Iterator[Candidate]:
        """Ask the page of each that is not known, and note which."""
        self.pages = []
        for one in self.world:
            listed = dataclasses.replace(one, description="", tags=(), error_class=None, listed=True)
            if known(listed):
                yield listed
            else:
                self.pages.append(one.native_id)
                yield one


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    fake = FakeSource()
    monkeypatch.setattr("pipeline.search.open_source", lambda config, home, options: fake)
    return fake


def config(**source: Any) -> Config:
    return Config(source=SourceConfig(**{"spec": "youtube", "batch_size": 2, **source}), rules=RULES)


def search(store: Store, settings: Config | None = None, now: datetime = NOW, **options: Any) -> SearchReport:
    return search_videos(store, settings or config(), home_of(store), now=now, **options)


def rows(store: Store) -> dict[str, dict[str, Any]]:
    return {row["native_id"]: row for row in store.read("videos").to_pylist()}


def versions(store: Store) -> tuple[int, int]:
    return store.version("videos"), store.version("searches")


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


def test_a_real_folder_becomes_rows_without_rules(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    for name in ("one.mp4", "deep/two.mkv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    settings = Config(source=SourceConfig(spec=f"folder:{folder}"))
    report = search_videos(store, settings, home_of(store), now=NOW)
    assert (report.found, report.kept, report.batches) == (2, 2, ["2026w47-0001"])
    assert sorted(rows(store)) == ["deep/two.mkv", "one.mp4"]
    before = versions(store)
    search_videos(store, settings, home_of(store))
    assert versions(store) == before
