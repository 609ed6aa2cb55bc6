"""Compare a policy that learned latent actions with one that learned the true ones (Genie, appendix E).

    found = study_cloning(world, CloningSettings(), Cells(folder, {...}))

A scripted expert plays levels of the embedded platformer. The frozen LAM of a world names each of its transitions by a
latent action. A policy learns which latent action follows a frame; no true action is used. Then some transitions with
their true actions (10 to 200) make a dictionary from latent to true actions, and the policy plays other levels in the
true game: it draws a latent action, and of the true actions that the dictionary has for it one at random, as in the
paper, or the most frequent one.

The oracle is the same network, trained on the same frames in the same batches with the true actions. All arms play the
same levels from the same starts with the same random numbers, so their scores are compared pair by pair.

Shapes: N transitions, L levels, S seeds, K latent actions, A true actions, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from models.evaluation.rollouts import infer_actions
from models.metrics import count_pairs, entropy, mutual_information
from models.studies.cells import Cells
from models.studies.policy import Policy, clone, draw
from models.world.world import WorldModel
from pipeline.arcade.expert import coins_taken, expert_action, play_expert, start_at
from pipeline.arcade.platformer import ACTIONS, HEIGHT, RING, WIDTH, Level, State, advance, make_level
from pipeline.arcade.platformer import draw as draw_frame
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback

_EXPERT_LEVELS, _PLAYED_LEVELS = 700_000, 800_000
"""First seeds of the levels of the expert and of those that are played; the recordings' seeds are others."""
RULES = ("drawn", "most frequent")
"""How a true action is taken from the dictionary."""

Actor = Callable[[Sequence[Level], Sequence[State], np.ndarray], np.ndarray]
"""Levels, states and uniform numbers (L, 2) to true actions (L,)."""


@dataclass(frozen=True, kw_only=True)
class CloningSettings:
    """What is recorded, trained and played."""

    episodes: int = 60
    """Levels that the expert records."""
    length: int = 64
    """Steps of an episode, recorded or played; a way around the level takes 48."""
    levels: int = 24
    """Levels that are played."""
    seeds: int = 3
    steps: int = 300
    """Training steps of a policy."""
    labels: tuple[int, ...] = (10, 25, 50, 100, 200)
    """Labelled transitions of the dictionary."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured; UserError names the value."""
        for name in ("episodes", "length", "levels", "seeds", "steps"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} = {getattr(self, name)}: must be at least 1")
        most = self.episodes * self.length
        if not self.labels or min(self.labels) < 1 or max(self.labels) > most:
            raise UserError(f"--labels = {list(self.labels)}: give numbers from 1 to the {most} recorded transitions")


@dataclass(frozen=True)
class Scores:
    """What an arm reached: one list per seed, in it the coins taken of each level."""

    name: str
    labels: int | None
    """Of the dictionary; None where there is none."""
    coins: list[list[int]]

    @property
    def shares(self) -> np.ndarray:
        """Return the share of the coins that was taken, (S, L)."""
        return np.array(self.coins, np.float64) / NUM_COINS


NUM_COINS = len(make_level(0).coins)


@dataclass(frozen=True)
class Cloning:
    """All arms, and what the latent actions of the expert's play say about its true ones."""

    arms: list[Scores]
    code_counts: list[list[int]]
    """(K, A): how often a latent action names a transition of a true one."""
    information: float
    """Of latent actions about true ones, nat."""
    possible: float
    """The entropy of the true ones."""


class _Expert:
    """The expert's recordings, drawn once they are needed."""

    def __init__(self, settings: CloningSettings) -> None:
        self.settings = settings

    @cached_property
    def plays(self) -> list[tuple[Level, list[State], list[int]]]:
        starts = _starts(_EXPERT_LEVELS, self.settings.episodes, 0)
        return [(level, *play_expert(level, state, self.settings.length)) for level, state in starts]

    @cached_property
    def frames(self) -> np.ndarray:
        """Return the frames before each transition, (N, H, W, 3)."""
        return np.concatenate([self.shown(index)[:-1] for index in range(len(self.plays))])

    @cached_property
    def actions(self) -> np.ndarray:
        """Return the true actions (N,)."""
        return np.array([action for _, _, own in self.plays for action in own], np.int64)

    def shown(self, index: int) -> np.ndarray:
        """Return all frames of an episode, (T + 1, H, W, 3)."""
        level, states, _ = self.plays[index]
        return np.stack([draw_frame(level, state, state, 0.0) for state in states])


def study_cloning(
    world: WorldModel,
    settings: CloningSettings,
    cells: Cells,
    *,
    on_progress: ProgressCallback | None = None,
) -> Cloning:
    """Label, train and play; what `cells` has already is not done again.

    Args:
        world: its LAM names the transitions, and is not trained.
        settings: sizes.
        cells: its inputs must name the world and these settings.
        on_progress: receives the lines of progress.

    Raises:
        UserError: the world was made for frames of another size, or has no LAM.
    """
    height, width = world.tokenizer.height, world.tokenizer.width
    if (height, width) != (HEIGHT, WIDTH):
        raise UserError(
            f"world {world.model_id} has frames of {width}x{height}, and the game {WIDTH}x{HEIGHT}: name a world of "
            "the embedded source with --root or --model (`lampworks demo` makes one)"
        )
    expert, codes = _Expert(settings), world.num_actions
    with Progress("behaviour cloning", total=1 + 3 * settings.seeds, unit="parts", on_progress=on_progress) as progress:

        def part(name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
            value = cells.get(name, measure)
            progress.advance(note=name)
            return value

        named = np.array(part("names", lambda: _names(world, expert))["codes"], np.int64)
        found: dict[str, list[list[int]]] = {}
        for seed in range(settings.seeds):
            for name, measure in (
                ("reference", lambda seed=seed: _reference(settings, seed)),
                ("oracle", lambda seed=seed: _oracle(world, expert, seed)),
                ("latent", lambda seed=seed: _latent(world, expert, named, seed)),
            ):
                for arm, coins in part(f"{name}-seed{seed}", measure).items():
                    found.setdefault(arm, []).append(coins)
    counts = count_pairs(named, expert.actions, codes, len(ACTIONS))
    return Cloning(
        [_scores(arm, coins) for arm, coins in found.items()],
        counts.tolist(),
        float(mutual_information(counts)),
        float(entropy(counts.sum(0))),
    )


def inputs_of(world: WorldModel, settings: CloningSettings) -> dict[str, Any]:
    """Return what all parts of the study depend on."""
    return {"study": "cloning 1", "world": world.model_id, **asdict(settings), "labels": list(settings.labels)}


def _scores(arm: str, coins: list[list[int]]) -> Scores:
    name, _, labels = arm.partition("/")
    return Scores(name, int(labels) if labels else None, coins)


def _names(world: WorldModel, expert: _Expert) -> dict[str, Any]:
    episodes = (infer_actions(world, expert.shown(index)[None])[0] for index in range(len(expert.plays)))
    return {"codes": np.concatenate(list(episodes)).tolist()}


def _reference(settings: CloningSettings, seed: int) -> dict[str, Any]:
    """Return the scores of players that learned nothing: the expert, one that only runs, and a random one."""
    right, left = ACTIONS.index("right"), ACTIONS.index("left")

    def skilled(levels: Sequence[Level], states: Sequence[State], _: np.ndarray) -> np.ndarray:
        return np.array([expert_action(level, state) for level, state in zip(levels, states, strict=True)])

    def runs(_: Sequence[Level], states: Sequence[State], __: np.ndarray) -> np.ndarray:
        return np.array([right if state.facing > 0 else left for state in states])

    def random(_: Sequence[Level], __: Sequence[State], uniform: np.ndarray) -> np.ndarray:
        return (uniform[:, 0] * len(ACTIONS)).astype(np.int64)

    actors: dict[str, Actor] = {"expert": skilled, "runs on": runs, "random": random}
    return {name: play(actor, settings, seed) for name, actor in actors.items()}


def _oracle(world: WorldModel, expert: _Expert, seed: int) -> dict[str, Any]:
    settings, device = expert.settings, world.compute.device
    policy = clone(expert.frames, expert.actions, len(ACTIONS), steps=settings.steps, seed=seed, device=device)
    return {"oracle": play(_acts_by(policy, np.eye(len(ACTIONS))), settings, seed)}


def _latent(world: WorldModel, expert: _Expert, named: np.ndarray, seed: int) -> dict[str, Any]:
    settings, device = expert.settings, world.compute.device
    policy = clone(expert.frames, named, world.num_actions, steps=settings.steps, seed=seed, device=device)
    order = np.random.default_rng((seed, 2)).permutation(len(named))
    scores = {}
    for rule in RULES:
        for count in settings.labels:
            own = order[:count]
            table = dictionary(named[own], expert.actions[own], world.num_actions, rule)
            scores[f"{rule}/{count}"] = play(_acts_by(policy, table), settings, seed)
    return scores


def dictionary(codes_N: np.ndarray, actions_N: np.ndarray, num_codes: int, rule: str) -> np.ndarray:
    """Return how often each true action is taken for each latent one, (K, A), from labelled transitions.

    A latent action that no labelled transition has takes the actions of all of them.
    """
    counts = count_pairs(codes_N, actions_N, num_codes, len(ACTIONS)).astype(np.float64)
    counts[counts.sum(1) == 0] = counts.sum(0)
    if rule == "most frequent":
        return np.eye(len(ACTIONS))[counts.argmax(1)]
    return counts / counts.sum(1, keepdims=True)


def _acts_by(policy: Policy, table_KA: np.ndarray) -> Actor:
    """Return a player that draws an action of a policy, and a true action of the table for it."""

    def act(levels: Sequence[Level], states: Sequence[State], uniform_L2: np.ndarray) -> np.ndarray:
        frames = np.stack([draw_frame(level, state, state, 0.0) for level, state in zip(levels, states, strict=True)])
        chosen = draw(policy.probabilities(frames), uniform_L2[:, 0])
        return draw(table_KA[chosen], uniform_L2[:, 1])

    return act


def play(actor: Actor, settings: CloningSettings, seed: int) -> list[int]:
    """Return the coins that a player takes on each level that no recording shows; starts follow from the seed."""
    levels, states = zip(*_starts(_PLAYED_LEVELS, settings.levels, seed), strict=True)
    rng = np.random.default_rng((seed, 3))
    history = [[state] for state in states]
    for _ in range(settings.length):
        actions = actor(levels, [own[-1] for own in history], rng.random((len(levels), 2)))
        for level, own, action in zip(levels, history, actions.tolist(), strict=True):
            own.append(advance(level, own[-1], action))
    return [coins_taken(own) for own in history]


def _starts(first: int, count: int, seed: int) -> list[tuple[Level, State]]:
    rng = np.random.default_rng((first, seed))
    levels = [make_level(first + index) for index in range(count)]
    return [(level, start_at(level, int(rng.integers(RING)), int(rng.choice((-1, 1))))) for level in levels]
