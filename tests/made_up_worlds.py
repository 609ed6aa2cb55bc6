"""Rollouts of worlds whose latent actions have known effects: a hero on a long wall, with a walker beside it."""

import numpy as np

HEIGHT, WIDTH, LONG = 60, 100, 400
RUN = {"stand": 0, "right": 8, "left": -8, "jump": 0, "jump right": 8, "jump left": -8, "fall": 0, "dead": 0}
RISE = {"jump": 8, "jump right": 8, "jump left": 8, "fall": -8}


def _wall(rng):
    """A sky with clouds and a ground of tiles: most of it looks the same a tile further, as in a game."""
    wall = np.full((HEIGHT, LONG, 3), (90, 160, 240), np.uint8)
    wall[50:] = np.where((np.arange(LONG) // 4 % 2)[:, None], (120, 70, 30), (150, 90, 40))
    for left in range(0, LONG, 25):
        top = int(rng.integers(2, 12))
        wall[top : top + 4, left : left + int(rng.integers(6, 16))] = 250
    return wall


def _paint(picture, sprite, column, row):
    left, top = max(column, 0), max(row, 0)
    right, bottom = min(column + sprite.shape[1], WIDTH), min(row + sprite.shape[0], HEIGHT)
    if left < right and top < bottom:
        picture[top:bottom, left:right] = sprite[top - row : bottom - row, left - column : right - column]


def roll_out(effects, *, start, steps=3, camera="fixed", noise=0.0, blocks=1, in_air=False, seed=0):
    """Return uint8 (A, 1 + steps, H, W, 3): each effect held down from one start.

    `noise` is the share of the hero that a rollout loses at each step, in squares of `blocks` pixels. In the air the
    hero falls 8 px a step under every effect.
    """
    rng = np.random.default_rng((start, 3))
    wall = _wall(rng)
    hero = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8) // 2 + np.array([120, 0, 0], np.uint8)
    walker = np.full((6, 6, 3), (160, 20, 160), np.uint8)
    x0, floor = int(rng.integers(140, 220)), 38
    y0 = floor - 24 if in_air else floor
    rollouts = []
    for code, effect in enumerate(effects):
        loss = np.random.default_rng((start, code, seed))
        x, y, frames = x0, y0, []
        shown = hero.copy()
        for step in range(steps + 1):
            view = x0 - 44 if camera == "fixed" else x - 44
            picture = wall[:, view : view + WIDTH].copy()
            _paint(picture, walker, x0 - 30 + 4 * step - view, 44)
            gone = np.kron(
                loss.random((12 // blocks, 12 // blocks)) < noise * bool(step), np.ones((blocks, blocks), bool)
            )
            under = wall[y : y + 12, x : x + 12]
            shown = np.where(gone[..., None], under, shown)
            if effect != "gone" or not step:
                _paint(picture, shown, x - view, y)
            if effect == "repaint" and step:
                picture = picture[..., ::-1] if step % 2 else np.roll(picture, 1, -1)
            frames.append(picture)
            x += RUN.get(effect, 0)
            rise = RISE.get(effect, 0)
            y = min(floor + 10 * (effect == "fall"), y - (-8 if in_air else rise))
            if y < 6:  # the top of the picture: what rises falls again
                y = floor
        rollouts.append(frames)
    return np.array(rollouts, np.uint8)


def roll_outs(effects, starts=6, *, in_air=(), **options):
    """Return rollouts (N, A, T, H, W, 3) from several starts, some of them in the air."""
    return np.stack([roll_out(effects, start=start, in_air=start in in_air, **options) for start in range(starts)])
