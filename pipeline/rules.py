"""Judge videos by the search rules of Genie App. B.1 and by the rights that their use requires.

A video is kept when its TITLE has a keyword, its TITLE has no negation, and its TITLE or DESCRIPTION has an action
word. Words are compared whole: `ost` is not in "lost", `movie` is not in "movielike". Case, accents, styled letters,
apostrophes, hyphens and emoji make no difference; in scripts without spaces every character counts as a word.

The words are not checked where `words=False` (your own folder or list). Rights are, but for `rights=False` (your own
folder): a file on your own disk is neither live nor shown to anybody, whatever the sidecar beside it says.

    judge("2D PLATFORMÉR speed-run!", "", RulesConfig())  # kept:platformer+speed run
    judge_row({"title": "platformer speedrun", "age_limit": 18}, RulesConfig())  # age:18

| rule | decided by |
|---|---|
| `blocked:<entry>` | an id, channel id, channel name or URL of `rules.blocked` |
| `opt_out:<word>` | the `X-Robots-Tag` header of a direct file |
| `odd_file: <what>` | a file of a folder that is no regular one: a pipe, a device, a link that leads nowhere |
| `live:<status>` | a stream that is live or announced |
| `age:<years>` | an audience older than `rules.max_age` |
| `keyword: ...`, `negation:<word>` | the title |
| `duration: <n> s`, `duration: <n> h` | whole seconds of one too short, whole hours of one too long |
| `licence:<name>`, `licence: unknown` | no entry of `rules.licences` is in its name |
| `language:<code>`, `language: unknown` | `rules.languages` |
| `action: ...` | neither title nor description |
| `no metadata: <class>` | the page failed; the next search requests it again where that may help |
| `kept:<keyword>+<action>`, `off` | kept; `off` where the words are not checked |

`blocked`, `opt_out` and `odd_file` are checked in any case.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pipeline.config import fingerprint
from pipeline.config.source import RulesConfig
from pipeline.errors import UserError

OFF = "off"
NO_KEYWORD = "keyword: no platformer word in title"
NO_ACTION = "action: no action word in title or description"
NO_METADATA = "no metadata: "
OPT_OUT = "opt_out:"
ODD_FILE = "odd_file"
UNKNOWN = "unknown"
JUDGED = (
    "video_id", "native_id", "url", "title", "description", "channel_id", "channel", "duration_s", "licence",
    "age_limit", "live_status", "language", "rule",
)  # fmt: skip
"""The columns of `videos` that `judge_row` looks at."""

_APOSTROPHES = re.compile(r"['\u2019\u2018`\u00b4\u02bc]")
# a percent sign and an ampersand carry meaning ("any%", "jump & run"); CJK, kana and Thai are written without spaces
_WORDS = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W_\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+|[%&]")


@dataclass(frozen=True)
class Verdict:
    """Whether the rules keep a video, and the rule that decided."""

    kept: bool
    rule: str


def words(text: str) -> list[str]:
    """Return text as the words that rules compare: folded, without accents, marks and punctuation."""
    text = _APOSTROPHES.sub("", text)
    plain = text.lower()
    if not text.isascii():  # half of the time of judging a plain English description (measured)
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
    """Return the verdict of the title alone: a rejection, or kept by its keyword with the action word still open."""
    text = _phrase(title)
    keyword = _first(text, _phrases("keywords", rules.keywords)) if rules.keywords else ""
    if keyword is None:
        return Verdict(False, NO_KEYWORD)
    negation = _first(text, _phrases("negations", rules.negations))
    if negation is not None:
        return Verdict(False, f"negation:{negation}")
    return Verdict(True, f"kept:{keyword}")


def keyword_of(title: str, rules: RulesConfig) -> str | None:
    """Return the first keyword that a title has, rejected or not; None where it has none."""
    return _first(_phrase(title), _phrases("keywords", rules.keywords))


def judge(title: str, description: str, rules: RulesConfig) -> Verdict:
    """Return the verdict of the words; tags do not count, because uploaders fill them with everything."""
    verdict = judge_title(title, rules)
    if not verdict.kept or not rules.action_words:
        return verdict
    actions = _phrases("action_words", rules.action_words)
    action = _first(_phrase(title), actions) or _first(_phrase(description), actions)
    if action is None:
        return Verdict(False, NO_ACTION)
    return Verdict(True, f"{verdict.rule}+{action}")


def judge_row(row: Mapping[str, Any], rules: RulesConfig, *, words: bool = True, rights: bool = True) -> Verdict:
    """Return the verdict on a video whose page was read.

    Args:
        row: columns of `videos`, those of `JUDGED`; one that is missing or null is unknown, and unknown passes (but for
            licences and languages, where the lists say whether it does). What only a server or a folder could tell
            stands in `rule`: metadata that could not be had, and an opt-out, which is upheld while its word is in
            `rules.opt_out`.
        rules: the lists.
        words: whether title, description, duration and language are checked.
        rights: whether live status, age and licence are checked; `rules.blocked` always is.
    """
    for rule in (
        *_ALWAYS,
        *(_LISTED_RIGHTS if rights else ()),
        *(_LISTED_WORDS if words else ()),
        *(_PAGE_RIGHTS if rights else ()),
        *(_PAGE_WORDS if words else ()),
    ):
        reason = rule(row, rules)
        if reason is not None:
            return Verdict(False, reason)
    return judge(_text(row, "title"), _text(row, "description"), rules) if words else Verdict(True, OFF)


def judge_listed(row: Mapping[str, Any], rules: RulesConfig, *, words: bool = True) -> Verdict:
    """Return the verdict on a list's entry: a rejection, or kept (by `listed`) because its page is worth a request.

    A list may lack the title, and holds neither licence nor description nor language.
    """
    asked = [*_ALWAYS, *_LISTED_RIGHTS, *(_LISTED_WORDS if words and row.get("title") else ())]
    reason = next((reason for rule in asked if (reason := rule(row, rules)) is not None), None)
    return Verdict(reason is None, reason or "listed")


def rules_version(rules: RulesConfig, *, words: bool = True, rights: bool = True) -> str:
    """Return a short hash of the rules that decide (without the words: of the rights alone); each verdict stores it."""
    if words and rights:
        return fingerprint(rules)
    if words:
        fixed = {name: getattr(RulesConfig(), name) for name in ("licences", "max_age", "live")}
        return f"words-{fingerprint(dataclasses.replace(rules, **fixed))}"
    return f"{OFF if rights else 'own'}-{fingerprint({name: getattr(rules, name) for name in _deciding(rights)})}"


def _deciding(rights: bool) -> tuple[str, ...]:
    """Return the settings that decide without the words."""
    return ("licences", "max_age", "live", "blocked", "opt_out") if rights else ("blocked", "opt_out")


# -- one rule each: the reason of a rejection, or None ------------------------------------------------------------


def _text(row: Mapping[str, Any], name: str) -> str:
    return str(row.get(name) or "")


def _blocked(row: Mapping[str, Any], rules: RulesConfig) -> str | None:
    if not rules.blocked:
        return None
    ids = {row.get("video_id"), row.get("native_id"), row.get("url"), row.get("channel_id")}
    name = _text(row, "channel").strip().casefold()
    for entry in rules.blocked:
        plain = entry.strip()
        if plain and (plain in ids or plain.casefold() == name):
            return f"blocked:{entry}"
    return None


def _told(row: Mapping[str, Any], rules: RulesConfig) -> str | None:
    rule = _text(row, "rule")
    if rule.startswith((NO_METADATA, f"{ODD_FILE}:")):
        return rule
    word = rule.removeprefix(OPT_OUT) if rule.startswith(OPT_OUT) else ""
    return rule if word and word in {entry.casefold() for entry in rules.opt_out} else None


def _live(row: Mapping[str, Any], rules: RulesConfig) -> str | None:
    status = _text(row, "live_status")
    return f"live:{status}" if status in {"is_live", "is_upcoming"} and not rules.live else None


def _age(row: Mapping[str, Any], rules: RulesConfig) -> str | None:
    age = row.get("age_limit")
    return f"age:{age}" if age is not None and age > rules.max_age else None


def _title(row: Mapping[str, Any], rules: RulesConfig) -> str | None:
    verdict = judge_title(_text(row, "title"), rules)
    return None if verdict.kept else verdict.rule


def _duration(row: Mapping[str, Any], rules: RulesConfig) -> str | None:
    seconds = row.get("duration_s")
    if seconds is None:
        return None
    # whole numbers, so that a million videos still give a short list of reasons
    if seconds < rules.min_duration_s:
        return f"duration: {int(seconds)} s"
    return f"duration: {int(seconds // 3600)} h" if seconds > rules.max_duration_s else None


def _licence(row: Mapping[str, Any], rules: RulesConfig) -> str | None:
    if not rules.licences:
        return None
    name = _text(row, "licence").strip()
    if not name:
        return None if UNKNOWN in rules.licences else f"licence: {UNKNOWN}"
    # as in https://creativecommons.org/licenses/by/4.0/
    text = _phrase(re.sub(r"creativecommons\.org/(licenses|publicdomain)/", " creative commons cc ", name))
    entries = _phrases("licences", tuple(entry for entry in rules.licences if entry != UNKNOWN))
    return None if _first(text, entries) is not None else f"licence:{name[:80]}"


def _language(row: Mapping[str, Any], rules: RulesConfig) -> str | None:
    if not rules.languages:
        return None
    code = _text(row, "language").strip().casefold().replace("_", "-") or UNKNOWN
    wanted = {entry.strip().casefold().replace("_", "-") for entry in rules.languages}
    if code in wanted or code.partition("-")[0] in wanted:
        return None
    return f"language: {UNKNOWN}" if code == UNKNOWN else f"language:{code}"


_Rule = Callable[[Mapping[str, Any], RulesConfig], str | None]
# a list's entry has what these check, so they come first: the page would be rejected for the same reason
_ALWAYS: tuple[_Rule, ...] = (_blocked, _told)
_LISTED_RIGHTS: tuple[_Rule, ...] = (_live, _age)
_LISTED_WORDS: tuple[_Rule, ...] = (_title, _duration)
_PAGE_RIGHTS: tuple[_Rule, ...] = (_licence,)
_PAGE_WORDS: tuple[_Rule, ...] = (_language,)
