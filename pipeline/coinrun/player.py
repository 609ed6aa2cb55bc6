"""Play CoinRun and print what was played: frames as bytes, actions as JSON. Runs in the environment of procgen.

This file imports nothing of lampworks. `pipeline.coinrun.record` starts it with the Python of the other environment:

    build/coinrun/.venv/bin/python pipeline/coinrun/player.py < orders

An order is a line of JSON: {"level": 5, "agent": "runner", "seed": 0, "steps": 1000}. The answer is a line of JSON
(level, agent, frames, actions, ended) and then the frames, uint8 (frames, 64, 64, 3). An episode ends with its level
(the coin, or a death), or after `steps` frames; action k leads from frame k to frame k + 1.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import sys
import types
from typing import Any, BinaryIO

import numpy as np

SIZE = 64
# the keys of each of procgen's 15 actions; CoinRun has no use for the last six, so they are the same as none
ACTIONS = (
    "left-down", "left", "left-up", "down", "none", "up", "right-down", "right", "right-up",
    "none", "none", "none", "none", "none", "none",
)  # fmt: skip
AGENTS = ("random", "runner")
_LEFT, _RIGHT, _RIGHT_UP = 1, 7, 8
_NEEDED_FOR_WINDOWS = ("imageio", "moderngl", "glfw")
"""Packages that gym3 imports to show a window or write a film; nothing here does."""


class Random:
    """A new action at every step, uniformly: the paper's policy."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def act(self, frame: np.ndarray) -> int:
        """Return the action at a frame (64, 64, 3)."""
        return int(self.rng.integers(len(ACTIONS)))


class Runner:
    """A scripted player: it runs right, jumps where the picture stands still, and now and then."""

    _STILL = 1.5  # mean change of a channel below which the picture does not scroll
    _JUMP_SHARE = 0.07
    _LONGEST_TRY = 40

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.before: np.ndarray | None = None
        self.jumps = self.still = self.back = 0

    def act(self, frame: np.ndarray) -> int:
        """Return the action at a frame (64, 64, 3)."""
        moved = 255.0 if self.before is None else float(np.abs(frame.astype(np.int16) - self.before).mean())
        self.before = frame.astype(np.int16)
        self.still = self.still + 1 if moved < self._STILL else 0
        if self.still > self._LONGEST_TRY:
            self.still, self.back = 0, int(self.rng.integers(3, 10))
        if self.back:
            self.back -= 1
            return _LEFT
        if not self.jumps and (self.still > 1 or self.rng.random() < self._JUMP_SHARE):
            self.jumps = int(self.rng.integers(4, 13))
        if self.jumps:
            self.jumps -= 1
            return _RIGHT_UP
        return _RIGHT


def play(level: int, agent: str, seed: int, steps: int) -> tuple[np.ndarray, list[int], str]:
    """Return the frames (T, 64, 64, 3) of an episode, its T - 1 or T actions, and how it ended."""
    env = _environment(level, seed)
    rng = np.random.default_rng((seed, level, AGENTS.index(agent)))
    player: Any = Random(rng) if agent == "random" else Runner(rng)
    frames, actions = [_frame(env)], []
    while len(frames) < steps:
        actions.append(player.act(frames[-1]))
        env.act(np.array([actions[-1]], np.int32))
        _, _, first = env.observe()
        if first[0]:
            # the picture is that of the next episode
            finished = env.get_info()[0]["prev_level_complete"]
            return np.stack(frames), actions, "finished" if finished else "died"
        frames.append(_frame(env))
    return np.stack(frames), actions, "steps"


def _frame(env: Any) -> np.ndarray:
    _, seen, _ = env.observe()
    frame: np.ndarray = seen["rgb"][0].copy()
    return frame


def _environment(level: int, seed: int) -> Any:
    _stub_windows()
    from procgen import ProcgenGym3Env

    return ProcgenGym3Env(
        num=1, env_name="coinrun", distribution_mode="hard", start_level=level, num_levels=1, num_threads=0,
        rand_seed=seed,
    )  # fmt: skip


def _stub_windows() -> None:
    """Put empty modules in place of packages that procgen imports and never uses here, where they are not installed."""
    for name in _NEEDED_FOR_WINDOWS:
        if importlib.util.find_spec(name) is None:
            _stub(name)
    if "gym" not in sys.modules and importlib.util.find_spec("gym") is None:
        # procgen registers its games with gym
        _stub("gym").envs = _stub("gym.envs")  # type: ignore[attr-defined]
        sys.modules["gym.envs"].registration = _stub(  # type: ignore[attr-defined]
            "gym.envs.registration", register=lambda **_: None
        )


def _stub(name: str, **contents: Any) -> types.ModuleType:
    module = types.ModuleType(name, "Nothing: it is not needed without a window.")
    module.__dict__.update(contents)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    sys.modules[name] = module
    return module


def answer(order: dict[str, Any], out: BinaryIO) -> None:
    """Play an order and write it."""
    frames, actions, ended = play(order["level"], order["agent"], order["seed"], order["steps"])
    head = {**order, "frames": len(frames), "actions": [ACTIONS[action] for action in actions], "ended": ended}
    out.write(json.dumps(head).encode() + b"\n")
    out.write(frames.tobytes())
    out.flush()


def main() -> int:
    """Answer all orders; the first answer says that procgen is there."""
    out = sys.stdout.buffer
    _stub_windows()
    import procgen

    # what procgen prints must not come between frames
    sys.stdout = sys.stderr
    out.write(json.dumps({"procgen": procgen.__version__.strip(), "numpy": np.__version__}).encode() + b"\n")
    out.flush()
    for line in sys.stdin:
        answer(json.loads(line), out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
