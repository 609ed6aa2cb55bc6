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
    apply_rules: bool | None = None
    """Whether the search rules decide. Unset: they do for `arcade` and `youtube`, and your own `folder` or `urls`
    are taken whole."""

    def __post_init__(self) -> None:
        kind, _, argument = self.spec.partition(":")
        if kind not in SOURCE_KINDS:
            raise UserError(f"source.spec = {self.spec!r}: unknown source; choose one of {', '.join(SOURCE_KINDS)}")
        if kind in {"folder", "urls"} and not argument:
            raise UserError(f"source.spec = {self.spec!r}: say where, as {kind}:PATH")
        if self.batch_size < 1:
            raise UserError(f"source.batch_size = {self.batch_size}: must be at least 1")
        if self.max_results < 1:
            raise UserError(f"source.max_results = {self.max_results}: must be at least 1")
        if kind == "youtube" and not any(query.strip() for query in self.queries):
            raise UserError("source.queries is empty: name at least one search query for youtube")

    @property
    def rules_apply(self) -> bool:
        """Whether the search rules decide, after the default for this kind of source."""
        return self.kind in {"arcade", "youtube"} if self.apply_rules is None else self.apply_rules

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

    videos: int = 48
    """Number of recordings; some 40 of them survive the search rules."""
    seconds: float = 50.0
    """Length of a recording (those whose title the rules reject are cut short: nobody downloads them)."""
    seed: int = 86
    """Same seed, same videos. This one divides well: 9 good sources or more in a 30 % validation split."""
    rounds: int = 2
    """The feed grows this many times: the first search sees about two thirds, later ones the rest."""

    def __post_init__(self) -> None:
        if self.videos < 1:
            raise UserError(f"arcade.videos = {self.videos}: must be at least 1")
        if not 1 <= self.seconds <= 36000:
            raise UserError(f"arcade.seconds = {self.seconds}: must lie between 1 and 36000")
        if self.seed < 0:
            raise UserError(f"arcade.seed = {self.seed}: must not be negative")
        if not 1 <= self.rounds <= 52:
            raise UserError(f"arcade.rounds = {self.rounds}: must lie between 1 and 52")


@dataclass(frozen=True, kw_only=True)
class RulesConfig:
    """The search rules of Genie App. B.1: word-wise, blind to case and accents. An empty list switches its rule off.

    Words that say little alone ("run", "level", "game") are left out on purpose: "jump and run" would then be
    its own action word.
    """

    __pydantic_config__ = _FORBID

    keywords: tuple[str, ...] = (
        "platformer", "platformers", "platform game", "platform games", "platforming", "platform adventure",
        "arcade platform", "jump and run", "jump & run", "jump'n'run", "jump n run", "side scroller",
        "sidescroller", "side scrolling", "sidescrolling", "metroidvania", "run and gun", "precision platformer",
        "jeu de plateforme", "jeu de plateformes", "juego de plataformas", "plataformas", "jogo de plataforma",
        "plattformer", "plattformspiel", "jump-and-run-spiel", "gioco di piattaforme", "платформер",
        "プラットフォーマー", "横スクロール", "横版过关", "플랫포머",
        "super mario bros", "super mario world", "super mario maker", "donkey kong country", "mega man",
        "sonic the hedgehog", "sonic mania", "super meat boy", "hollow knight", "rayman legends", "rayman origins",
        "shovel knight", "castlevania", "yoshi's island", "kirby's adventure", "ninja gaiden", "cave story",
        "supertux", "geometry dash",
    )  # fmt: skip
    """TITLE must hold one: words for 2D platform games, and names of series that are nothing else."""
    action_words: tuple[str, ...] = (
        "speedrun", "speedruns", "speedrunning", "speed run", "playthrough", "play through", "longplay",
        "long play", "walkthrough", "walk through", "gameplay", "game play", "let's play", "full game",
        "full playthrough", "any%", "100%", "world record", "personal best", "no commentary", "no hit", "no death",
        "no deaths", "deathless", "glitchless", "all levels", "all bosses", "all coins", "all stages", "boss rush",
        "tool assisted", "tas", "gameplay footage", "detonado", "let's-play", "jugando",
        "прохождение", "геймплей", "実況", "プレイ動画", "攻略", "실황",
    )  # fmt: skip
    """TITLE or DESCRIPTION must hold one: somebody plays, from a start to an end."""
    negations: tuple[str, ...] = (
        "movie", "movies", "film", "trailer", "teaser", "unboxing", "review", "reviews", "reaction", "reacts",
        "reacting", "tutorial", "how to make", "how i made", "devlog", "dev log", "making of", "podcast", "news",
        "toy", "toys", "lego", "plush", "soundtrack", "ost", "music video", "remix", "cover song", "fan art", "fanart",
        "cosplay", "interview", "documentary", "retrospective", "explained", "theory", "lore", "iceberg",
        "tier list", "ranking", "top 10", "top 5", "compilation", "montage", "animation", "animated",
        "cartoon", "live action", "asmr", "vlog", "giveaway", "shorts", "meme", "memes",
        "3d platformer", "vr",
    )  # fmt: skip
    """TITLE must hold none: about the game, not in it."""


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
    """Pause before the second attempt, doubled for each further one; a longer Retry-After of the site wins."""
    deadline_s: float = 1800.0
    """An attempt that takes longer is ended and counted."""
    socket_timeout_s: float = 30.0
    """Longest silence of a server before the attempt gives up."""
    duration_tolerance: float = 0.1
    """Share by which the measured duration may differ from the claimed one (and at least one second)."""
    max_failed_share: float = 0.5
    """A batch with a larger share of failed videos fails its run."""
    min_free_gb: float = 1.0
    """Downloads do not start with less room on the disk of the root."""

    def __post_init__(self) -> None:
        for name in ("workers", "min_height", "max_attempts"):
            if getattr(self, name) < 1:
                raise UserError(f"download.{name} = {getattr(self, name)}: must be at least 1")
        for name in ("backoff_s", "min_free_gb", "duration_tolerance"):
            if getattr(self, name) < 0:
                raise UserError(f"download.{name} = {getattr(self, name)}: must not be negative")
        for name in ("deadline_s", "socket_timeout_s"):
            if getattr(self, name) <= 0:
                raise UserError(f"download.{name} = {getattr(self, name)}: must be above 0")
        if not 0 <= self.max_failed_share <= 1:
            raise UserError(f"download.max_failed_share = {self.max_failed_share}: must lie between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How items are spread over worker processes."""

    __pydantic_config__ = _FORBID

    workers: int = 0
    """Worker processes; 0 means one per core."""
    max_attempts: int = 3
    """Attempts of an item that kills its worker before it is quarantined."""
    deadline_s: float = 900.0
    """An item that runs longer is ended with its worker and not tried again in the same run."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise UserError(f"engine.workers = {self.workers}: must be 0 (one per core) or more")
        if self.max_attempts < 1:
            raise UserError(f"engine.max_attempts = {self.max_attempts}: must be at least 1")
        if self.deadline_s <= 0:
            raise UserError(f"engine.deadline_s = {self.deadline_s}: must be above 0")
