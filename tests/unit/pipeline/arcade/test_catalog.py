"""The catalog of the embedded source: the same by seed, divided well, with titles that the rules must see through."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from pipeline.arcade.catalog import (
    BUNDLED,
    DUPLICATES,
    GOOD,
    MIXED,
    RUBBISH,
    TRAPS,
    Recording,
    catalog,
    read_catalog,
    write_catalog,
)
from pipeline.config.demo import demo
from pipeline.config.source import ArcadeConfig, RulesConfig
from pipeline.errors import UserError
from pipeline.rules import judge
from pipeline.shards.splits import group_of, split_of

DEMO = catalog(ArcadeConfig())


def split(recording: Recording) -> str:
    video = {"extractor": "arcade", "channel_id": recording.channel_id, "video_id": f"arcade-{recording.native_id}"}
    return split_of(group_of(video), demo().split)


def test_the_same_seed_gives_the_same_catalog_and_another_seed_another() -> None:
    assert catalog(ArcadeConfig()) == DEMO
    other = catalog(ArcadeConfig(seed=ArcadeConfig().seed + 1))
    assert not {r.native_id for r in other} & {r.native_id for r in DEMO}
    assert not {r.seed for r in other} & {r.seed for r in DEMO}


def test_a_longer_catalog_starts_with_the_recordings_of_a_shorter_one() -> None:
    shorter = catalog(ArcadeConfig(videos=20))
    assert [(r.native_id, r.fingerprint) for r in shorter] == [(r.native_id, r.fingerprint) for r in DEMO[:20]]


def test_ids_are_eleven_safe_characters_and_unique() -> None:
    many = catalog(ArcadeConfig(videos=600))
    assert len({r.native_id for r in many}) == 600
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{11}", r.native_id) for r in many)


def test_the_demo_holds_out_nine_good_sources_that_no_copy_touches_and_trains_on_fifteen() -> None:
    copied = {r.seed for r in DEMO if r.kind in DUPLICATES}
    good = [r for r in DEMO if r.kind == GOOD and r.seed not in copied]
    channels = {name: {r.channel_id for r in good if split(r) == name} for name in ("train", "val")}
    assert len(channels["val"]) >= 9
    assert len(channels["train"]) >= 15


def test_rubbish_that_passes_the_rules_is_enough_for_a_classifier_in_both_splits() -> None:
    rubbish = [r for r in DEMO if r.kind in RUBBISH]
    assert len(rubbish) >= 10
    assert sum(int(r.seconds // 16) for r in rubbish) >= 30
    assert Counter(split(r) for r in rubbish)["val"] >= 3


def test_every_role_is_played() -> None:
    kinds = {r.kind for r in catalog(ArcadeConfig(videos=50))}
    assert kinds == {GOOD, *DUPLICATES, *BUNDLED, *RUBBISH, *MIXED, *TRAPS}


def test_the_rules_reject_the_traps_and_keep_everything_else() -> None:
    for recording in catalog(ArcadeConfig(videos=150)):
        verdict = judge(recording.title, recording.description, RulesConfig())
        assert verdict.kept != recording.rejected, (recording.kind, recording.title, verdict.rule)


def test_each_trap_is_rejected_for_its_own_reason() -> None:
    found = {r.kind: judge(r.title, r.description, RulesConfig()).rule for r in DEMO if r.rejected}
    assert found["unboxing_talk"] == "negation:unboxing"
    assert found["the_movie"] == "negation:movie"
    assert found["no_action_word"].startswith("action")
    assert found["shooter_speedrun"].startswith("keyword")
    assert found["keyword_in_tags"].startswith("keyword")
    assert "platformer" in next(r for r in DEMO if r.kind == "keyword_in_tags").tags


def test_titles_are_as_wild_as_on_the_web() -> None:
    titles = [r.title for r in DEMO]
    assert any(len(title) == 500 for title in titles)
    for part in ("/", '"', "\n", "../", "🎮", "「", "é", "SPEEDRUN"):
        assert any(part in title for title in titles), part
    assert {"en", "fr", "es", "de", "ja"} <= {r.language for r in DEMO}


def test_streams_are_as_varied_as_on_the_web() -> None:
    assert {(640, 360), (320, 180), (256, 144), (320, 240)} <= {(r.width, r.height) for r in DEMO}
    assert {r.codec for r in DEMO} == {"h264", "vp9"}
    assert {15, 24, 25, 30, 60} <= {r.fps for r in DEMO}
    assert {r.audio for r in DEMO} == {r.variable_rate for r in DEMO} == {True, False}


def test_copies_show_a_good_recording_of_another_channel() -> None:
    originals = {r.seed: r for r in DEMO if r.kind == GOOD}
    for copy in (r for r in DEMO if r.kind in DUPLICATES):
        assert originals[copy.seed].channel_id != copy.channel_id
        assert originals[copy.seed].title != copy.title


@pytest.mark.parametrize("rounds", [1, 2, 3, 5])
def test_every_round_but_the_first_adds_about_as_much(rounds: int) -> None:
    found = Counter(r.round for r in catalog(ArcadeConfig(rounds=rounds)))
    assert sorted(found) == list(range(1, rounds + 1))
    assert rounds == 1 or found[1] == 32
    later = [count for number, count in found.items() if number > 1]
    assert rounds == 1 or max(later) - min(later) <= 1


def test_a_catalog_is_read_back_as_it_was_written_and_not_written_twice(tmp_path: Path) -> None:
    write_catalog(tmp_path, DEMO)
    before = (tmp_path / "catalog.json").stat()
    write_catalog(tmp_path, DEMO)
    assert (tmp_path / "catalog.json").stat().st_mtime_ns == before.st_mtime_ns
    assert read_catalog(tmp_path) == DEMO


@pytest.mark.parametrize("wrong", [{"videos": 0}, {"seconds": 0.5}, {"rounds": 0}, {"seed": -1}])
def test_a_wrong_setting_names_itself(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"arcade.{next(iter(wrong))} = "):
        ArcadeConfig(**wrong)  # type: ignore[arg-type]
