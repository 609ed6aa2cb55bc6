"""One websocket: a player's messages come in, and frames go out as the player's turns come.

Two tasks: one reads messages and notes what the player wants; the other does it, one frame a turn, and waits while two
frames are unacknowledged. So a page that does not show its frames costs the others nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from models.play.game import Game, Made
from models.play.link import Link, read_link
from models.play.live_settings import MAX_FPS, MAX_STEPS, MAX_TEMPERATURE, MIN_FPS, ORDERS, PAST_WINDOWS, with_limits
from models.play.messages import BadMessageError, Message, pack, read_message
from models.play.room import RoomFull, Seat
from models.play.table import Table
from models.play.tree import FrameGoneError, Node
from pipeline.errors import UserError

MAX_PRESSES = 12
"""Most presses that wait for their frame."""
MAX_UNSHOWN = 2
"""Most frames that the page has not acknowledged."""
MAX_ORDERS = 16
"""Most messages, other than keys and acknowledgements, that wait."""
MESSAGES_A_SECOND = 200
POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class _Press:
    action: int
    n: int | None
    at: float


class Player:
    """The connection of one player."""

    def __init__(self, socket: WebSocket, table: Table) -> None:
        """Take a websocket that is not accepted yet."""
        self._socket, self._table = socket, table
        self._seat: Seat | None = None
        self._fps = table.config.fps
        self._orders: deque[Message] = deque()
        self._presses: deque[_Press] = deque()
        self._holds: list[_Press] = []
        self._unshown: deque[int] = deque()
        self._wake = asyncio.Event()
        self._next_held = 0.0
        self._errors: deque[dict[str, Any]] = deque(maxlen=MAX_ORDERS)
        self._ended: str | None = None
        self._allowance, self._filled_at = float(2 * MESSAGES_A_SECOND), time.monotonic()

    async def run(self) -> None:
        """Play until the connection is lost, or ends."""
        await self._socket.accept()
        reading = asyncio.create_task(self._read())
        try:
            with suppress(WebSocketDisconnect):
                await self._play()
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            await self._lose()

    # -- what comes in --------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # starlette's word for a socket that is closed already
            while True:
                received = await self._socket.receive()
                if received["type"] == "websocket.disconnect":
                    break
                if not self._has_allowance():
                    self._end(f"more than {MESSAGES_A_SECOND} messages a second: no page sends so many")
                    return
                text = received.get("text")
                try:
                    self._note(read_message(text if text is not None else received.get("bytes") or b""))
                except BadMessageError as exc:
                    self._say_error(str(exc))
        self._end("")

    def _has_allowance(self) -> bool:
        now = time.monotonic()
        filled = self._allowance + (now - self._filled_at) * MESSAGES_A_SECOND
        self._allowance, self._filled_at = min(filled, 2 * MESSAGES_A_SECOND) - 1, now
        return self._allowance >= 0

    def _note(self, message: Message) -> None:
        """Note what a message asks for."""
        kind = message.type
        if kind == "ack":
            node = message.whole("node")
            while node in self._unshown and self._unshown.popleft() != node:
                pass
        elif kind in ("act", "hold"):
            self._note_press(message, hold=kind == "hold")
        elif kind == "release":
            n = message.press()
            self._holds = [] if n is None else [hold for hold in self._holds if hold.n != n]
        elif kind == "pause":
            self._holds, self._presses = [], deque()
        elif kind == "speed":
            self._fps = message.number("fps", low=MIN_FPS, high=MAX_FPS)
        elif kind in _ORDERS:
            if len(self._orders) >= MAX_ORDERS:
                self._say_error(f"{MAX_ORDERS} messages wait already: this one ({kind}) was left out")
                return
            self._orders.append(message)
        else:
            raise BadMessageError(f"type = {kind[:80]!r}: there is no such message")
        self._wake.set()

    def _note_press(self, message: Message, *, hold: bool) -> None:
        if self._seat is None:
            raise BadMessageError("no game was started on this connection: send `start` first")
        action = message.whole("action", high=self._seat.game.world.num_actions - 1)
        press = _Press(action, message.press(), time.perf_counter())
        if hold:
            self._holds = [*self._holds[-MAX_PRESSES:], press]
        if len(self._presses) >= MAX_PRESSES:
            self._say_error(f"{MAX_PRESSES} presses wait already: this one was left out", press.n)
            return
        self._presses.append(press)

    def _say_error(self, text: str, n: int | None = None) -> None:
        self._errors.append({"type": "error", "error": text, "fatal": False, **({} if n is None else {"n": n})})
        self._wake.set()

    def _end(self, why: str) -> None:
        if self._ended is None:
            self._ended = why
        self._wake.set()

    # -- what goes out --------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        """Do what was noted, until the connection ends."""
        while self._ended is None:
            self._wake.clear()
            if self._errors:
                await self._send(self._errors.popleft())
            elif self._orders:
                await self._obey(self._orders.popleft())
            elif self._seat is None or len(self._unshown) >= MAX_UNSHOWN or not (self._presses or self._holds):
                await self._wake.wait()
            elif self._presses:
                await self._step(self._presses.popleft())
            else:
                rest = self._next_held - time.perf_counter()
                if rest > 0:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), rest)
                else:
                    held = self._holds[-1]
                    await self._step(_Press(held.action, held.n, time.perf_counter()))
        if self._ended:
            await self._send({"type": "error", "error": self._ended, "fatal": True})
            await self._socket.close(POLICY_VIOLATION)

    async def _obey(self, message: Message) -> None:
        try:
            await _ORDERS[message.type](self, message)
        except RoomFull as exc:
            await self._send({"type": "full", "error": str(exc)})
            await self._socket.close(POLICY_VIOLATION)
            self._end("")
        except (BadMessageError, UserError, FrameGoneError) as exc:
            await self._send({"type": "error", "error": str(exc), "fatal": False})

    async def _start(self, message: Message) -> None:
        link = self._link_of(message)
        if self._seat is None:
            self._table.room.check_free()
        game = await self._table.begin(link)
        if self._seat is not None:
            self._table.room.drop(self._seat)
            self._seat = None
        self._forget_keys()
        seat = self._seat = self._table.room.sit(game, self._replaced)
        told = time.perf_counter()
        for count, step in enumerate(link.steps, 1):
            await self._table.turns.take(game, self._table.replay, game, step)
            if self._ended is not None:
                return
            if time.perf_counter() - told > 0.5:
                told = time.perf_counter()
                await self._send({"type": "replaying", "t": count, "of": len(link.steps)})
        await self._welcome(seat, resumed=False)

    def _link_of(self, message: Message) -> Link:
        if "link" in message:
            return read_link(message.text("link"))
        seed, world = message.whole("seed", 0), message.text("model", "")
        return Link(message.text("start"), seed=seed, world=world)

    async def _resume(self, message: Message) -> None:
        seat = self._table.room.come_back(message.text("game"), self._replaced)
        if seat is None:
            said = "this game is not here any more: the server was started again, or the game waited too long"
            await self._send({"type": "gone", "error": said})
            return
        if self._seat is not None and self._seat is not seat:
            self._table.room.drop(self._seat)
        self._seat = seat
        self._forget_keys()
        await self._welcome(seat, resumed=True)

    async def _rewind(self, message: Message) -> None:
        game = self._playing()
        t = message.whole("t")
        found = next((node for node in game.tree.path(game.current) if node.t == t), None)
        if found is None:
            raise BadMessageError(
                f"t = {t}: the path to the current frame has no such frame, or it is not kept any more"
            )
        await self._go_to(found.node)

    async def _go(self, message: Message) -> None:
        await self._go_to(message.whole("node"))

    async def _go_to(self, node: int) -> None:
        game = self._playing()
        self._forget_keys()
        found = await self._table.turns.take(game, game.go, node)
        await self._show(game, found)

    async def _settings(self, message: Message) -> None:
        game = self._playing()
        now = game.sampling
        changed: dict[str, Any] = {
            "maskgit_steps": message.whole("maskgit_steps", now.maskgit_steps, low=1, high=MAX_STEPS),
            "token_temperature": message.number(
                "token_temperature", now.token_temperature, low=0, high=MAX_TEMPERATURE
            ),
            "unmask_order": message.text("unmask_order", now.unmask_order, of=ORDERS),
            "past_window": message.text("past_window", now.past_window, of=PAST_WINDOWS),
        }
        await self._table.turns.take(game, game.change, with_limits(dataclasses.replace(now, **changed)))
        await self._send({"type": "settings", **dataclasses.asdict(game.sampling)})

    # -- frames ---------------------------------------------------------------------------------------------------

    async def _step(self, press: _Press) -> None:
        assert self._seat is not None
        game = self._seat.game
        self._next_held = max(self._next_held + 1 / self._fps, time.perf_counter())
        try:
            made, began = await self._table.turns.take(game, _timed, game, press.action)
        except FrameGoneError as exc:
            self._forget_keys()
            self._say_error(str(exc), press.n)
            return
        ms = {
            "wait": (began - press.at) * 1000,
            "dynamics": made.dynamics_ms,
            "decode": made.decode_ms,
            "encode": made.encode_ms,
            "total": (time.perf_counter() - press.at) * 1000,
        }
        await self._show(game, made.node, made.png, n=press.n, ms=ms)
        if made.dropped:
            await self._send({"type": "pruned", "nodes": made.dropped})

    async def _show(
        self,
        game: Game,
        node: Node,
        png: bytes | None = None,
        *,
        n: int | None = None,
        ms: dict[str, float] | None = None,
    ) -> None:
        if png is None:
            png = await self._table.turns.take(game, game.png, node.node)
        header = {
            "type": "frame",
            "node": node.node,
            "parent": node.parent,
            "t": node.t,
            "action": None if ms is None else node.action,
            "n": n,
            "ms": None if ms is None else {name: round(value, 2) for name, value in ms.items()},
            "doubt": None,
        }
        self._unshown.append(node.node)
        await self._send(header, [png])

    async def _welcome(self, seat: Seat, *, resumed: bool) -> None:
        game = seat.game
        header = {
            "type": "started",
            "game": seat.name,
            "resumed": resumed,
            "start": game.start,
            "seed": game.seed,
            "model": game.world.model_id,
            "settings": dataclasses.asdict(game.sampling),
            "node": game.current.node,
            "nodes": [[node.node, node.parent, node.t, node.action] for node in game.tree],
            **self._table.link_fields(game, game.current),
        }
        await self._send(header)
        await self._show(game, game.current)

    def _playing(self) -> Game:
        if self._seat is None:
            raise BadMessageError("no game was started on this connection: send `start` first")
        return self._seat.game

    def _forget_keys(self) -> None:
        self._holds, self._presses = [], deque()
        self._unshown.clear()

    async def _send(self, header: dict[str, Any], pictures: list[bytes] | None = None) -> None:
        try:
            await self._socket.send_bytes(pack(header, pictures or []))
        except (WebSocketDisconnect, RuntimeError):
            self._end("")

    def _replaced(self) -> None:
        self._seat = None
        self._end("this game goes on in another tab or window")

    async def _lose(self) -> None:
        seat, self._seat = self._seat, None
        if seat is not None:
            await self._table.leave(seat, self._replaced)


_ORDERS: dict[str, Callable[[Player, Message], Any]] = {
    "start": Player._start,
    "resume": Player._resume,
    "rewind": Player._rewind,
    "go": Player._go,
    "settings": Player._settings,
}


def _timed(game: Game, action: int) -> tuple[Made, float]:
    began = time.perf_counter()
    return game.step(action), began
