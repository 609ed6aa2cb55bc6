"""Configuration of sources, search rules, downloads and the engine."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict

from pipeline.errors import UserError

_FORBID = ConfigDict(extra="forbid")
SOURCE_KINDS = ("arcade", "folder", "urls", "youtube")


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Where videos come from, and how many at a time."""

    __pydantic_config__ = _FORBID

    spec: str = "youtube"
    """`arcade`, `folder:DIR`, `urls:FILE` or `youtube`."""
    queries: tuple[str, ...] = ("platformer speedrun", "2d platformer playthrough", "platformer longplay")
    """Search queries of `youtube`."""
    max_results: int = 200
    """Results taken per query."""
    batch_size: int = 250
    """Videos per batch, the unit of partitions."""
    apply_rules: bool = True
    """Whether the search rules decide; `folder` and `urls` may switch them off (every video is then kept)."""

    def __post_init__(self) -> None:
        kind, _, argument = self.spec.partition(":")
        if kind not in SOURCE_KINDS:
            raise UserError(f"source.spec = {self.spec!r}: unknown source; choose one of {', '.join(SOURCE_KINDS)}")
        if kind in {"folder", "urls"} and not argument:
            raise UserError(f"source.spec = {self.spec!r}: say where, as {kind}:PATH")
        if self.batch_size < 1:
            raise UserError(f"source.batch_size = {self.batch_size}: must be at least 1")

    @property
    def kind(self) -> str:
        """The part before the colon."""
        return self.spec.partition(":")[0]

    @property
    def argument(self) -> str:
        """The part after the colon: a folder or a file."""
        return self.spec.partition(":")[2]


@dataclass(frozen=True, kw_only=True)
class ArcadeConfig:
    """What the embedded source records on this machine."""

    __pydantic_config__ = _FORBID

    videos: int = 45
    """Number of recordings."""
    seconds: float = 50.0
    """Length of a typical recording."""
    seed: int = 7
    """Same seed, same videos."""
    rounds: int = 2
    """The feed grows this many times: the first search sees about two thirds, later ones the rest."""


@dataclass(frozen=True, kw_only=True)
class RulesConfig:
    """The search rules of Genie App. B.1: word-wise, blind to case and accents."""

    __pydantic_config__ = _FORBID

    keywords: tuple[str, ...] = (
        "platformer", "platform game", "jump and run", "jump'n'run", "side scroller", "sidescroller", "metroidvania",
        "runner game", "arcade platform", "jeu de plateforme", "plataformas", "plattformer",
    )  # fmt: skip
    """TITLE must hold one: names of, or words for, 2D platform games."""
    action_words: tuple[str, ...] = (
        "speedrun", "playthrough", "longplay", "walkthrough", "gameplay", "let's play", "lets play", "full game",
        "any%", "100%", "world record", "no commentary", "level", "run",
    )  # fmt: skip
    """TITLE or DESCRIPTION must hold one."""
    negations: tuple[str, ...] = (
        "movie", "film", "trailer", "unboxing", "review", "reaction", "tutorial", "how to", "podcast", "news",
        "toy", "toys", "soundtrack", "ost", "fan art", "cosplay", "interview", "documentary", "compilation",
    )  # fmt: skip
    """TITLE must hold none."""


@dataclass(frozen=True, kw_only=True)
class DownloadConfig:
    """How videos are fetched and what counts as fetched."""

    __pydantic_config__ = _FORBID

    workers: int = 2
    """Downloads at a time."""
    min_height: int = 90
    """Smallest sufficient height in pixels: clips are 90 rows."""
    max_attempts: int = 4
    """Attempts before a retryable failure becomes final."""
    backoff_s: float = 900.0
    """Pause before the second attempt, doubled for each further one."""
    deadline_s: float = 1800.0
    """An attempt that takes longer is ended and counted."""
    duration_tolerance: float = 0.1
    """Share by which the measured duration may differ from the claimed one."""
    max_failed_share: float = 0.5
    """A batch with a larger share of failed videos fails its run."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How items are spread over worker processes."""

    __pydantic_config__ = _FORBID

    workers: int = 0
    """Worker processes; 0 means one per core."""
    max_attempts: int = 3
    """Attempts of an item that kills its worker before it is quarantined."""
    deadline_s: float = 900.0
    """An item that runs longer is ended and counted as an attempt."""
