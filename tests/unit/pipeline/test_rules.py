"""The search rules, on titles as people write them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pipeline.config import RulesConfig
from pipeline.errors import UserError
from pipeline.rules import (
    NO_ACTION,
    NO_KEYWORD,
    Verdict,
    judge,
    judge_listed,
    judge_row,
    judge_title,
    rules_version,
    words,
)

RULES = RulesConfig(
    keywords=("platformer", "jump'n'run", "jump & run", "jeu de plateforme", "プラットフォーマー"),
    action_words=("speedrun", "let's play", "any%", "world record", "実況"),
    negations=("movie", "unboxing", "ost", "top 10"),
)


@pytest.mark.parametrize(
    ("title", "rule"),
    [
        ("Platformer speedrun", "kept:platformer+speedrun"),
        ("PLATFORMER SPEEDRUN!!!", "kept:platformer+speedrun"),
        ("Plátförmer: spéedrun", "kept:platformer+speedrun"),
        ("Ｐｌａｔｆｏｒｍｅｒ 𝘀𝗽𝗲𝗲𝗱𝗿𝘂𝗻", "kept:platformer+speedrun"),
        ("Plat\u200dformer\u00ad 🏃speedrun🏃", "kept:platformer+speedrun"),
        ("2D-platformer|any%|#12", "kept:platformer+any%"),
        ("platformer any %", "kept:platformer+any%"),
        ("Jump’n’Run — LET’S PLAY #3", "kept:jump'n'run+let's play"),
        ("jump and run lets play", "kept:jump & run+let's play"),
        ("Jeu  de\nplateforme world/record", "kept:jeu de plateforme+world record"),
        ("新作プラットフォーマーを実況する", "kept:プラットフォーマー+実況"),
        ("platformer hosting speedrun lost", "kept:platformer+speedrun"),
    ],
)
def test_a_title_is_kept_whatever_its_case_accents_and_decoration(title: str, rule: str) -> None:
    assert judge(title, "", RULES) == Verdict(True, rule)


@pytest.mark.parametrize(
    ("title", "rule"),
    [
        ("Shooter speedrun any%", NO_KEYWORD),
        ("platformers speedrun", NO_KEYWORD),  # another word: lists name their plurals
        ("platformer", NO_ACTION),
        ("platformer speedrunner", NO_ACTION),
        ("platformer speedrun the MÓVIE", "negation:movie"),
        ("platformer speedrun (OST)", "negation:ost"),
        ("top-10 platformer speedrun", "negation:top 10"),
        ("", NO_KEYWORD),
        ("🎮🎮🎮", NO_KEYWORD),
    ],
)
def test_a_rejection_names_the_rule_that_decided(title: str, rule: str) -> None:
    assert judge(title, "", RULES) == Verdict(False, rule)


def test_an_action_may_stand_in_the_description_but_a_keyword_may_not() -> None:
    assert judge("A platformer", "a Speed run, no: a SPEEDRUN", RULES).kept
    assert judge("speedrun", "of a platformer", RULES) == Verdict(False, NO_KEYWORD)


def test_a_negation_counts_in_the_title_only() -> None:
    assert judge("platformer speedrun", "better than the movie", RULES).kept


def test_the_title_alone_already_tells_most_rejections() -> None:
    assert judge_title("platformer", RULES) == Verdict(True, "kept:platformer")
    assert judge_title("platformer unboxing", RULES) == Verdict(False, "negation:unboxing")


def test_an_empty_list_switches_its_rule_off() -> None:
    open_rules = RulesConfig(keywords=(), action_words=(), negations=())
    assert judge("anything", "", open_rules).kept
    assert not judge("anything", "", dataclasses.replace(open_rules, keywords=("platformer",))).kept


def test_a_list_entry_without_a_word_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"rules\.negations holds '!!'"):
        judge("platformer", "", dataclasses.replace(RULES, negations=("movie", "!!")))


def test_a_title_of_a_million_characters_is_judged() -> None:
    assert not judge("platform " * 120_000, "", RULES).kept


@pytest.mark.parametrize(
    ("title", "description", "kept"),
    [
        ("Celestial Caves - 2D platformer speedrun any% in 12:34", "", True),
        ("Super Mario World 96 exit playthrough", "", True),
        ("Hollow Knight - Full Game Walkthrough (No Commentary)", "", True),
        ("juego de plataformas - jugando el nivel 3", "", True),
        ("Прохождение: платформер про лису", "", True),
        ("jump and run", "we run and jump on every level", False),
        ("platformer unboxing - speedrun talk", "", False),
        ("platformer playthrough: the movie", "", False),
        ("How to make a platformer in 10 minutes", "gameplay at the end", False),
        ("Platformer OST - full soundtrack", "gameplay", False),
        ("Pixel Shooter speedrun world record", "tags: platformer", False),
        ("3D platformer playthrough", "", False),
    ],
)
def test_the_default_lists_judge_as_a_person_would(title: str, description: str, kept: bool) -> None:
    assert judge(title, description, RulesConfig()).kept is kept


def test_every_default_keyword_is_kept_with_every_default_action_unless_negated() -> None:
    rules = RulesConfig()
    for keyword in rules.keywords:
        assert judge(f"{keyword} {rules.action_words[0]}", "", rules).kept, keyword
    for action in rules.action_words:
        assert judge(f"platformer - {action}", "", rules).kept, action
    for negation in rules.negations:
        assert judge(f"platformer speedrun - {negation}", "", rules) == Verdict(False, f"negation:{negation}")


def test_the_version_changes_with_any_word() -> None:
    assert rules_version(RULES) == rules_version(dataclasses.replace(RULES))
    assert rules_version(RULES) != rules_version(dataclasses.replace(RULES, negations=("movie",)))


def test_words_split_scripts_without_spaces_by_character() -> None:
    assert words("横版a过关 Jump&Run 100%") == ["横", "版", "a", "过", "关", "jump", "and", "run", "100", "%"]


# -- rights, and what a list alone tells --------------------------------------------------------------------------

GOOD = {"title": "Platformer speedrun", "description": "", "duration_s": 60.0}


@pytest.mark.parametrize(
    ("facts", "rules", "rule"),
    [
        ({"native_id": "abc"}, {"blocked": ("abc",)}, "blocked:abc"),
        ({"video_id": "youtube-abc"}, {"blocked": ("x", "youtube-abc")}, "blocked:youtube-abc"),
        ({"channel_id": "UC1"}, {"blocked": ("UC1",)}, "blocked:UC1"),
        ({"channel": "Fox Fable "}, {"blocked": ("fox fable",)}, "blocked:fox fable"),
        ({"url": "http://x/1"}, {"blocked": ("http://x/1",)}, "blocked:http://x/1"),
        ({"age_limit": 18}, {}, "age:18"),
        ({"age_limit": 12}, {"max_age": 10}, "age:12"),
        ({"live_status": "is_live"}, {}, "live:is_live"),
        ({"live_status": "is_upcoming"}, {}, "live:is_upcoming"),
        ({"licence": "All rights reserved"}, {}, "licence:All rights reserved"),
        ({"licence": "Permitted use"}, {}, "licence:Permitted use"),
        ({"licence": None}, {"licences": ("creative commons",)}, "licence: unknown"),
        ({"rule": "opt_out:noai"}, {}, "opt_out:noai"),
    ],
)
def test_rights_are_asked_with_and_without_the_words(facts: dict, rules: dict, rule: str) -> None:
    judged = dataclasses.replace(RULES, **rules)
    assert judge_row({**GOOD, **facts}, judged) == Verdict(False, rule)
    assert judge_row({**GOOD, "title": "holiday", **facts}, judged, words=False) == Verdict(False, rule)


@pytest.mark.parametrize(
    "facts",
    [
        {"licence": "Creative Commons Attribution license (reuse allowed)"},
        {"licence": "CC-BY 4.0"},
        {"licence": "https://creativecommons.org/licenses/by/4.0/"},
        {"licence": "https://creativecommons.org/publicdomain/zero/1.0/"},
        {"licence": "GPL v2"},
        {"licence": None},
        {"age_limit": None, "live_status": None, "duration_s": None, "language": None},
        {"age_limit": 17, "live_status": "was_live"},
        {"duration_s": 16.0},
        {"channel": "", "channel_id": None},
    ],
)
def test_what_is_allowed_or_not_told_passes(facts: dict) -> None:
    rules = dataclasses.replace(RULES, blocked=("someone else", " "))
    assert judge_row({**GOOD, **facts}, rules) == Verdict(True, "kept:platformer+speedrun")
    assert judge_row({**GOOD, **facts}, rules, words=False) == Verdict(True, "off")


@pytest.mark.parametrize(
    ("facts", "rules", "rule"),
    [
        ({"duration_s": 5.9}, {}, "duration: 5 s"),
        ({"duration_s": 50_000.0}, {}, "duration: 13 h"),
        ({"language": "de"}, {"languages": ("en", "fr")}, "language:de"),
        ({"language": None}, {"languages": ("en",)}, "language: unknown"),
        ({"title": "Shooter speedrun"}, {}, NO_KEYWORD),
        ({"title": "platformer"}, {}, NO_ACTION),
    ],
)
def test_duration_and_language_decide_where_the_words_do(facts: dict, rules: dict, rule: str) -> None:
    judged = dataclasses.replace(RULES, **rules)
    assert judge_row({**GOOD, **facts}, judged) == Verdict(False, rule)
    assert judge_row({**GOOD, **facts}, judged, words=False).kept


def test_a_language_covers_its_countries_and_unknown_can_be_taken() -> None:
    rules = dataclasses.replace(RULES, languages=("en", "unknown"))
    for language in ("en", "en-GB", "EN_us", None):
        assert judge_row({**GOOD, "language": language}, rules).kept, language
    assert not judge_row({**GOOD, "language": "eng"}, rules).kept


def test_an_opt_out_holds_while_its_word_is_in_the_list() -> None:
    row = {**GOOD, "rule": "opt_out:noai"}
    assert not judge_row(row, RULES).kept
    assert judge_row(row, dataclasses.replace(RULES, opt_out=("noindex",))).kept


def test_a_list_decides_what_it_tells_and_leaves_the_rest_to_the_page() -> None:
    assert judge_listed({"title": "platformer"}, RULES).kept  # the action word may stand in the description
    assert judge_listed({"title": "", "duration_s": 5}, RULES).kept
    assert judge_listed({"title": "shooter"}, RULES) == Verdict(False, NO_KEYWORD)
    assert judge_listed({"title": "platformer", "duration_s": 5}, RULES) == Verdict(False, "duration: 5 s")
    assert judge_listed({"title": "shooter", "duration_s": 5}, RULES, words=False).kept
    blocked = dataclasses.replace(RULES, blocked=("UC1",))
    assert not judge_listed({"title": "", "channel_id": "UC1"}, blocked, words=False).kept


def test_a_list_rejects_for_the_rule_that_the_whole_row_is_rejected_for() -> None:
    rules = dataclasses.replace(RULES, licences=("cc by",), languages=("en",))
    for facts in ({"title": "shooter"}, {"duration_s": 3}, {"age_limit": 18}, {"live_status": "is_live"}):
        row = {**GOOD, **facts}
        assert judge_listed(row, rules).rule == judge_row(row, rules).rule


def test_the_version_without_words_changes_with_the_rights_alone() -> None:
    off = rules_version(RULES, words=False)
    assert off != rules_version(RULES)
    assert off == rules_version(dataclasses.replace(RULES, negations=()), words=False)
    assert off != rules_version(dataclasses.replace(RULES, blocked=("x",)), words=False)


def test_every_rule_that_can_decide_is_written_down() -> None:
    text = (Path(__file__).parents[3] / "docs" / "search.md").read_text("utf-8")
    table = [line for line in text.splitlines() if line.startswith("| `")]
    judged = dataclasses.replace(RULES, blocked=("x",), languages=("en",), licences=("cc by",))
    rows = [
        {"native_id": "x"}, {"rule": "no metadata: transient"}, {"rule": "opt_out:noai"}, {"rule": "odd_file: a pipe"},
        {"live_status": "is_live"}, {"age_limit": 18}, {"title": "shooter"},
        {"title": "platformer movie"}, {"duration_s": 3}, {"licence": "GPL"},
        {"licence": None}, {"language": "de"}, {"language": None}, {"title": "platformer"}, {},
    ]  # fmt: skip
    fine = {**GOOD, "licence": "CC BY", "language": "en"}
    decided = [judge_row({**fine, **row}, judged).rule for row in rows]
    # in the order in which they are asked, kept last
    places = [
        next(place for place, line in enumerate(table) if f"`{rule.partition(':')[0]}:" in line) for rule in decided
    ]
    assert places == sorted(places)
    assert len(set(places)) == len(table[places[0] : places[-1] + 1])
