"""What the pages of the embedded source say: titles, descriptions and tags as in the wild.

Good recordings carry a platformer word and an action word in many dresses (upper case, accents, other languages,
quotes, slashes, a line break, emoji, 500 characters); rubbish passes the rules as well, since words alone do not tell
it apart; traps look right at a glance and must be rejected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_GAMES = (
    "Moss Valley", "Captain Cobble", "Turbo Turnip", "Castle of Crumbs", "Pixel Pete", "Lantern Leap", "Mango Mayhem",
    "Cloud Hopper", "Rusty Robot", "Pepper Peaks", "Tiny Tunnels", "Bramble Bay", "Filmore Caves", "Kiwi Quest",
    "Hollow Hills", "Duck Dash", "Sunken Spires", "Cactus Kid", "Wobble World", "Ginger Ghost", "Frosty Forge",
    "Beetle Bounce", "Marble Moon", "Paper Prince", "Coral Cove", "Windmill Wally", "Ember Isles", "Nimbus Nook",
    "Owl Odyssey", "Plum Plateau",
)  # fmt: skip
_CHANNELS = (
    "{game} Fan", "Retro {n}", "SpeedyFox{n}", "canal-{n}", "Pixel Attic {n}", "Øl & Jump {n}", "8bit_{n}",
    "Couch Co-op {n}",
)  # fmt: skip


@dataclass(frozen=True)
class Caption:
    """The words of a page."""

    title: str
    description: str
    tags: tuple[str, ...]
    language: str
    channel: str


# (title, description, tags, language)
_Words = tuple[str, str, tuple[str, ...], str]

_GOOD: tuple[_Words, ...] = (
    ("{game} - platformer speedrun any% in {m}:{s:02d}", "New personal best.", ("speedrun", "platformer"), "en"),
    ("{game} (2D platformer) full playthrough, no commentary, part {n}", "Enjoy!", ("longplay",), "en"),
    ("{GAME} PLATFORMER SPEEDRUN WORLD RECORD!!!", "{GAME}", ("SPEEDRUN",), "en"),
    ("Jeu de plateforme : {game} – défi n° {n}", "Speedrun sans commentaire, à la manette.", ("jeu",), "fr"),
    ("Juego de plataformas {game}: ¡récord!", "Speedrun any% en {m}:{s:02d}, sin trucos.", ("récord",), "es"),
    ("PLATFÖRMER {game} longplay 🎮🔥", "Level {n} to the end 🍄➡️🏁", ("gaming",), "en"),
    ('"{game}" / side scroller / level {m}-{n} "no damage"', 'Longplay. "Impossible"? <b>no</b> & so on', (), "en"),
    ("{game}\nplatform game walkthrough, level {n}", "line one\nline two\r\n\ttab", ("walkthrough",), "en"),
    ("let's play {game}: retro jump and run | ep. {n}", "A calm evening. Not the movie!", ("letsplay", "movie"), "en"),
    ("{game} Plattformer – komplett durchgespielt", "Longplay ohne Kommentar. Übung macht den Meister.", (), "de"),
    ("../../{game}: sidescroller gameplay; rm -rf *.mp4", "C:\\games\\{game}\\run.exe", ("C:\\",), "en"),
    ("「{game}」 2D platformer 100% ノーダメージ", "プレイ動画 – longplay", ("ゲーム", "platformer"), "ja"),
    ("{game} platformer speedrun {filler}", "The title is the description.", (), "en"),
    ("{game}, an old-school Platform Game: gameplay of level {n}", "unboxing next week", ("retro", "unboxing"), "en"),
)  # fmt: skip

_OTHERS: dict[str, _Words] = {
    "menu": ("{game} platformer speedrun - waiting for the race to start", "lobby", ("platformer",), "en"),
    "settings": ("{game} platformer: best settings before your first speedrun", "options", ("settings",), "en"),
    "idle": ("{game} 2D platformer gameplay 10 hours (AFK)", "ambient", ("platformer", "afk"), "en"),
    "paused": ("{game} platformer longplay but I answer the door", "sorry, level 2 next time", (), "en"),
    "cards": ("{game} platformer 100% run: every loading screen and game over", "all of them", ("loading",), "en"),
    "streamer": ("LIVE 🔴 {game} platformer speedrun attempts with chat", "donate!", ("live", "platformer"), "en"),
    "editor": ("Building my own platformer level in {game}", "a speedrun of the editor", ("editor",), "en"),
    "slideshow": ("{game} platformer walkthrough (pictures)", "all secrets", ("guide",), "en"),
    "credits": ("{game} platformer full game ending", "the longplay is over", ("ending",), "en"),
    "waveform": ("{game} platformer - level 1 music extended", "from the longplay", ("music",), "en"),
    "shooter": ("Is {game} a platformer? Speedrun to find out", "it is a shooter, really", ("shooter",), "en"),
    "montage": ("{game} platformer speedrun best moments", "fast cuts", ("montage", "platformer"), "en"),
    "black_intro": ("{game} platformer playthrough - cinematic intro", "wait for it", ("platformer",), "en"),
    "duplicate": ("(reupload) that {game} platformer speedrun", "credit to the original", ("reupload",), "en"),
    "mirrored": ("{game} platformer world record - lost footage", "any% run found", ("platformer",), "en"),
    "bundled_platformer": ("Pyxel Platformer: retro platformer gameplay", "the bundled sample", ("pyxel",), "en"),
    "bundled_jump_game": ("Pyxel Jump, an endless platformer: gameplay", "hop hop", ("pyxel", "platformer"), "en"),
    # rejected, each for one reason
    "shooter_speedrun": ("Pyxel Shooter speedrun any% world record", "better than a platformer", ("stg",), "en"),
    "keyword_in_tags": ("{game} longplay, all levels", "100% run", ("platformer", "2d platformer", "speedrun"), "en"),
    "unboxing_talk": ("UNBOXING the {game} platformer box + speedrun talk", "gameplay later", ("unboxing",), "en"),
    "the_movie": ("{game} platformer playthrough: the movie", "every cut scene of the longplay", ("film",), "en"),
    "no_action_word": ("{game}, a platformer I like", "a few thoughts", ("platformer", "speedrun"), "en"),
}  # fmt: skip

TITLE_LIMIT = 500


def caption(role: str, own: int, rng: np.random.Generator) -> Caption:
    """Return the words of one page.

    Args:
        role: the recording's role; `platformer` for the good ones.
        own: for a good one its number among them, which chooses game and dress; else its place in the list.
        rng: chooses the small numbers.
    """
    title, description, tags, language = _GOOD[own % len(_GOOD)] if role == "platformer" else _OTHERS[role]
    game = _GAMES[own % len(_GAMES)]
    minutes, seconds, number = (int(rng.integers(low, high)) for low, high in ((1, 40), (0, 60), (1, 99)))
    values = {"game": game, "GAME": game.upper(), "m": minutes, "s": seconds, "n": number, "filler": ""}
    if "{filler}" in title:
        short = title.format(**values)
        values["filler"] = ("go go go ~ " * TITLE_LIMIT)[: TITLE_LIMIT - len(short)]
    channel = _CHANNELS[own % len(_CHANNELS)].format(game=game, n=100 + own)
    return Caption(title.format(**values), description.format(**values), tags, language, channel)
