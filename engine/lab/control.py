"""The lab's control interface: plain HTTP on a port of its own, never counted and never disturbed.

Paths and bodies are those of docs/design.md, "The lab". It owns the clock: a gated wait is held until it is granted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.lab.clock import Clock
from engine.lab.counters import Counters
from engine.lab.desk import Desk
from engine.lab.faults import Faults
from engine.lab.outside_servers import OutsideServers

if TYPE_CHECKING:
    from aiohttp import web

#: Without a time to move to and without a gate, a wait is answered after this many wall seconds: look again.
IDLE_SECONDS = 0.2


class Control:
    """`state` and `mail` answer what those paths show."""

    def __init__(self, clock: Clock, counters: Counters, faults: Faults, desk: Desk, state: Callable[[], Any],
                 mail: Callable[[], Any], gated: bool, outside: OutsideServers,
                 tokens: Callable[[], list[str]] = list) -> None:
        self.stopped = asyncio.Event()
        self._clock = clock
        self._counters = counters
        self._faults = faults
        self.desk = desk
        self._state = state
        self._mail = mail
        self._gated = gated
        self._outside = outside
        self._tokens = tokens
        self._waiting: list[tuple[datetime | None, asyncio.Future[bool]]] = []

    def application(self) -> web.Application:
        from aiohttp import web

        application = web.Application(client_max_size=32 * 1024 * 1024)
        for method, path, act in (
                ("GET", "/clock", self._now), ("POST", "/clock/advance", self._advance),
                ("POST", "/clock/wait", self._wait), ("POST", "/clock/grant", self._grant),
                ("GET", "/clock/pending", self._pending), ("POST", "/desk", self._type),
                ("GET", "/state", self._show_state), ("GET", "/state/digest", self._digest),
                ("GET", "/counters", self._count), ("GET", "/mail", self._show_mail),
                ("GET", "/tokens", self._show_tokens), ("POST", "/kill", self._kill),
                ("POST", "/fault", self._fault), ("POST", "/stop", self._stop)):
            application.router.add_route(method, path, self._answering(act))
        return application

    def _answering(self, act: Callable[[dict[str, Any]], Any]) -> Callable[[web.Request], Any]:
        from aiohttp import web

        async def carry(request: web.Request) -> web.Response:
            try:
                body = json.loads(await request.read() or b"{}")
                if not isinstance(body, dict):
                    raise ValueError("the body is not an object")
                self._faults.look_outside()
                document = await act(body)
            except (ValueError, KeyError, TypeError) as error:
                return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
            return web.json_response(document)

        return carry

    # -------------------------------------------------------------------------------------------------- clock

    async def _now(self, body: dict[str, Any]) -> Any:
        return {"now": self._clock.now().isoformat()}

    async def _advance(self, body: dict[str, Any]) -> Any:
        await self._outside.settle()
        self._clock.advance(float(body["seconds"]))
        return await self._now(body)

    async def _wait(self, body: dict[str, Any]) -> Any:
        text = body.get("until")
        until = datetime.fromisoformat(text) if text else None
        if until is not None and until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        if not self._gated:
            if until is None:
                await asyncio.sleep(IDLE_SECONDS)
            else:
                await self._outside.settle()
                self._clock.move_to(until)
            return await self._now(body)
        entry = (until, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            move = await entry[1]
        finally:
            # The waiter may have died: aiohttp then cancels this handler, and it waits no longer.
            self._waiting.remove(entry)
        if move and until is not None:
            self._clock.move_to(until)
        return await self._now(body)

    async def _grant(self, body: dict[str, Any]) -> Any:
        """The earliest wait is released; the clock moves on to its time only when `move` says so."""
        await self._outside.settle()
        open_ = [each for each in self._waiting if not each[1].done()]
        if not open_:
            return {"granted": False, "now": self._clock.now().isoformat()}
        until, granted = min(open_, key=_due)
        move = bool(body.get("move", True))
        if move and until is not None:
            self._clock.move_to(until)
        granted.set_result(move)
        return {"granted": True, "now": self._clock.now().isoformat()}

    async def _pending(self, body: dict[str, Any]) -> Any:
        open_ = [each for each in self._waiting if not each[1].done()]
        if not open_:
            return {"waiting": None}
        until = min(open_, key=_due)[0]
        return {"waiting": {"until": until.isoformat() if until else None}}

    # ------------------------------------------------------------------------------------------------- people

    async def _type(self, body: dict[str, Any]) -> Any:
        return self.desk.type(str(body["script"]), str(body.get("user", "")), str(body.get("password", "")))

    # ---------------------------------------------------------------------------------------------- what is so

    async def _show_state(self, body: dict[str, Any]) -> Any:
        self._outside.follow()
        return self._state()

    async def _digest(self, body: dict[str, Any]) -> Any:
        return await self.digest()

    async def digest(self) -> dict[str, str]:
        """The organisation's, without times and ids."""
        self._outside.follow()
        text = json.dumps(self._state(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return {"digest": hashlib.sha256(text.encode()).hexdigest()}

    async def _count(self, body: dict[str, Any]) -> Any:
        return {**self._counters.document(), "arrived": self._faults.requests}

    async def _show_mail(self, body: dict[str, Any]) -> Any:
        return self._mail()

    async def _show_tokens(self, body: dict[str, Any]) -> Any:
        return self._tokens()

    # ------------------------------------------------------------------------------------------------- faults

    async def _kill(self, body: dict[str, Any]) -> Any:
        self._faults.arm(int(body["pid"]), int(body["at"]), str(body["when"]), bool(body.get("stop")))
        return {"armed": True}

    async def _fault(self, body: dict[str, Any]) -> Any:
        self._faults.set(body)
        return {"set": True}

    async def _stop(self, body: dict[str, Any]) -> Any:
        # After the answer is out.
        asyncio.get_running_loop().call_later(0.05, self.stopped.set)
        for _, waiting in self._waiting:
            with suppress(asyncio.InvalidStateError):
                waiting.set_result(False)
        return {"stopped": True}


def _due(entry: tuple[datetime | None, object]) -> datetime:
    return entry[0] or datetime.max.replace(tzinfo=UTC)
