"""Configuration of sources, search rules and downloads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from pipeline.config.section import Count, Section, Share
from pipeline.errors import UserError

SOURCE_KINDS = ("arcade", "folder", "recipe", "urls", "youtube")


@dataclass(frozen=True, kw_only=True)
class SourceConfig(Section, name="source"):
    """Where videos come from, and how many at a time."""

    spec: str = "youtube"
    """`arcade`, `folder:DIR`, `urls:FILE`, `youtube`, or `recipe:FILE` (see `lampworks rebuild`)."""
    queries: tuple[str, ...] = ()
    """Search queries of `youtube`, as you would type them."""
    query_subjects: tuple[str, ...] = ("platformer", "2d platformer", "platform game", "metroidvania")
    """With `query_actions`, a grid of further queries of `youtube`: every subject with every action."""
    query_actions: tuple[str, ...] = ("speedrun", "playthrough", "longplay", "gameplay no commentary")
    """See `query_subjects`."""
    channels: tuple[str, ...] = ()
    """Channels of `youtube` whose videos are candidates too: `@handle`, `UC...` or a URL."""
    playlists: tuple[str, ...] = ()
    """Playlists of `youtube` whose videos are candidates too: `PL...` or a URL."""
    max_results: Count = 200
    """Results taken per query, channel, playlist or feed."""
    cookies: str = ""
    """A cookies.txt in Netscape format for `urls` and `youtube`; it is read and never written. Unset: no cookies.
    A site can block the account that they belong to."""
    proxy: str = ""
    """Proxy of `urls` and `youtube`, as `http://HOST:PORT` or `socks5://...`. Unset: what the environment says
    (`HTTPS_PROXY`, `HTTP_PROXY`), which is where a password belongs: the root remembers its configuration."""
    max_rate_kb_s: NonNegativeFloat = 0.0
    """Most kilobytes a second that one download of this source takes; 0: no limit."""
    check_certificates: bool = True
    """Whether a server must prove its name. False is for a proxy of your own that opens TLS."""
    allow_private: bool = False
    """Whether `urls` and `youtube` may connect to addresses that are not on the public internet: this machine, its
    local network, reserved ones. A page from outside can name them, so this is for sites of your own."""
    max_search_s: PositiveFloat = 21600.0
    """Longest time in seconds that a search of `urls` or `youtube` asks. What it did not ask by then is asked by the
    next search."""
    settle_s: NonNegativeFloat = 60.0
    """Seconds without a change after which a file of a `folder` counts as written. A file that changes while it is
    read, or changed less long ago and has no end yet (an MP4 without its index), is pending until then; 0: none is."""
    files: str = ""
    """Folder in which the files of a `recipe` that have no address lie, by the recipe's relative paths."""
    batch_size: Count = 250
    """Videos per batch, the unit of partitions."""
    apply_rules: bool | None = None
    """Whether the search rules decide. Unset: they do for `arcade` and `youtube`, and your own `folder` or `urls`
    are taken whole."""
    apply_rights: bool | None = None
    """Whether the rights decide: `rules.live`, `max_age` and `licences`. Unset: they do, but not for a `folder`, whose
    files are on your own disk whatever their sidecars say, unless `apply_rules` is true. `rules.blocked` always
    decides."""

    def __post_init__(self) -> None:
        super().__post_init__()
        kind, _, argument = self.spec.partition(":")
        if kind not in SOURCE_KINDS:
            raise UserError(f"source.spec = {self.spec!r}: unknown source; choose one of {', '.join(SOURCE_KINDS)}")
        if kind in {"folder", "recipe", "urls"} and not argument:
            raise UserError(f"source.spec = {self.spec!r}: say where, as {kind}:PATH")
        if self.apply_rights is False and kind != "folder":
            raise UserError(
                f"source.apply_rights = false, with source.spec = {self.spec!r}: this is for your own files "
                "(folder:DIR); of a site, allow what you may use by rules.licences, rules.max_age and rules.live"
            )
        if kind == "youtube" and not (self.all_queries or self.channels or self.playlists):
            raise UserError(
                "source.queries, channels and playlists are empty, and so is the grid of query_subjects and "
                "query_actions: name at least one search query for youtube"
            )

    @property
    def all_queries(self) -> tuple[str, ...]:
        """The search queries of `youtube`: those named, then the grid, each once."""
        grid = [
            f"{subject.strip()} {action.strip()}" for subject in self.query_subjects for action in self.query_actions
        ]
        return tuple(dict.fromkeys(query.strip() for query in (*self.queries, *grid) if query.strip()))

    @property
    def rules_apply(self) -> bool:
        """Whether the search rules decide, after the default for this kind of source."""
        return self.kind in {"arcade", "youtube"} if self.apply_rules is None else self.apply_rules

    @property
    def rights_apply(self) -> bool:
        """Whether the rights decide, after the default for this kind of source."""
        if self.apply_rights is not None:
            return self.apply_rights
        return self.kind != "folder" or self.apply_rules is True

    @property
    def kind(self) -> str:
        """The part before the colon."""
        return self.spec.partition(":")[0]

    @property
    def argument(self) -> str:
        """The part after the colon: a folder or a file."""
        return self.spec.partition(":")[2]


@dataclass(frozen=True, kw_only=True)
class ArcadeConfig(Section, name="arcade"):
    """What the embedded source records on this machine."""

    videos: Count = 48
    """Number of recordings; some 40 of them survive the search rules."""
    seconds: Annotated[float, Field(ge=1, le=36000)] = 50.0
    """Length of a recording (those whose title the rules reject are cut short: nobody downloads them)."""
    seed: NonNegativeInt = 86
    """Same seed, same videos. This one divides well: 9 good sources or more in a 30 % validation split."""
    rounds: Annotated[int, Field(ge=1, le=52)] = 2
    """The feed grows this many times: the first search sees about two thirds, later ones the rest."""


@dataclass(frozen=True, kw_only=True)
class RulesConfig(Section, name="rules"):
    """The search rules of Genie App. B.1, and the rights that the use of a video requires.

    The words of titles and descriptions are compared whole, blind to case and accents. An empty list switches its rule
    off. `source.apply_rules: false` switches all off but the rights: `licences`, `max_age`, `live`, `blocked` and
    `opt_out`. Of a `folder`, only `blocked` decides (see `source.apply_rights`).

    Words that say little alone ("run", "level", "game") are left out on purpose: "jump and run" would then be
    its own action word.
    """

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
    min_duration_s: NonNegativeFloat = 16.0
    """Shorter videos hold no clip. A video whose source does not tell its duration passes, here and below."""
    max_duration_s: NonNegativeFloat = 43200.0
    """Longer ones are streams left running."""
    languages: tuple[str, ...] = ()
    """Language codes (`en` covers `en-GB`) that are taken; `unknown` stands for videos that name none. Empty: any."""
    licences: tuple[str, ...] = (
        "unknown", "creative commons", "cc by", "cc0", "cc zero", "public domain", "mit", "apache", "gpl", "wtfpl",
    )  # fmt: skip
    """Licences that are taken, as words that the licence's name must hold; `unknown` stands for videos that name
    none (YouTube names only Creative Commons). Remove it to take openly licensed videos alone. Empty: any."""
    max_age: NonNegativeInt = 17
    """Videos for an older audience are left."""
    live: bool = False
    """Whether streams that are live or announced are candidates. A stream that is over is a video."""
    blocked: tuple[str, ...] = ()
    """Ids of videos and channels, or channels' names, that are never taken."""
    opt_out: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")
    """Words of an `X-Robots-Tag` header by which a direct file is opted out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_duration_s < self.min_duration_s:
            raise UserError(
                f"rules.max_duration_s = {self.max_duration_s} is below rules.min_duration_s = {self.min_duration_s}"
            )


@dataclass(frozen=True, kw_only=True)
class DownloadConfig(Section, name="download"):
    """How videos are fetched and what counts as fetched."""

    workers: Count = 4
    """Downloads at a time: threads of one supervised process (a further process for every 16)."""
    host_workers: Count = 2
    """Downloads at a time from one site."""
    host_interval_s: NonNegativeFloat | None = None
    """Least seconds from the start of one download of a site to the next. Unset: 10 for `youtube` (as much as the
    tool's own polite preset), 1 for other sites, 0 on this machine."""
    host_daily: NonNegativeInt | None = None
    """Most downloads a day from one site, from this machine. Unset: 5000 for `youtube` (addresses were seen blocked
    after some 10,000), no limit for others."""
    min_height: Count = 90
    """Smallest sufficient height in pixels: clips are 90 rows."""
    max_attempts: Count = 4
    """Attempts before a retryable failure becomes final."""
    backoff_s: NonNegativeFloat = 900.0
    """Pause before the second attempt, doubled for each further one, give or take a fifth. A site's own Retry-After
    wins at the first attempt, and afterwards where it is longer."""
    breaker_s: NonNegativeFloat = 1800.0
    """Rest of a whole site that asked for a check against bots or for fewer requests, doubled each time that the
    first download afterwards is refused again. The site's own Retry-After wins where it is longer."""
    max_wait_s: NonNegativeFloat = 30.0
    """A run waits this long at most for the next attempt that it may make; what is due later stays pending."""
    deadline_s: PositiveFloat = 1800.0
    """An attempt that takes longer is ended and counted."""
    socket_timeout_s: PositiveFloat = 30.0
    """Longest silence of a server before the attempt gives up."""
    duration_tolerance: NonNegativeFloat = 0.1
    """Share by which the measured duration may differ from the claimed one (and at least one second)."""
    max_duration_s: PositiveFloat = 43200.0
    """A file that lasts longer is refused before it is decoded, whatever its source says, those of a folder too."""
    max_failed_share: Share = 0.5
    """A batch with a larger share of failed videos fails its run."""
    min_free_gb: NonNegativeFloat = 1.0
    """Downloads pause with less room on the disk of the root (or, for a root elsewhere, of the home)."""
    max_raw_gb: NonNegativeFloat = 0.0
    """Downloads pause when the raw files of the root take more; 0: no limit."""
    actions: Literal["drop", "keep"] = "drop"
    """True actions beside the videos of a folder (`<name>.actions.jsonl` or `.parquet`), and those of the embedded
    source: drop them, or keep them beside clips and shards, where scores and `dynamics.led_by: true_actions` read
    them. Holds for videos fetched from then on."""
    keep_raw: bool = True
    """Whether a raw file stays once its clips are cut. Without it a new clip format downloads again."""
