"""What was asked of the lab and what really happened in it: the figures that promises are checked against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Counters:
    """requests: by kind ("graph GET /users", "exo Get-MigrationUser", "dns query")
    moved: requests that changed something, whatever their verb
    effects: how often each thing really happened ("batch/Batch01 create")
    heard: told of each, as ("request" | "effect", name), the moment it happens
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.effects: Counter[str] = Counter()
        self.moved = 0
        self.heard: Callable[[str, str], None] = lambda what, name: None
        #: the kind of the request that is being handled now, "" between two of them
        self.handling = ""
        self._changes = 0

    def effect(self, name: str) -> None:
        """Something happened. Called where the state changes, never where it is asked for."""
        self.effects[name] += 1
        self._changes += 1
        self.heard("effect", name)

    @contextmanager
    def request(self, kind: str) -> Iterator[None]:
        """Around the handling of one request, which must not pause: it counts as moved when it had an effect."""
        self.requests[kind] += 1
        self.heard("request", kind)
        before, above = self._changes, self.handling
        self.handling = kind
        try:
            yield
        finally:
            self.handling = above
            self.moved += self._changes != before

    def document(self) -> dict[str, object]:
        return {
            "requests": dict(sorted(self.requests.items())),
            "moved": self.moved,
            "effects": dict(sorted(self.effects.items())),
        }
