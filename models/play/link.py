"""Links: the part of an address behind `#` that reproduces a game bit for bit.

    #world=ID&start=held_out:3&frame=DIGEST&seed=0&settings=8_1.0_1.0_confidence_0_ring&actions=0(12)31!!2(4)

docs/play.md describes each part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import parse_qsl, quote

from models.play.live_settings import with_limits
from models.play.tree import Node
from pipeline.config.evaluation import SamplingConfig
from pipeline.errors import UserError

MAX_FRAMES = 5000
"""Most frames that a link holds."""
MAX_LENGTH = 16_000
"""Most characters of a link."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ITEM = re.compile(
    r"(?:!(?P<settings>[^!]{0,80})!)|(?:(?P<code>[0-9a-z])|\[(?P<big>[0-9]{2,6})\])(?:\((?P<run>[0-9]{1,6})\))?"
)
Order = Literal["confidence", "random", "halton"]
PastWindow = Literal["prefill", "ring"]
Schedule = Literal["cosine", "geometric"]


@dataclass(frozen=True)
class Step:
    """One action of a game."""

    action: int
    anew: bool = False
    """Whether the rollout begins anew before it."""
    sampling: SamplingConfig | None = None
    """Settings from here on; None: as before. The rollout then begins anew."""


@dataclass(frozen=True)
class Link:
    """What a link says."""

    start: str
    """Name of the start."""
    steps: tuple[Step, ...] = ()
    seed: int = 0
    world: str = ""
    """Id of the world; empty: any."""
    frame: str = ""
    """Digest of the start's pixels; empty: any."""
    sampling: SamplingConfig | None = None
    """Settings of the first frames; None: those of the server."""

    def text(self) -> str:
        """Return the link, with its `#`.

        Raises:
            UserError: it would be too long.
        """
        if len(self.steps) > MAX_FRAMES:
            raise UserError(f"a link holds {MAX_FRAMES} frames at most, and this path has {len(self.steps)}")
        parts = {"world": self.world, "start": self.start, "frame": self.frame, "seed": str(self.seed)}
        if self.sampling is not None:
            parts["settings"] = settings_text(self.sampling)
        parts["actions"] = actions_text(self.steps)
        found = "#" + "&".join(f"{name}={quote(value, safe=':()!')}" for name, value in parts.items() if value)
        if len(found) > MAX_LENGTH:
            raise UserError(f"a link has {MAX_LENGTH} characters at most, and this one {len(found)}")
        return found


def read_link(text: str) -> Link:
    """Return what a link says, which may begin with the address of a page.

    Raises:
        UserError: it is no link, or too long.
    """
    if len(text) > MAX_LENGTH + 1000:
        raise UserError(f"a link has {MAX_LENGTH} characters at most, and this one {len(text)}")
    fields = dict(parse_qsl(text.rpartition("#")[2].strip(), keep_blank_values=True))
    if not fields.get("start"):
        raise UserError(
            f"{_shown(text)} is no link of a game: a link has the form #start=held_out:0&seed=0&actions=..."
        )
    seed = fields.get("seed", "0")
    if not re.fullmatch(r"[0-9]{1,18}", seed):
        raise UserError(f"the link's seed = {_shown(seed)}: must be a whole number")
    settings = fields.get("settings")
    return Link(
        start=fields["start"],
        steps=tuple(read_actions(fields.get("actions", ""))),
        seed=int(seed),
        world=fields.get("world", ""),
        frame=fields.get("frame", ""),
        sampling=read_settings(settings) if settings else None,
    )


def link_to(path: Sequence[Node], *, start: str, seed: int, world: str, frame: str, now: SamplingConfig) -> Link:
    """Return the link to the last frame of a path.

    Args:
        path: all frames from the start on.
        start: name of the start.
        seed: seed of the game.
        world: id of the world.
        frame: digest of the start's pixels.
        now: settings of the next frame, for a path that is the start alone.

    Raises:
        UserError: the path does not begin at the start, because older frames are not kept.
    """
    if path[0].parent is not None:
        raise UserError("this path's first frames are not kept any more (play.history), so no link can hold it")
    first = before = path[1].sampling if len(path) > 1 else now
    steps = []
    for node in path[1:]:
        steps.append(Step(node.action, node.anew, None if node.sampling == before else node.sampling))
        before = node.sampling
    return Link(start, tuple(steps), seed, world, frame, first)


# -- actions ------------------------------------------------------------------------------------------------------


def actions_text(steps: Sequence[Step]) -> str:
    """Return actions as a link holds them."""
    parts: list[str] = []
    run, last = 0, -1
    for step in steps:
        marked = step.anew or step.sampling is not None
        if marked or step.action != last:
            parts += _run(last, run)
            run, last = 0, step.action
        if marked:
            parts.append(f"!{'' if step.sampling is None else settings_text(step.sampling)}!")
        run += 1
    return "".join([*parts, *_run(last, run)])


def read_actions(text: str) -> list[Step]:
    """Return the actions of a link; UserError where they are none, or too many."""
    steps: list[Step] = []
    anew, sampling = False, None
    for item in _items(text):
        if item["settings"] is not None:
            anew, sampling = True, read_settings(item["settings"]) if item["settings"] else sampling
            continue
        action = int(item["big"]) if item["big"] else _DIGITS.index(item["code"])
        run = int(item["run"] or 1)
        if len(steps) + run > MAX_FRAMES:
            raise UserError(f"a link holds {MAX_FRAMES} frames at most")
        if run:
            steps += [Step(action, anew, sampling), *[Step(action)] * (run - 1)]
            anew, sampling = False, None
    return steps


def _items(text: str) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(text):
        found = _ITEM.match(text, at)
        if found is None:
            raise UserError(f"the link's actions are not readable at character {at + 1}: {_shown(text[at : at + 20])}")
        yield found
        at = found.end()


def _run(action: int, count: int) -> list[str]:
    if not count:
        return []
    code = _DIGITS[action] if action < len(_DIGITS) else f"[{action}]"
    return [code * count] if count * len(code) <= len(code) + 3 else [f"{code}({count})"]


# -- settings -----------------------------------------------------------------------------------------------------


def settings_text(sampling: SamplingConfig) -> str:
    """Return settings as a link holds them."""
    text = (
        f"{sampling.maskgit_steps}_{sampling.token_temperature}_{sampling.choice_temperature}_{sampling.unmask_order}_"
        f"{sampling.top_k}_{sampling.past_window}"
    )
    # links without a schedule are of the cosine
    return text if sampling.unmask_schedule == "cosine" else f"{text}_{sampling.unmask_schedule}"


def read_settings(text: str) -> SamplingConfig:
    """Return the settings of a link; UserError where they are none."""
    parts = text.split("_")
    if len(parts) not in (6, 7):
        raise UserError(f"the link's settings {_shown(text)}: must be 6 or 7 values")
    steps, temperature, choice, order, top_k, window, schedule = [*parts, "cosine"][:7]
    if not all(re.fullmatch(r"[0-9]{1,6}", whole) for whole in (steps, top_k)):
        raise UserError(f"the link's settings {_shown(text)}: steps and top_k must be whole numbers")
    try:
        found = SamplingConfig(
            maskgit_steps=int(steps),
            token_temperature=float(temperature),
            choice_temperature=float(choice),
            unmask_order=cast("Order", order),
            unmask_schedule=cast("Schedule", schedule),
            top_k=int(top_k),
            past_window=cast("PastWindow", window),
        )
        return with_limits(found)
    except ValueError as exc:
        raise UserError(f"the link's settings {_shown(text)}: {exc}") from exc


def _shown(text: str) -> str:
    return repr(text)[:80]
