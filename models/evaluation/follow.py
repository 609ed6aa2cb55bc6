"""Follow the character of the embedded platformer through generated frames: is it where the last action puts it?

Its place in a frame is decided by the game's own rules on the pixels of the generated frames: `advance` by the last
true action, from the place in the generated frame before, on the ground and the platforms that are read from the
generated frames. So a character that floats is out of place, and ground that the world made up carries it.

Moves to the side may show in the view alone. Where the view does not move as the action asks, the character is out of
place by as much.

Shapes: N rollouts, S generated frames, H W C pixels, G tile columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.arcade import seen
from pipeline.arcade.platformer import ACTIONS, HEIGHT, NUM_TILES, RING, TILE, WIDTH, Level, State, advance, draw
from pipeline.arcade.truth import TrueStates
from pipeline.arcade.view import alone, bare, camera_of_bare

KEPT_PX = 10.0
"""The character is kept where it stands so near its place: a tile. One that ignored the action is a tile off, too: what
tells them apart is the distance (`seen.NEAR_PX`)."""
_STAND = ACTIONS.index("none")
_TIE = 1.0  # views whose mean absolute differences (of 255) are closer than this cannot be told apart


def follow(
    frames: np.ndarray, classes: np.ndarray, truths: Sequence[TrueStates], actions_NS: np.ndarray, theme: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the character is near its place (N, S), 1 or 0, and its distance in pixels from there (N, S).

    The distance is nan where no region of the frame looks like the character.

    Args:
        frames: uint8 (N, 1 + S, H, W, C): the last frame of the prompt, then the generated ones; not mirrored.
        classes: (N, 1 + S, H, W) of these frames, see `pipeline.arcade.seen.classify`.
        truths: per rollout, the true states; the first is that of the prompt's last frame.
        actions_NS: the true action that leads to each generated frame; not mirrored.
        theme: theme of all levels.
    """
    count, steps = actions_NS.shape
    flat = classes[:, 1:].reshape(-1, HEIGHT, WIDTH)
    regions, first = _characters(flat, theme)
    terrain = [part.reshape(count, steps, -1) for part in seen.read_terrain(flat)]
    views = _view_differences(frames, classes == seen.CHARACTER)
    games = [_Game(truth.level, truth.states[0]) for truth in truths]
    kept, error = np.zeros((count, steps)), np.full((count, steps), np.nan)
    for step in range(steps):
        for row, game in enumerate(games):
            game.step(int(actions_NS[row, step]), views[row][step], *(part[row, step] for part in terrain))
        pictures = np.stack([game.picture() for game in games])
        expected, expected_first = _characters(seen.classify(pictures, theme), theme)
        for row, game in enumerate(games):
            wanted = range(*expected_first[row : row + 2])
            if not wanted:
                continue  # nothing of it would be on the screen
            main = max(wanted, key=lambda index: int(expected.size[index]))
            own = slice(*first[row * steps + step :][:2])
            large = regions.size[own] >= seen.LEAST_SHARE * expected.size[main]
            down = (regions.row[own] - expected.row[main])[large]
            right = (regions.column[own] - expected.column[main])[large] + game.lag
            if len(down):
                nearest = int(np.hypot(down, right).argmin())
                error[row, step] = np.hypot(down[nearest], right[nearest])
                kept[row, step] = max(abs(down[nearest]), abs(right[nearest])) <= KEPT_PX
                game.move(float(right[nearest]), float(down[nearest]))
    return kept, error


def _characters(classes_FHW: np.ndarray, theme: int) -> tuple[seen.Regions, np.ndarray]:
    """Return the larger regions of the character's colours, and the number of the first one of each frame."""
    regions = seen.find(classes_FHW, seen.CHARACTER, theme, least=seen.own_size(seen.CHARACTER, theme) / 4)
    return regions, np.searchsorted(regions.frame, np.arange(len(classes_FHW) + 1))


class _Game:
    """The game of one rollout: the state of its character, on the terrain that its frames show."""

    def __init__(self, level: Level, state: State) -> None:
        self._level = replace(bare(level), ground=level.ground.copy(), platforms=level.platforms.copy())
        self._state = alone(state)
        self.lag = 0
        """Pixels by which the view moved farther to the right in the newest step than the action asks."""

    def step(
        self, action: int, view: Mapping[int, float], ground: np.ndarray, platforms: np.ndarray, hidden: np.ndarray
    ) -> None:
        """Advance by an action, on the terrain of the frame that it led to.

        Args:
            action: true action.
            view: see `_view_differences`.
            ground: heights (G,) that are read from the frame, see `pipeline.arcade.seen.read_terrain`.
            platforms: heights (G,) of platforms.
            hidden: columns (G,) in which a sprite may cover a platform; the platforms seen there before stay.
        """
        camera = camera_of_bare(self._level, advance(self._level, self._state, action))
        asked = (camera - camera_of_bare(self._level, self._state) + RING // 2) % RING - RING // 2
        moved = min(view, key=lambda shift: view[shift])
        self.lag = 0 if view[asked] <= view[moved] + _TIE else moved - asked
        tiles = ((camera + self.lag) // TILE + np.arange(len(ground))) % NUM_TILES
        self._level.ground[tiles] = ground
        self._level.platforms[tiles] = np.where(hidden & (platforms == 0), self._level.platforms[tiles], platforms)
        self._state = advance(self._level, self._state, action)

    def picture(self) -> np.ndarray:
        """Return the character where it must be now, on nothing."""
        return draw(self._level, self._state, self._state, 0.0)

    def move(self, right: float, down: float) -> None:
        """Move the character to where it was seen, in pixels from where it must be; whole tiles count."""
        columns, rows = round(right / TILE), round(down / TILE)
        if not columns and not rows:
            return
        state = replace(self._state, x=(self._state.x + columns * TILE) % RING, y=self._state.y - rows * TILE)
        stands = advance(self._level, state, _STAND).y >= state.y
        self._state = replace(state, airborne=not stands)


def _view_differences(frames: np.ndarray, covered: np.ndarray) -> list[list[dict[int, float]]]:
    """Return for each step of each rollout how badly each move of the view explains it: shift to the right -> value.

    The value is the mean absolute difference of brightness over the pixels that both frames show.

    Args:
        frames: uint8 (N, 1 + S, H, W, C).
        covered: (N, 1 + S, H, W) pixels of the character, which do not count.
    """
    found = []
    for video, masks in zip(frames, covered, strict=True):
        light = video.mean(-1, dtype=np.float32)
        by_shift = {}
        for shift in (-TILE, 0, TILE):
            old = np.s_[:-1, :, max(shift, 0) : WIDTH + min(shift, 0)]
            new = np.s_[1:, :, max(-shift, 0) : WIDTH + min(-shift, 0)]
            counts = ~(masks[old] | masks[new])
            total = (np.abs(light[old] - light[new]) * counts).sum((1, 2))
            by_shift[shift] = total / np.maximum(counts.sum((1, 2)), 1)
        found.append(
            [{shift: float(values[step]) for shift, values in by_shift.items()} for step in range(len(video) - 1)]
        )
    return found
