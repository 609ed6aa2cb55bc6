"""What a search for gameplay also brings up: menus, pauses, cards, layouts, slides, credits, cuts.

Each scene is a generator of uint8 RGB frames (H, W, 3), decided by its seed. Where a scene shows play, it is our own
platformer's, so that colours alone do not tell good from bad.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from pipeline.arcade.platformer import State, advance, draw, make_level, record_platformer
from pipeline.arcade.platformer_art import Picture

WIDTH, HEIGHT = 256, 144
Scene = Callable[[int, int, int], Iterator[Picture]]
"""(seed, number of frames, frames a second) -> frames."""

_INKS = ((250, 210, 60), (120, 230, 160), (250, 120, 120), (140, 190, 255), (240, 240, 240))
_PAPERS = ((18, 18, 30), (40, 14, 40), (12, 34, 44), (54, 30, 12), (8, 8, 8))
_WORDS = (
    "start", "world", "moss", "jump", "lost", "coin", "cave", "moon", "fire", "key", "door", "level", "hero", "tower",
    "river", "gold", "boots", "night", "bridge", "crown",
)  # fmt: skip


def menu(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield a title screen over a dimmed still, its cursor moving about once a second."""
    rng = np.random.default_rng(seed)
    entries = ["NEW GAME", "CONTINUE", "LEVEL SELECT", "OPTIONS", "CREDITS", "QUIT"][: int(rng.integers(4, 7))]
    ink, back = _pick(rng, _INKS), _dimmed(_still(seed), 0.45)
    title = " ".join(_words(rng, 2)).upper()
    cursor = 0
    for index in range(num_frames):
        if index % fps == 0 and rng.random() < 0.8:
            cursor = (cursor + int(rng.choice([1, 1, -1]))) % len(entries)
        picture = back.copy()
        pen = ImageDraw.Draw(picture)
        _centred(pen, 14, title, 26, ink)
        for row, entry in enumerate(entries):
            _centred(
                pen, 52 + row * 14, f"> {entry} <" if row == cursor else entry, 11, ink if row == cursor else _WHITE
            )
        yield np.asarray(picture)


def settings(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield a page of options whose sliders move."""
    rng = np.random.default_rng(seed)
    paper, ink = _pick(rng, _PAPERS), _pick(rng, _INKS)
    names = ["MUSIC", "SOUND", "BRIGHTNESS", "SHAKE", "SPEED", "LANGUAGE"]
    values, chosen = rng.random(len(names)), 0
    for index in range(num_frames):
        if index % (2 * fps) == 0:
            chosen = int(rng.integers(len(names)))
        values[chosen] = np.clip(values[chosen] + rng.normal(0, 0.04), 0, 1)
        picture = Image.new("RGB", (WIDTH, HEIGHT), paper)
        pen = ImageDraw.Draw(picture)
        _centred(pen, 4, "SETTINGS", 16, ink)
        for row, name in enumerate(names):
            top = 28 + row * 19
            pen.text((16, top), name, font=_font(11), fill=ink if row == chosen else _WHITE)
            pen.rectangle((120, top + 3, 236, top + 11), outline=_WHITE)
            pen.rectangle((122, top + 5, 122 + int(112 * values[row]), top + 9), fill=ink)
        yield np.asarray(picture)


def idle(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield a player that stands while enemies walk, under a banner with a clock."""
    level = make_level(seed)
    feet = int(level.ground[:2].max())
    state = State(
        step=0, x=0, y=feet, facing=1, strides=False, airborne=False, rises=False,
        coins_back=(0,) * len(level.coins), enemies_back=(0,) * len(level.enemies),
    )  # fmt: skip
    between, following = fps / 10, advance(level, state, 0)
    for index in range(num_frames):
        while state.step < int(index / between):
            state, following = following, advance(level, following, 0)
        picture = Image.fromarray(draw(level, state, following, 0.0)).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
        pen = ImageDraw.Draw(picture)
        pen.rectangle((0, 44, WIDTH, 92), fill=(10, 10, 16))
        seconds = 600 - index // fps
        _centred(pen, 46, "BE RIGHT BACK", 22, _INKS[0])
        _centred(pen, 74, f"AFK {seconds // 60:02d}:{seconds % 60:02d}", 12, _WHITE)
        yield np.asarray(picture)


def paused(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield a second of play and then a long pause, again and again."""
    rng = np.random.default_rng(seed)
    play = _play(seed, num_frames + 1, fps)
    left, held = fps, False
    frame = next(play)
    behind = _dimmed(frame, 0.4)
    for index in range(num_frames):
        if left == 0:
            held = not held
            left = int(rng.integers(18 * fps, 24 * fps)) if held else fps
            behind = _dimmed(frame, 0.4)
        left -= 1
        if not held:
            frame = next(play)
            yield frame
            continue
        picture = behind.copy()
        pen = ImageDraw.Draw(picture)
        pen.rectangle((70, 40, 186, 112), fill=(16, 16, 40), outline=_WHITE)
        if index // fps % 2 == 0:
            _centred(pen, 46, "PAUSED", 20, _WHITE)
        for row, entry in enumerate(("RESUME", "RESTART", "QUIT")):
            _centred(pen, 72 + row * 12, entry, 10, _INKS[0] if index // (3 * fps) % 3 == row else _WHITE)
        yield np.asarray(picture)


def cards(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield loading bars, level cards and game-over cards, each for two to five seconds."""
    rng = np.random.default_rng(seed)
    end = 0
    for index in range(num_frames):
        if index >= end:
            start, end = index, index + int(rng.integers(2 * fps, 5 * fps))
            sort, ink, paper = int(rng.integers(3)), _pick(rng, _INKS), _pick(rng, _PAPERS)
            place = f"WORLD {rng.integers(1, 9)}-{rng.integers(1, 5)}"
        picture = Image.new("RGB", (WIDTH, HEIGHT), paper)
        pen = ImageDraw.Draw(picture)
        share = (index - start) / (end - start)
        if sort == 0:
            _centred(pen, 50, "LOADING" + "." * (index * 3 // fps % 4), 18, ink)
            pen.rectangle((40, 84, 216, 94), outline=ink)
            pen.rectangle((42, 86, 42 + int(172 * share), 92), fill=ink)
        elif sort == 1:
            _centred(pen, 46, place, 26, ink)
            _centred(pen, 84, "LIVES x 3", 12, _WHITE)
        else:
            _centred(pen, 48, "GAME OVER", 32, ink)
            _centred(pen, 92, f"CONTINUE? {9 - int(share * 9)}", 14, _WHITE)
        yield np.asarray(picture)


def streamer(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield a stream's layout: a small game, a talking face, a chat that scrolls, a ticker."""
    rng = np.random.default_rng(seed)
    play = _play(seed, num_frames, fps)
    ink, paper = _pick(rng, _INKS), _pick(rng, _PAPERS)
    wall = tuple(int(value) for value in rng.integers(60, 160, 3))
    chat = [f"{_words(rng, 1)[0]}{rng.integers(99)}: {' '.join(_words(rng, 2))}" for _ in range(400)]
    layout = Image.new("RGB", (WIDTH, HEIGHT), paper)
    for index, frame in enumerate(play):
        if index % fps == 0:
            # what stays for a second: text takes far longer to draw than all else
            first = index // fps
            layout = Image.new("RGB", (WIDTH, HEIGHT), paper)
            pen = ImageDraw.Draw(layout)
            for row, line in enumerate(chat[first % 390 : first % 390 + 7]):
                pen.text((154, 74 + row * 10), line[:22], font=_font(8), fill=_INKS[(first + row) % len(_INKS)])
            pen.text((6, 90), "LIVE", font=_font(12), fill=(250, 60, 60))
            pen.text((40, 91), f"{1200 + first // 3} viewers", font=_font(9), fill=_WHITE)
        picture = layout.copy()
        pen = ImageDraw.Draw(picture)
        picture.paste(Image.fromarray(frame).resize((144, 81), Image.Resampling.BILINEAR), (4, 4))
        pen.rectangle((152, 4, 251, 70), fill=wall, outline=ink)
        nod, mouth = round(3 * np.sin(index / fps * 2.3)), abs(np.sin(index / fps * 7)) * 7
        pen.ellipse((178 + nod, 14, 226 + nod, 70), fill=(226, 178, 140))
        pen.chord((176 + nod, 8, 228 + nod, 50), 180, 360, fill=(70, 44, 30))
        for eye in (190, 208):
            pen.ellipse((eye + nod, 34, eye + 6 + nod, 40), fill=(20, 20, 20))
        pen.ellipse((194 + nod, 52, 212 + nod, 53 + mouth), fill=(120, 30, 40))
        pen.rectangle((0, 124, 150, 143), fill=ink)
        pen.text((150 - index * 40 // fps % 420, 127), "NEW FOLLOWER! THANK YOU! DONATE!", font=_font(11), fill=paper)
        yield np.asarray(picture)


def editor(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield a level editor: a grid, a palette of tiles, a pointer that places them."""
    rng = np.random.default_rng(seed)
    grey, ink = (70, 74, 84), _pick(rng, _INKS)
    canvas = Image.new("RGB", (WIDTH, HEIGHT), (46, 48, 56))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, 0, WIDTH, 13), fill=grey)
    pen.text((4, 1), "File  Edit  View  Layer  Run", font=_font(9), fill=_WHITE)
    pen.rectangle((206, 14, WIDTH, HEIGHT), fill=grey)
    tiles = [tuple(int(value) for value in rng.integers(40, 230, 3)) for _ in range(15)]
    for number, colour in enumerate(tiles):
        left, top = 210 + number % 3 * 15, 20 + number // 3 * 15
        pen.rectangle((left, top, left + 12, top + 12), fill=colour)
    for x in range(6, 207, 10):
        pen.line((x, 16, x, 136), fill=(64, 66, 76))
    for y in range(16, 137, 10):
        pen.line((6, y, 206, y), fill=(64, 66, 76))
    here = there = np.array([100.0, 80.0])
    for index in range(num_frames):
        if index % max(fps * 2 // 3, 1) == 0:
            column, row = (here - (6, 16)) // 10
            left, top = int(6 + column * 10), int(16 + row * 10)
            if 0 <= column < 20 and 0 <= row < 12:
                pen.rectangle((left + 1, top + 1, left + 9, top + 9), fill=tiles[int(rng.integers(15))])
            there = np.array([rng.integers(6, 205), rng.integers(60, 135)], float)
        here = here + (there - here) * 0.25
        picture = canvas.copy()
        x, y = here
        ImageDraw.Draw(picture).polygon([(x, y), (x, y + 11), (x + 8, y + 8)], fill=_WHITE, outline=ink)
        yield np.asarray(picture)


def slideshow(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield stills with captions, each for four seconds, cross-faded."""
    rng = np.random.default_rng(seed)
    frames: list[Picture] = []
    length = 4 * fps
    for index in range(num_frames):
        if index % length == 0:
            picture = _resized(_still(seed + index // length))
            picture = ImageEnhance.Color(picture).enhance(float(rng.uniform(0.2, 0.6)))
            pen = ImageDraw.Draw(picture)
            pen.rectangle((0, 112, WIDTH, HEIGHT), fill=(240, 238, 228))
            pen.text((8, 116), " ".join(_words(rng, 5)), font=_font(13), fill=(30, 30, 30))
            pen.rectangle((3, 3, WIDTH - 4, HEIGHT - 4), outline=(240, 238, 228), width=5)
            frames = [*frames[-1:], np.asarray(picture)]
        share = min(index % length / fps, 1.0) if len(frames) > 1 else 1.0
        mixed = frames[-1] * share + frames[0] * (1 - share) if share < 1 else frames[-1]
        yield np.asarray(mixed, np.uint8)


def scroll(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield credits: lines that scroll up over a dark page."""
    rng = np.random.default_rng(seed)
    ink, paper = _pick(rng, _INKS), _pick(rng, _PAPERS)
    lines = [" ".join(_words(rng, 3)).title() if n % 4 else _words(rng, 1)[0].upper() for n in range(48)]
    roll = Image.new("RGB", (WIDTH, len(lines) * 18), paper)
    pen = ImageDraw.Draw(roll)
    for row, line in enumerate(lines):
        _centred(pen, row * 18, line, 12 if row % 4 else 15, _WHITE if row % 4 else ink)
    pixels = np.asarray(roll)
    for index in range(num_frames):
        top = index * 24 // fps
        yield pixels.take(range(top, top + HEIGHT), axis=0, mode="wrap")


def waveform(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield a music upload: a cover that stands still and bars that dance."""
    rng = np.random.default_rng(seed)
    ink, cover = _pick(rng, _INKS), _dimmed(_still(seed), 0.6)
    _centred(ImageDraw.Draw(cover), 20, " ".join(_words(rng, 2)).upper(), 20, ink)
    bars = np.zeros(32)
    for _ in range(num_frames):
        bars = bars * 0.7 + rng.random(32) * 0.3
        picture = cover.copy()
        pen = ImageDraw.Draw(picture)
        for number, height in enumerate(bars):
            pen.rectangle((number * 8 + 1, 140 - int(height * 80), number * 8 + 6, 140), fill=ink)
        yield np.asarray(picture)


def montage(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield play that is cut to another level every one to two seconds."""
    rng = np.random.default_rng(seed)
    shown, level = 0, 0
    while shown < num_frames:
        length, skip = int(rng.integers(fps, 2 * fps)), int(rng.integers(0, 20))
        take = _play(seed + level, skip + length, fps)
        yield from itertools.islice(take, skip, skip + min(length, num_frames - shown))
        shown, level = shown + length, level + 1


def black_intro(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield black, a line of text, black again for a fifth of the time, then play (see `INTRO_SHARE`)."""
    intro = int(num_frames * INTRO_SHARE)
    rng = np.random.default_rng(seed)
    text = " ".join(_words(rng, 3))
    for index in range(intro):
        picture = Image.new("RGB", (WIDTH, HEIGHT))
        if intro / 3 < index < 2 * intro / 3:
            _centred(ImageDraw.Draw(picture), 64, text, 14, (150, 150, 150))
        yield np.asarray(picture)
    yield from _play(seed, num_frames - intro, fps)


INTRO_SHARE = 0.3

SCENES: dict[str, Scene] = {
    "menu": menu, "settings": settings, "idle": idle, "paused": paused, "cards": cards, "streamer": streamer,
    "editor": editor, "slideshow": slideshow, "credits": scroll, "waveform": waveform, "montage": montage,
    "black_intro": black_intro, "unboxing_talk": streamer, "the_movie": slideshow, "no_action_word": menu,
}  # fmt: skip


def with_sides(frame: Picture, width: int, height: int) -> Picture:
    """Return a frame of any shape in the middle of a wide one, its sides filled with a dim copy of itself."""
    rows, columns = frame.shape[:2]
    picture = _dimmed(frame, 0.35, (width, height))
    inner = Image.fromarray(frame).resize((max(height * columns // rows, 1), height), Image.Resampling.BILINEAR)
    picture.paste(inner, ((width - inner.width) // 2, 0))
    return np.asarray(picture)


_WHITE = (240, 240, 240)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _centred(pen: ImageDraw.ImageDraw, top: int, text: str, size: int, fill: tuple[int, int, int]) -> None:
    width = pen.textlength(text, font=_font(size))
    pen.text(((WIDTH - width) / 2, top), text, font=_font(size), fill=fill)


def _still(seed: int) -> Picture:
    """Return the platformer's picture after four seconds of a seed's play."""
    return next(itertools.islice(record_platformer(seed, 41, fps=10), 40, None))


def _resized(frame: Picture, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    return Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)


def _dimmed(frame: Picture, light: float, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    return Image.fromarray((np.asarray(_resized(frame, size)) * light).astype(np.uint8))


def _pick(rng: np.random.Generator, colours: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
    return colours[int(rng.integers(len(colours)))]


def _words(rng: np.random.Generator, count: int) -> list[str]:
    return [str(word) for word in rng.choice(_WORDS, count)]


def _play(seed: int, num_frames: int, fps: int) -> Iterator[Picture]:
    """Yield the platformer at its rate nearest to a scene's (at 24 and 25 it plays a little fast or slow)."""
    rate = max(10, round(fps / 10) * 10)
    return itertools.islice(record_platformer(seed, num_frames * 10 // rate + 1, fps=rate), num_frames)
