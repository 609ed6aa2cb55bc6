"""One websocket: a player's messages come in, and frames go out as the player's turns come.

Two tasks: one reads messages and notes what the player wants; the other does it, one frame a turn, and waits while two
frames are unacknowledged. So a page that does not show its frames costs the others nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from models.play.compare import WAYS, Comparison, Replay
from models.play.game import Game, Made
from models.play.link import Link, read_link
from models.play.live_settings import MAX_STEPS, MAX_TEMPERATURE, ORDERS, PAST_WINDOWS, SCHEDULES
from models.play.messages import BadMessageError, Message, pack, read_message
from models.play.room import RoomFull, Seat
from models.play.table import Table
from models.play.tree import FrameGoneError, Node
from models.play.wishes import Press, Wishes
from pipeline.config.evaluation import SamplingConfig
from pipeline.errors import StoreError, UserError

MESSAGES_A_SECOND = 200
"""Messages that a page may send."""
MESSAGES_AT_ONCE = 400
"""Messages that a page that was silent may send at once."""
POLICY_VIOLATION = 1008
LINK_AFTER_S = 0.5
"""Seconds without a frame after which the page is told the link to the current one."""
_TELL_REPLAY_S = 0.5


class Player:
    """The connection of one player."""

    def __init__(self, socket: WebSocket, table: Table) -> None:
        """Take a websocket that is not accepted yet."""
        self._socket, self._table = socket, table
        self._wishes = Wishes(table.config.fps)
        self._seat: Seat | None = None
        self._way = "none"
        self._beside: Comparison | None = None
        self._linked: int | None = None
        self._ended: str | None = None
        """Why the connection ends, empty where it was lost; None while it goes on."""
        self._allowance, self._filled_at = float(MESSAGES_AT_ONCE), time.monotonic()

    async def run(self) -> None:
        """Play until the connection is lost, or ends."""
        await self._socket.accept()
        reading = asyncio.create_task(self._read())
        try:
            await self._play()
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            seat, self._seat = self._seat, None
            if seat is not None:
                await self._table.leave(seat, self._replaced)

    # -- what comes in --------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while self._ended is None:
            try:
                received = await self._socket.receive()
            except RuntimeError:  # starlette's word for a socket that is closed already
                break
            if received["type"] == "websocket.disconnect":
                break
            if not self._has_allowance():
                return self._end(f"more than {MESSAGES_A_SECOND} messages a second came: no page sends so many")
            text = received.get("text")
            try:
                self._wishes.note(read_message(text if text is not None else received.get("bytes") or b""))
            except BadMessageError as exc:
                self._wishes.refuse(str(exc))
        self._end("")

    def _has_allowance(self) -> bool:
        now = time.monotonic()
        filled = self._allowance + (now - self._filled_at) * MESSAGES_A_SECOND
        self._allowance, self._filled_at = min(filled, MESSAGES_AT_ONCE) - 1, now
        return self._allowance >= 0

    def _replaced(self) -> None:
        """End, because another connection has the game now."""
        self._seat = None
        self._end("this game goes on in another tab or window")

    def _end(self, why: str) -> None:
        if self._ended is None:
            self._ended = why
        self._wishes.changed.set()

    # -- what goes out --------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        """Do what the player wants until the connection ends."""
        wishes = self._wishes
        while self._ended is None:
            wishes.changed.clear()
            if wishes.errors:
                await self._send(wishes.errors.popleft())
            elif wishes.orders:
                await self._obey(wishes.orders.popleft())
            elif self._seat is None:
                await wishes.changed.wait()
            elif isinstance(press := wishes.next_press(), Press):
                await self._step(self._seat, press)
            elif wishes.paused:
                wishes.paused = False
                await self._tell_link(self._seat)
            else:
                await self._rest(self._seat, press)
        if self._ended:
            await self._send({"type": "error", "error": self._ended, "fatal": True})
            await self._close()

    async def _rest(self, seat: Seat, seconds: float | None) -> None:
        """Wait for a message, or until the next frame of a hold is due; tell the link where it is quiet."""
        untold = self._linked != seat.game.current.node
        if seconds is None and untold:
            seconds = LINK_AFTER_S
        try:
            await asyncio.wait_for(self._wishes.changed.wait(), seconds)
        except TimeoutError:
            if seconds == LINK_AFTER_S and untold:
                await self._tell_link(seat)

    async def _tell_link(self, seat: Seat) -> None:
        node = seat.game.current
        self._linked = node.node
        await self._send({"type": "link", "node": node.node, **self._table.link_fields(seat, node)})

    async def _send(self, header: dict[str, Any], pictures: list[bytes] | None = None) -> None:
        try:
            await self._socket.send_bytes(pack(header, pictures or []))
        except (WebSocketDisconnect, RuntimeError):
            self._end("")

    async def _close(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.close(POLICY_VIOLATION)

    # -- orders ---------------------------------------------------------------------------------------------------

    async def _obey(self, message: Message) -> None:
        try:
            await _OBEY[message.type](self, message)
        except RoomFull as exc:
            await self._send({"type": "full", "error": str(exc)})
            await self._close()
            self._end("")
        except (BadMessageError, UserError, StoreError, FrameGoneError) as exc:
            await self._send({"type": "error", "error": str(exc), "fatal": False})

    async def _start(self, message: Message) -> None:
        link = _link_of(message, self._table.config.seed)
        if self._seat is None:
            self._table.room.check_free()
        played, game = await self._table.begin(link)
        if self._seat is not None:
            self._table.room.drop(self._seat)
            self._seat = None
        seat = self._table.room.sit(game, played, self._replaced)
        self._take(seat)
        told = time.perf_counter()
        for count, step in enumerate(link.steps, 1):
            await self._table.turns.take(game, self._table.replay, game, step)
            if self._ended is not None or self._wishes.starts_again:
                return
            if time.perf_counter() - told > _TELL_REPLAY_S:
                told = time.perf_counter()
                await self._send({"type": "replaying", "t": count, "of": len(link.steps)})
        await self._welcome(seat, resumed=False)

    async def _resume(self, message: Message) -> None:
        name = message.text("game")
        if self._seat is not None and self._seat.name == name:
            await self._welcome(self._seat, resumed=True)
            return
        seat = self._table.room.come_back(name, self._replaced)
        if seat is None:
            said = "this game is not here any more: the server was started again, or the game waited too long"
            await self._send({"type": "gone", "error": said})
            return
        if self._seat is not None:
            self._table.room.drop(self._seat)
        self._take(seat)
        await self._welcome(seat, resumed=True)

    def _take(self, seat: Seat) -> None:
        self._seat, self._way, self._beside, self._linked = seat, "none", None, None
        self._wishes.num_actions = seat.game.world.num_actions

    async def _welcome(self, seat: Seat, *, resumed: bool) -> None:
        game = seat.game
        nodes = await self._table.turns.take(game, lambda: [*game.tree])
        header = {
            "type": "started",
            "game": seat.name,
            "resumed": resumed,
            "start": game.start,
            "seed": game.seed,
            "model": game.world.model_id,
            "settings": dataclasses.asdict(game.sampling),
            "node": game.current.node,
            "nodes": [[node.node, node.parent, node.t, node.action] for node in nodes],
            **self._table.link_fields(seat, game.current),
        }
        self._linked = game.current.node
        await self._send(header)
        await self._show(seat, game.current)

    async def _rewind(self, message: Message) -> None:
        game, t = self._playing().game, message.whole("t")
        found = next((node for node in game.tree.path(game.current) if node.t == t), None)
        if found is None:
            raise BadMessageError(f"t = {t}: the path to the current frame has no such frame, or not any more")
        await self._go_to(found.node)

    async def _go(self, message: Message) -> None:
        await self._go_to(message.whole("node"))

    async def _go_to(self, node: int) -> None:
        seat = self._playing()
        await self._show(seat, await self._table.turns.take(seat.game, seat.game.go, node))

    async def _settings(self, message: Message) -> None:
        game = self._playing().game
        await self._table.turns.take(game, game.change, _changed(game.sampling, message))
        await self._send({"type": "settings", **dataclasses.asdict(game.sampling)})

    async def _compare(self, message: Message) -> None:
        seat, way = self._playing(), message.text("with", of=WAYS)
        self._beside = await self._table.compare(seat, way)
        self._way = way
        await self._show(seat, seat.game.current)

    def _playing(self) -> Seat:
        if self._seat is None:
            raise BadMessageError("no game was started on this connection: send `start` first")
        return self._seat

    # -- frames ---------------------------------------------------------------------------------------------------

    async def _step(self, seat: Seat, press: Press) -> None:
        try:
            made, began = await self._table.turns.take(seat.game, _timed, seat.game, press.action)
        except FrameGoneError as exc:
            self._wishes.refuse(str(exc), press.n)
            return
        ms = {
            "wait": (began - press.at) * 1000,
            "dynamics": made.dynamics_ms,
            "decode": made.decode_ms,
            "encode": made.encode_ms,
            "doubt": made.doubt_ms,
            "total": (time.perf_counter() - press.at) * 1000,
        }
        pressed = {"action": press.action, "n": press.n, "ms": {name: round(value, 2) for name, value in ms.items()}}
        self._table.note(seat, made)
        await self._show(seat, made.node, made.png, pressed)
        if made.dropped:
            await self._send({"type": "pruned", "nodes": made.dropped})

    async def _show(
        self, seat: Seat, node: Node, png: bytes | None = None, pressed: dict[str, Any] | None = None
    ) -> None:
        if png is None:
            png = await self._table.turns.take(seat.game, seat.game.png, node.node)
        beside = await self._picture_beside(seat, node.t)
        doubt = seat.game.doubt_of(node.node)
        header = {
            "type": "frame",
            "node": node.node,
            "parent": node.parent,
            "t": node.t,
            **(pressed or {"action": None, "n": None, "ms": None}),
            "doubt": None if doubt is None else doubt.as_json(),
            "compared": beside is not None,
        }
        self._wishes.sent(node.node)
        await self._send(header, [png] if beside is None else [png, beside])

    async def _picture_beside(self, seat: Seat, t: int) -> bytes | None:
        """Return the picture beside frame t, computed in turns of its own; None where there is none."""
        beside, turns = self._beside, self._table.turns
        if isinstance(beside, Replay) and beside.sampling != seat.game.sampling:
            beside = self._beside = await self._table.compare(seat, self._way)
        if beside is None or not beside.reaches(t):
            return None
        while not beside.is_ready(t):
            await turns.take(seat.game, beside.extend)
        return await turns.take(seat.game, beside.png, t)


_OBEY: dict[str, Callable[[Player, Message], Awaitable[None]]] = {
    "start": Player._start,
    "resume": Player._resume,
    "rewind": Player._rewind,
    "go": Player._go,
    "settings": Player._settings,
    "compare": Player._compare,
}


def _link_of(message: Message, seed: int) -> Link:
    if "link" in message:
        return read_link(message.text("link"))
    return Link(message.text("start"), seed=message.whole("seed", seed), world=message.text("model", ""))


def _changed(now: SamplingConfig, message: Message) -> SamplingConfig:
    values: dict[str, Any] = {
        "maskgit_steps": message.whole("maskgit_steps", now.maskgit_steps, low=1, high=MAX_STEPS),
        "token_temperature": message.number("token_temperature", now.token_temperature, low=0, high=MAX_TEMPERATURE),
        "unmask_order": message.text("unmask_order", now.unmask_order, of=ORDERS),
        "unmask_schedule": message.text("unmask_schedule", now.unmask_schedule, of=SCHEDULES),
        "past_window": message.text("past_window", now.past_window, of=PAST_WINDOWS),
    }
    return dataclasses.replace(now, **values)


def _timed(game: Game, action: int) -> tuple[Made, float]:
    began = time.perf_counter()
    return game.step(action), began
