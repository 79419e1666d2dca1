"""RemoteClock: the time belongs to another process (the lab), and moves only when that process moves it.

Control paths: docs/design.md, "The lab". Between waits `now` is what was last heard, so asking costs nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from engine.contract import Unreachable


class RemoteClock:
    """Implements world.Clock. `url` as in the inventory's `clock`. Raises Unreachable: its owner is gone."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._opener = build_opener(ProxyHandler({}))  # the owner sits on loopback: no proxy in between
        self._lock = threading.Lock()
        self._now: datetime | None = None

    def now(self) -> datetime:
        with self._lock:
            return self._heard()

    def sleep(self, seconds: float) -> None:
        """Moves the time on. Threads that sleep at the same time sleep together, not one after the other."""
        with self._lock:
            due = self._heard() + timedelta(seconds=seconds)
        with self._lock:
            left = (due - self._heard()).total_seconds()
            if left > 0:
                self._take(self._ask("/advance", {"seconds": left}))

    def wait(self, until: datetime | None, stop_early: Callable[[], bool]) -> None:
        """The owner decides how far the time moves, and holds the answer until it has."""
        if stop_early() or (until is not None and until <= self.now()):
            return
        answer = self._ask("/wait", {"until": until.astimezone(UTC).isoformat() if until else None})
        with self._lock:
            self._take(answer)

    def _heard(self) -> datetime:
        if self._now is None:
            self._take(None)
        assert self._now is not None
        return self._now

    def _take(self, answer: Any) -> None:
        if not isinstance(answer, dict) or not isinstance(answer.get("now"), str):
            answer = self._ask("", None)
        try:
            heard = datetime.fromisoformat(answer["now"])
        except (KeyError, TypeError, ValueError):
            raise Unreachable("clock", "the clock's answer shows no time") from None
        self._now = heard if heard.tzinfo else heard.replace(tzinfo=UTC)

    def _ask(self, path: str, body: Any) -> Any:
        address = f"{self._url}{path}" if self._url.endswith("/clock") else f"{self._url}/clock{path}"
        data = None if body is None else json.dumps(body).encode()
        request = Request(address, data=data, headers={"Content-Type": "application/json"})
        try:
            with self._opener.open(request) as response:
                return json.loads(response.read() or b"null")
        except (OSError, HTTPException, ValueError) as error:
            raise Unreachable("clock", f"{address}: {type(error).__name__}") from None
