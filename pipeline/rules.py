"""The search rules of Genie App. B.1, and the rule that decided.

A video is kept when its TITLE has a keyword, its TITLE has no negation, and its TITLE or DESCRIPTION has an action
word. Words are compared whole: `ost` is not in "lost", `movie` is not in "movielike". Case, accents, styled letters,
apostrophes, hyphens and emoji make no difference; in scripts without spaces every character counts as a word.

    judge("2D PLATFORMÉR speed-run!", "", RulesConfig())  # kept:platformer+speed run
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pipeline.config import fingerprint
from pipeline.config.source import RulesConfig
from pipeline.errors import UserError

OFF = "off"
NO_KEYWORD = "keyword: no platformer word in title"
NO_ACTION = "action: no action word in title or description"

_APOSTROPHES = re.compile(r"['\u2019\u2018`\u00b4\u02bc]")
# a percent sign and an ampersand carry meaning ("any%", "jump & run"); CJK, kana and Thai are written without spaces
_WORDS = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W_\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+|[%&]")


@dataclass(frozen=True)
class Verdict:
    """What the rules say of one video, and the rule that decided."""

    kept: bool
    rule: str


def words(text: str) -> list[str]:
    """Return text as the words that rules compare: folded, without accents, marks and punctuation."""
    text = _APOSTROPHES.sub("", text)
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    # Mn: accents; Cf: zero-width joiners and soft hyphens that would split a word
    plain = "".join(char for char in folded if unicodedata.category(char) not in {"Mn", "Cf"})
    return ["and" if word == "&" else word for word in _WORDS.findall(plain)]


def _phrase(text: str) -> str:
    return f" {' '.join(words(text))} "


@lru_cache(maxsize=64)
def _phrases(rule: str, entries: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = tuple((_phrase(entry), entry) for entry in entries)
    for phrase, entry in pairs:
        if not phrase.strip():
            raise UserError(f"rules.{rule} holds {entry!r}, which has no letter or digit: remove it")
    return pairs


def _first(text: str, pairs: Iterable[tuple[str, str]]) -> str | None:
    return next((entry for phrase, entry in pairs if phrase in text), None)


def judge_title(title: str, rules: RulesConfig) -> Verdict:
    """Return what the title alone decides: a rejection, or `kept` by its keyword with the action still to see."""
    text = _phrase(title)
    keyword = _first(text, _phrases("keywords", rules.keywords)) if rules.keywords else ""
    if keyword is None:
        return Verdict(False, NO_KEYWORD)
    negation = _first(text, _phrases("negations", rules.negations))
    if negation is not None:
        return Verdict(False, f"negation:{negation}")
    return Verdict(True, f"kept:{keyword}")


def judge(title: str, description: str, rules: RulesConfig) -> Verdict:
    """Return the verdict on a video; tags are not asked, because uploaders fill them with everything."""
    verdict = judge_title(title, rules)
    if not verdict.kept or not rules.action_words:
        return verdict
    actions = _phrases("action_words", rules.action_words)
    action = _first(_phrase(title), actions) or _first(_phrase(description), actions)
    if action is None:
        return Verdict(False, NO_ACTION)
    return Verdict(True, f"{verdict.rule}+{action}")


def rules_version(rules: RulesConfig) -> str:
    """Return a short hash of the lists: it stands beside every verdict."""
    return fingerprint(rules)
