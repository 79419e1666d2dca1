"""The lab's time: it stands still until somebody moves it, and then everything that is due happens in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

#: When a rehearsal begins, unless the organisation file says otherwise: a Monday morning.
START = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)


class Clock:
    """Virtual UTC time with a heap of due events. Nothing in the lab happens by wall time."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._due: list[tuple[datetime, int, Callable[[], object]]] = []
        self._count = 0

    def now(self) -> datetime:
        return self._now

    def at(self, when: datetime, callback: Callable[[], object]) -> None:
        """Call `callback` when the clock comes to `when`; equal times in the order they were given.

        A time that has passed is due at the next move, however small.
        """
        self._count += 1
        heapq.heappush(self._due, (when, self._count, callback))

    def after(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call `callback` so many virtual seconds from now."""
        self.at(self._now + timedelta(seconds=seconds), callback)

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds (never back)."""
        self.move_to(self._now + timedelta(seconds=max(0.0, seconds)))

    def move_to(self, when: datetime) -> None:
        """Move on to `when`; each due event sees its own due time as `now()`. Never goes back."""
        while self._due and self._due[0][0] <= when:
            due, _, callback = heapq.heappop(self._due)
            self._now = max(self._now, due)
            callback()
        self._now = max(self._now, when)
